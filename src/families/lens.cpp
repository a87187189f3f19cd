// LENS.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kLensHighprec[] = {
    "time_text_embed", "img_in", "norm_out", "proj_out", "img_mod.1", "txt_mod.1", "txt_in",
};

constexpr Signature kLensSignatures[] = {
    {{"transformer_blocks.0.img_mlp.w1", "transformer_blocks.0.attn.norm_added_q", "txt_norm", "img_in"}},
};

constexpr std::string_view kLensConfiguring[] = {"img_in"};

constexpr std::string_view kLensConfiguringRows[] = {"proj_out"};

}  // namespace

constinit const Preset kLensPreset = {
    .name = "lens",
    .help =
        "LENS transformer. Time/text embedding, image and text modulation, input and output projections "
        "stay unquantized.",
    .category = "diffusion",
    .peer = PatternLists{.highprec = kLensHighprec}};

constinit const Family kLens = {
    .name = "lens",
    .title = "LENS",
    .kind = Kind::kDiffusion,
    .signatures = kLensSignatures,
    .preset = &kLensPreset,
    .comfyui = {.configuring = kLensConfiguring,
                .configuring_rows = kLensConfiguringRows,
                .encoders = inside::kGptOss},
};

}  // namespace ctq::families
