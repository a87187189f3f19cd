#include "other_names.h"

#include <fmt/format.h>

namespace ctq::lora {
namespace {

constexpr Rows kFirst{false, 0}, kLast{true, 0}, kLastButOne{true, 1};

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

/// Of three layers in one the first may have more rows than the others, which are equal; of other numbers the
/// last.
Rows rows_of(const families::OwnName& own) {
  if (own.part + 1 == own.parts) return kLast;
  return own.parts == 3 && own.part == 1 ? kLastButOne : Rows{false, own.part};
}

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

std::vector<OtherName> own_names(const families::NameMap& map, std::string_view name) {
  std::vector<OtherName> names;
  for (const families::OwnName& own : map.find_flat(name)) {
    const bool whole = own.parts == 1;
    names.push_back({own.name, whole, whole ? kFirst : rows_of(own), own.values});
    constexpr std::string_view kScale = "_scale";  // norms of Flux, which newer files call weights
    if (own.name.ends_with(kScale))
      names.push_back({own.name.substr(0, own.name.size() - kScale.size()), true, kFirst, own.values});
  }
  return names;
}

}  // namespace ctq::lora
