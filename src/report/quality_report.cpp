#include "report/quality_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "error_json.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using pipeline::LayerError;

constexpr size_t kWorstLayers = 10;
constexpr size_t kSlowestLayers = 5;
constexpr size_t kRuleWidth = 100;

std::string row(const LayerError& layer, double threshold_db) {
  const metrics::WeightError& e = layer.error;
  return fmt::format("{:<50} | {:>12.8f} | {:>9.2f} | {:>10.6f} | {:>9.4f}{}\n", printable(layer.name, 50),
                     e.mse, e.sqnr_db, e.weight_rel, e.max_error, is_below(e, threshold_db) ? "  <" : "");
}

std::string optimizer_row(const LayerError& layer) {
  const pipeline::Optimized& done = *layer.optimized;
  const auto change = [](double before, double after) {
    return before > 0 ? fmt::format("{:>+7.1f} %", 100 * (after / before - 1)) : fmt::format("{:>9}", "-");
  };
  std::string row =
      fmt::format("{:<50} | {:<9} | {:<10} {:>10.4g} {}", printable(layer.name, 50), done.method,
                  done.objective_name, done.objective, change(done.nearest_objective, done.objective));
  row += done.subspace ? fmt::format(" | {:>10.4g} {}", done.subspace->stored,
                                     change(done.subspace->nearest, done.subspace->stored))
                       : fmt::format(" | {:>20}", "-");
  row += done.output ? fmt::format(" | {:>10.4g} {}", done.output->stored,
                                   change(done.output->nearest, done.output->stored))
                     : fmt::format(" | {:>20}", "-");
  return row + fmt::format(" | {:>5} | {:>8}{}\n", done.iterations, human_duration(layer.seconds),
                           done.guarded ? "  guarded" : "");
}

/// What optimizers did, and which layers took longest; empty when none ran.
std::string optimizer_table(const std::vector<LayerError>& layers) {
  std::vector<LayerError> optimized;
  std::ranges::copy_if(layers, std::back_inserter(optimized),
                       [](const LayerError& layer) { return layer.optimized.has_value(); });
  if (optimized.empty()) return "";
  const std::string rule = std::string(kRuleWidth + 45, '-') + "\n";
  std::string text = fmt::format(
      "\nOptimizers (relative; in percent the change from round to nearest)\n{}{:<50} | "
      "{:<9} | {:<31} | {:<20} | {:<20} | {:>5} | {:>8}\n{}",
      rule, "Layer", "method", "objective", "subspace_rel", "output_rel", "iter.", "time", rule);
  for (const LayerError& layer : optimized) text += optimizer_row(layer);
  text += rule;
  double seconds = 0;
  for (const LayerError& layer : optimized) seconds += layer.seconds;
  std::ranges::stable_sort(optimized, std::greater{}, &LayerError::seconds);
  if (optimized.size() > kSlowestLayers) {
    optimized.resize(kSlowestLayers);
    text += "Slowest layers:\n";
    for (const LayerError& layer : optimized) text += optimizer_row(layer);
    text += rule;
  }
  return text + fmt::format("  all layers together: {}\n", human_duration(seconds));
}

}  // namespace

QualitySummary summarize(const std::vector<LayerError>& layers, size_t findings, double threshold_db) {
  QualitySummary summary;
  summary.layers = layers.size() + findings;
  summary.below_threshold = findings;
  double signal = 0, noise = 0, db = 0, weight_rel = 0;
  size_t finite_db = 0, finite_rel = 0;
  for (const LayerError& layer : layers) {
    const metrics::WeightError& e = layer.error;
    if (is_below(e, threshold_db)) ++summary.below_threshold;
    if (std::isfinite(e.sqnr_db)) db += e.sqnr_db, ++finite_db;
    if (!std::isfinite(e.weight_rel)) continue;
    weight_rel += e.weight_rel, ++finite_rel;
    const double layer_noise = e.mse * static_cast<double>(e.numel);
    noise += layer_noise;
    if (e.weight_rel > 0) signal += layer_noise / (e.weight_rel * e.weight_rel);
  }
  summary.mean_sqnr_db = finite_db > 0 ? db / static_cast<double>(finite_db) : 0;
  summary.mean_weight_rel = finite_rel > 0 ? weight_rel / static_cast<double>(finite_rel) : 0;
  summary.total_sqnr_db = noise > 0 ? 10 * std::log10(signal / noise) : INFINITY;
  return summary;
}

std::string quality_table(const pipeline::Result& result, double threshold_db) {
  const std::string rule = std::string(kRuleWidth, '-') + "\n";
  std::string text = "Quantization quality (of the tensors as stored)\n" + rule;
  text += fmt::format("{:<50} | {:>12} | {:>9} | {:>10} | {:>9}\n", "Layer", "MSE", "SQNR (dB)", "weight_rel",
                      "Max Error") +
          rule;
  for (const LayerError& layer : result.quality) text += row(layer, threshold_db);
  for (const auto& [name, reason] : result.findings)
    text += fmt::format("{:<50} | kept unquantized: {}\n", printable(name, 50), reason);
  text += rule;

  std::vector<LayerError> worst = result.quality;
  std::ranges::stable_sort(worst, {}, [](const LayerError& layer) {
    return std::isnan(layer.error.sqnr_db) ? -INFINITY : layer.error.sqnr_db;
  });
  if (worst.size() > kWorstLayers) {
    worst.resize(kWorstLayers);
    text += "Worst layers:\n";
    for (const LayerError& layer : worst) text += row(layer, threshold_db);
    text += rule;
  }
  const QualitySummary summary = summarize(result.quality, result.findings.size(), threshold_db);
  text += "Summary:\n";
  text += fmt::format("  mean SQNR {:.2f} dB, mean weight_rel {:.5f}, all weights together {:.2f} dB\n",
                      summary.mean_sqnr_db, summary.mean_weight_rel, summary.total_sqnr_db);
  text += fmt::format("  Layers below {:.1f} dB: {} / {}\n", threshold_db, summary.below_threshold,
                      summary.layers);
  for (const LayerError& layer : result.quality) {
    if (layer.error.rows_to_zero == 0) continue;
    text +=
        fmt::format("  became zeros: {} rows of {}\n", layer.error.rows_to_zero, printable(layer.name, 50));
  }
  return text + optimizer_table(result.quality);
}

std::string quality_json(const pipeline::Result& result, double threshold_db) {
  ordered_json json = {
      {"threshold_db", threshold_db}, {"layers", ordered_json::array()}, {"kept", ordered_json::array()}};
  for (const LayerError& layer : result.quality) json["layers"].push_back(layer_json(layer));
  for (const auto& [name, reason] : result.findings)
    json["kept"].push_back({{"name", name}, {"reason", reason}});
  const QualitySummary summary = summarize(result.quality, result.findings.size(), threshold_db);
  json["summary"] = {{"layers", summary.layers},
                     {"below_threshold", summary.below_threshold},
                     {"mean_sqnr_db", number(summary.mean_sqnr_db)},
                     {"total_sqnr_db", number(summary.total_sqnr_db)},
                     {"mean_weight_rel", number(summary.mean_weight_rel)}};
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::report
