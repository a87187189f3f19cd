// LTX-Video 2, with sound.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kLtxv2Highprec[] = {
    "scale_shift_table",
    "text_embedding_projection",
    "audio_vae",
    "audio_embeddings_connector",
    "adaln_single",
    "audio_adaln_single",
    "audio_patchify_proj",
    "audio_proj_out",
    "audio_prompt_adaln_single",
    "av_ca_a2v_gate_adaln_single",
    "av_ca_audio_scale_shift_adaln_single",
    "av_ca_v2a_gate_adaln_single",
    "av_ca_video_scale_shift_adaln_single",
    "patchify_proj",
    "proj_out",
    "prompt_adaln_single",
    "transformer_blocks.0.",
    "transformer_blocks.1.",
    "transformer_blocks.46.",
    "transformer_blocks.47.",
    "video_embeddings_connector",
    "vae.decoder",
    "vae.encoder",
    "vocoder",
    "to_gate_logits",
};

constexpr Signature kLtx2Signatures[] = {
    {{"audio_adaln_single.linear", "adaln_single.emb.timestep_embedder.linear_1", "patchify_proj",
      "transformer_blocks.47"}},
};

constexpr std::string_view kLtx2Configuring[] = {"transformer_blocks.0.attn2.to_k"};

// Of another number of blocks than those which the preset names.
constexpr Signature kLtx2OtherSignatures[] = {
    {{"audio_adaln_single.linear", "adaln_single.emb.timestep_embedder.linear_1", "patchify_proj"}},
};

}  // namespace

constinit const Preset kLtxv2Preset = {
    .name = "ltxv2",
    .help =
        "LTX-Video 2. First two and last two blocks, adaLN/patchify/connector tensors, gate logits, VAE "
        "and vocoder stay unquantized.",
    .category = "video",
    .peer = PatternLists{.highprec = kLtxv2Highprec}};

constinit const Family kLtx2 = {
    .name = "ltx2",
    .title = "LTX-Video 2, 2.3",
    .kind = Kind::kDiffusion,
    .signatures = kLtx2Signatures,
    .preset = &kLtxv2Preset,
    .structures = {&kLtxvStructure},
    .comfyui = {.configuring = kLtx2Configuring, .encoders = inside::kT5xxl},
};

constinit const Family kLtx2Other = {
    .name = "ltx2_other",
    .title = "LTX-Video 2 of another depth",
    .kind = Kind::kDiffusion,
    .signatures = kLtx2OtherSignatures,
    .structures = {&kLtxvStructure},
    .comfyui = {.configuring = kLtx2Configuring, .encoders = inside::kT5xxl},
};

}  // namespace ctq::families
