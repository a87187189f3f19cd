// Stable Diffusion XL, and the smaller U-Nets that were distilled from it.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kSdxlHighprec[] = {"time_embed.", "label_emb."};

// KOALA has its first attention one block earlier.
constexpr Signature kSdxlSignatures[] = {
    {{"input_blocks.4.1.transformer_blocks.0.attn2.to_k", "label_emb.0.0", "output_blocks.0.0"},
     {"input_blocks.1.1.transformer_blocks"}},
    {{"input_blocks.3.1.transformer_blocks.0.attn2.to_k", "label_emb.0.0", "output_blocks.0.0"},
     {"input_blocks.1.1.transformer_blocks"}},
};

constexpr std::string_view kSdxlConfiguring[] = {"input_blocks.3.1.transformer_blocks.0.attn2.to_k",
                                                 "input_blocks.4.1.transformer_blocks.0.attn2.to_k",
                                                 "label_emb.0.0"};

}  // namespace

constinit const Preset kSdxlPreset = {.name = "sdxl",
                                      .help =
                                          "Stable Diffusion XL, its refiner, SSD-1B, Vega, KOALA. The time "
                                          "and label embeddings stay unquantized.",
                                      .category = "image",
                                      .ours = PatternLists{.highprec = kSdxlHighprec}};

constinit const Family kSdxl = {
    .name = "sdxl",
    .title = "Stable Diffusion XL, refiner, SSD-1B, Vega, KOALA",
    .kind = Kind::kDiffusion,
    .signatures = kSdxlSignatures,
    .preset = &kSdxlPreset,
    .structures = {&kUnetStructure},
    .comfyui = {.configuring = kSdxlConfiguring},
};

}  // namespace ctq::families
