// Hunyuan3D.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kHunyuan3dHighprec[] = {"latent_in",  "cond_in",    "time_in",    "guidance_in",
                                                   "x_embedder", "t_embedder", "final_layer"};

constexpr Signature kHunyuan3dSignatures[] = {
    {{"latent_in", "cond_in", "double_blocks.0.img_attn"}},
};

constexpr std::string_view kHunyuan3dConfiguring[] = {"latent_in", "cond_in"};

constexpr Signature kHunyuan3d21Signatures[] = {
    {{"blocks.0.attn1.k_norm", "t_embedder.mlp.2", "x_embedder", "final_layer.linear"}, {"mlp_t5"}},
};

// The gate of its experts is a bare parameter.
constexpr std::string_view kHunyuan3d21Plain[] = {"blocks.#.moe.gate"};

constexpr std::string_view kHunyuan3d21Configuring[] = {"x_embedder"};

}  // namespace

constinit const Preset kHunyuan3dPreset = {.name = "hunyuan3d",
                                           .help =
                                               "Hunyuan3D 2, 2 mini, 2.1. Latent, condition, time and "
                                               "guidance inputs and the final layer stay unquantized.",
                                           .category = "image",
                                           .ours = PatternLists{.highprec = kHunyuan3dHighprec}};

constinit const Family kHunyuan3d = {
    .name = "hunyuan3d",
    .title = "Hunyuan3D 2, mini, turbo",
    .kind = Kind::kDiffusion,
    .signatures = kHunyuan3dSignatures,
    .preset = &kHunyuan3dPreset,
    .structures = {&kFluxStructure},
    .comfyui = {.configuring = kHunyuan3dConfiguring},
};

constinit const Family kHunyuan3d21 = {
    .name = "hunyuan3d21",
    .title = "Hunyuan3D 2.1",
    .kind = Kind::kDiffusion,
    .signatures = kHunyuan3d21Signatures,
    .preset = &kHunyuan3dPreset,
    .comfyui = {.plain = kHunyuan3d21Plain, .configuring = kHunyuan3d21Configuring},
};

}  // namespace ctq::families
