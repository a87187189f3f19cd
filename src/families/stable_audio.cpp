// Stable Audio, and MiniMax Music, which has its transformer.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kStableAudioHighprec[] = {"to_timestep_embed", "to_cond_embed",
                                                     "to_global_embed",   "global_cond_embedder",
                                                     "project_in",        "project_out"};

constexpr Signature kMinimaxMusic3Signatures[] = {
    {{"diffusion_transformer.to_timestep_embed.0", "latent_conditioners.0", "cond_layer_logits"}},
};

constexpr std::string_view kMinimaxMusic3Plain[] = {"diffusion_transformer.timestep_features"};

constexpr Signature kStableAudioSignatures[] = {
    {{"to_timestep_embed.0", "to_global_embed.0", "transformer.rotary_pos_emb.inv_freq",
      "transformer.project_in"}},
};

constexpr std::string_view kStableAudioPlain[] = {"timestep_features"};

// The shape of the first block's to_qkv says whether attention is differential.
constexpr std::string_view kStableAudioConfiguring[] = {
    "transformer.layers.0.self_attn.to_qkv", "to_cond_embed.0", "to_global_embed.0", "transformer.project_in",
    "transformer.layers.0.to_local_embed.0"};

constexpr std::string_view kStableAudioConfiguringRows[] = {"to_timestep_embed.0"};

}  // namespace

constinit const Preset kStableAudioPreset = {
    .name = "stable_audio",
    .help =
        "Stable Audio 1, 3, MiniMax Music 3. Time, condition and global embeddings and the transformer's "
        "input and output stay unquantized.",
    .category = "diffusion",
    .ours = PatternLists{.highprec = kStableAudioHighprec}};

constinit const Family kMinimaxMusic3 = {
    .name = "minimax_music3",
    .title = "MiniMax Music 3",
    .kind = Kind::kDiffusion,
    .signatures = kMinimaxMusic3Signatures,
    .preset = &kStableAudioPreset,
    .comfyui = {.plain = kMinimaxMusic3Plain},
};

constinit const Family kStableAudio = {
    .name = "stable_audio",
    .title = "Stable Audio 1, 3",
    .kind = Kind::kDiffusion,
    .signatures = kStableAudioSignatures,
    .preset = &kStableAudioPreset,
    .comfyui = {.plain = kStableAudioPlain,
                .configuring = kStableAudioConfiguring,
                .configuring_rows = kStableAudioConfiguringRows},
};

}  // namespace ctq::families
