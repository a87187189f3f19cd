#include "ctq/plan/blocks.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/plan/clip_g.h"

namespace ctq::plan {
namespace {

/// A layer's name around the first word of digits in it.
struct Numbered {
  std::string_view stack;
  int64_t index = -1;  ///< below 0: there is none
  std::string_view rest;
};

Numbered split_at_number(std::string_view layer) {
  for (size_t dot = layer.find('.'); dot != std::string_view::npos; dot = layer.find('.', dot + 1)) {
    const size_t end = layer.find('.', dot + 1);
    if (end == std::string_view::npos) break;
    const std::string_view word = layer.substr(dot + 1, end - dot - 1);
    int64_t index = 0;
    const auto [stop, fault] = std::from_chars(word.data(), word.data() + word.size(), index);
    if (fault == std::errc() && stop == word.data() + word.size() && index >= 0)
      return {layer.substr(0, dot), index, layer.substr(end + 1)};
  }
  return {};
}

}  // namespace

std::vector<Block> find_blocks(const model::Checkpoint& checkpoint) {
  if (is_clip_g(checkpoint)) return clip_g_blocks(checkpoint);
  std::map<std::pair<std::string, int64_t>, std::vector<BlockWeight>> found;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!entry.is_matrix() || !safetensors::is_float(entry.info->dtype)) continue;
    const Numbered name = split_at_number(entry.layer());
    if (name.index < 0) continue;
    found[{std::string(name.stack), name.index}].push_back({.name = std::string(name.rest),
                                                            .source = &entry,
                                                            .first_row = 0,
                                                            .rows = entry.info->shape[0],
                                                            .fused = ""});
  }
  if (found.empty()) {
    fail(ErrorCode::kBadInput,
         "{}: no blocks: no 2-D weight has a number between dots in its name, as in 'blocks.0.attn.weight'",
         checkpoint.path());
  }
  std::vector<Block> blocks;
  for (auto& [key, weights] : found) blocks.push_back({key.first, key.second, std::move(weights)});
  return blocks;
}

std::string range_list(const std::vector<int64_t>& indices) {
  std::string text;
  for (size_t first = 0; first < indices.size();) {
    size_t last = first;
    while (last + 1 < indices.size() && indices[last + 1] == indices[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", indices[first]);
    if (last > first) text += fmt::format("-{}", indices[last]);
    first = last + 1;
  }
  return text;
}

}  // namespace ctq::plan
