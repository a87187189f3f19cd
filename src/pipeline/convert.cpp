#include "ctq/pipeline/convert.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/format/codec.h"
#include "ctq/linalg/tiles.h"
#include "ctq/model/stored_type.h"
#include "ctq/transform/smoothing.h"
#include "layer_rounding.h"
#include "memory.h"
#include "output_set.h"
#include "read_ahead.h"
#include "write_behind.h"

namespace ctq::pipeline {
namespace {

using plan::Decision;
using plan::TensorPlan;
using Clock = std::chrono::steady_clock;

constexpr float kLargestHalf = 65504.0f;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// Why a weight cannot be quantized as planned because of its values; empty when it can. Reads the whole
/// weight.
std::string value_finding(const TensorPlan& tensor) {
  const linalg::Extent extent = linalg::extent(model::load(*tensor.source));
  if (!extent.finite())
    return fmt::format("{} NaN and {} infinite values", extent.nan_count, extent.inf_count);
  if (tensor.decision == Decision::kCast && extent.amax > kLargestHalf) {
    return fmt::format("largest magnitude {:.6g} is beyond float16's {}", extent.amax, kLargestHalf);
  }
  return "";
}

bool is_float_vector(const TensorPlan& tensor) {
  using safetensors::Dtype;
  const safetensors::TensorInfo& info = *tensor.source->info;
  return info.shape.size() == 1 && (info.dtype == Dtype::kF32 || info.dtype == Dtype::kF16 ||
                                    info.dtype == Dtype::kBF16 || info.dtype == Dtype::kF64);
}

/// The bias that belongs to a weight; null when there is none.
const TensorPlan* bias_of(const plan::Plan& plan, const TensorPlan& weight) {
  const TensorPlan* bias = plan.find(fmt::format("{}.bias", weight.source->layer()));
  const bool fits = bias && bias->decision == Decision::kKeep && is_float_vector(*bias) &&
                    bias->source->info->shape[0] == weight.source->info->shape[0];
  return fits ? bias : nullptr;
}

/// What the layer's output loses on average by the change of its weight: -E mean(x). [out_features] float64.
at::Tensor bias_change(const at::Tensor& weight, const at::Tensor& decoded, const at::Tensor& mean) {
  return -(decoded - weight).to(at::kDouble).mul_(mean).sum(1).cpu();
}

/// Tensors in the order of their bytes: reading is sequential, writing goes to known offsets anyway. Biases
/// that may be corrected come last, when their weights have been rounded.
std::vector<const TensorPlan*> in_reading_order(const plan::Plan& plan, bool biases_last) {
  std::vector<const TensorPlan*> order;
  std::set<const TensorPlan*> last;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kRemove) order.push_back(&tensor);
    if (biases_last && tensor.decision == Decision::kQuantize) last.insert(bias_of(plan, tensor));
  }
  std::ranges::sort(order, {}, [&](const TensorPlan* tensor) {
    return std::tuple<bool, std::string_view, uint64_t>(last.contains(tensor), tensor->source->file->path(),
                                                        tensor->source->info->begin);
  });
  return order;
}

/// Nothing where the run does not smooth.
std::optional<transform::Smoothing> make_smoothing(const model::Checkpoint& checkpoint,
                                                   const plan::Plan& plan, const RunOptions& options) {
  if (!options.smoothquant_alpha) return std::nullopt;
  const auto quantized = [&](std::string_view layer) { return plan.quantizes(layer); };
  TORCH_INTERNAL_ASSERT(options.recording);
  return std::make_optional<transform::Smoothing>(checkpoint, *options.recording, *options.smoothquant_alpha,
                                                  quantized, options.device);
}

/// One pass over a plan.
class Run {
 public:
  Run(const model::Checkpoint& checkpoint, const plan::Plan& plan, const RunOptions& options, Events& events)
      : plan_(plan),
        options_(options),
        events_(events),
        smoothing_(make_smoothing(checkpoint, plan, options)),
        rounding_(checkpoint, options, smoothing_ ? &*smoothing_ : nullptr),
        outputs_(plan, options.output),
        writes_(options.byte_budget) {}

