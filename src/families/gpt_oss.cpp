// GPT-OSS, the encoder of Lens.
#include "rows.h"

namespace ctq::families {
namespace {

// The router is a bare parameter.
constexpr std::string_view kPlain[] = {"layers.#.mlp.router"};

constexpr std::string_view kBanks[] = {"layers.#.mlp.experts.gate_up_proj", "layers.#.mlp.experts.down_proj"};

constexpr Signature kGptOssSignatures[] = {
    {{"layers.0.self_attn.sinks", "layers.0.mlp.experts.gate_up_proj"}},
};

}  // namespace

constinit const Family kGptOss = {
    .name = "gpt_oss",
    .title = "GPT-OSS",
    .kind = Kind::kTextEncoder,
    .signatures = kGptOssSignatures,
    .structures = {&kLlamaStructure},
    .comfyui = {.plain = kPlain, .banks = kBanks},
};

}  // namespace ctq::families
