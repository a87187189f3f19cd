// JoyImage.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kJoyimageHighprec[] = {"condition_embedder", "proj_out"};

constexpr Signature kJoyimageSignatures[] = {
    {{"condition_embedder.time_embedder.linear_1", "double_blocks.0.attn.img_attn_qkv", "proj_out"}},
};

}  // namespace

constinit const Preset kJoyimagePreset = {
    .name = "joyimage",
    .help = "JoyImage. Time and text embedders and the output projection stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kJoyimageHighprec}};

constinit const Family kJoyimage = {
    .name = "joyimage",
    .title = "JoyImage",
    .kind = Kind::kDiffusion,
    .signatures = kJoyimageSignatures,
    .preset = &kJoyimagePreset,
};

}  // namespace ctq::families
