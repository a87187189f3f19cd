// Stable Diffusion 1 and 2, and what has their U-Net.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kSd15Highprec[] = {"time_embed.", "label_emb."};

constexpr Signature kSdX4Signatures[] = {
    {{"label_emb.weight", "input_blocks.4.1.transformer_blocks.0.attn2.to_k", "output_blocks.0.0"}},
};

// Its labels are a table of torch's own, which reads no codes.
constexpr std::string_view kSdX4Plain[] = {"label_emb"};

constexpr std::string_view kSdX4Configuring[] = {"input_blocks.4.1.transformer_blocks.0.attn2.to_k"};

constexpr Signature kSd15Signatures[] = {
    {{"input_blocks.1.1.transformer_blocks.0.attn2.to_k", "time_embed.0", "output_blocks.0.0"},
     {"input_blocks.1.1.time_stack"}},
};

// The width of the text that the first cross attention takes decides which of them it is.
constexpr std::string_view kSd15Configuring[] = {"input_blocks.1.1.transformer_blocks.0.attn2.to_k",
                                                 "label_emb.0.0"};

}  // namespace

constinit const Preset kSd15Preset = {
    .name = "sd15",
    .help = "Stable Diffusion 1.x, 2.x. The time and label embeddings stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kSd15Highprec}};

constinit const Family kSdX4 = {
    .name = "sd_x4",
    .title = "Stable Diffusion x4 upscaler",
    .kind = Kind::kDiffusion,
    .signatures = kSdX4Signatures,
    .preset = &kSd15Preset,
    .comfyui = {.plain = kSdX4Plain, .configuring = kSdX4Configuring},
};

constinit const Family kSd15 = {
    .name = "sd15",
    .title = "Stable Diffusion 1.x, 2.x, unCLIP, Lotus, Zero123",
    .kind = Kind::kDiffusion,
    .signatures = kSd15Signatures,
    .preset = &kSd15Preset,
    .comfyui = {.configuring = kSd15Configuring},
};

}  // namespace ctq::families
