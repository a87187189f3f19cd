// One decision per tensor, with its reason, from headers alone. A dry run is a plan printed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "client/client.h"
#include "families/preset.h"
#include "format/codec.h"
#include "format/layout.h"
#include "model/checkpoint.h"
#include "plan/layer_config.h"
#include "plan/pattern.h"
#include "plan/target.h"
#include "safetensors/header.h"

namespace ctq::plan {

/// What becomes of a tensor.
enum class Decision : uint8_t {
  kQuantize,  ///< codes, scales and a marker take its place
  kCast,      ///< stored as a plain type
  kKeep,      ///< copied byte by byte
  kRemove,    ///< left out of the output
};

/// "quantize", "cast", "keep", "remove".
std::string_view decision_name(Decision decision);

/// What to do with a layer that the block size does not divide.
enum class BlockFallback : uint8_t {
  kRow,    ///< one scale per row instead
  kSkip,   ///< keep it
  kError,  ///< refuse the whole run
};

/// Layers with a target of their own (--custom-layers).
struct CustomLayers {
  Pattern pattern;  ///< searched for in the whole tensor name
  Target target;
  bool heuristic = false;                          ///< as Options::heuristic, which does not reach them
  std::optional<bool> full_precision_matrix_mult;  ///< nothing: as in Options
};

/// What loaders divide a layer's input by when they quantize it: <layer>.input_scale, by layer.
struct InputScales {
  std::map<std::string, double, std::less<>> scales;      ///< as they are
  std::map<std::string, double, std::less<>> magnitudes;  ///< |x| that the format's largest code stands for
  bool one_for_all = false;                               ///< 1.0 for every other quantized layer

  bool any() const { return one_for_all || !scales.empty() || !magnitudes.empty(); }
  /// Of a layer in a format; nothing where none is known, or no reader of the format looks for one.
  std::optional<double> of(std::string_view layer, const format::Codec& codec) const;
};

/// A layer's target by measurement.
struct MeasuredTarget {
  std::optional<Target> target;  ///< nothing: keep it
  std::string reason;
};
using Measured = std::map<std::string, MeasuredTarget, std::less<>>;  ///< by weight

struct Options {
  Target target;
  Measured measured;  ///< in place of `target`, where no rule says otherwise
  std::optional<LayerConfig> layer_config;
  std::optional<CustomLayers> custom;
  std::optional<Target> fallback;  ///< for layers that a pattern or a preset excludes; nothing: keep them
  BlockFallback block_fallback = BlockFallback::kRow;
  bool heuristic = false;            ///< leave out layers that suit quantization badly (docs/cli.md, --heur)
  std::vector<std::string> presets;  ///< active ones, by name
  bool by_family =
      false;  ///< each part of the checkpoint has the preset of its family; without one, what stands
              ///< outside of numbered blocks or is named like an embedder, a router ... stays
  std::optional<client::Client> client;  ///< whose rules apply; nothing: ComfyUI's, and those of the nodes
                                         ///< that read a format which it lacks
  families::FilterSet filter_set = families::FilterSet::kSeed;
  std::optional<Pattern> exclude_layers;
  std::vector<std::string> keep_containing;    ///< weights whose name holds one of these stay as they are
  bool names_unused_words = true;              ///< said where no name holds any of the words around here
  std::vector<std::string> remove_containing;  ///< tensors whose name holds one of these are left out
  int64_t min_elements = 0;                    ///< of a weight that is quantized
  int64_t min_side = 0;                        ///< shorter side of one
  std::optional<format::Layout> layout;        ///< nothing: legacy, unless the content needs the comfy layout
  bool full_precision_matrix_mult = false;
  bool save_quant_metadata = false;
  InputScales input_scales;
  std::set<std::string, std::less<>>
      input_factors;  ///< layers whose loader multiplies what they read: <layer>.pre_quant_scale is written
  bool quantize_embeddings = false;  ///< tables of tokens too, whatever a preset says of them
  bool quantize_convolutions =
      false;  ///< cast to the FP8 type of the target, which has to be FP8, without scales
  bool copy_weight_scales = false;  ///< legacy layout: <layer>.scale_input is a copy of <layer>.scale_weight,
                                    ///< for loaders that look whether it is there
  std::optional<int64_t>
      scaled_fp8_elements;  ///< legacy layout; nothing: as full_precision_matrix_mult has it
  bool allow_empty = false;
  bool remove_ema = false;                      ///< model::is_ema_name() tensors are left out
  uint64_t max_shard_bytes = 0;                 ///< 0: one file
  std::optional<safetensors::Dtype> kept_type;  ///< of 2-D weights that stay unquantized; nothing: their own
  std::optional<Pattern> keep_type;             ///< these keep theirs
};

/// Tensors that cannot be quantized because of their values, which only reading them shows: name -> reason.
using ValueFindings = std::map<std::string, std::string>;

struct TensorPlan {
  const model::Checkpoint::Entry* source = nullptr;
  Decision decision = Decision::kKeep;
  std::string reason;
  bool candidate = false;  ///< a weight that some format could hold, so that the rules about layers apply
  Target target;           ///< for kQuantize and kCast
  std::optional<bool> full_precision_matrix_mult;  ///< of this layer alone; nothing: as in Options
  std::vector<safetensors::TensorInfo>
      outputs;                  ///< what is written for it: offsets not yet set, the weight first
  bool by_target = false;       ///< the run's own target reached it, and no other rule
  bool shape_fallback = false;  ///< the target's blocks do not divide it
  bool value_fallback = false;  ///< kept because of its values
  bool recast = false;          ///< kCast of a weight that stays unquantized
  bool copies_scale = false;    ///< the last output is a copy of the scale
  bool scales_input = false;    ///< the last output holds what loaders multiply the layer's input by