  /// False when a weight turned out not to be quantizable: the run is then worthless.
  bool carry_out(Result& result) {
    const std::vector<const TensorPlan*> order =
        in_reading_order(plan_, options_.bias_correction != BiasCorrection::kNone);
    ReadAhead read_ahead(order, options_.byte_budget);
    uint64_t total = 0;
    for (const TensorPlan* tensor : order) total += tensor->bytes_in();
    uint64_t done = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      throw_if_cancelled();
      read_ahead.advance(i);
      const Clock::time_point start = Clock::now();
      TensorDone event;
      event.tensor = order[i], event.index = i + 1, event.count = order.size(), event.bytes_total = total;
      if (!convert_tensor(*order[i], event)) return false;
      event.seconds = seconds_since(start);
      event.bytes_done = done += order[i]->bytes_in();
      if (event.error)
        result.quality.push_back({order[i]->source->name(), order[i]->target.label(), *event.error,
                                  event.optimized, event.seconds});
      if (event.optimized) {
        ++result.optimized;
        if (event.optimized->guarded) ++result.guarded;
      }
      events_.tensor_done(event);
    }
    writes_.drain();
    throw_if_cancelled();
    result.biases_corrected = biases_corrected_;
    result.smoothed_inputs = smoothing_ ? smoothing_->inputs() : 0;
    result.written = outputs_.commit();
    return true;
  }

 private:
  bool convert_tensor(const TensorPlan& tensor, TensorDone& event) {
    switch (tensor.decision) {
      case Decision::kKeep:
        if (const auto found = bias_changes_.find(&tensor); found != bias_changes_.end())
          return correct_bias(tensor, found->second);
        if (is_smoothed(tensor)) return keep_smoothed(tensor);
        if (tensor.source->computed) return keep_computed(tensor);
        writes_.add(0, [this, source = tensor.source] {
          outputs_.copy(*source);
          source->file->release(*source->info);
        });
        return true;
      case Decision::kCast: return cast(tensor);
      case Decision::kQuantize: return quantize(tensor, event);
      case Decision::kRemove: return true;
    }
    return true;
  }

  bool is_smoothed(const TensorPlan& tensor) const {
    return smoothing_ && smoothing_->changes(*tensor.source);
  }

  /// On the run's device.
  at::Tensor values_of(const TensorPlan& tensor) const {
    const at::Tensor values = model::load(*tensor.source).to(options_.device);
    return is_smoothed(tensor) ? smoothing_->apply(*tensor.source, values) : values;
  }

  bool keep_smoothed(const TensorPlan& tensor) {
    const at::Tensor values = values_of(tensor).to(model::scalar_type(*tensor.source->info)).cpu();
    if (!values.isfinite().all().item<bool>())
      fail(ErrorCode::kFailure,
           "tensor '{}': a factor of SmoothQuant carries it beyond its type; lower --smoothquant-alpha",
           printable(tensor.source->name()));
    write_kept(tensor, values);
    return true;
  }

  /// A decoded or merged tensor that stays unquantized, in the type that it had.
  bool keep_computed(const TensorPlan& tensor) {
    write_kept(tensor, model::in_stored_type(*tensor.source, model::load(*tensor.source)));
    return true;
  }

  void write_kept(const TensorPlan& tensor, const at::Tensor& values) {
    tensor.source->file->release(*tensor.source->info);
    writes_.add(values.nbytes(),
                [this, &tensor, values] { outputs_.write(tensor.source->name(), bytes_of(values)); });
  }

  bool cast(const TensorPlan& tensor) {
    if (!value_finding(tensor).empty()) return false;
    store(tensor, {values_of(tensor).to(at::kHalf).cpu()});
    return true;
  }

  bool quantize(const TensorPlan& tensor, TensorDone& event) {
    try {
      const at::Tensor weight = values_of(tensor);
      auto outcome = rounding_.round(tensor, weight);
      if (!outcome) return false;
      const format::Encoded& encoded = outcome->encoded;
      event.optimized = std::move(outcome->optimized);
      const TensorPlan* bias = bias_of(plan_, tensor);
      const at::Tensor mean = bias ? rounding_.input_mean(tensor) : at::Tensor();
      if (options_.measure_quality || mean.defined()) {
        const at::Tensor decoded = format::decode(encoded);
        if (options_.measure_quality) event.error = metrics::weight_error(weight, decoded);
        if (mean.defined()) bias_changes_[bias] = bias_change(weight, decoded, mean);
      }
      std::vector<at::Tensor> stored = format::pack(encoded);
      for (at::Tensor& part : stored) part = part.cpu();
      store(tensor, std::move(stored));
    } catch (const c10::OutOfMemoryError&) {
      fail(ErrorCode::kFailure, "tensor '{}': not enough memory on {}; use --device cpu",
           printable(tensor.source->name()), options_.device.str());
    }
    return true;
  }

  bool correct_bias(const TensorPlan& tensor, const at::Tensor& change) {
    const at::ScalarType type = model::scalar_type(*tensor.source->info);
    const at::Tensor bias = values_of(tensor).cpu();
    const at::Tensor corrected = (bias.to(at::kDouble) + change).to(type);
    const bool usable = corrected.isfinite().all().item<bool>();
    if (usable) ++biases_corrected_;
    write_kept(tensor, usable ? corrected : bias.to(type, /*non_blocking=*/false, /*copy=*/true));
    return true;
  }

  /// Hands finished tensors to the writing thread, in the order of the plan's outputs.
  void store(const TensorPlan& tensor, std::vector<at::Tensor> tensors) {
    TORCH_INTERNAL_ASSERT(tensors.size() == tensor.outputs.size());
    tensor.source->file->release(*tensor.source->info);
    uint64_t bytes = 0;
    for (const at::Tensor& stored : tensors) bytes += stored.nbytes();
    writes_.add(bytes, [this, &tensor, tensors = std::move(tensors)] {
      for (size_t i = 0; i < tensors.size(); ++i)
        outputs_.write(tensor.outputs[i].name, bytes_of(tensors[i]));
    });
  }

  const plan::Plan& plan_;
  const RunOptions& options_;
  Events& events_;
  std::optional<transform::Smoothing> smoothing_;
  LayerRounding rounding_;
  std::map<const TensorPlan*, at::Tensor> bias_changes_;  ///< by the bias's plan, [out_features] float64
  size_t biases_corrected_ = 0;
  OutputSet outputs_;
  WriteBehind writes_;
};

