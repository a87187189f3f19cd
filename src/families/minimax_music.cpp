// MiniMax Music 3: a language model that writes codes of sound.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kTables[] = {
    "model.audio_extra_embedding",
    "model.audio_decoder.pos_embedding",
    "model.embed_tokens_prefill",
    "model.embed_tokens_audio",
};

constexpr Signature kMinimaxMusicSignatures[] = {
    {{"model.audio_decoder.projection", "model.layers.0.input_layernorm"}},
};

}  // namespace

constinit const Family kMinimaxMusic = {
    .name = "minimax_music",
    .title = "MiniMax Music 3",
    .kind = Kind::kTextEncoder,
    .signatures = kMinimaxMusicSignatures,
    .structures = {&kLlamaStructure},
    .comfyui = {.tables = kTables},
};

}  // namespace ctq::families