  uint64_t bytes_in() const { return source->info->bytes(); }
  uint64_t bytes_out() const;
};

/// A tensor that is known without reading a weight: a marker.
struct Generated {
  safetensors::TensorInfo info;
  std::string bytes;
};

/// One output file.
struct OutputFile {
  std::string name;                              ///< without folder
  std::vector<safetensors::TensorInfo> tensors;  ///< laid out
  uint64_t bytes = 0;                            ///< of the whole file
};

struct Plan {
  std::vector<TensorPlan> tensors;  ///< sorted by name
  std::vector<Generated> generated;
  format::Layout layout = format::Layout::kLegacy;
  safetensors::Metadata metadata;     ///< of the output
  std::vector<OutputFile> files;      ///< one, or the shards in order
  std::vector<std::string> notes;     ///< what the user should know about the choices, one line each
  std::vector<std::string> warnings;  ///< what will not work as it stands, one line each
  std::vector<std::string> unused;    ///< patterns and presets that matched nothing, as sentences
  client::Client reader;              ///< that was asked for, or that the formats imply
  std::string suggested_preset;       ///< recognised from the names but not given; empty otherwise
  uint64_t bytes_in = 0;              ///< of the input's files; of the tensors of a part
  uint64_t bytes_out = 0;             ///< of all output files

  size_t count(Decision decision) const;
  const TensorPlan* find(std::string_view name) const;
  /// Whether the weight of that layer is to be quantized.
  bool quantizes(std::string_view layer) const;
};

/// Decides on every tensor. Order of the rules: removed by a preset; not a candidate (rank, dtype, size,
/// embedding table); entry of the layer configuration; custom layers; excluded by pattern; protected by a
/// preset; default entry of the layer configuration; target. Then the fallback for what was excluded or
/// protected; shape rules (heuristic, block fallback); `findings`.
///
/// output_name  the file's name without folder; shards are named after it
/// throws  Error(kBadInput): the checkpoint holds quantized layers already.
///         Error(kUsage): a shard size below the largest tensor; the legacy layout asked for where it cannot
///         say what the layers are. Error(kFailure): nothing to quantize (without allow_empty), or a misfit
///         with BlockFallback::kError.
Plan make_plan(const model::Checkpoint& checkpoint, const Options& options, const std::string& output_name,
               const ValueFindings& findings = {});

}  // namespace ctq::plan
