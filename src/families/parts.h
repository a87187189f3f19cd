// The models inside a checkpoint: a diffusion model, its text encoders, a VAE, each under its prefix.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "families/family.h"

namespace ctq::families {

struct Part {
  std::string prefix;  ///< of its tensors: "model.diffusion_model.", or empty
  Kind kind = Kind::kOther;
  const Family* family = nullptr;  ///< null: not one that is known here
  bool renamed = false;            ///< its layers have another library's names, which ComfyUI changes
  bool numbered = false;           ///< some of its names have a number between dots: blocks
};

/// Whether a layer's name has a number that is followed by more than numbers: "blocks.3.attn.qkv", but not
/// "mlp.0", which is a layer of a sequence.
bool in_block(std::string_view layer);

/// The shape of a tensor that is there, as it is stored.
using ShapeOf = std::function<std::vector<int64_t>(std::string_view tensor)>;

/// The parts of one checkpoint.
class Parts {
 public:
  /// names     of all tensors, sorted by bytes
  /// shape_of  without it families whose names others have too are not recognised
  explicit Parts(std::span<const std::string> names, const ShapeOf& shape_of = nullptr);

  /// By prefix. Never empty: what belongs to no known part is one of kind kOther, or, where nothing is known
  /// at all, the only part.
  std::span<const Part> all() const { return parts_; }
  /// The one that the tensor belongs to.
  const Part& of(std::string_view tensor) const;
  /// The part that a file is about: the diffusion model, or what stands alone; null where it is not
  /// recognised.
  const Part* main() const;
  /// The diffusion model; null where there is none.
  const Part* diffusion() const;
  /// Whether a weight of three dimensions is a bank of experts, in the model that it is part of.
  bool is_bank(std::string_view layer) const;
  /// Whether the part is a text encoder inside a whole checkpoint.
  bool inside_checkpoint(const Part& encoder) const;
  /// Whether the tensors are the low-rank matrices of an adapter.
  bool adapter() const { return adapter_; }

 private:
  size_t index_of(std::string_view tensor) const;

  std::vector<Part> parts_;  // by prefix: the empty one is first
  bool adapter_ = false;
};

}  // namespace ctq::families
