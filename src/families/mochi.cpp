// Mochi.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kMochiHighprec[] = {"t_embedder", "t5_y_embedder", "t5_yproj", "final_layer"};

constexpr Signature kMochiSignatures[] = {
    {{"t5_yproj", "t5_y_embedder.to_q", "blocks.0.attn.qkv_x"}},
};

}  // namespace

constinit const Preset kMochiPreset = {
    .name = "mochi",
    .help = "Mochi 1. Time embedder, pooling of the text, text projection and final layer stay unquantized.",
    .category = "video",
    .ours = PatternLists{.highprec = kMochiHighprec}};

constinit const Family kMochi = {
    .name = "mochi",
    .title = "Mochi 1",
    .kind = Kind::kDiffusion,
    .signatures = kMochiSignatures,
    .preset = &kMochiPreset,
    .comfyui = {.encoders = inside::kT5xxl},
};

}  // namespace ctq::families
