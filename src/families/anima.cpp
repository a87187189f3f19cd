// Anima: Cosmos-Predict2 with a language model's adapter.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kAnimaHighprec[] = {
    "net.blocks.0.", "net.blocks.1.adaln_modulation", "final_layer", "llm_adapter", "t_embedder",
    "x_embedder",
};

constexpr Signature kAnimaSignatures[] = {
    {{"llm_adapter.blocks.0.cross_attn.q_proj", "blocks.0.mlp.layer1", "x_embedder.proj.1"}},
};

constexpr std::string_view kAnimaTables[] = {"llm_adapter.embed"};

constexpr std::string_view kAnimaConfiguring[] = {"x_embedder.proj.1"};

}  // namespace

constinit const Preset kAnimaPreset = {
    .name = "anima",
    .help =
        "Anima transformer. First block, second block adaLN, final layer, LLM adapter, t/x embedders "
        "stay unquantized.",
    .category = "diffusion",
    .peer = PatternLists{.highprec = kAnimaHighprec}};

constinit const Family kAnima = {
    .name = "anima",
    .title = "Anima",
    .kind = Kind::kDiffusion,
    .signatures = kAnimaSignatures,
    .preset = &kAnimaPreset,
    .structures = {&kCosmosPredict2Structure},
    .comfyui = {.tables = kAnimaTables, .configuring = kAnimaConfiguring, .encoders = inside::kQwen3_06b},
};

}  // namespace ctq::families
