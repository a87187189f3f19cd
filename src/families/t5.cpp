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

}  // namespace

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
    .comfyui = {.configuring_rows = kConfiguringRows},
};

}  // namespace ctq::families
