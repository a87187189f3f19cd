// bitsandbytes: NF4 and FP4 with scales of runs, which may be codes themselves, and LLM.int8.
#include <algorithm>

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

constexpr uint64_t kMaxStateBytes = 64 << 10;

/// What `quant_state` says.
struct State {
  std::vector<int64_t> shape;
  int64_t block = 64, nested_block = 256;
  float nested_offset = 0;
  std::string type;
};

State parse_state(const Entry& entry) {
  const nlohmann::json value =
      entry.info->bytes() > kMaxStateBytes
          ? nlohmann::json()
          : nlohmann::json::parse(text_of(entry), nullptr, /*allow_exceptions=*/false);
  const nlohmann::json shape = value.is_object() ? value.value("shape", nlohmann::json()) : nlohmann::json();
  const bool sound = shape.is_array() && std::ranges::all_of(shape, [](const nlohmann::json& size) {
                       return size.is_number_integer() && size > 0;
                     });
  if (!sound || shape.empty()) fail(ErrorCode::kBadInput, "its quant_state gives no shape");
  State state;
  state.shape = shape.get<std::vector<int64_t>>();
  const auto integer = [&](const char* key, int64_t otherwise) {
    const auto found = value.find(key);
    return found != value.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
  };
  state.block = integer("blocksize", 64);
  state.nested_block = integer("nested_blocksize", 256);
  if (state.block < 1 || state.nested_block < 1) fail(ErrorCode::kBadInput, "its quant_state gives no block");
  const auto offset = value.find("nested_offset");
  if (offset != value.end() && offset->is_number()) state.nested_offset = offset->get<float>();
  const auto type = value.find("dtype");
  if (type != value.end() && type->is_string()) state.type = type->get<std::string>();
  return state;
}

int64_t product(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (count > (int64_t{1} << 48) / size)
      fail(ErrorCode::kBadInput, "its quant_state gives no possible shape");
    count *= size;
  }
  return count;
}

/// Values of a table at codes, times scales of runs of a flat tensor.
at::Tensor in_blocks(const at::Tensor& values, const at::Tensor& scales, int64_t block, const char* what) {
  const int64_t count = values.numel();
  if (scales.numel() != (count + block - 1) / block)
    fail(ErrorCode::kBadInput, "{} has {} elements for {} codes in runs of {}", what, scales.numel(), count,
         block);
  return values * scales.reshape({-1}).repeat_interleave(block).narrow(0, 0, count);
}

at::Tensor absmax_of(const Layer& layer, const State& state) {
  const Entry& absmax = required_side(layer, "weight.absmax");
  if (absmax.info->dtype != Dtype::kU8) return model::load(absmax).to(at::kFloat);
  const at::Tensor table = model::load(required_side(layer, "weight.nested_quant_map")).to(at::kFloat);
  const at::Tensor scales = model::load(required_side(layer, "weight.nested_absmax")).to(at::kFloat);
  if (table.numel() != 256) fail(ErrorCode::kBadInput, "nested_quant_map has {} elements", table.numel());
  const at::Tensor values = table.index({model::load_bytes(absmax).reshape({-1}).to(at::kLong)});
  return in_blocks(values, scales, state.nested_block, "nested_absmax") + state.nested_offset;
}

std::string_view state_role(const Layer& layer) {
  return layer.side("weight.quant_state.bitsandbytes__nf4") ? "weight.quant_state.bitsandbytes__nf4"
                                                            : "weight.quant_state.bitsandbytes__fp4";
}

at::Tensor decode_four_bits(const Layer& layer) {
  const State state = parse_state(required_side(layer, state_role(layer)));
  const int64_t count = product(state.shape);
  const at::Tensor bytes = model::load_bytes(*layer.weight).reshape({-1});
  const at::Tensor table = model::load(required_side(layer, "weight.quant_map")).to(at::kFloat);
  if (bytes.numel() != (count + 1) / 2)
    fail(ErrorCode::kBadInput, "{} bytes are not two codes each of {}", bytes.numel(),
         shape_text(state.shape));
  if (table.numel() != 16) fail(ErrorCode::kBadInput, "quant_map has {} elements", table.numel());
  const at::Tensor codes =
      at::stack({bytes.bitwise_right_shift(4), bytes.bitwise_and(15)}, 1).reshape({-1}).narrow(0, 0, count);
  const at::Tensor values = table.reshape({-1}).index_select(0, codes.to(at::kInt));
  return in_blocks(values, absmax_of(layer, state), state.block, "absmax").reshape(state.shape);
}

/// rows: w = q * SCB / 127, as the library's own product.
at::Tensor decode_eight_bits(const Layer& layer) {
  constexpr float kOneOver127 = 7.874015718698502e-3f;
  const at::Tensor codes = model::load(*layer.weight),
                   largest = model::load(*layer.side("SCB")).to(at::kFloat);
  if (codes.dim() != 2 || largest.numel() != codes.size(0))
    fail(ErrorCode::kBadInput, "SCB {} does not fit {}", shape_text(largest.sizes()),
         shape_text(codes.sizes()));
  return (codes.to(at::kFloat) * largest.reshape({-1, 1})).mul_(kOneOver127);
}

void find_four_bits(Search& search, std::string_view format) {
  const std::string suffix = fmt::format(".quant_state.bitsandbytes__{}", format);
  for (const Entry& entry : search.entries()) {
    const std::string tensor(model::without_suffix(entry.name(), suffix));
    const Entry* codes = tensor.empty() ? nullptr : search.find(tensor);
    if (!codes) continue;
    Layer* layer = search.add_foreign(Dialect::kBitsandbytes, *codes, tensor, {});
    if (!layer) continue;
    layer->format = format;
    for (const char* part : {"absmax", "quant_map", "nested_absmax", "nested_quant_map"})
      search.attach(*layer, fmt::format("weight.{}", part), fmt::format("{}.{}", tensor, part));
    search.attach(*layer, fmt::format("weight{}", suffix), entry.name());
    try {
      const State state = parse_state(entry);
      layer->plain_shape = state.shape;
      layer->plain_type = state.type;
    } catch (const Error& error) {
      layer->fault = error.what();
    }
  }
}

}  // namespace

void find_bitsandbytes(Search& search) {
  find_four_bits(search, "nf4");
  find_four_bits(search, "fp4");
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".SCB"));
    const Entry* codes = name.empty() ? nullptr : search.find(name + ".weight");
    if (!codes || codes->info->dtype != Dtype::kI8) continue;
    Layer* layer =
        search.add_foreign(Dialect::kBitsandbytes, *codes, codes->name(), {"SCB", "weight_format"});
    if (!layer) continue;
    layer->format = "int8";
    layer->plain_shape = codes->info->shape;
    // 0: rows; others are orders of tiles for old GPUs.
    const Entry* order = layer->side("weight_format");
    if (order && (order->info->bytes() != 1 || text_of(*order)[0] != 0))
      layer->fault = "its codes lie in the order of a GPU's tiles (weight_format)";
  }
}

at::Tensor decode_bitsandbytes(const QuantizedFile&, const Layer& layer) {
  return layer.format == "int8" ? decode_eight_bits(layer) : decode_four_bits(layer);
}

}  // namespace ctq::quantized