/// Values are only seen while reading, after the header is written: the first surprise has all weights looked
/// at, once.
plan::ValueFindings look_at_values(const plan::Plan& plan) {
  plan::ValueFindings findings;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize && tensor.decision != Decision::kCast) continue;
    throw_if_cancelled();
    if (std::string finding = value_finding(tensor); !finding.empty())
      findings[tensor.source->name()] = std::move(finding);
    tensor.source->file->release(*tensor.source->info);
  }
  return findings;
}

}  // namespace

Result convert(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
               Events& events) {
  const Clock::time_point start = Clock::now();
  MemoryWatch memory;
  const std::string name = std::filesystem::path(run.output).filename().string();
  Result result;
  result.plan = plan::make_plan(checkpoint, options, name);
  events.started(result.plan, run);
  bool done = Run(checkpoint, result.plan, run, events).carry_out(result);
  if (!done) {
    result.findings = look_at_values(result.plan);
    if (run.strict && !result.findings.empty()) {
      const auto& [tensor, finding] = *result.findings.begin();
      fail(ErrorCode::kFailure, "tensor '{}' has {} (--strict); without --strict it is copied unquantized",
           printable(tensor), finding);
    }
    events.restarted(result.findings);
    result.quality.clear();
    result.optimized = result.guarded = 0;
    result.plan = plan::make_plan(checkpoint, options, name, result.findings);
    done = Run(checkpoint, result.plan, run, events).carry_out(result);
  }
  if (!done) fail(ErrorCode::kFailure, "{}: the file changed while it was read", checkpoint.path());
  std::ranges::sort(result.quality, {}, &LayerError::name);
  result.seconds = seconds_since(start);
  result.peak_memory_bytes = memory.peak();
  return result;
}

}  // namespace ctq::pipeline
