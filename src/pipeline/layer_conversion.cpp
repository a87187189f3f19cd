#include "layer_conversion.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <ATen/ATen.h>

#include "bank.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "format/bank.h"
#include "format/codec.h"
#include "linalg/tiles.h"
#include "metrics/error_sum.h"
#include "model/stored_type.h"
#include "sampled_error.h"
#include "value_findings.h"

namespace ctq::pipeline {
namespace {

using plan::Decision;
using plan::TensorPlan;
using Clock = std::chrono::steady_clock;

using Infos = std::set<const safetensors::TensorInfo*>;

Infos infos_of(const plan::Plan& plan) {
  Infos infos;
  for (const TensorPlan& tensor : plan.tensors) infos.insert(tensor.source->info);
  return infos;
}

/// Of every weight whose module ("blocks.0.attn" of "blocks.0.attn.to_q.weight") holds several that get one
/// scale: the largest magnitude of them all. Reads the weights of modules of which the part has one.
std::map<std::string_view, float> largest_of_modules(const plan::Plan& whole, const plan::Plan& part) {
  std::map<std::string_view, std::vector<const TensorPlan*>> modules;
  for (const TensorPlan& tensor : whole.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    if (tensor.target.codec->granularity != format::Granularity::kTensor) continue;
    const std::string_view layer = tensor.source->layer();
    if (const size_t dot = layer.rfind('.'); dot != std::string_view::npos)
      modules[layer.substr(0, dot)].push_back(&tensor);
  }
  const Infos converted = infos_of(part);
  const auto is_converted = [&](const TensorPlan* weight) {
    return converted.contains(weight->source->info);
  };
  std::map<std::string_view, float> largest;
  for (const auto& [module, weights] : modules) {
    if (weights.size() < 2 || std::ranges::none_of(weights, is_converted)) continue;
    float of_all = 0;
    for (const TensorPlan* weight : weights) {
      throw_if_cancelled();
      of_all = std::max(of_all, linalg::extent(model::load(*weight->source)).amax);
    }
    for (const TensorPlan* weight : weights) largest[weight->source->name()] = of_all;
  }
  return largest;
}

/// Nothing where the run does not smooth.
std::optional<transform::Smoothing> make_smoothing(const model::Checkpoint& checkpoint,
                                                   const plan::Plan& whole, const plan::Plan& part,
                                                   const RunOptions& options) {
  if (!options.smoothquant_alpha) return std::nullopt;
  const auto quantized = [&](std::string_view layer) { return whole.quantizes(layer); };
  const calibrate::InputRanges ranges(checkpoint, options.recording);
  transform::StoredFactors stored;
  const Infos converted = infos_of(part);
  for (const TensorPlan& tensor : part.tensors) {
    if (!tensor.scales_input) continue;
    const std::string layer(tensor.source->layer());
    stored.emplace(layer, options.input_factors.at(layer));
  }
  return std::make_optional<transform::Smoothing>(
      checkpoint, ranges, *options.smoothquant_alpha, quantized, options.device, stored,
      [&](const auto& entry) { return converted.contains(entry.info); });
}

/// What the layer's output loses on average by the change of its weight: -E mean(x). [out_features] float64.
at::Tensor bias_change(const at::Tensor& weight, const at::Tensor& decoded, const at::Tensor& mean) {
  return -(decoded - weight).to(at::kDouble).mul_(mean).sum(1).cpu();
}

}  // namespace

LayerConversion::LayerConversion(const model::Checkpoint& checkpoint, const plan::Plan& whole,
                                 const plan::Plan& part, const RunOptions& options)
    : options_(options),
      smoothing_(make_smoothing(checkpoint, whole, part, options)),
      rounding_(checkpoint, options, smoothing_ ? &*smoothing_ : nullptr),
      placement_(options.device, options.memory) {
  if (options.shared_scales) shared_largest_ = largest_of_modules(whole, part);
  if (options.time_budget) budget_.emplace(*options.time_budget, options, rounding_);
}

LayerOutcome LayerConversion::quantize(const TensorPlan& tensor, bool has_bias) {
  const LayerMethods::Choice method = rounding_.methods().choice(tensor);
  const LayerWork work = layer_work(tensor, method, options_, options_.device);
  return placement_.in_room(tensor, work, [&](const Place& place) { return run({tensor, has_bias, place}); });
}

LayerOutcome LayerConversion::run(const Job& job) {
  const TensorPlan& tensor = job.tensor;
  const Clock::time_point start = Clock::now();
  const at::Tensor weight = values_of(tensor, job.place.device);
  const LayerRounding::Bounds bounds{.layer_bytes = job.place.layer_bytes, .largest = shared_largest(tensor)};
  auto rounded = budget_ ? budget_->round(tensor, weight, bounds) : rounding_.round(tensor, weight, bounds);
  if (!rounded) return Unfit{no_encoding_fault(weight)};
  if (std::string fault = encoding_fault(weight, rounded->encoded); !fault.empty())
    return Unfit{std::move(fault)};
  Converted done{.stored = {}, .record = judged(job, weight, rounded->encoded)};
  done.record.optimized = std::move(rounded->optimized);
  done.stored = packed(tensor, rounded->encoded);
  done.record.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return done;
}

/// Error and histograms of what is stored, and what its bias has to make up for.
DoneRecord LayerConversion::judged(const Job& job, const at::Tensor& weight,
                                   const std::vector<format::Encoded>& encoded) {
  DoneRecord record;
  const TensorPlan& tensor = job.tensor;
  const at::Tensor mean = job.has_bias ? rounding_.input_mean(tensor) : at::Tensor();
  const std::vector<at::Tensor> matrices = matrices_of(weight);
  // Factors of the input belong to the weight that the layer stands for.
  const at::Tensor factors =
      tensor.scales_input ? input_factors(tensor).to(weight.device()).to(at::kFloat) : at::Tensor();
  if (!options_.measure_quality) record.squares = sampled_squares(matrices, encoded, factors);
  if (!options_.measure_quality && !mean.defined()) return record;
  const auto of_layer = [&](const at::Tensor& codes) { return factors.defined() ? codes * factors : codes; };
  metrics::WeightErrorSum error;
  std::vector<at::Tensor> counted;
  for (size_t i = 0; i < matrices.size(); ++i) {
    const at::Tensor decoded = format::decode(encoded[i]);
    if (options_.measure_quality) {
      const at::Tensor stored = of_layer(decoded);
      error.add(of_layer(matrices[i]), stored);
      if (options_.count_values) counted.push_back(stored);
    }
    if (mean.defined()) record.bias_change = bias_change(matrices[i], decoded, mean);
  }
  if (options_.measure_quality) record.error = error.error(), record.squares = error.squares();
  if (counted.empty()) return record;
  const at::Tensor decoded = counted.size() > 1 ? at::stack(counted) : counted.front().view(weight.sizes());
  record.histograms = metrics::weight_histograms(of_layer(weight), decoded);
  return record;
}

std::vector<at::Tensor> LayerConversion::packed(const TensorPlan& tensor,
                                                const std::vector<format::Encoded>& encoded) const {
  std::vector<at::Tensor> stored;
  try {
    stored =
        tensor.source->info->shape.size() == 3 ? format::pack_bank(encoded) : format::pack(encoded.front());
  } catch (const Error& error) {
    fail(error.code(), "tensor '{}': {}", printable(tensor.source->name()), error.what());
  }
  if (tensor.scales_input) stored.push_back(input_factors(tensor));
  if (tensor.copies_scale) stored.push_back(encoded.front().scales.to(at::kFloat).clone());
  for (at::Tensor& part : stored) part = part.cpu();
  return stored;
}

LayerOutcome LayerConversion::cast(const TensorPlan& tensor) {
  if (std::string finding = value_finding(tensor, options_.optimizer.quip_seed); !finding.empty())
    return Unfit{std::move(finding)};
  const at::ScalarType type = model::scalar_type(tensor.outputs.front());
  return Converted{.stored = {values_on_cpu(tensor).to(type)}, .record = {}};
}

std::optional<at::Tensor> LayerConversion::kept(const TensorPlan& tensor) const {
  if (is_smoothed(tensor)) {
    at::Tensor values = values_on_cpu(tensor).to(model::scalar_type(*tensor.source->info));
    if (!values.isfinite().all().item<bool>())
      fail(ErrorCode::kFailure,
           "tensor '{}': a factor of SmoothQuant carries it beyond its type; lower --smoothquant-alpha",
           printable(tensor.source->name()));
    return values;
  }
  if (!tensor.source->computed) return std::nullopt;
  return model::in_stored_type(*tensor.source, model::load(*tensor.source));
}

at::Tensor LayerConversion::corrected_bias(const TensorPlan& tensor, const at::Tensor& change,
                                           bool& usable) const {
  const at::ScalarType type = model::scalar_type(*tensor.source->info);
  const at::Tensor bias = values_on_cpu(tensor);
  const at::Tensor corrected = (bias.to(at::kDouble) + change).to(type);
  usable = corrected.isfinite().all().item<bool>();
  return usable ? corrected : bias.to(type, /*non_blocking=*/false, /*copy=*/true);
}

std::variant<double, Unfit> LayerConversion::nearest_error(const TensorPlan& tensor) {
  const LayerWork work = layer_work(tensor, rounding_.methods().choice(tensor), options_, options_.device);
  return placement_.in_room(tensor, work, [&](const Place& place) -> std::variant<double, Unfit> {
    const at::Tensor weight = values_of(tensor, place.device);
    auto nearest = rounding_.nearest(tensor, weight, shared_largest(tensor));
    if (!nearest) return Unfit{no_encoding_fault(weight)};
    return rounding_.error(tensor, weight, {std::move(*nearest), std::nullopt});
  });
}

bool LayerConversion::is_smoothed(const TensorPlan& tensor) const {
  return smoothing_ && smoothing_->changes(*tensor.source);
}

at::Tensor LayerConversion::values_of(const TensorPlan& tensor, at::Device device) const {
  const at::Tensor values = model::load(*tensor.source).to(device);
  return is_smoothed(tensor) ? smoothing_->apply(*tensor.source, values) : values;
}

/// For what the CPU does as fast as it could send the tensor elsewhere.
at::Tensor LayerConversion::values_on_cpu(const TensorPlan& tensor) const {
  return values_of(tensor, at::kCPU);
}

/// 0 where the weight shares no scale with others.
float LayerConversion::shared_largest(const TensorPlan& tensor) const {
  const auto shared = shared_largest_.find(tensor.source->name());
  return shared == shared_largest_.end() ? 0 : shared->second;
}

/// What loaders multiply the layer's input by, [in_features] as stored.
const at::Tensor& LayerConversion::input_factors(const TensorPlan& tensor) const {
  return options_.input_factors.find(tensor.source->layer())->second;
}

}  // namespace ctq::pipeline
