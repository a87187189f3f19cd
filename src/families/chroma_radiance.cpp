// Chroma Radiance, which works on pixels.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kNerfLargeHighprec[] = {
    "distilled_guidance_layer",
    "nerf_blocks",
    "nerf_image_embedder",
    "txt_in",
};

constexpr std::string_view kNerfLargeHighprecPeer[] = {
    "distilled_guidance_layer", "nerf_blocks", "nerf_image_embedder", "txt_in", "_attn.proj",
};

constexpr std::string_view kNerfSmallHighprec[] = {
    "distilled_guidance_layer",
    "nerf_blocks",
    "nerf_image_embedder",
};

constexpr std::string_view kRadianceHighprec[] = {"img_in_patch", "nerf_final_layer_conv", "__x0__"};

// Of variants whose last layer is no convolution.
constexpr std::string_view kRadianceHighprecOurs[] = {"nerf_final_layer.linear"};

constexpr Signature kChromaRadianceSignatures[] = {
    {{"distilled_guidance_layer", "nerf_blocks.0", "nerf_image_embedder", "img_in_patch"}},
};

constexpr std::string_view kChromaRadianceConfiguring[] = {"txt_in"};

}  // namespace

constinit const Preset kNerfLargePreset = {
    .name = "nerf_large",
    .help =
        "Pixel-space (NeRF head) Chroma, wide protection: distilled guidance, NeRF blocks and image "
        "embedder, text input projection.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.highprec = kNerfLargeHighprec},
    .peer = PatternLists{.highprec = kNerfLargeHighprecPeer}};

constinit const Preset kNerfSmallPreset = {
    .name = "nerf_small",
    .help =
        "Pixel-space (NeRF head) Chroma, narrow protection: distilled guidance, NeRF blocks and image "
        "embedder.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.highprec = kNerfSmallHighprec},
    .peer = PatternLists{.highprec = kNerfSmallHighprec}};

constinit const Preset kRadiancePreset = {
    .name = "radiance",
    .help =
        "Chroma Radiance: patch input projection, final NeRF layer and the __x0__ marker stay "
        "unquantized.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.highprec = kRadianceHighprec},
    .peer = PatternLists{.highprec = kRadianceHighprec},
    .ours = PatternLists{.highprec = kRadianceHighprecOurs}};

constinit const Family kChromaRadiance = {
    .name = "chroma_radiance",
    .title = "Chroma Radiance",
    .kind = Kind::kDiffusion,
    .signatures = kChromaRadianceSignatures,
    .preset = &kNerfLargePreset,
    .structures = {&kFluxStructure},
    .comfyui = {.configuring = kChromaRadianceConfiguring, .encoders = inside::kT5xxlOld},
};

}  // namespace ctq::families
