#include "engine/followed.h"

#include <optional>
#include <string>

#include "engine/conversion.h"
#include "pipeline/format_choice.h"

namespace ctq::engine {
namespace {

ErrorFigures figures_of(const metrics::WeightError& error) {
  return {.numel = error.numel,
          .mse = error.mse,
          .max_error = error.max_error,
          .sqnr_db = error.sqnr_db,
          .weight_rel = error.weight_rel,
          .variance_db = error.variance_db,
          .non_finite = error.non_finite};
}

std::optional<OptimizerFigures> figures_of(const std::optional<pipeline::Optimized>& optimized) {
  if (!optimized) return std::nullopt;
  return OptimizerFigures{.method = optimized->method,
                          .source = optimized->source,
                          .objective_name = optimized->objective_name,
                          .nearest_objective = optimized->nearest_objective,
                          .objective = optimized->objective,
                          .iterations = optimized->iterations,
                          .stopped_by = optimized->stopped_by,
                          .guarded = optimized->guarded,
                          .left_over = optimized->left_over()};
}

/// "int8", "fp16": the word that people choose by.
std::string type_of(const plan::Target& target) {
  if (target.codec) return std::string(target.codec->type);
  return target.plain == safetensors::Dtype::kF16 ? "fp16" : target.label();
}

}  // namespace

std::string_view decision_name(Decision decision) {
  switch (decision) {
    case Decision::kQuantize: return "quantize";
    case Decision::kCast: return "cast";
    case Decision::kKeep: return "keep";
    case Decision::kRemove: return "remove";
  }
  return "";
}

Decision plain_decision(plan::Decision decision) {
  switch (decision) {
    case plan::Decision::kQuantize: return Decision::kQuantize;
    case plan::Decision::kCast: return Decision::kCast;
    case plan::Decision::kKeep: return Decision::kKeep;
    case plan::Decision::kRemove: return Decision::kRemove;
  }
  return Decision::kKeep;
}

std::vector<TensorReason> reasons_of(const plan::ValueFindings& findings) {
  std::vector<TensorReason> reasons;
  for (const auto& [tensor, reason] : findings) reasons.push_back({tensor, reason});
  return reasons;
}

void Followed::measured(const pipeline::MeasuredLayer& layer, size_t index, size_t count) {
  LayerMeasured plain{.tensor = layer.name, .formats = {}, .index = index, .count = count};
  for (const pipeline::MeasuredFormat& format : layer.formats)
    plain.formats.push_back({.label = format.target.label(), .bytes = format.bytes, .error = format.error});
  events_.measured(plain);
}

void Followed::started(const plan::Plan& plan, const pipeline::RunOptions&) {
  events_.started(conversion_.summary(plan));
  conversion_.refuse_unused(plan);
}

void Followed::resumed(const pipeline::Resumed& resumed) {
  events_.resumed({.tensors = resumed.tensors, .count = resumed.count, .bytes_done = resumed.bytes_done});
}

void Followed::ranked(const pipeline::Ranked& ranked) {
  events_.ranked({.layers = ranked.layers,
                  .seconds = ranked.seconds,
                  .largest_error = ranked.largest_error,
                  .largest_of = ranked.largest_of});
}

void Followed::tensor_done(const pipeline::TensorDone& done) {
  const plan::TensorPlan& tensor = *done.tensor;
  TensorDone plain;
  plain.name = tensor.source->name();
  plain.decision = plain_decision(tensor.decision);
  plain.reason = tensor.reason;
  if (tensor.decision != plan::Decision::kKeep) {
    plain.type = type_of(tensor.target);
    plain.label = tensor.target.label();
    plain.format = tensor.target.codec ? std::string(tensor.target.codec->format) : plain.label;
  }
  plain.is_layer = tensor.source->is_matrix() || tensor.candidate || tensor.decision == plan::Decision::kCast;
  plain.fell_back = tensor.shape_fallback;
  plain.index = done.index;
  plain.count = done.count;
  plain.seconds = done.seconds;
  plain.bytes_done = done.bytes_done;
  plain.bytes_total = done.bytes_total;
  if (done.error) plain.error = figures_of(*done.error);
  plain.optimized = figures_of(done.optimized);
  events_.tensor_done(plain);
}

void Followed::restarted(const plan::ValueFindings& findings) { events_.restarted(reasons_of(findings)); }

ConversionResult plain_result(const pipeline::Result& result) {
  const plan::Plan& plan = result.plan;
  ConversionResult plain{.written = result.written,
                         .quantized = plan.count(plan::Decision::kQuantize),
                         .cast = plan.count(plan::Decision::kCast),
                         .kept = plan.count(plan::Decision::kKeep),
                         .removed = plan.count(plan::Decision::kRemove),
                         .bytes_in = plan.bytes_in,
                         .bytes_out = plan.bytes_out,
                         .seconds = result.seconds,
                         .peak_memory_bytes = result.peak_memory_bytes,
                         .unfit = reasons_of(result.findings),
                         .layers = {},
                         .adapter = "",
                         .adapted = {}};
  for (const pipeline::LayerError& layer : result.quality)
    plain.layers.push_back({.name = layer.name,
                            .format = layer.format,
                            .error = figures_of(layer.error),
                            .optimized = figures_of(layer.optimized),
                            .seconds = layer.seconds});
  return plain;
}

}  // namespace ctq::engine
