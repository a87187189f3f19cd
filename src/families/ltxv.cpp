// LTX-Video 0.9.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kLtxvHighprec[] = {"patchify_proj", "adaln_single", "caption_projection",
                                              "proj_out"};

constexpr Signature kLtxvSignatures[] = {
    {{"patchify_proj", "adaln_single.emb.timestep_embedder.linear_1", "transformer_blocks.0.attn2.to_k"},
     {"audio_adaln_single"}},
};

constexpr std::string_view kLtxvConfiguring[] = {"transformer_blocks.0.attn2.to_k"};

constexpr Input kLtxvInputs[] = {
    modulated_mlp("transformer_blocks.#.ff.net.2", {"transformer_blocks.#.ff.net.0.proj"},
                  Activation::kGeluTanh, Norm::kRms),
};

}  // namespace

constinit const Structure kLtxvStructure = {
    .present = {"transformer_blocks.#.scale_shift_table"},
    .absent = {"transformer_blocks.#.norm3.weight", "pos_embed.proj.weight"},  // PixArt's
    .inputs = kLtxvInputs};

constinit const Preset kLtxvPreset = {
    .name = "ltxv",
    .help = "LTX-Video 0.9. Patch, time and caption projections and the output projection stay unquantized.",
    .category = "video",
    .ours = PatternLists{.highprec = kLtxvHighprec}};

constinit const Family kLtxv = {
    .name = "ltxv",
    .title = "LTX-Video 0.9",
    .kind = Kind::kDiffusion,
    .signatures = kLtxvSignatures,
    .preset = &kLtxvPreset,
    .structures = {&kLtxvStructure},
    .comfyui = {.configuring = kLtxvConfiguring, .encoders = inside::kT5xxl},
};

}  // namespace ctq::families
