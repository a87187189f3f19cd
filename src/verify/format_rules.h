// How the tensors of each format must lie in a file: rows of data (docs/formats/).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "safetensors/dtype.h"

namespace ctq::verify {

using Shape = std::vector<int64_t>;

/// What the shapes of a layer follow from.
struct Dims {
  int64_t n = 0;      ///< out_features
  int64_t k = 0;      ///< in_features
  int64_t group = 0;  ///< of the marker; 0 where the format has none
};

/// A format's weight.
struct FormatRule {
  std::string_view format;
  safetensors::Dtype codes;
  std::vector<Shape> (*stored)(const Dims&);
  int64_t usual_group;  ///< where the marker says none; 0: the format has no groups
};

/// Element types that a tensor may have.
enum class Types : uint8_t { kF32, kFloat, kU8, kU8OrE4M3 };

/// A tensor beside the weight.
struct SideRule {
  std::string_view format;
  std::string_view role;
  std::vector<Shape> (*shapes)(const Dims&);  ///< allowed ones; null: any that divides the weight into tiles
  Types types;
  bool required;
  bool positive;  ///< all values are at least 0, and a single one is above
};

/// Null for a format that no program reads.
const FormatRule* find_format_rule(std::string_view format);
/// Of the format, in the order in which they are checked.
std::vector<SideRule> side_rules(std::string_view format);

bool is_of(safetensors::Dtype dtype, Types types);
std::string_view types_text(Types types);

/// Smallest power of two that is at least `size`.
int64_t next_power_of_two(int64_t size);
/// 4, 16, 64 ...: lengths of the runs that ConvRot rotates.
bool is_power_of_four(int64_t value);

}  // namespace ctq::verify
