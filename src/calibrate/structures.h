// What stands in front of a layer, per model family: a table of names.
//
// In a pattern '#' stands for the index of the layer's block and '<' for the index before it. Whatever
// precedes the pattern in the layer's name, up to a dot, is a prefix that all names of the row share.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace ctq::calibrate {

enum class Norm : uint8_t {
  kLayer,       ///< g * (x - mean) / deviation + b
  kRms,         ///< g * x / root mean square
  kRmsOnePlus,  ///< (1 + g) * x / root mean square
};

enum class Activation : uint8_t { kNone, kRelu, kGelu, kGeluTanh, kQuickGelu, kSilu };

/// Rows [part, part + 1) * out_features / parts of a linear layer: where several are stored as one.
struct LinearPart {
  std::string_view name;
  int part = 0;
  int parts = 1;
};

/// An input and the layers that read it. From the norm on: x = norm; with `values`, x = values of averaged x;
/// with `gate`, x = activation(gate x); with `up` too, x = activation(gate x) * (up x).
struct Input {
  std::array<std::string_view, 7> layers;
  Norm norm;
  std::string_view norm_name = {};    ///< empty: the norm has no parameters
  std::string_view norm_before = {};  ///< in place of norm_name for block 0
  LinearPart values = {};
  LinearPart gate = {};
  LinearPart up = {};
  Activation activation = Activation::kNone;
  std::string_view head_norm = {};  ///< a norm over one head's width: its size tells how value heads repeat
  int64_t width = 0;                ///< of the norm, where it decides between rows; 0: any
  bool norm_is_shared = false;      ///< more than `layers` reads the norm: a residual, a router
};

struct Family {
  std::array<std::string_view, 2> present;  ///< tensors that the checkpoint has
  std::array<std::string_view, 2> absent;   ///< tensors that it does not have
  std::span<const Input> inputs;
};

/// The first row that fits in names and shapes decides.
std::span<const Family> families();

/// Width of an attention head in models with fewer value heads than query heads and no head_norm; 0 when not
/// known.
int64_t head_size(int64_t hidden_size, int64_t values_size);

}  // namespace ctq::calibrate
