// What stands in front of a layer, by the names of a family's blocks. Which layers read one input is said
// here, too.
//
// In a pattern '#' stands for the index of the layer's block and '<' for the index before it. Whatever
// precedes the pattern in the layer's name, up to a dot, is a prefix that all names of the row share.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace ctq::families {

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

struct NamedNorm {
  Norm kind;
  std::string_view name = {};    ///< empty: it has no parameters
  std::string_view before = {};  ///< its name in front of block 0, where that is another
  bool is_shared = false;        ///< more than the layers of a row reads it: a residual, a router
};

/// An input and the layers that read it. From the norm on: x = norm; with `values`, x = values of averaged x;
/// with `gate`, x = activation(gate x); with `up` too, x = activation(gate x) * (up x).
struct Input {
  std::array<std::string_view, 7> layers;
  NamedNorm norm;
  LinearPart values = {};
  LinearPart gate = {};
  LinearPart up = {};
  Activation activation = Activation::kNone;
  std::string_view head_norm = {};  ///< a norm over one head's width: its size tells how value heads repeat
  int64_t width = 0;                ///< of the norm, where it decides between rows; 0: any
};

/// What the second linear of an MLP reads in a block whose norm is modulated. The modulation matters less
/// behind an activation; layers that read such a norm itself are rows of ModulatedInput.
constexpr Input modulated_mlp(std::string_view second, LinearPart first, Activation activation,
                              Norm norm = Norm::kLayer) {
  return {.layers = {second}, .norm = {norm}, .gate = first, .activation = activation};
}

/// An input behind a norm that the model's conditioning modulates: x = (1 + scale) * norm + shift. What
/// conditioning makes of it is not implied by the weights, but whatever divides it can be folded in.
struct ModulatedInput {
  std::array<std::string_view, 3> layers;  ///< that read it, and nothing else does
  std::string_view norm = {};              ///< its name, where it has a weight, and no bias and shift
  LinearPart scale = {};                   ///< else these rows, and their bias
  LinearPart shift = {};
};

/// Rows of scale and shift as most families order them: shift, scale and gate of one input after another.
constexpr ModulatedInput modulated(std::array<std::string_view, 3> layers, std::string_view linear, int input,
                                   int parts) {
  return {.layers = layers,
          .norm = {},
          .scale = {linear, 3 * input + 1, parts},
          .shift = {linear, 3 * input, parts}};
}

/// The blocks of a family, or of several. A model whose family is not known has it too, where it has the
/// names.
struct Structure {
  std::array<std::string_view, 2> present = {};    ///< tensors of a layer's block, or of the model
  std::array<std::string_view, 2> absent = {};     ///< the same that are not there
  std::span<const Input> inputs;                   ///< the first that fits in names and shapes decides
  std::span<const ModulatedInput> modulated = {};  ///< as above
};

/// Width of an attention head in models with fewer value heads than query heads and no norm over one, by the
/// widths of the model and of its value heads together.
struct HeadSize {
  int64_t hidden_size;
  int64_t values_size;
  int64_t head_size;
};

/// Those of all families, each once.
std::span<const Structure* const> structures();

/// Whichever family has it; 0 when not known.
int64_t head_size(int64_t hidden_size, int64_t values_size);

}  // namespace ctq::families
