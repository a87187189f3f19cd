// T5 of 24 blocks and the width 2048: AuraFlow's, and mT5-XL of Hunyuan DiT.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kWide = "encoder.block.23.layer.1.DenseReluDense.wi_1";

constexpr Signature kT5XlSignatures[] = {
    {.all = {"encoder.block.0.layer.0.SelfAttention.k", kWide},
     .size = Size{"encoder.block.23.layer.1.DenseReluDense.wi_1.weight", 0, 5120}},
};

}  // namespace

constinit const Family kT5Xl = {
    .name = "t5_xl",
    .title = "T5-XL, mT5-XL",
    .kind = Kind::kTextEncoder,
    .signatures = kT5XlSignatures,
    .preset = &kT5xxlPreset,
    .structures = {&kT5Structure},
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
