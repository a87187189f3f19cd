// Finds a layer in the structure of its family, with the tensors that the structure names.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "families/structure.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Rows [first, first + rows) of a linear layer's tensors.
struct LinearSource {
  std::string name;
  const model::Checkpoint::Entry* weight = nullptr;  ///< null: there is no such linear
  const model::Checkpoint::Entry* bias = nullptr;
  int64_t first = 0;
  int64_t rows = 0;
};

/// Where a layer's input comes from: an Input of a structure with the checkpoint's tensors.
struct Source {
  const families::Input* input = nullptr;
  std::vector<std::string> readers;  ///< all layers of the input that the checkpoint has
  std::string norm_name;
  const model::Checkpoint::Entry* norm_weight = nullptr;
  const model::Checkpoint::Entry* norm_bias = nullptr;
  int64_t width = 0;  ///< of the norm
  LinearSource values;
  int64_t value_head = 0;
  int64_t value_repeats = 1;
  LinearSource gate;
  LinearSource up;
};

/// The first structure that fits in names, shapes and types. From headers alone.
///
/// structures  nulls are passed over
std::optional<Source> resolve_in(std::span<const families::Structure* const> structures,
                                 const model::Checkpoint& checkpoint, std::string_view layer);

/// By the structures of all families.
std::optional<Source> resolve(const model::Checkpoint& checkpoint, std::string_view layer);

/// A modulated input of a structure with the checkpoint's tensors.
struct ModulatedSource {
  std::vector<std::string> readers;                ///< all of its layers, which the checkpoint has
  const model::Checkpoint::Entry* norm = nullptr;  ///< the weight that is multiplied; null: scale and shift
  LinearSource scale;                              ///< with a bias
  LinearSource shift;
};

/// By the structures of all families. From headers alone.
std::optional<ModulatedSource> resolve_modulated(const model::Checkpoint& checkpoint, std::string_view layer);

/// "gelu of encoder.layer.0.intermediate.dense after norm encoder.layer.0.attention.output.LayerNorm".
std::string words(const Source& source);

}  // namespace ctq::calibrate
