// Qwen 2.5 and Qwen 3 without a vision tower.
#include "rows.h"

namespace ctq::families {
namespace {

// ComfyUI renames the head's weight, but not the scale beside it.
constexpr std::string_view kPlain[] = {"lm_head"};

constexpr Signature kQwen25Signatures[] = {
    {{"model.layers.0.self_attn.k_proj.bias", "model.layers.0.post_attention_layernorm"}},
};

constexpr Signature kQwen3Signatures[] = {
    {{"model.layers.0.self_attn.q_norm", "model.layers.0.self_attn.k_proj",
      "model.layers.0.post_attention_layernorm"}},
};

constexpr HeadSize kHeadSizes[] = {{2048, 256, 128}, {3584, 512, 128}};  // 3B, 7B

}  // namespace

constinit const Family kQwen25 = {
    .name = "qwen25",
    .title = "Qwen 2.5",
    .kind = Kind::kTextEncoder,
    .signatures = kQwen25Signatures,
    .structures = {&kLlamaStructure},
    .heads = kHeadSizes,
    .comfyui = {.plain = kPlain},
};

constinit const Family kQwen3 = {
    .name = "qwen3",
    .title = "Qwen 3",
    .kind = Kind::kTextEncoder,
    .signatures = kQwen3Signatures,
    .structures = {&kLlamaStructure},
    .comfyui = {.plain = kPlain},
};

}  // namespace ctq::families
