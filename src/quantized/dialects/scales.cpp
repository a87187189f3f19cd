// Codes of one byte beside a scale of another name: weight_scale_inv, qscale_weight, scale.
#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"
#include "quantized/values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

/// Scales of blocks, in whatever number type: the format that they make of the codes.
void describe(Layer& layer, const Entry& scale) {
  const Dtype codes = layer.weight->info->dtype;
  layer.plain_shape = layer.weight->info->shape;
  layer.format = format_of_scale(codes, layer.plain_shape, scale.info->shape);
  if (layer.format.empty()) layer.format = is_fp8(codes) ? "float8_e4m3fn_blockwise" : "int8_blockwise";
  if (codes == Dtype::kF8E5M2) layer.format = "float8_e5m2";
}

/// Codes of runs lie in a dimension of their own: [out, runs, run ..] beside [out, runs, 1 ..].
bool has_runs(const std::vector<int64_t>& codes) { return codes.size() == 3 || codes.size() == 5; }

/// Stored [in_features, out_features], for products with codes: the scale lies along the columns.
bool is_transposed(const std::vector<int64_t>& codes, const std::vector<int64_t>& scale) {
  return codes.size() == 2 && scale.size() == 2 && scale[0] == 1 && scale[1] == codes[1] && codes[1] > 1;
}

/// Whether a setting of SDNQ is on, for all modules or for some.
bool is_on(const nlohmann::json& configuration, const char* key) {
  const auto says = [key](const nlohmann::json& settings) {
    return settings.is_object() && settings.contains(key) && settings[key] == true;
  };
  if (says(configuration)) return true;
  const auto modules = configuration.find("modules_quant_config");
  return modules != configuration.end() && std::any_of(modules->begin(), modules->end(), says);
}

/// Whether SDNQ could have stored the layer with rotated columns: tensors and header are then the same. It
/// rotates runs of a power of two columns, at least 4, and keeps the dimension that a scale spans
/// (sdnq/quant_utils.py, version 0.2.8); scales of blocks are another program's.
bool may_be_rotated(const Layer& layer) {
  const std::vector<int64_t>&codes = layer.weight->info->shape, &scale = layer.side("scale")->info->shape;
  const bool spans_whole_dimensions =
      std::ranges::equal(codes, scale, [](int64_t code, int64_t s) { return s == 1 || s == code; });
  return spans_whole_dimensions && layer.plain_shape[1] % 4 == 0;
}

/// Of SDNQ, whose configuration alone tells some of what was done.
std::string undecodable(const Layer& layer, const nlohmann::json& configuration) {
  for (const char* role : {"scale_2", "zero_point_2", "zero_point_scale", "scale_zero_point"})
    if (layer.side(role)) return fmt::format("its {} are quantized themselves (SDNQ)", role);
  for (const char* key : {"use_hadamard", "use_codebook"})
    if (is_on(configuration, key)) return fmt::format("its configuration says {} (SDNQ)", key);
  const Dtype codes = layer.weight->info->dtype;
  const bool packed =
      layer.weight->info->shape.size() < 2 || (codes == Dtype::kU8 && !layer.side("zero_point"));
  if (packed) return "its codes are packed (SDNQ), and only its configuration says how";
  if (layer.side("scale")->info->dtype == Dtype::kF8E8M0 && codes == Dtype::kI8)
    return "I8 with exponents for scales: two FP4 numbers to a byte";
  if (configuration.empty() && may_be_rotated(layer))
    return "only the configuration says whether its columns are rotated (SDNQ): put "
           "quantization_config.json or config.json beside the file";
  return "";
}

}  // namespace

void find_scale_inv(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string tensor(model::without_suffix(entry.name(), "_scale_inv"));
    const Entry* codes = tensor.empty() ? nullptr : search.find(tensor);
    if (!codes || !is_fp8(codes->info->dtype)) continue;
    Layer* layer = search.add_foreign(Dialect::kScaleInv, *codes, tensor, {"activation_scale"});
    if (!layer) continue;
    layer->scale_role = split_name(entry.name()).second;
    search.attach(*layer, layer->scale_role, entry.name());
    describe(*layer, entry);
  }
}

void find_qscale(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".qscale_weight"));
    const Entry* codes = name.empty() ? nullptr : search.find(name + ".weight");
    if (!codes || !is_fp8(codes->info->dtype)) continue;
    Layer* layer =
        search.add_foreign(Dialect::kQscale, *codes, codes->name(), {"qscale_weight", "qscale_act"});
    if (!layer) continue;
    layer->scale_role = "qscale_weight";
    describe(*layer, entry);
  }
}

void find_plain_scale(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".scale"));
    const Entry* codes = name.empty() ? nullptr : search.find(name + ".weight");
    if (!codes || !is_byte_code(codes->info->dtype)) continue;
    Layer* layer = search.add_foreign(Dialect::kPlainScale, *codes, codes->name(),
                                      {"scale", "zero_point", "svd_up", "svd_down", "scale_2", "zero_point_2",
                                       "zero_point_scale", "scale_zero_point"});
    if (!layer) continue;
    layer->scale_role = "scale";
    describe(*layer, entry);
    std::vector<int64_t>& shape = layer->plain_shape;
    if (has_runs(shape)) shape[1] *= shape[2], shape.erase(shape.begin() + 2);
    if (is_transposed(shape, entry.info->shape)) std::swap(shape[0], shape[1]);
    if (codes->info->dtype == Dtype::kU8) layer->format = "uint8";
    if (layer->fault.empty()) layer->fault = undecodable(*layer, search.configuration());
    // A bank of experts with a scale per row has just the shapes of a weight in runs.
    if (layer->fault.empty() && codes->info->shape.size() == 3 &&
        layer->name.find("expert") != std::string::npos)
      layer->fault = "three dimensions stand for experts, or for runs of columns";
  }
}

at::Tensor decode_plain_scale(const QuantizedFile&, const Layer& layer) {
  const at::Tensor codes = model::load(*layer.weight), scale = load_scales(*layer.scale());
  const bool blocks = codes.dim() == 2 && scale.dim() == 2 && scale.numel() > 1 && scale.size(1) > 1 &&
                      !is_transposed(codes.sizes().vec(), scale.sizes().vec());
  if (blocks) return scaled_blocks(codes, scale);
  if (scale.numel() > 1 && scale.dim() != codes.dim() && !(scale.dim() == 1 && codes.dim() == 2))
    fail(ErrorCode::kBadInput, "scale {} beside codes {}", shape_text(scale.sizes()),
         shape_text(codes.sizes()));
  const at::Tensor factor = scale.dim() == 1 && codes.dim() == 2 ? scale.unsqueeze(1) : scale;
  at::Tensor weight = codes.to(at::kFloat) * factor;
  if (layer.side("zero_point")) weight = weight + model::load(*layer.side("zero_point")).to(at::kFloat);
  if (is_transposed(codes.sizes().vec(), scale.sizes().vec())) weight = weight.t();
  weight = weight.reshape(layer.plain_shape);
  if (!layer.side("svd_up")) return weight.contiguous();
  at::Tensor up = model::load(*layer.side("svd_up")).to(at::kFloat),
             down = model::load(required_side(layer, "svd_down")).to(at::kFloat);
  if (up.size(0) != weight.size(0)) up = up.t(), down = down.t();
  return weight + at::mm(up, down).reshape(weight.sizes());
}

}  // namespace ctq::quantized
