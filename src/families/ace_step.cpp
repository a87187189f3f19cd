// ACE-Step, which makes music.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kAceStepHighprec[] = {"timestep_embedder", "t_block.", "speaker_embedder",
                                                 "genre_embedder",    "lyric_",   "projectors.",
                                                 "final_layer"};

constexpr std::string_view kAceStep15Highprec[] = {"decoder.time_embed", "decoder.condition_embedder",
                                                   "text_projector", "embed_tokens", "tokenizer."};

constexpr Signature kAceStepSignatures[] = {
    {{"genre_embedder", "speaker_embedder", "lyric_embs", "t_block.1"}},
};

constexpr std::string_view kAceStepTables[] = {"lyric_embs"};

constexpr Signature kAceStep15Signatures[] = {
    {{"encoder.lyric_encoder.layers.0.input_layernorm", "decoder.condition_embedder",
      "tokenizer.audio_acoustic_proj"}},
};

constexpr std::string_view kAceStep15ConfiguringRows[] = {"decoder.layers.0.mlp.gate_proj",
                                                          "encoder.lyric_encoder.layers.0.mlp.gate_proj"};

}  // namespace

constinit const Preset kAceStepPreset = {.name = "ace_step",
                                         .help =
                                             "ACE-Step 1. Time, speaker and genre embedders, the lyric "
                                             "encoder, training heads and the final layer stay unquantized.",
                                         .category = "diffusion",
                                         .ours = PatternLists{.highprec = kAceStepHighprec}};

constinit const Preset kAceStep15Preset = {
    .name = "ace_step15",
    .help =
        "ACE-Step 1.5. Time and condition embedders, inputs of the text, lyric and timbre encoders, "
        "tokenizer and detokenizer stay unquantized.",
    .category = "diffusion",
    .ours = PatternLists{.highprec = kAceStep15Highprec}};

constinit const Family kAceStep = {
    .name = "ace_step",
    .title = "ACE-Step 1",
    .kind = Kind::kDiffusion,
    .signatures = kAceStepSignatures,
    .preset = &kAceStepPreset,
    .comfyui = {.tables = kAceStepTables},
};

constinit const Family kAceStep15 = {
    .name = "ace_step15",
    .title = "ACE-Step 1.5",
    .kind = Kind::kDiffusion,
    .signatures = kAceStep15Signatures,
    .preset = &kAceStep15Preset,
    .structures = {&kLlamaStructure},
    .comfyui = {.configuring_rows = kAceStep15ConfiguringRows, .encoders = inside::kAceStep15},
};

}  // namespace ctq::families
