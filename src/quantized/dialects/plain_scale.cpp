// Codes of one byte beside <layer>.scale: SDNQ's, DeepSeek's, and others'.
#include <algorithm>
#include <array>
#include <iterator>
#include <tuple>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"
#include "quantized/sdnq.h"
#include "quantized/values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

/// SDNQ's alone.
constexpr std::array kOfSdnq = {"svd_up",       "svd_down",         "scale_2",
                                "zero_point_2", "zero_point_scale", "scale_zero_point"};

/// Codes of runs lie in a dimension of their own: [out, runs, run ..] beside [out, runs, 1 ..].
bool has_runs(const std::vector<int64_t>& codes) { return codes.size() == 3 || codes.size() == 5; }

/// Stored [in_features, out_features], for products with codes: the scale lies along the columns.
bool is_transposed(at::IntArrayRef codes, at::IntArrayRef scale) {
  return codes.size() == 2 && scale.size() == 2 && scale[0] == 1 && scale[1] == codes[1] && codes[1] > 1;
}

/// Whether the scale has the codes' dimensions, and spans each or none of it: SDNQ's always.
bool spans_whole_dimensions(const Layer& layer) {
  return std::ranges::equal(layer.weight->info->shape, layer.side("scale")->info->shape,
                            [](int64_t code, int64_t s) { return s == 1 || s == code; });
}

/// Whether SDNQ could have stored the layer with rotated columns: tensors and header are then the same.
bool may_be_rotated(const Layer& layer) {
  return spans_whole_dimensions(layer) && layer.plain_shape[1] % 4 == 0;
}

/// A layer's tensors as float32, [out_features, ..] all.
struct Stored {
  at::Tensor codes, scale, zero_point, up, down;

  explicit Stored(const Layer& layer)
      : codes(model::load(*layer.weight)), scale(load_scales(*layer.side("scale"))) {
    if (layer.side("zero_point")) zero_point = model::load(*layer.side("zero_point")).to(at::kFloat);
    if (layer.side("svd_up")) {
      up = model::load(*layer.side("svd_up")).to(at::kFloat);
      down = model::load(required_side(layer, "svd_down")).to(at::kFloat);
      if (up.size(0) != layer.plain_shape[0]) std::tie(up, down) = std::tuple(up.t(), down.t());
    }
    if (!is_transposed(codes.sizes(), scale.sizes())) return;
    for (at::Tensor* part : {&codes, &scale, &zero_point})
      if (part->defined() && part->dim() == 2) *part = part->t();
  }

  /// Only so many rows from the first.
  void cut(int64_t rows) {
    if (rows >= codes.size(0)) return;
    for (at::Tensor* part : {&codes, &scale, &zero_point, &up})
      if (part->defined() && part->dim() > 0 && part->size(0) > 1) *part = part->narrow(0, 0, rows);
  }

  /// Of that shape, where its rows were not cut.
  at::Tensor weight(std::vector<int64_t> shape) const {
    shape[0] = codes.size(0);
    at::Tensor weight = codes.to(at::kFloat) * scale;
    if (zero_point.defined()) weight = weight + zero_point;
    weight = weight.reshape(shape);
    return up.defined() ? weight + at::mm(up, down).reshape(weight.sizes()) : weight;
  }
};

/// Of SDNQ, whose configuration alone tells some of what was done.
std::string undecodable(Layer& layer, const nlohmann::json& configuration) {
  for (const char* role : {"scale_2", "zero_point_2", "zero_point_scale", "scale_zero_point"})
    if (layer.side(role)) return fmt::format("its {} are quantized themselves (SDNQ)", role);
  const sdnq::Settings settings = sdnq::settings_of(configuration, layer);
  if (!settings.fault.empty()) return settings.fault;
  if (settings.use_codebook) return "its configuration says use_codebook (SDNQ)";
  const Dtype codes = layer.weight->info->dtype;
  const bool packed = layer.weight->info->shape.size() < 2 ||
                      (codes == Dtype::kU8 && (!layer.side("zero_point") || !spans_whole_dimensions(layer)));
  if (packed) return "its codes are packed (SDNQ), and only its configuration says how";
  if (layer.side("scale")->info->dtype == Dtype::kF8E8M0 && codes == Dtype::kI8)
    return "I8 with exponents for scales: two FP4 numbers to a byte";
  layer.rotated_run = settings.rotated_run;
  return "";
}

/// Whether something in the file is not as SDNQ leaves it. Nothing of the kind in a file proves nothing.
bool is_of_another_program(const Search& search, const std::vector<const Layer*>& layers) {
  // Prefixes under which ComfyUI looks for models; SDNQ saves those of diffusers and transformers.
  const auto is_prefixed = [](const Layer* layer) { return !model::model_prefix(layer->name).empty(); };
  const auto has_own_tensor = [&](const Layer* layer) {
    const std::string prefix = layer->name + ".";
    return std::ranges::any_of(search.beginning_with(prefix), [&](const Entry& entry) {
      const std::string_view word = std::string_view(entry.name()).substr(prefix.size());
      const bool sdnq = word == "weight" || word == "bias" || word == "scale" || word == "zero_point";
      return !sdnq && word.find('.') == std::string_view::npos;
    });
  };
  const auto has_own_scale = [](const Layer* layer) {
    return layer->weight->info->dtype != Dtype::kU8 && !spans_whole_dimensions(*layer);
  };
  const auto is_sdnq = [](const Layer* layer) {
    return std::ranges::any_of(kOfSdnq, [&](const char* role) { return layer->side(role) != nullptr; });
  };
  return std::ranges::none_of(layers, is_sdnq) &&
         (std::ranges::any_of(layers, is_prefixed) || std::ranges::any_of(layers, has_own_tensor) ||
          std::ranges::any_of(layers, has_own_scale));
}

