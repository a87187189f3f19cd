// Which tensors of a model the layers of an adapter belong to.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lora/adapter.h"
#include "model/checkpoint.h"

namespace ctq::lora {

/// Layers of adapters by the names that they have there -> layers of the model; an empty name leaves the
/// layer out.
using LayerMap = std::map<std::string, std::string, std::less<>>;

/// A layer of the adapter, and what it changes.
struct Match {
  const AdapterLayer* layer = nullptr;
  const model::Checkpoint::Entry* weight = nullptr;  ///< null where only the bias changes
  const model::Checkpoint::Entry* bias = nullptr;    ///< null where it does not change
  int64_t first_row = 0;                             ///< of both; layer->rows follow
  bool whole = true;                                 ///< these are all rows that there are
  bool swapped = false;  ///< the second half of the layer's rows comes first there
};

struct Matches {
  std::vector<Match> matched;
  std::vector<std::string> unmatched;  ///< layers that nothing in the model is named after
  std::vector<std::pair<std::string, std::string>> ambiguous;  ///< layers, and what they could be, in words
  std::vector<std::string> left_out;                           ///< by the map
};

/// Compares names by these rules; of each layer the first one counts that finds exactly one:
///
///  1. the map
///  2. the same name
///  3. the same without prefixes of models and adapters (model::without_model_prefixes(), adapter_prefix())
///  4. the same again with '_' for '.', as kohya's files have it
///  5. a fused layer of the model (qkv, qkv_proj, gate_up_proj ...) that holds the layer's rows: first q,
///  then
///     k, then v, k and v of the same size
///  6. the name under which ComfyUI's modules have a layer that another library calls otherwise, and its rows
///  there
///     (families/foreign_names.h)
///
/// Layers of the model that cannot hold the change are passed over while another rule finds one that can.
/// Where several layers of the adapter claim the same rows (those of two text encoders, say), the only one
/// whose shape fits gets them. Layers with a prefix of which none fits are unmatched where those with another
/// prefix fit: they are of another model of the pipeline.
///
/// throws  Error(kBadInput): a layer whose shape does not fit the tensor that has its name, or changes a bias
///         that the model lacks, or a tensor that holds no real numbers; a name in the map that the model
///         lacks
Matches match(const Adapter& adapter, const model::Checkpoint& model, const LayerMap& map);

}  // namespace ctq::lora
