// Small T5 encoders: T5-base, UMT5-base, byT5.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kByT5Signatures[] = {
    {.all = {"encoder.block.0.layer.0.SelfAttention.k"},
     .size = Size{"encoder.block.0.layer.0.SelfAttention.k.weight", 0, 384}},
};

// To ComfyUI whatever has no block 23. A part of a larger T5, as tests have it, is not taken for one here.
constexpr Signature kT5BaseSignatures[] = {
    {{"encoder.block.0.layer.0.SelfAttention.k", "encoder.block.11"}},
    {{"encoder.block.0.layer.0.SelfAttention.k", "encoder.block.0.layer.1.DenseReluDense.wi"}},
    {.all = {"encoder.block.0.layer.0.SelfAttention.k"},
     .size = Size{"encoder.block.0.layer.0.SelfAttention.k.weight", 0, 768}},
};

}  // namespace

constinit const Family kByT5 = {
    .name = "byt5",
    .title = "byT5 small",
    .kind = Kind::kTextEncoder,
    .signatures = kByT5Signatures,
    .structures = {&kT5Structure},
    .comfyui = {.reads_quantized = false},
};

constinit const Family kT5Base = {
    .name = "t5_base",
    .title = "T5-base, UMT5-base",
    .kind = Kind::kTextEncoder,
    .signatures = kT5BaseSignatures,
    .structures = {&kT5Structure},
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
