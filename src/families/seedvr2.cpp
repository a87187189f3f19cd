// SeedVR2.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kSeedvr2Highprec[] = {"vid_in.", "txt_in.", "emb_in.", "vid_out."};

constexpr Signature kSeedvr2Signatures[] = {
    {{"emb_in.proj_hid", "vid_in.proj", "vid_out.proj", "blocks.0.attn.proj_qkv"}},
};

// The rows of the last block's projection tell the 7B model apart.
constexpr std::string_view kSeedvr2ConfiguringRows[] = {"blocks.35.mlp.vid.proj_out"};

}  // namespace

constinit const Preset kSeedvr2Preset = {
    .name = "seedvr2",
    .help = "SeedVR2. Video and text inputs, the time embedding and the output projection stay unquantized.",
    .category = "video",
    .ours = PatternLists{.highprec = kSeedvr2Highprec}};

constinit const Family kSeedvr2 = {
    .name = "seedvr2",
    .title = "SeedVR2 3B, 7B",
    .kind = Kind::kDiffusion,
    .signatures = kSeedvr2Signatures,
    .preset = &kSeedvr2Preset,
    .comfyui = {.configuring_rows = kSeedvr2ConfiguringRows},
};

}  // namespace ctq::families
