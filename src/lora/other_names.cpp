#include "other_names.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace ctq::lora {
namespace {

constexpr Rows kFirst{false, 0}, kSecond{false, 1}, kThird{false, 2}, kLast{true, 0}, kLastButOne{true, 1};

struct Fusion {
  std::string_view part, fused;  ///< endings
  Rows rows;
};

constexpr Fusion kFusions[] = {
    {"_to_q", "_qkv", kFirst},
    {"_to_k", "_qkv", kLastButOne},
    {"_to_v", "_qkv", kLast},
    {"_to_q", "_to_qkv", kFirst},
    {"_to_k", "_to_qkv", kLastButOne},
    {"_to_v", "_to_qkv", kLast},
    {"_to_k", "_to_kv", kFirst},
    {"_to_v", "_to_kv", kLast},
    {"_q_proj", "_qkv_proj", kFirst},
    {"_k_proj", "_qkv_proj", kLastButOne},
    {"_v_proj", "_qkv_proj", kLast},
    {"_q_proj", "_qkv", kFirst},
    {"_k_proj", "_qkv", kLastButOne},
    {"_v_proj", "_qkv", kLast},
    {"_q", "_qkv", kFirst},
    {"_k", "_qkv", kLastButOne},
    {"_v", "_qkv", kLast},
    {"_gate_proj", "_gate_up_proj", kFirst},
    {"_up_proj", "_gate_up_proj", kLast},
};

/// `head` + a block's number + `tail`; a tail alone where there is no head.
struct Renaming {
  std::string_view head, tail, new_head, new_tail;
  bool whole = true;
  Rows rows = kFirst;
};

constexpr std::string_view kDouble = "transformer_blocks_", kNewDouble = "double_blocks_";
constexpr std::string_view kSingle = "single_transformer_blocks_", kNewSingle = "single_blocks_";

constexpr Renaming kFlux[] = {
    {kDouble, "_attn_to_q", kNewDouble, "_img_attn_qkv", false, kFirst},
    {kDouble, "_attn_to_k", kNewDouble, "_img_attn_qkv", false, kLastButOne},
    {kDouble, "_attn_to_v", kNewDouble, "_img_attn_qkv", false, kLast},
    {kDouble, "_attn_add_q_proj", kNewDouble, "_txt_attn_qkv", false, kFirst},
    {kDouble, "_attn_add_k_proj", kNewDouble, "_txt_attn_qkv", false, kLastButOne},
    {kDouble, "_attn_add_v_proj", kNewDouble, "_txt_attn_qkv", false, kLast},
    {kDouble, "_attn_to_out_0", kNewDouble, "_img_attn_proj"},
    {kDouble, "_attn_to_add_out", kNewDouble, "_txt_attn_proj"},
    {kDouble, "_ff_net_0_proj", kNewDouble, "_img_mlp_0"},
    {kDouble, "_ff_net_2", kNewDouble, "_img_mlp_2"},
    {kDouble, "_ff_context_net_0_proj", kNewDouble, "_txt_mlp_0"},
    {kDouble, "_ff_context_net_2", kNewDouble, "_txt_mlp_2"},
    {kDouble, "_ff_linear_in", kNewDouble, "_img_mlp_0"},
    {kDouble, "_ff_linear_out", kNewDouble, "_img_mlp_2"},
    {kDouble, "_ff_context_linear_in", kNewDouble, "_txt_mlp_0"},
    {kDouble, "_ff_context_linear_out", kNewDouble, "_txt_mlp_2"},
    {kDouble, "_norm1_linear", kNewDouble, "_img_mod_lin"},
    {kDouble, "_norm1_context_linear", kNewDouble, "_txt_mod_lin"},
    {kSingle, "_attn_to_q", kNewSingle, "_linear1", false, kFirst},
    {kSingle, "_attn_to_k", kNewSingle, "_linear1", false, kSecond},
    {kSingle, "_attn_to_v", kNewSingle, "_linear1", false, kThird},
    {kSingle, "_proj_mlp", kNewSingle, "_linear1", false, kLast},
    {kSingle, "_attn_to_qkv_mlp_proj", kNewSingle, "_linear1"},
    {kSingle, "_attn_to_out", kNewSingle, "_linear2"},
    {kSingle, "_proj_out", kNewSingle, "_linear2"},
    {kSingle, "_norm_linear", kNewSingle, "_modulation_lin"},
    {"", "x_embedder", "", "img_in"},
    {"", "context_embedder", "", "txt_in"},
    {"", "time_text_embed_timestep_embedder_linear_1", "", "time_in_in_layer"},
    {"", "time_text_embed_timestep_embedder_linear_2", "", "time_in_out_layer"},
    {"", "time_text_embed_text_embedder_linear_1", "", "vector_in_in_layer"},
    {"", "time_text_embed_text_embedder_linear_2", "", "vector_in_out_layer"},
    {"", "time_text_embed_guidance_embedder_linear_1", "", "guidance_in_in_layer"},
    {"", "time_text_embed_guidance_embedder_linear_2", "", "guidance_in_out_layer"},
    {"", "proj_out", "", "final_layer_linear"},
};

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

std::vector<OtherName> fused_names(std::string_view name) {
  std::vector<OtherName> names;
  for (const Fusion& fusion : kFusions) {
    if (!name.ends_with(fusion.part)) continue;
    const std::string_view stem = name.substr(0, name.size() - fusion.part.size());
    names.push_back({fmt::format("{}{}", stem, fusion.fused), false, fusion.rows});
  }
  return names;
}

std::vector<OtherName> flux_names(std::string_view name) {
  std::vector<OtherName> names;
  for (const Renaming& row : kFlux) {
    if (name.size() < row.head.size() + row.tail.size() || !name.starts_with(row.head) ||
        !name.ends_with(row.tail))
      continue;
    const std::string_view number =
        name.substr(row.head.size(), name.size() - row.head.size() - row.tail.size());
    if (number.empty() != row.head.empty() ||
        number.find_first_not_of("0123456789") != std::string_view::npos)
      continue;
    names.push_back({fmt::format("{}{}{}", row.new_head, number, row.new_tail), row.whole, row.rows});
  }
  return names;
}

}  // namespace ctq::lora
