// Hunyuan-DiT.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kHunyuanDitHighprec[] = {"mlp_t5.",        "pooler.",        "t_embedder",
                                                    "extra_embedder", "style_embedder", "final_layer"};

constexpr Signature kHunyuanDitSignatures[] = {
    {{"mlp_t5.0", "extra_embedder.0", "pooler.q_proj"}},
};

constexpr std::string_view kHunyuanDitTables[] = {"style_embedder"};

constexpr std::string_view kHunyuanDitConfiguring[] = {"extra_embedder.0"};

}  // namespace

constinit const Preset kHunyuanDitPreset = {.name = "hunyuan_dit",
                                            .help =
                                                "Hunyuan-DiT 1.0 to 1.2. Text mappers and pooler, time, size "
                                                "and style embedders and the final layer stay unquantized.",
                                            .category = "image",
                                            .ours = PatternLists{.highprec = kHunyuanDitHighprec}};

constinit const Family kHunyuanDit = {
    .name = "hunyuan_dit",
    .title = "Hunyuan-DiT 1.0 to 1.2",
    .kind = Kind::kDiffusion,
    .signatures = kHunyuanDitSignatures,
    .preset = &kHunyuanDitPreset,
    .comfyui = {.tables = kHunyuanDitTables, .configuring = kHunyuanDitConfiguring},
};

}  // namespace ctq::families
