// Chroma: Flux.1 with its modulation distilled.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kDistillationLargeHighprec[] = {
    "distilled_guidance_layer",
    "final_layer",
    "img_in",
    "txt_in",
};

constexpr std::string_view kDistillationSmallHighprec[] = {"distilled_guidance_layer"};

constexpr Signature kChromaSignatures[] = {
    {{"distilled_guidance_layer", "double_blocks.0", "single_blocks.0", "img_in", "txt_in"}},
};

constexpr std::string_view kChromaConfiguring[] = {"txt_in"};

}  // namespace

constinit const Preset kDistillationLargePreset = {
    .name = "distillation_large",
    .help =
        "Chroma / distilled Flux, wide protection: distilled guidance, final layer, image and text input "
        "projections.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.highprec = kDistillationLargeHighprec},
    .peer = PatternLists{.highprec = kDistillationLargeHighprec}};

constinit const Preset kDistillationSmallPreset = {
    .name = "distillation_small",
    .help = "Chroma / distilled Flux, narrow protection: distilled guidance only.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.highprec = kDistillationSmallHighprec},
    .peer = PatternLists{.highprec = kDistillationSmallHighprec}};

constinit const Family kChroma = {
    .name = "chroma",
    .title = "Chroma",
    .kind = Kind::kDiffusion,
    .signatures = kChromaSignatures,
    .preset = &kDistillationLargePreset,
    .structures = {&kFluxStructure},
    .comfyui = {.configuring = kChromaConfiguring, .encoders = inside::kT5xxlOld},
};

}  // namespace ctq::families
