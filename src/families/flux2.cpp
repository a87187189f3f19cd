// Flux.2.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kFlux2Highprec[] = {
    "stream_modulation", "guidance_in", "time_in", "final_layer", "img_in", "txt_in",
};

constexpr Signature kFlux2Signatures[] = {
    {{"double_stream_modulation_img.lin", "double_blocks.0", "single_blocks.0"}},
};

constexpr std::string_view kFlux2Configuring[] = {"img_in", "txt_in"};

// The first half of an MLP's rows is its gate.
constexpr Input kFlux2Inputs[] = {
    {.layers = {"double_blocks.#.img_mlp.2"},
     .norm = {Norm::kLayer},
     .gate = {"double_blocks.#.img_mlp.0", 0, 2},
     .up = {"double_blocks.#.img_mlp.0", 1, 2},
     .activation = Activation::kSilu},
    {.layers = {"double_blocks.#.txt_mlp.2"},
     .norm = {Norm::kLayer},
     .gate = {"double_blocks.#.txt_mlp.0", 0, 2},
     .up = {"double_blocks.#.txt_mlp.0", 1, 2},
     .activation = Activation::kSilu},
};

}  // namespace

constinit const Structure kFlux2Structure = {.inputs = kFlux2Inputs};

constinit const Preset kFlux2Preset = {
    .name = "flux2",
    .help = "Flux.2 transformer. Modulation, guidance, time, input and final layers stay unquantized.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.highprec = kFlux2Highprec},
    .peer = PatternLists{.highprec = kFlux2Highprec}};

constinit const Family kFlux2 = {
    .name = "flux2",
    .title = "Flux.2: dev, klein",
    .kind = Kind::kDiffusion,
    .signatures = kFlux2Signatures,
    .preset = &kFlux2Preset,
    .structures = {&kFlux2Structure},
    .comfyui = {.configuring = kFlux2Configuring, .encoders = inside::kFlux2},
};

}  // namespace ctq::families
