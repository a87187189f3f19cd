// Stable Cascade, whose two stages are models of their own.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kCascadeHighprec[] = {"clip_txt_mapper", "clip_txt_pooled_mapper",
                                                 "clip_img_mapper", "clip_mapper"};

constexpr Signature kCascadeCSignatures[] = {
    {{"clip_txt_mapper", "clf.1", "down_blocks.0.0"}},
};

constexpr std::string_view kCascadeCConfiguringRows[] = {"clip_txt_mapper"};

constexpr Signature kCascadeBSignatures[] = {
    {{"clip_mapper", "clf.1", "down_blocks.0.0"}, {"clip_txt_mapper"}},
};

constexpr std::string_view kCascadeBConfiguring[] = {"down_blocks.1.0.channelwise.0"};

}  // namespace

constinit const Preset kCascadePreset = {
    .name = "cascade",
    .help = "Stable Cascade, stages B and C. The mappers of text and image embeddings stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kCascadeHighprec}};

constinit const Family kCascadeC = {
    .name = "cascade_c",
    .title = "Stable Cascade, stage C",
    .kind = Kind::kDiffusion,
    .signatures = kCascadeCSignatures,
    .preset = &kCascadePreset,
    .comfyui = {.configuring_rows = kCascadeCConfiguringRows},
};

constinit const Family kCascadeB = {
    .name = "cascade_b",
    .title = "Stable Cascade, stage B",
    .kind = Kind::kDiffusion,
    .signatures = kCascadeBSignatures,
    .preset = &kCascadePreset,
    .comfyui = {.configuring = kCascadeBConfiguring},
};

}  // namespace ctq::families
