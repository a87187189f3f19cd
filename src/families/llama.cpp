// Llama 3, and other plain language models with its names.
#include "rows.h"

namespace ctq::families {
namespace {

// ComfyUI renames the head's weight, where it uses one at all, but not the scale beside it.
constexpr std::string_view kPlain[] = {"lm_head"};

constexpr Signature kLlamaSignatures[] = {
    {{"model.layers.0.post_attention_layernorm", "model.layers.0.self_attn.k_proj"}},
};

}  // namespace

constinit const Family kLlama = {
    .name = "llama",
    .title = "Llama 3 and its like",
    .kind = Kind::kTextEncoder,
    .signatures = kLlamaSignatures,
    .comfyui = {.plain = kPlain},
};

}  // namespace ctq::families
