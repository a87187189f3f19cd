// What the name of a layer tells where a model's family is not known.
#pragma once

#include <cstdint>
#include <string_view>

namespace ctq::families {

/// The part of the name, in dots, that says that the layer is one of those which lose most by quantization
/// although they are small: embedders, time and position, routers and gates of experts, heads; empty where
/// none does. layer: "blocks.3.attn.qkv"
std::string_view sensitive_word(std::string_view layer);

/// What a layer is looked up in rather than multiplied with.
enum class Table : uint8_t {
  kNone,
  kTokens,     ///< the vocabulary: as large as several blocks
  kPositions,  ///< positions, kinds of tokens, biases of distances: small
};

/// By the last part of the name: "model.embed_tokens" is a table of tokens.
Table table_of(std::string_view layer);

}  // namespace ctq::families
