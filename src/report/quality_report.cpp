#include "ctq/report/quality_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctq/base/text.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using pipeline::LayerError;

constexpr size_t kWorstLayers = 10;
constexpr size_t kRuleWidth = 100;

bool is_below(const metrics::WeightError& error, double threshold_db) {
  return error.non_finite > 0 || !(error.sqnr_db >= threshold_db);
}

std::string row(const LayerError& layer, double threshold_db) {
  const metrics::WeightError& e = layer.error;
  return fmt::format("{:<50} | {:>12.8f} | {:>9.2f} | {:>10.6f} | {:>9.4f}{}\n", printable(layer.name, 50),
                     e.mse, e.sqnr_db, e.weight_rel, e.max_error, is_below(e, threshold_db) ? "  <" : "");
}

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
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
  return text;
}

std::string quality_json(const pipeline::Result& result, double threshold_db) {
  ordered_json json = {
      {"threshold_db", threshold_db}, {"layers", ordered_json::array()}, {"kept", ordered_json::array()}};
  for (const LayerError& layer : result.quality) {
    const metrics::WeightError& e = layer.error;
    json["layers"].push_back({{"name", layer.name},
                              {"format", layer.format},
                              {"numel", e.numel},
                              {"mse", number(e.mse)},
                              {"sqnr_db", number(e.sqnr_db)},
                              {"variance_db", number(e.variance_db)},
                              {"weight_rel", number(e.weight_rel)},
                              {"max_error", number(e.max_error)},
                              {"non_finite", e.non_finite}});
    if (!layer.optimized) continue;
    json["layers"].back()["optimizer"] = {{"method", layer.optimized->method},
                                          {"source", layer.optimized->source},
                                          {"objective_nearest", number(layer.optimized->nearest_objective)},
                                          {"objective", number(layer.optimized->objective)},
                                          {"guarded", layer.optimized->guarded},
                                          {"seconds", layer.seconds}};
  }
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
