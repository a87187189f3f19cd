#include "lora/adapter.h"

#include <cmath>
#include <initializer_list>
#include <utility>

#include <ATen/ops/isfinite.h>

#include "adapter_scale.h"
#include "base/error.h"
#include "base/text.h"

namespace ctq::lora {
namespace {

using Entry = model::Checkpoint::Entry;

/// A layer on the way from the file's tensors to one kind of change, checked against itself.
class LayerReader {
 public:
  LayerReader(const std::string& path, AdapterLayer& layer) : path_(path), layer_(layer) {}

  void read() {
    const bool low_rank = has_any({Part::kDown, Part::kUp, Part::kMid, Part::kUpBias});
    const bool hadamard = has_any(
        {Part::kHadaW1A, Part::kHadaW1B, Part::kHadaT1, Part::kHadaW2A, Part::kHadaW2B, Part::kHadaT2});
    const bool kronecker = has_any({Part::kLokrW1, Part::kLokrW1A, Part::kLokrW1B, Part::kLokrW2,
                                    Part::kLokrW2A, Part::kLokrW2B, Part::kLokrT2});
    const bool difference = layer_.find(Part::kDiff) != nullptr;
    if (low_rank + hadamard + kronecker + difference > 1)
      refuse("has parts of more than one kind of adapter");
    if (low_rank) read_low_rank();
    if (hadamard) read_hadamard();
    if (kronecker) read_kronecker();
    if (difference) read_difference();
    const bool scaled = has_any({Part::kAlpha, Part::kDoraScale, Part::kMagnitude});
    if (scaled && (!layer_.changes_weight() || difference))
      refuse("has an alpha or magnitudes of no factors");
    for (const Part part : {Part::kDiffBias, Part::kUpBias}) {
      const Entry* bias = layer_.find(part);
      if (!bias) continue;
      if (layer_.rows == 0) layer_.rows = bias->info->numel();
      if (bias->info->numel() != layer_.rows) refuse_shape(part);
    }
    if (layer_.rows == 0 || (layer_.changes_weight() && layer_.per_row == 0)) refuse("is empty");
  }

  /// r, as far as the factors tell; 0: they do not.
  int64_t rank() const { return rank_; }

 private:
  void read_low_rank() {
    const Entry &down = need(Part::kDown), &up = need(Part::kUp);
    layer_.kind = Kind::kLowRank;
    rank_ = size(down, 0);
    layer_.rows = size(up, 0);
    layer_.per_row = rest(down, 1);
    const Entry* mid = layer_.find(Part::kMid);
    if (mid) {
      if (size(*mid, 1) != rank_) refuse_shape(Part::kMid);
      layer_.per_row *= rest(*mid, 2);
    }
    if (rest(up, 1) != (mid ? size(*mid, 0) : rank_)) refuse_shape(Part::kUp);
  }

  void read_hadamard() {
    layer_.kind = Kind::kHadamard;
    const Extent first = pair(Part::kHadaW1A, Part::kHadaW1B, Part::kHadaT1);
    const Extent second = pair(Part::kHadaW2A, Part::kHadaW2B, Part::kHadaT2);
    if (first != second) refuse("has two factors of different shapes");
    std::tie(layer_.rows, layer_.per_row) = first;
  }

  void read_kronecker() {
    layer_.kind = Kind::kKronecker;
    const Extent first = whole_or_pair(Part::kLokrW1, Part::kLokrW1A, Part::kLokrW1B, std::nullopt);
    const Extent second = whole_or_pair(Part::kLokrW2, Part::kLokrW2A, Part::kLokrW2B, Part::kLokrT2);
    layer_.rows = first.first * second.first;
    layer_.per_row = first.second * second.second;
  }

  void read_difference() {
    layer_.kind = Kind::kDifference;
    const Entry& diff = need(Part::kDiff);
    layer_.rows = diff.info->shape.empty() ? 1 : size(diff, 0);
    layer_.per_row = layer_.rows == 0 ? 0 : diff.info->numel() / layer_.rows;
  }

  using Extent = std::pair<int64_t, int64_t>;  // rows, elements of a row

  Extent whole_or_pair(Part whole, Part a, Part b, std::optional<Part> core) {
    const Entry* entry = layer_.find(whole);
    if (!entry) return pair(a, b, core);
    if (layer_.find(a) || layer_.find(b) || (core && layer_.find(*core)))
      refuse("has a factor both whole and factored");
    return {size(*entry, 0), rest(*entry, 1)};
  }

