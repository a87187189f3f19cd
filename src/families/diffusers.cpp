// Models with the names of the diffusers library that ComfyUI gives its own names while it loads. It joins q,
// k and v, and the scales of the parts are lost.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kAuraflowDiffusersSignatures[] = {
    {{"joint_transformer_blocks.0.attn.add_k_proj", "single_transformer_blocks.0.attn.to_q"}},
};

constexpr Signature kPixartDiffusersSignatures[] = {
    {{"adaln_single.emb.timestep_embedder.linear_1", "pos_embed.proj", "transformer_blocks.0.attn1.to_q"}},
};

constexpr Signature kZimageDiffusersSignatures[] = {
    {{"noise_refiner.0.attention.norm_k", "noise_refiner.0.attention.to_q", "context_refiner.0"}},
};

constexpr Signature kFluxDiffusersSignatures[] = {
    {{"single_transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.add_q_proj", "x_embedder",
      "context_embedder"}},
};

constexpr Signature kSd3DiffusersSignatures[] = {
    {{"transformer_blocks.0.attn.add_q_proj", "pos_embed.proj", "context_embedder"}},
};

constexpr Signature kUnetDiffusersSignatures[] = {
    {{"time_embedding.linear_1", "conv_in", "down_blocks.0.resnets.0", "mid_block.resnets.0",
      "up_blocks.0.resnets.0"}},
};

}  // namespace

constinit const Family kAuraflowDiffusers = {
    .name = "auraflow_diffusers",
    .title = "AuraFlow, names of diffusers",
    .kind = Kind::kDiffusion,
    .signatures = kAuraflowDiffusersSignatures,
    .diffusers_names = true,
};

constinit const Family kPixartDiffusers = {
    .name = "pixart_diffusers",
    .title = "PixArt, names of diffusers",
    .kind = Kind::kDiffusion,
    .signatures = kPixartDiffusersSignatures,
    .structures = {&kPixartDiffusersStructure},
    .diffusers_names = true,
};

constinit const Family kZimageDiffusers = {
    .name = "zimage_diffusers",
    .title = "Z-Image, names of diffusers",
    .kind = Kind::kDiffusion,
    .signatures = kZimageDiffusersSignatures,
    .diffusers_names = true,
};

constinit const Family kFluxDiffusers = {
    .name = "flux_diffusers",
    .title = "Flux.1, LongCat-Image, names of diffusers",
    .kind = Kind::kDiffusion,
    .signatures = kFluxDiffusersSignatures,
    .diffusers_names = true,
};

constinit const Family kSd3Diffusers = {
    .name = "sd3_diffusers",
    .title = "Stable Diffusion 3, 3.5, names of diffusers",
    .kind = Kind::kDiffusion,
    .signatures = kSd3DiffusersSignatures,
    .diffusers_names = true,
};

constinit const Family kUnetDiffusers = {
    .name = "unet_diffusers",
    .title = "Stable Diffusion 1.x to XL, names of diffusers",
    .kind = Kind::kDiffusion,
    .signatures = kUnetDiffusersSignatures,
    .structures = {&kUnetStructure},
    .diffusers_names = true,
};

}  // namespace ctq::families
