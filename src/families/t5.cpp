// T5 encoders of 24 blocks: XXL, UMT5-XXL.
#include "base_avoid.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kT5xxlRemove[] = {"decoder", "lm_head"};

constexpr Signature kT5Signatures[] = {
    {{"encoder.block.0.layer.0.SelfAttention.k", "encoder.block.23.layer.1.DenseReluDense.wi_1"}},
    {{"encoder.block.0.layer.0.SelfAttention.k", "encoder.block.23.layer.1.DenseReluDense.wi"}},
};

constexpr std::string_view kConfiguringRows[] = {"encoder.block.23.layer.1.DenseReluDense.wi_1"};

constexpr Input kT5Inputs[] = {
    {.layers = {"encoder.block.#.layer.0.SelfAttention.q", "encoder.block.#.layer.0.SelfAttention.k",
                "encoder.block.#.layer.0.SelfAttention.v"},
     .norm = {Norm::kRms, "encoder.block.#.layer.0.layer_norm"}},
    {.layers = {"encoder.block.#.layer.0.SelfAttention.o"},
     .norm = {Norm::kRms, "encoder.block.#.layer.0.layer_norm"},
     .values = {"encoder.block.#.layer.0.SelfAttention.v"}},
    {.layers = {"encoder.block.#.layer.1.DenseReluDense.wi", "encoder.block.#.layer.1.DenseReluDense.wi_0",
                "encoder.block.#.layer.1.DenseReluDense.wi_1"},
     .norm = {Norm::kRms, "encoder.block.#.layer.1.layer_norm"}},
    {.layers = {"encoder.block.#.layer.1.DenseReluDense.wo"},  // T5 1.1, UMT5
     .norm = {Norm::kRms, "encoder.block.#.layer.1.layer_norm"},
     .gate = {"encoder.block.#.layer.1.DenseReluDense.wi_0"},
     .up = {"encoder.block.#.layer.1.DenseReluDense.wi_1"},
     .activation = Activation::kGeluTanh},
    {.layers = {"encoder.block.#.layer.1.DenseReluDense.wo"},  // T5 1.0
     .norm = {Norm::kRms, "encoder.block.#.layer.1.layer_norm"},
     .gate = {"encoder.block.#.layer.1.DenseReluDense.wi"},
     .activation = Activation::kRelu},
};

}  // namespace

constinit const Structure kT5Structure = {.inputs = kT5Inputs};

constinit const Preset kT5xxlPreset = {
    .name = "t5xxl",
    .help =
        "T5-XXL text encoder. Norm, bias, embedding and similar tensors stay unquantized; decoder and "
        "LM-head tensors are dropped from the output.",
    .category = "text",
    .from_seed = true,
    .text_encoder = true,
    .seed = PatternLists{.exclude = kBaseAvoid, .remove = kT5xxlRemove},
    .peer = PatternLists{.exclude = kBaseAvoidPeer, .remove = kT5xxlRemove}};

constinit const Family kT5 = {
    .name = "t5",
    .title = "T5-XXL, UMT5-XXL",
    .kind = Kind::kTextEncoder,
    .signatures = kT5Signatures,
    .preset = &kT5xxlPreset,
    .structures = {&kT5Structure},
    .comfyui = {.configuring_rows = kConfiguringRows},
};

}  // namespace ctq::families