  /// a b, [rows, r] and [r, ...]; with a core [r, r, kernel...] a is [r, rows].
  Extent pair(Part a, Part b, std::optional<Part> core) {
    const Entry &left = need(a), &right = need(b);
    const Entry* middle = core ? layer_.find(*core) : nullptr;
    rank_ = size(right, 0);
    if (!middle) {
      if (rest(left, 1) != rank_) refuse_shape(a);
      return {size(left, 0), rest(right, 1)};
    }
    if (size(*middle, 1) != rank_ || size(*middle, 0) != size(left, 0)) refuse_shape(*core);
    return {rest(left, 1), rest(right, 1) * rest(*middle, 2)};
  }

  bool has_any(std::initializer_list<Part> parts) const {
    for (const Part part : parts) {
      if (layer_.find(part)) return true;
    }
    return false;
  }

  const Entry& need(Part part) const {
    const Entry* entry = layer_.find(part);
    if (!entry) refuse("lacks a factor");
    return *entry;
  }

  int64_t size(const Entry& entry, size_t dimension) const {
    if (entry.info->shape.size() <= dimension) refuse_shape(entry);
    return entry.info->shape[dimension];
  }

  /// Product of the dimensions from `first` on, of which there is at least one.
  int64_t rest(const Entry& entry, size_t first) const {
    int64_t product = 1;
    for (size_t i = first; i < entry.info->shape.size(); ++i) product *= entry.info->shape[i];
    if (entry.info->shape.size() <= first || product == 0) refuse_shape(entry);
    return product;
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> fact, Args&&... args) const {
    fail(ErrorCode::kBadInput, "{}: layer '{}' {}", path_, printable(layer_.name),
         fmt::format(fact, std::forward<Args>(args)...));
  }
  [[noreturn]] void refuse_shape(const Entry& entry) const {
    refuse("has a tensor '{}' of shape {}, which does not fit its other parts", printable(entry.name()),
           shape_text(entry.info->shape));
  }
  [[noreturn]] void refuse_shape(Part part) const { refuse_shape(*layer_.find(part)); }

  const std::string& path_;
  AdapterLayer& layer_;
  int64_t rank_ = 0;
};

double value_of(const std::string& path, const Entry& entry) {
  if (entry.info->numel() == 1) {
    const double value = model::load(entry).to(at::kDouble).item<double>();
    if (std::isfinite(value)) return value;
  }
  fail(ErrorCode::kBadInput, "{}: tensor '{}' is not one finite number", path, printable(entry.name()));
}

}  // namespace

Adapter::Adapter(const std::string& path)
    : file_(model::Checkpoint::open(path)), quantized_(quantized::find_layers(file_)) {
  if (!quantized_.layers.empty()) decoded_ = std::make_unique<const quantized::DecodedView>(quantized_);
  std::map<std::string_view, AdapterLayer> layers;
  for (const Entry& entry : plain().entries()) {
    if (entry.name().starts_with("bundle_emb.")) {
      embeddings_.push_back(entry.name());
      continue;
    }
    const auto part = part_of(entry.name());
    if (!part)
      fail(ErrorCode::kBadInput, "{}: tensor '{}' is of no kind of adapter that can be merged", path,
           printable(entry.name()));
    if (part->part != Part::kAlpha && !safetensors::is_float(entry.info->dtype))
      fail(ErrorCode::kBadInput, "{}: tensor '{}' is {}, not of real numbers", path, printable(entry.name()),
           safetensors::dtype_name(entry.info->dtype));
    AdapterLayer& layer = layers[part->layer];
    layer.name = part->layer;
    const auto [before, added] = layer.parts.emplace(part->part, &entry);
    if (!added)
      fail(ErrorCode::kBadInput, "{}: tensors '{}' and '{}' are the same part of one layer", path,
           printable(before->second->name()), printable(entry.name()));
  }
  if (layers.empty()) fail(ErrorCode::kBadInput, "{}: holds no tensor; is it a LoRA?", path);
  const AdapterScale scale(file_);
  for (auto& [name, layer] : layers) {
    LayerReader reader(path, layer);
    reader.read();
    const Entry* alpha = layer.find(Part::kAlpha);
    if (layer.kind == Kind::kDifference || layer.kind == Kind::kNone) {
      layer.factor = 1;
    } else if (alpha) {
      const double value = value_of(path, *alpha);  // of whole Kronecker factors it has no rank to go with
      layer.factor = reader.rank() > 0 ? value / static_cast<double>(reader.rank()) : 1;
    } else {
      layer.factor = scale.factor(layer.name, reader.rank());
    }
    layers_.push_back(std::move(layer));
  }
}

}  // namespace ctq::lora
