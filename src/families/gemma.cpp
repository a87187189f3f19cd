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

}  // namespace

constinit const Family kGemma2 = {
    .name = "gemma2",
    .title = "Gemma 2",
    .kind = Kind::kTextEncoder,
    .signatures = kGemma2Signatures,
};

constinit const Family kGemma3 = {
    .name = "gemma3",
    .title = "Gemma 3",
    .kind = Kind::kTextEncoder,
    .signatures = kGemma3Signatures,
};

}  // namespace ctq::families
