#include "families/sensitive.h"

#include <algorithm>
#include <array>

namespace ctq::families {
namespace {

/// Words of a part, between underscores.
constexpr std::array<std::string_view, 17> kWords = {
    "embed",    "embedder",  "embedders",  "embedding", "embeddings", "time", "timestep", "timesteps", "pos",
    "position", "positions", "positional", "router",    "routers",    "head", "logits",   "guidance"};

/// Whole parts. A gate of an MLP is "gate_proj".
constexpr std::array<std::string_view, 2> kParts = {"gate", "wte"};

constexpr std::array<std::string_view, 6> kTokenTables = {
    "embed_tokens", "shared", "wte", "word_embeddings", "token_embedding", "tok_embeddings"};
constexpr std::array<std::string_view, 6> kPositionTables = {
    "wpe",
    "position_embedding",
    "position_embeddings",
    "token_type_embeddings",
    "relative_attention_bias",
    "relative_position_bias",
};

bool is_sensitive(std::string_view part) {
  if (std::ranges::count(kParts, part) > 0) return true;
  while (!part.empty()) {
    const size_t end = std::min(part.find('_'), part.size());
    if (std::ranges::count(kWords, part.substr(0, end)) > 0) return true;
    part.remove_prefix(std::min(end + 1, part.size()));
  }
  return false;
}

}  // namespace

std::string_view sensitive_word(std::string_view layer) {
  while (!layer.empty()) {
    const size_t dot = std::min(layer.find('.'), layer.size());
    if (is_sensitive(layer.substr(0, dot))) return layer.substr(0, dot);
    layer.remove_prefix(std::min(dot + 1, layer.size()));
  }
  return {};
}

Table table_of(std::string_view layer) {
  const std::string_view last = layer.substr(layer.rfind('.') + 1);  // npos + 1 is 0
  if (std::ranges::count(kTokenTables, last) > 0) return Table::kTokens;
  return std::ranges::count(kPositionTables, last) > 0 ? Table::kPositions : Table::kNone;
}

}  // namespace ctq::families
