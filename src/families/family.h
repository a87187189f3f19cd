// Model families: how each is told by the names of its tensors, and what is particular about its layers.
//
// A family is a file and a row of registry.cpp. Names in it are those under which ComfyUI's modules have
// them, without the prefix of the part of a checkpoint that they stand in, and without ".weight". In a
// pattern '#' stands for a number and a '*' at the end for any rest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "families/preset.h"
#include "families/structure.h"

namespace ctq::families {

/// What a model is for.
enum class Kind : uint8_t {
  kDiffusion,
  kTextEncoder,
  kVision,   ///< an image encoder by itself
  kVae,      ///< latents to pictures or sound, and back
  kControl,  ///< what steers a diffusion model: ControlNet, style models, adapters of their own
  kAverage,  ///< a second copy of the weights ("model_ema.")
  kOther,
};

/// "diffusion model", "text encoder" ...
std::string_view kind_name(Kind kind);

/// The size of one dimension of a tensor, where names alone do not tell two families apart.
struct Size {
  std::string_view tensor;
  size_t dimension = 0;
  int64_t size = 0;
};

/// Runs of whole dotted parts that names begin with: "double_blocks.0.img_attn" fits
/// "double_blocks.0.img_attn.qkv.weight".
struct Signature {
  std::array<std::string_view, 6> all;        ///< each begins some name; the first tells the part's prefix
  std::array<std::string_view, 4> none = {};  ///< none begins any
  std::optional<Size> size = {};              ///< has to be known and the same
};

/// What ComfyUI makes of a family's weights beyond the rules that hold for every model (docs/clients.md).
struct ComfyUi {
  bool reads_quantized = true;  ///< the linear layers are of a kind that reads codes and scales
  /// Two-dimensional weights that are not: read as numbers, without a scale.
  std::span<const std::string_view> plain = {};
  /// Embedding tables of a kind that reads FP8 and INT8.
  std::span<const std::string_view> tables = {};
  /// Weights [experts, out_features, in_features] of a kind that reads codes and scales expert by expert.
  std::span<const std::string_view> banks = {};
  /// Weights from whose stored width ComfyUI takes the model's configuration: where packing or padding
  /// changes the width, it builds another model, or none.
  std::span<const std::string_view> configuring = {};
  std::span<const std::string_view> configuring_rows = {};  ///< the same of the number of rows
  /// Of a diffusion model: prefixes of the text encoders inside a whole checkpoint that read codes and
  /// scales. An encoder that reads them in a file of its own need not there.
  std::span<const std::string_view> encoders = {};
};

struct Family {
  std::string_view name;   ///< "flux2"
  std::string_view title;  ///< "Flux.2: dev, klein"
  Kind kind = Kind::kDiffusion;
  std::span<const Signature> signatures;  ///< any of them
  const Preset* preset = nullptr;  ///< the layers that a recipe keeps; null: those of the automatic detection
  std::array<const Structure*, 2> structures = {};  ///< of its blocks
  std::span<const HeadSize> heads = {};             ///< of its published sizes
  ComfyUi comfyui = {};
  /// Names of the diffusers library, which ComfyUI changes and joins while it loads.
  bool diffusers_names = false;
};

/// All families. The first that fits decides, so one that adds to another's names stands before it.
std::span<const Family* const> families();

/// Null where there is none of that name.
const Family* find_family(std::string_view name);

/// Whether a name fits a pattern: '#' is a number, a '*' at the end any rest.
bool fits(std::string_view pattern, std::string_view name);

/// The pattern that the name fits; empty where it fits none.
std::string_view fitting(std::span<const std::string_view> patterns, std::string_view name);

}  // namespace ctq::families
