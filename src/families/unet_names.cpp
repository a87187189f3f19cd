// Names of the diffusers library for the UNets of Stable Diffusion 1, 2 and XL, their refiners, inpainting
// and smaller variants: blocks are counted by level there, and from one end to the other in single files.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "namings.h"

namespace ctq::families {
namespace {

constexpr ForeignName kOutside[] = {
    {"conv_in", "input_blocks.0.0"},
    {"conv_norm_out", "out.0"},
    {"conv_out", "out.2"},
    {"time_embedding.linear_1", "time_embed.0"},
    {"time_embedding.linear_2", "time_embed.2"},
    {"add_embedding.linear_1", "label_emb.0.0"},
    {"add_embedding.linear_2", "label_emb.0.2"},
    {"class_embedding.linear_1", "label_emb.0.0"},
    {"class_embedding.linear_2", "label_emb.0.2"},
    {"class_embedding.weight", "label_emb.weight"},
    {"mid_block.attentions.0.*", "middle_block.1.*"},
};

struct Renaming {
  std::string_view foreign, own;
};
constexpr Renaming kResidual[] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"},
};

/// A level of the way down or up.
struct Level {
  int64_t blocks = 0;  ///< residual ones
  std::set<int64_t> resize =
      {};  ///< where the change of size may stand behind the last of them, on the way up
};
struct Levels {
  std::vector<Level> down, up;
};

/// Those of Stable Diffusion: what there is none of finds nothing.
Levels usual_levels() {
  const std::vector<Level> down(4, {.blocks = 2}), up(4, {.blocks = 3, .resize = {1, 2}});
  return {down, up};
}

std::vector<std::string_view> words_of(std::string_view name) {
  std::vector<std::string_view> words;
  for (size_t dot = 0; dot != std::string_view::npos; name = name.substr(dot + 1)) {
    dot = name.find('.');
    words.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos) break;
  }
  return words;
}

std::optional<int64_t> number(std::string_view word) {
  int64_t value = 0;
  const auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), value);
  return fault == std::errc() && end == word.data() + word.size() ? std::optional(value) : std::nullopt;
}

Level& level_at(std::vector<Level>& levels, int64_t index) {
  constexpr int64_t kMost = 16;
  if (index >= static_cast<int64_t>(levels.size()))
    levels.resize(static_cast<size_t>(std::min(index, kMost - 1)) + 1);
  return levels[static_cast<size_t>(std::min(index, kMost - 1))];
}

/// By the names of diffusers: down_blocks.<level>.resnets.<index>, .attentions.
Levels foreign_levels(std::span<const std::string> names) {
  Levels levels;
  for (const std::string& name : names) {
    const auto words = words_of(name);
    if (words.size() < 5 || (words[0] != "down_blocks" && words[0] != "up_blocks")) continue;
    const auto at = number(words[1]), index = number(words[3]);
    if (!at || !index) continue;
    const bool up = words[0] == "up_blocks";
    Level& level = level_at(up ? levels.up : levels.down, *at);
    if (words[2] == "resnets") level.blocks = std::max(level.blocks, *index + 1);
    if (up && words[2] == "attentions") level.resize = {2};
  }
  for (Level& level : levels.up) {
    if (level.resize.empty()) level.resize = {1};
  }
  return levels;
}

/// By the names of a single file: a level ends where the size changes, or where the blocks do.
Levels own_levels(std::span<const std::string> names) {
  std::map<int64_t, std::set<int64_t>> down, up;  // of each block the places of changes of size
  for (const std::string& name : names) {
    const auto words = words_of(name);
    if (words.size() < 4 || (words[0] != "input_blocks" && words[0] != "output_blocks")) continue;
    const auto block = number(words[1]), place = number(words[2]);
    if (!block || !place) continue;
    std::set<int64_t>& places = (words[0] == "input_blocks" ? down : up)[*block];
    if (words[3] == "op" || words[3] == "conv") places.insert(*place);
  }
  if (down.empty() || up.empty()) return {};
  Levels levels;
  int64_t first = 1;
  for (const auto& [block, places] : down) {
    const bool last = block == down.rbegin()->first;
    if (places.empty() && !last) continue;
    levels.down.push_back({.blocks = places.empty() ? block - first + 1 : block - first, .resize = {}});
    first = block + 1;
  }
  first = 0;
  for (const auto& [block, places] : up) {
    if (places.empty() && block != up.rbegin()->first) continue;
    levels.up.push_back({.blocks = block - first + 1, .resize = places});
    first = block + 1;
  }
  return levels;
}

void add_residual(NameMap& map, const std::string& foreign, const std::string& own) {
  for (const auto& [from, to] : kResidual)
    map.add(fmt::format("{}.{}", foreign, from), fmt::format("{}.{}", own, to));
}

NameMap make_map(std::span<const std::string> names) {
  Levels levels = foreign_levels(names);
  if (levels.down.empty() || levels.up.empty()) levels = own_levels(names);
  if (levels.down.size() < 2 || levels.up.size() < 2) levels = usual_levels();
  NameMap map(kOutside);
  for (const int64_t index : {0, 1})
    add_residual(map, fmt::format("mid_block.resnets.{}", index), fmt::format("middle_block.{}", 2 * index));
  int64_t block = 1;
  for (size_t level = 0; level < levels.down.size(); ++level, ++block) {
    for (int64_t index = 0; index < levels.down[level].blocks; ++index, ++block) {
      add_residual(map, fmt::format("down_blocks.{}.resnets.{}", level, index),
                   fmt::format("input_blocks.{}.0", block));
      map.add(fmt::format("down_blocks.{}.attentions.{}.*", level, index),
              fmt::format("input_blocks.{}.1.*", block));
    }
    map.add(fmt::format("down_blocks.{}.downsamplers.0.conv", level),
            fmt::format("input_blocks.{}.0.op", block));
  }
  block = 0;
  for (size_t level = 0; level < levels.up.size(); ++level) {
    for (int64_t index = 0; index < levels.up[level].blocks; ++index, ++block) {
      add_residual(map, fmt::format("up_blocks.{}.resnets.{}", level, index),
                   fmt::format("output_blocks.{}.0", block));
      map.add(fmt::format("up_blocks.{}.attentions.{}.*", level, index),
              fmt::format("output_blocks.{}.1.*", block));
    }
    for (const int64_t place : levels.up[level].resize)  // behind attention, where the level has it
      map.add(fmt::format("up_blocks.{}.upsamplers.0.conv", level),
              fmt::format("output_blocks.{}.{}.conv", block - 1, place));
  }
  return map;
}

}  // namespace

constinit const Naming kUnetNames = {
    .title = "Stable Diffusion",
    .all = {"conv_in", "time_embedding", "down_blocks.0.resnets.0", "up_blocks.0.resnets.0"},
    .none = {"controlnet_down_blocks", "down_blocks.0.motion_modules",
             "down_blocks.0.resnets.0.spatial_res_block", "decoder"},
    .rows = {},
    .make = make_map};

}  // namespace ctq::families
