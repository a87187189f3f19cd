// Stable Video Diffusion and SV3D.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kSvdHighprec[] = {"time_embed.", "label_emb.", "time_pos_embed."};

constexpr Signature kSvdSignatures[] = {
    {{"input_blocks.1.1.time_stack.0.attn1.to_q", "label_emb.0.0", "output_blocks.0.0"}},
};

constexpr std::string_view kSvdConfiguring[] = {"input_blocks.1.1.transformer_blocks.0.attn2.to_k",
                                                "label_emb.0.0"};

}  // namespace

constinit const Preset kSvdPreset = {
    .name = "svd",
    .help = "Stable Video Diffusion, SV3D. The time, label and frame position embeddings stay unquantized.",
    .category = "video",
    .ours = PatternLists{.highprec = kSvdHighprec}};

constinit const Family kSvd = {
    .name = "svd",
    .title = "Stable Video Diffusion, SV3D",
    .kind = Kind::kDiffusion,
    .signatures = kSvdSignatures,
    .preset = &kSvdPreset,
    .structures = {&kUnetStructure},
    .comfyui = {.configuring = kSvdConfiguring},
};

}  // namespace ctq::families
