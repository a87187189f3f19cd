// Gemma 2 and 3.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kGemma2Signatures[] = {
    {{"model.layers.0.post_feedforward_layernorm", "model.layers.0.self_attn.q_proj"}},
};

constexpr Signature kGemma3Signatures[] = {
    {{"model.layers.0.post_feedforward_layernorm", "model.layers.0.self_attn.q_norm"},
     {"model.layers.0.altup", "model.layers.0.layer_scalar"}},
};

// post_attention_layernorm norms what attention adds, not what the MLP reads.
constexpr Input kGemmaInputs[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj"},
     .norm = {Norm::kRmsOnePlus, "layers.#.input_layernorm"}},
    {.layers = {"layers.#.self_attn.o_proj"},
     .norm = {Norm::kRmsOnePlus, "layers.#.input_layernorm"},
     .values = {"layers.#.self_attn.v_proj"},
     .head_norm = "layers.#.self_attn.q_norm"},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = {Norm::kRmsOnePlus, "layers.#.pre_feedforward_layernorm"}},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = {Norm::kRmsOnePlus, "layers.#.pre_feedforward_layernorm"},
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kGeluTanh},
};

constexpr HeadSize kHeadSizes[] = {{2304, 1024, 256}};  // 2B

}  // namespace

constinit const Structure kGemmaStructure = {.present = {"layers.#.pre_feedforward_layernorm.weight"},
                                             .absent = {"layers.#.layer_scalar"},
                                             .inputs = kGemmaInputs};

constinit const Family kGemma2 = {
    .name = "gemma2",
    .title = "Gemma 2",
    .kind = Kind::kTextEncoder,
    .signatures = kGemma2Signatures,
    .structures = {&kGemmaStructure},
    .heads = kHeadSizes,
};

constinit const Family kGemma3 = {
    .name = "gemma3",
    .title = "Gemma 3",
    .kind = Kind::kTextEncoder,
    .signatures = kGemma3Signatures,
    .structures = {&kGemmaStructure, &kClipStructure},
};

}  // namespace ctq::families