/// Whether the values of some layers show clearly that the file's columns are not rotated. Reads a few rows.
/// Measured on MiniLM: the mean of what is compared is 1.4, and at most 0.05 with any run that SDNQ rotates.
bool shows_plain_columns(const std::vector<Layer*>& layers) {
  constexpr size_t kEnough = 16, kFewest = 4;
  constexpr int64_t kRows = 512, kFewestOfEach = 128;
  constexpr double kClear = 0.7, kAgainst = -0.4;
  std::vector<const Layer*> matrices;
  std::ranges::copy_if(layers, std::back_inserter(matrices), [](const Layer* layer) {
    return layer->plain_shape.size() == 2 && std::ranges::min(layer->plain_shape) >= kFewestOfEach;
  });
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < matrices.size(); i += std::max<size_t>(1, matrices.size() / kEnough)) {
    Stored stored(*matrices[i]);
    stored.cut(kRows);
    const at::Tensor rows = stored.weight(matrices[i]->plain_shape);
    if (!rows.isfinite().all().item<bool>()) continue;
    const double contrast = sdnq::column_contrast(rows);
    if (contrast < kAgainst) return false;
    sum += contrast, ++count;
  }
  return count >= kFewest && sum > kClear * static_cast<double>(count);
}

/// Layers that SDNQ may have rotated, where no configuration says so.
void refuse_unclear(const Search& search, const std::vector<const Layer*>& layers,
                    const std::vector<Layer*>& unclear) {
  if (unclear.empty() || is_of_another_program(search, layers) || shows_plain_columns(unclear)) return;
  for (Layer* layer : unclear)
    layer->fault =
        "only the configuration says whether its columns are rotated (SDNQ): put quantization_config.json or "
        "config.json beside the file; where another program wrote it, a quantization_config.json of "
        "{\"use_hadamard\": false}";
}

}  // namespace

void find_plain_scale(Search& search) {
  std::vector<const Layer*> layers;
  std::vector<Layer*> unclear;
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".scale"));
    const Entry* codes = name.empty() ? nullptr : search.find(name + ".weight");
    if (!codes || !is_byte_code(codes->info->dtype)) continue;
    Layer* layer = search.add_foreign(Dialect::kPlainScale, *codes, codes->name(),
                                      {"scale", "zero_point", "svd_up", "svd_down", "scale_2", "zero_point_2",
                                       "zero_point_scale", "scale_zero_point"});
    if (!layer) continue;
    layers.push_back(layer);
    layer->scale_role = "scale";
    describe_scaled(*layer, entry);
    std::vector<int64_t>& shape = layer->plain_shape;
    if (has_runs(shape)) shape[1] *= shape[2], shape.erase(shape.begin() + 2);
    if (is_transposed(shape, entry.info->shape)) std::swap(shape[0], shape[1]);
    if (codes->info->dtype == Dtype::kU8) layer->format = "uint8";
    if (layer->fault.empty()) layer->fault = undecodable(*layer, search.configuration());
    // A bank of experts with a scale per row has just the shapes of a weight in runs.
    if (layer->fault.empty() && codes->info->shape.size() == 3 &&
        layer->name.find("expert") != std::string::npos)
      layer->fault = "three dimensions stand for experts, or for runs of columns";
    if (layer->fault.empty() && search.configuration().empty() && may_be_rotated(*layer))
      unclear.push_back(layer);
  }
  refuse_unclear(search, layers, unclear);
}

at::Tensor decode_plain_scale(const QuantizedFile&, const Layer& layer) {
  const at::Tensor codes = model::load(*layer.weight), scale = load_scales(*layer.scale());
  const bool blocks = codes.dim() == 2 && scale.dim() == 2 && scale.numel() > 1 && scale.size(1) > 1 &&
                      !is_transposed(codes.sizes(), scale.sizes());
  if (blocks) return scaled_blocks(codes, scale);
  if (scale.numel() > 1 && scale.dim() != codes.dim() && !(scale.dim() == 1 && codes.dim() == 2))
    fail(ErrorCode::kBadInput, "scale {} beside codes {}", shape_text(scale.sizes()),
         shape_text(codes.sizes()));
  Stored stored(layer);
  if (scale.dim() == 1 && codes.dim() == 2) stored.scale = scale.unsqueeze(1);
  const at::Tensor weight = stored.weight(layer.plain_shape);
  return (layer.rotated_run > 0 ? sdnq::rotated_back(weight, layer.rotated_run) : weight).contiguous();
}

}  // namespace ctq::quantized
