// Gemma 4. The small ones have inputs of each layer's own; so has Gemma 3n, but no layer_scalar.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kGemma4Exclude[] = {
    "audio", "per_layer_input_gate", "per_layer_projection", "vision", "multi_modal_projector",
};

constexpr Signature kGemma4Signatures[] = {
    {{"model.layers.0.per_layer_input_gate", "model.layers.0.per_layer_projection",
      "model.layers.0.layer_scalar"}},
    {{"model.language_model.layers.0.per_layer_input_gate",
      "model.language_model.layers.0.per_layer_projection", "model.language_model.layers.0.layer_scalar"}},
};

constexpr Signature kGemma4LargeSignatures[] = {
    {{"model.layers.0.layer_scalar", "model.layers.0.self_attn.q_norm"}},
};

constexpr std::string_view kTables[] = {"model.embed_tokens_per_layer",
                                        "model.language_model.embed_tokens_per_layer"};

// Its values are normed per head, so o_proj is left out; its norms may feed a router as well.
constexpr Input kGemma4Inputs[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj"},
     .norm = {.kind = Norm::kRms, .name = "layers.#.input_layernorm", .is_shared = true}},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = {.kind = Norm::kRms, .name = "layers.#.pre_feedforward_layernorm", .is_shared = true}},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = {Norm::kRms, "layers.#.pre_feedforward_layernorm"},
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kGeluTanh},
};

}  // namespace

constinit const Structure kGemma4Structure = {
    .present = {"layers.#.pre_feedforward_layernorm.weight", "layers.#.layer_scalar"},
    .inputs = kGemma4Inputs};

constinit const Preset kGemma4Preset = {
    .name = "gemma4",
    .help =
        "Gemma 4 text/multimodal encoder. Audio, vision, multimodal projector and per-layer "
        "input/projection tensors stay unquantized.",
    .category = "text",
    .peer = PatternLists{.exclude = kGemma4Exclude}};

constinit const Family kGemma4 = {
    .name = "gemma4",
    .title = "Gemma 4: E2B, E4B",
    .kind = Kind::kTextEncoder,
    .signatures = kGemma4Signatures,
    .preset = &kGemma4Preset,
    .structures = {&kGemma4Structure},
    .comfyui = {.tables = kTables},
};

constinit const Family kGemma4Large = {
    .name = "gemma4_large",
    .title = "Gemma 4: 12B, 31B",
    .kind = Kind::kTextEncoder,
    .signatures = kGemma4LargeSignatures,
    .structures = {&kGemma4Structure},
};

}  // namespace ctq::families
