// PixelDiT and PiD, which work on pixels.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kPixelditHighprec[] = {"pixel_embedder", "s_embedder",  "t_embedder", "y_embedder",
                                                  "lq_proj",        "pit_lq_gate", "final_layer"};

constexpr Signature kPixelditSignatures[] = {
    {{"pixel_embedder.proj", "pixel_blocks.0.adaLN_modulation", "s_embedder.proj"}, {"lq_proj"}},
};

// ComfyUI splits the modulation of a pixel block by its rows while it loads: no scale may stand beside it.
constexpr std::string_view kPixelditPlain[] = {"pixel_blocks.#.adaLN_modulation.0"};

constexpr Signature kPidSignatures[] = {
    {{"lq_proj.latent_proj.0", "pixel_embedder.proj", "s_embedder.proj"}},
};

constexpr std::string_view kPidConfiguringRows[] = {"lq_proj.gate_modules.0.content_proj"};

}  // namespace

constinit const Preset kPixelditPreset = {
    .name = "pixeldit",
    .help =
        "PixelDiT, PiD. Pixel, patch, time and text embedders, the low-quality image's projections and the "
        "final layer stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kPixelditHighprec}};

constinit const Family kPixeldit = {
    .name = "pixeldit",
    .title = "PixelDiT",
    .kind = Kind::kDiffusion,
    .signatures = kPixelditSignatures,
    .preset = &kPixelditPreset,
    .comfyui = {.plain = kPixelditPlain},
};

constinit const Family kPid = {
    .name = "pid",
    .title = "PiD",
    .kind = Kind::kDiffusion,
    .signatures = kPidSignatures,
    .preset = &kPixelditPreset,
    .comfyui = {.plain = kPixelditPlain, .configuring_rows = kPidConfiguringRows},
};

}  // namespace ctq::families
