#include "plan/blocks.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "plan/clip_g.h"

namespace ctq::plan {

std::string BlockName::label() const { return fmt::format("{} {}", stack, index); }

std::optional<BlockName> block_of(std::string_view name, std::string_view* rest) {
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    const size_t end = name.find('.', dot + 1);
    if (end == std::string_view::npos) break;
    const std::string_view word = name.substr(dot + 1, end - dot - 1);
    int64_t index = 0;
    const auto [stop, fault] = std::from_chars(word.data(), word.data() + word.size(), index);
    if (fault != std::errc() || stop != word.data() + word.size() || index < 0) continue;
    if (rest) *rest = name.substr(end + 1);
    return BlockName{std::string(name.substr(0, dot)), index};
  }
  return std::nullopt;
}

std::vector<Block> find_blocks(const model::Checkpoint& checkpoint) {
  if (is_clip_g(checkpoint)) return clip_g_blocks(checkpoint);
  std::map<BlockName, std::vector<BlockWeight>> found;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!entry.is_matrix() || !safetensors::is_float(entry.info->dtype)) continue;
    std::string_view rest;
    const std::optional<BlockName> block = block_of(entry.layer(), &rest);
    if (!block) continue;
    found[*block].push_back({.name = std::string(rest),
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
  for (auto& [name, weights] : found) blocks.push_back({name.stack, name.index, std::move(weights)});
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
