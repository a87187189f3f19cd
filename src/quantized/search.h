// The layers of one checkpoint while they are looked for, one dialect after the other.
#pragma once

#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "quantized/layers.h"

namespace ctq::quantized {

/// "a.b" and "weight" of "a.b.weight"; the first is empty when there is no dot.
std::pair<std::string_view, std::string_view> split_name(std::string_view name);

/// I8, U8 or FP8: one code to an element, or several.
bool is_byte_code(safetensors::Dtype dtype);

/// Shape and format of a layer whose codes are multiplied by a scale, of blocks or more, in whatever number
/// type.
void describe_scaled(Layer& layer, const model::Checkpoint::Entry& scale);

/// The first dialect that claims a weight has it. Layers refer to the checkpoint.
class Search {
 public:
  using Entry = model::Checkpoint::Entry;

  explicit Search(const model::Checkpoint& checkpoint) : checkpoint_(checkpoint) {
    found.checkpoint = &checkpoint;
  }

  std::span<const Entry> entries() const { return checkpoint_.entries(); }
  const Entry* find(std::string_view name) const { return checkpoint_.find(name); }
  const safetensors::Metadata& metadata() const { return checkpoint_.metadata(); }
  /// Tensors whose names begin with `prefix`.
  std::span<const Entry> beginning_with(std::string_view prefix) const;
  /// What the `config.json` beside the files, or the header, says of the quantization; empty where there is
  /// none.
  const nlohmann::json& configuration() const;

  /// The layer with all tensors `<name>.<role>` of ComfyUI's roles; one that is known already gets the
  /// dialect.
  Layer& add(std::string name, Dialect dialect);
  /// A layer of another program, with its tensors `<name>.<role>`. Null when a tensor of it has an owner.
  ///
  /// weight  what holds the codes
  /// tensor  the plain weight that they stand for: "blk.0.q.weight"
  Layer* add_foreign(Dialect dialect, const Entry& weight, const std::string& tensor,
                     std::initializer_list<std::string_view> roles);
  /// Gives a layer one more tensor, where the file has it.
  void attach(Layer& layer, std::string_view role, const std::string& tensor);

  bool has_layer(std::string_view name) const { return layers.contains(name); }
  bool is_claimed(const Entry& entry) const { return claimed_.contains(&entry); }
  /// Whether it says something of the whole file, or is named as a tensor beside a weight of ComfyUI's
  /// dialects.
  bool is_side_name(std::string_view tensor) const;

  std::map<std::string, Layer, std::less<>> layers;
  QuantizedFile found;

 private:
  const model::Checkpoint& checkpoint_;
  std::set<const Entry*> claimed_;
  mutable std::optional<nlohmann::json> configuration_;
};

}  // namespace ctq::quantized
