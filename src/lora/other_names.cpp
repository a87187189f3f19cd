#include "other_names.h"

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
    {kDouble, "_attn_norm_q", kNewDouble, "_img_attn_norm_query_norm_scale"},
    {kDouble, "_attn_norm_k", kNewDouble, "_img_attn_norm_key_norm_scale"},
    {kDouble, "_attn_norm_added_q", kNewDouble, "_txt_attn_norm_query_norm_scale"},
    {kDouble, "_attn_norm_added_k", kNewDouble, "_txt_attn_norm_key_norm_scale"},
    {kSingle, "_attn_norm_q", kNewSingle, "_norm_query_norm_scale"},
    {kSingle, "_attn_norm_k", kNewSingle, "_norm_key_norm_scale"},
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

}  // namespace

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
