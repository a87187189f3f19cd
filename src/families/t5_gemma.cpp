// T5-Gemma, of Stable Audio 3.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kT5GemmaSignatures[] = {
    {{"model.encoder.layers.0.pre_self_attn_layernorm"}},
};

}  // namespace

constinit const Family kT5Gemma = {
    .name = "t5_gemma",
    .title = "T5-Gemma",
    .kind = Kind::kTextEncoder,
    .signatures = kT5GemmaSignatures,
    .structures = {&kGemmaStructure},
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
