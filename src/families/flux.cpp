// Flux.1, and the models that have its blocks without its pooled text.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kFluxHighprec[] = {"guidance_in", "time_in", "final_layer", "img_in", "txt_in"};

constexpr Signature kFluxSignatures[] = {
    {{"double_blocks.0.img_attn.qkv", "single_blocks.0.linear1", "vector_in.in_layer", "time_in.in_layer",
      "final_layer.linear"},
     {"txt_in.individual_token_refiner", "latent_in"}},
};

constexpr Signature kOvisImageSignatures[] = {
    {{"double_blocks.0.img_mlp.gate_proj", "txt_norm", "txt_in", "single_blocks.0.linear1"}, {"vector_in"}},
};

constexpr Signature kLongcatImageSignatures[] = {
    {{"double_blocks.0.img_attn.qkv", "single_blocks.0.linear1", "img_in", "txt_in", "time_in.in_layer",
      "final_layer.linear"},
     {"vector_in", "guidance_in", "latent_in", "txt_in.individual_token_refiner"}},
};

constexpr std::string_view kOvisImageConfiguring[] = {"img_in", "txt_in"};

// The width of its text tells it from Flux.1 schnell.
constexpr std::string_view kLongcatImageConfiguring[] = {"img_in", "txt_in"};

constexpr std::string_view kFluxConfiguring[] = {"img_in", "txt_in", "vector_in.in_layer"};

constexpr Input kFluxInputs[] = {
    modulated_mlp("double_blocks.#.img_mlp.2", {"double_blocks.#.img_mlp.0"}, Activation::kGeluTanh),
    modulated_mlp("double_blocks.#.txt_mlp.2", {"double_blocks.#.txt_mlp.0"}, Activation::kGeluTanh),
};

constexpr ModulatedInput kFluxModulated[] = {
    modulated({"double_blocks.#.img_attn.qkv"}, "double_blocks.#.img_mod.lin", 0, 6),
    modulated({"double_blocks.#.img_mlp.0"}, "double_blocks.#.img_mod.lin", 1, 6),
    modulated({"double_blocks.#.txt_attn.qkv"}, "double_blocks.#.txt_mod.lin", 0, 6),
    modulated({"double_blocks.#.txt_mlp.0"}, "double_blocks.#.txt_mod.lin", 1, 6),
    modulated({"single_blocks.#.linear1"}, "single_blocks.#.modulation.lin", 0, 3),
};

}  // namespace

constinit const Structure kFluxStructure = {.inputs = kFluxInputs, .modulated = kFluxModulated};

constinit const Preset kFluxPreset = {
    .name = "flux",
    .help = "Flux.1, Ovis-Image, LongCat-Image. Guidance, time, input and final layers stay unquantized.",
    .category = "diffusion",
    .ours = PatternLists{.highprec = kFluxHighprec}};

constinit const Family kFlux = {
    .name = "flux",
    .title = "Flux.1: dev, schnell, Krea, Kontext, Fill, Control",
    .kind = Kind::kDiffusion,
    .signatures = kFluxSignatures,
    .preset = &kFluxPreset,
    .structures = {&kFluxStructure},
    .comfyui = {.configuring = kFluxConfiguring, .encoders = inside::kT5xxl},
};

constinit const Family kOvisImage = {
    .name = "ovis_image",
    .title = "Ovis-Image",
    .kind = Kind::kDiffusion,
    .signatures = kOvisImageSignatures,
    .preset = &kFluxPreset,
    .comfyui = {.configuring = kOvisImageConfiguring},
};

constinit const Family kLongcatImage = {
    .name = "longcat_image",
    .title = "LongCat-Image",
    .kind = Kind::kDiffusion,
    .signatures = kLongcatImageSignatures,
    .preset = &kFluxPreset,
    .structures = {&kFluxStructure},
    .comfyui = {.configuring = kLongcatImageConfiguring, .encoders = inside::kQwen25_7b},
};

}  // namespace ctq::families
