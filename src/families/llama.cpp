// Llama 3, and other plain language models with its names.
#include "rows.h"

namespace ctq::families {
namespace {

// ComfyUI renames the head's weight, where it uses one at all, but not the scale beside it.
constexpr std::string_view kPlain[] = {"lm_head"};

constexpr Signature kLlamaSignatures[] = {
    {{"model.layers.0.post_attention_layernorm", "model.layers.0.self_attn.k_proj"}},
};

constexpr Input kLlamaInputs[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj"},
     .norm = {Norm::kRms, "layers.#.input_layernorm"}},
    {.layers = {"layers.#.self_attn.o_proj"},
     .norm = {Norm::kRms, "layers.#.input_layernorm"},
     .values = {"layers.#.self_attn.v_proj"},
     .head_norm = "layers.#.self_attn.q_norm"},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = {Norm::kRms, "layers.#.post_attention_layernorm"}},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = {Norm::kRms, "layers.#.post_attention_layernorm"},
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kSilu},
};

constexpr HeadSize kHeadSizes[] = {{4096, 1024, 128}};  // 8B

}  // namespace

constinit const Structure kLlamaStructure = {
    .present = {"layers.#.input_layernorm.weight", "layers.#.post_attention_layernorm.weight"},
    .absent = {"layers.#.pre_feedforward_layernorm.weight", "layers.0.linear_attn.A_log"},
    .inputs = kLlamaInputs};

constinit const Family kLlama = {
    .name = "llama",
    .title = "Llama 3 and its like",
    .kind = Kind::kTextEncoder,
    .signatures = kLlamaSignatures,
    .structures = {&kLlamaStructure},
    .heads = kHeadSizes,
    .comfyui = {.plain = kPlain},
};

}  // namespace ctq::families
