// torchao's tensor subclasses, flattened: <layer>._weight_qdata, and the header says of which class.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"
#include "quantized/values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

nlohmann::json class_of(const Search& search, const std::string& tensor) {
  const auto text = search.metadata().find(tensor);
  return text == search.metadata().end()
             ? nlohmann::json()
             : nlohmann::json::parse(text->second, nullptr, /*allow_exceptions=*/false);
}

/// Codes of one byte, not packed, with scales and zero points of runs.
bool is_plain(const std::string& type) {
  return type.empty() || type == "Int8Tensor" || type == "Float8Tensor" || type == "IntxUnpackedToInt8Tensor";
}

void describe(Layer& layer, const nlohmann::json& value) {
  const auto type = value.is_object() ? value.find("_type") : value.end();
  layer.format = type != value.end() && type->is_string() ? type->get<std::string>() : "";
  const auto data = value.is_object() ? value.find("_data") : value.end();
  if (data != value.end() && data->is_object() && data->contains("dtype") && (*data)["dtype"].is_object())
    layer.plain_type = (*data)["dtype"].value("_data", "");
  const Dtype codes = layer.weight->info->dtype;
  if (!layer.fault.empty()) return;
  if (!is_plain(layer.format) || (codes != Dtype::kI8 && !is_fp8(codes)))
    layer.fault = fmt::format("tensors of the class {} are not decoded in this version",
                              layer.format.empty() ? "that is not named" : printable(layer.format));
  else if (!layer.side("scale"))
    layer.fault = "its scale is missing";
}

}  // namespace

void find_torchao(Search& search) {
  for (const Entry& entry : search.entries()) {
    const auto [owner, last] = split_name(entry.name());
    if (!last.starts_with('_') || !last.ends_with("_qdata") || last.size() <= 7) continue;
    const std::string parameter(last.substr(1, last.size() - 7));
    const std::string tensor = owner.empty() ? parameter : fmt::format("{}.{}", owner, parameter);
    Layer* layer = search.add_foreign(Dialect::kTorchao, entry, tensor, {});
    if (!layer) continue;
    const std::string stem = std::string(entry.name()).substr(0, entry.name().size() - 5);
    for (const Entry& part : search.beginning_with(stem))
      search.attach(*layer, std::string_view(part.name()).substr(stem.size()), part.name());
    layer->plain_shape = entry.info->shape;
    describe(*layer, class_of(search, tensor));
  }
}

at::Tensor decode_torchao(const QuantizedFile&, const Layer& layer) {
  const at::Tensor codes = model::load(*layer.weight), scales = load_scales(required_side(layer, "scale"));
  const auto* zeros = layer.side("zero_point");
  const at::Tensor zero = zeros ? model::load(*zeros).to(at::kFloat) : at::Tensor();
  if (codes.dim() != 2) {
    if (scales.dim() != codes.dim() && scales.numel() != 1)
      fail(ErrorCode::kBadInput, "scale {} does not fit {}", shape_text(scales.sizes()),
           shape_text(codes.sizes()));
    const at::Tensor centred = zeros ? codes.to(at::kFloat) - zero : codes.to(at::kFloat);
    return centred * scales;
  }
  const bool blocks = !zeros && scales.dim() == 2 && scales.size(0) != codes.size(0);
  return blocks ? scaled_blocks(codes, scales) : scaled_runs(codes, scales, zero);
}

}  // namespace ctq::quantized
