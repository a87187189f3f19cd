// Names of the transformers library for GPT-OSS, whose banks of experts have in_features before out_features.
#include "namings.h"

namespace ctq::families {
namespace {

constexpr ForeignName kRows[] = {
    {"layers.#.mlp.experts.gate_up_proj", "layers.#.mlp.experts.gate_up_proj.weight", 0, 1,
     Values::kTransposed},
    {"layers.#.mlp.experts.gate_up_proj_bias", "layers.#.mlp.experts.gate_up_proj.bias"},
    {"layers.#.mlp.experts.down_proj", "layers.#.mlp.experts.down_proj.weight", 0, 1, Values::kTransposed},
    {"layers.#.mlp.experts.down_proj_bias", "layers.#.mlp.experts.down_proj.bias"},
};

}  // namespace

constinit const Naming kGptOssNames = {
    .title = "GPT-OSS",
    .source = "transformers",
    .all = {"layers.0.self_attn.sinks", "layers.0.mlp.experts.gate_up_proj_bias"},
    .rows = kRows};

}  // namespace ctq::families
