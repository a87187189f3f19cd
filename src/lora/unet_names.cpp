#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "other_names.h"

namespace ctq::lora {
namespace {

/// Parts of a residual block, and layers outside of blocks.
constexpr std::pair<std::string_view, std::string_view> kResidual[] = {
    {"norm1", "in_layers_0"},  {"conv1", "in_layers_2"},  {"time_emb_proj", "emb_layers_1"},
    {"norm2", "out_layers_0"}, {"conv2", "out_layers_3"}, {"conv_shortcut", "skip_connection"},
};
constexpr std::pair<std::string_view, std::string_view> kUnet[] = {
    {"conv_in", "input_blocks_0_0"},
    {"conv_norm_out", "out_0"},
    {"conv_out", "out_2"},
    {"time_embedding_linear_1", "time_embed_0"},
    {"time_embedding_linear_2", "time_embed_2"},
    {"add_embedding_linear_1", "label_emb_0_0"},
    {"add_embedding_linear_2", "label_emb_0_2"},
};

template <typename Rows>
std::string_view renamed(const Rows& rows, std::string_view name) {
  for (const auto& [from, to] : rows) {
    if (name == from) return to;
  }
  return "";
}

bool take(std::string_view& name, std::string_view word) {
  if (!name.starts_with(word)) return false;
  name.remove_prefix(word.size());
  return true;
}

/// "12_rest" -> 12, and "rest" is left.
std::optional<int64_t> take_number(std::string_view& name) {
  int64_t number = 0;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (fault != std::errc() || end == name.data() + name.size() || *end != '_') return std::nullopt;
  name.remove_prefix(static_cast<size_t>(end - name.data()) + 1);
  return number;
}

/// What stands at `module` of a block there: a residual block, whose parts have other names, or attention.
std::vector<OtherName> block_names(std::string_view block, int64_t residual, int64_t attention,
                                   bool of_residual, std::string_view rest) {
  if (!of_residual) return {{.name = fmt::format("{}_{}_{}", block, attention, rest), .rows = {}}};
  const std::string_view part = renamed(kResidual, rest);
  if (part.empty()) return {};
  return {{.name = fmt::format("{}_{}_{}", block, residual, part), .rows = {}}};
}

}  // namespace

std::vector<OtherName> unet_names(std::string_view name) {
  if (const std::string_view whole = renamed(kUnet, name); !whole.empty())
    return {{.name = std::string(whole), .rows = {}}};
  const bool down = take(name, "down_blocks_"), up = !down && take(name, "up_blocks_");
  const bool middle = !down && !up && take(name, "mid_block_");
  if (!down && !up && !middle) return {};
  const auto level = middle ? std::optional<int64_t>(0) : take_number(name);
  if (!level) return {};
  constexpr int64_t kPerLevel = 3;  // blocks: two residual ones and a change of size; up: three residual ones
  if (down && name == "downsamplers_0_conv")
    return {{.name = fmt::format("input_blocks_{}_0_op", kPerLevel * (*level + 1)), .rows = {}}};
  if (up && name == "upsamplers_0_conv") {  // behind attention where the level has it
    const int64_t last = kPerLevel * *level + kPerLevel - 1;
    return {{.name = fmt::format("output_blocks_{}_1_conv", last), .rows = {}},
            {.name = fmt::format("output_blocks_{}_2_conv", last), .rows = {}}};
  }
  const bool of_residual = take(name, "resnets_");
  if (!of_residual && !take(name, "attentions_")) return {};
  const auto index = take_number(name);
  if (!index) return {};
  if (middle) return block_names("middle_block", 2 * *index, 1, of_residual, name);
  const int64_t block = kPerLevel * *level + *index + (down ? 1 : 0);
  return block_names(fmt::format("{}_{}", down ? "input_blocks" : "output_blocks", block), 0, 1, of_residual,
                     name);
}

}  // namespace ctq::lora
