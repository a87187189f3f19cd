#include "lora/extract.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "linalg/svd.h"
#include "model/layer_names.h"
#include "quantized/decode.h"
#include "rewrite/output.h"

namespace ctq::lora {
namespace {

using quantized::Layer;
using quantized::QuantizedFile;

constexpr uint64_t kSeed = 0;  // of the randomized SVD: the same files give the same adapter

/// The first number between dots, "blocks.3.attn" -> 3.
std::optional<int64_t> block_index(std::string_view name) {
  for (size_t at = name.find('.'); at != std::string_view::npos; at = name.find('.', at + 1)) {
    const std::string_view rest = name.substr(at + 1);
    int64_t index = 0;
    const auto [end, fault] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
    if (fault == std::errc() && end != rest.data() + rest.size() && *end == '.' && index >= 0) return index;
  }
  return std::nullopt;
}

at::ScalarType scalar_type(safetensors::Dtype dtype) {
  if (dtype == safetensors::Dtype::kF16) return at::kHalf;
  return dtype == safetensors::Dtype::kBF16 ? at::kBFloat16 : at::kFloat;
}

std::string bytes_of(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

double frobenius(const at::Tensor& tensor) { return tensor.square().sum(at::kDouble).sqrt().item<double>(); }

/// The two factors of the error of one layer, and what they leave of it.
///
/// input_factors  undefined, or what a loader multiplies the layer's input by: what comes of it meets the
///                sum of codes and adapter
Extracted add_layer(rewrite::Output& output, const std::string& name, const at::Tensor& weight,
                    const at::Tensor& decoded, const at::Tensor& input_factors,
                    const ExtractOptions& options) {
  const at::Tensor error = weight - decoded;
  const int64_t rank = std::min({options.rank, error.size(0), error.size(1)});
  at::Generator generator = at::detail::createCPUGenerator(kSeed);
  const linalg::LowRank factors = linalg::randomized_svd(error, rank, generator);
  const at::Tensor up = (factors.u * factors.s).to(scalar_type(options.dtype)),
                   down = (input_factors.defined() ? factors.v.t() / input_factors : factors.v.t())
                              .to(scalar_type(options.dtype));
  const std::string stem = adapter_name(name);
  output.put(stem + ".lora_up.weight", options.dtype, up.sizes().vec(), bytes_of(up));
  output.put(stem + ".lora_down.weight", options.dtype, down.sizes().vec(), bytes_of(down));
  const at::Tensor added = up.to(at::kFloat).mm(down.to(at::kFloat)),
                   effective = input_factors.defined() ? added * input_factors : added;
  const double whole = std::max(frobenius(weight), 1e-300);
  return {.layer = name,
          .rank = rank,
          .error_before = frobenius(error) / whole,
          .error_after = frobenius(error - effective) / whole};
}

}  // namespace

bool wants(const ExtractOptions& options, const std::string& tensor, int64_t out_features,
           int64_t in_features) {
  if (options.always && options.always(tensor)) return true;
  const auto index = block_index(tensor);
  if (!index || *index >= options.depth) return false;
  const double ratio = static_cast<double>(std::max(out_features, in_features)) /
                       static_cast<double>(std::max<int64_t>(std::min(out_features, in_features), 1));
  if (options.aspect_threshold > 0) return ratio < options.aspect_threshold;
  if (ratio < 3) return true;
  if (ratio > 4) return false;
  const bool attention =
      std::ranges::any_of(std::initializer_list<std::string_view>{"qkv", "attn", "proj"},
                          [&](std::string_view part) { return tensor.find(part) != std::string::npos; });
  return *index == 0 || attention;
}

std::string adapter_name(std::string_view layer) {
  constexpr std::string_view kPrefix = "diffusion_model.";
  layer.remove_prefix(model::model_prefix(layer).size());
  if (layer.starts_with(kPrefix)) return std::string(layer);
  return std::string(kPrefix) + std::string(layer);
}

std::vector<Extracted> extract(const QuantizedFile& original, const QuantizedFile& quantized,
                               const ExtractOptions& options, const std::string& path) {
  std::vector<Extracted> done;
  rewrite::Output output;
  for (const Layer& layer : quantized.layers) {
    throw_if_cancelled();
    const std::vector<int64_t> shape = layer.shape();
    if (!layer.has_codes() || shape.size() != 2 || layer.weight->layer().empty()) continue;
    if (!wants(options, layer.weight->name(), shape[0], shape[1])) continue;
    const auto* entry = original.checkpoint->find(layer.weight->name());
    if (!entry || quantized::shape_of(original, *entry) != shape) {
      fail(ErrorCode::kBadInput, "{}: has no weight '{}' of shape {}", original.checkpoint->path(),
           printable(layer.weight->name()), shape_text(shape));
    }
    const at::Tensor weight = quantized::load(original, *entry).to(at::kFloat);
    done.push_back(add_layer(output, layer.name, weight, quantized::decode(quantized, layer),
                             quantized::input_factors(layer), options));
    entry->file->release(*entry->info);
    layer.weight->file->release(*layer.weight->info);
  }
  if (done.empty()) {
    fail(ErrorCode::kFailure,
         "{}: no quantized layer is covered; raise --lora-depth or name layers with --lora-target",
         quantized.checkpoint->path());
  }
  output.write(path, {{"format", "pt"}});
  return done;
}

}  // namespace ctq::lora
