#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "error_json.h"
#include "report/file_report.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using verify::Differences;
using verify::LayerError;

/// All measured weights as one.
struct Total {
  double weight_rel = 0, sqnr_db = INFINITY;
};

Total total_of(const Differences& differences) {
  double noise = 0, signal = 0;
  for (const LayerError& layer : differences.layers) {
    const double layer_noise = layer.error.mse * static_cast<double>(layer.error.numel);
    noise += layer_noise;
    // An exact layer tells nothing of its norm here.
    if (layer.error.weight_rel > 0) signal += layer_noise / (layer.error.weight_rel * layer.error.weight_rel);
  }
  if (noise == 0) return {};
  return {.weight_rel = std::sqrt(noise / signal), .sqnr_db = 10 * std::log10(signal / noise)};
}

std::string row(const LayerError& layer, double threshold_db) {
  const metrics::WeightError& e = layer.error;
  return fmt::format("{:<50} {:<24} {:>9.2f} {:>11.6f} {:>12.4g} {:>11.4g}{}\n", printable(layer.name, 50),
                     printable(layer.format, 24), e.sqnr_db, e.weight_rel, e.mse, e.max_error,
                     is_below(layer.error, threshold_db) ? "  <" : "");
}

}  // namespace

size_t count_below(const Differences& differences, double threshold_db) {
  return static_cast<size_t>(std::ranges::count_if(
      differences.layers, [&](const LayerError& layer) { return is_below(layer.error, threshold_db); }));
}

std::string comparison_text(const std::string& original, const std::vector<Comparison>& files, size_t worst,
                            double threshold_db) {
  std::string text;
  for (const Comparison& file : files) {
    std::vector<LayerError> layers = file.differences.layers;
    std::ranges::stable_sort(layers, {}, [](const LayerError& layer) {
      return std::isnan(layer.error.sqnr_db) ? -INFINITY : layer.error.sqnr_db;
    });
    text += fmt::format("{} against {}\n{:<50} {:<24} {:>9} {:>11} {:>12} {:>11}\n", printable(file.path),
                        printable(original),
                        layers.size() > worst ? fmt::format("the {} worst layers", worst) : "layer", "format",
                        "SQNR dB", "weight_rel", "MSE", "max error");
    for (size_t i = 0; i < std::min(worst, layers.size()); ++i) text += row(layers[i], threshold_db);
    const Total total = total_of(file.differences);
    text += fmt::format("{} layers, all weights together: SQNR {:.2f} dB, weight_rel {:.6f}\n", layers.size(),
                        total.sqnr_db, total.weight_rel);
    for (const verify::Finding& finding : file.differences.findings)
      text += fmt::format("{}{}: {}\n", finding.refused ? "" : "remark: ", printable(finding.subject),
                          finding.text);
  }
  return text;
}

std::string comparison_json(const std::string& original, const std::vector<Comparison>& files,
                            double threshold_db) {
  ordered_json json = {
      {"original", original}, {"threshold_db", number(threshold_db)}, {"files", ordered_json::array()}};
  for (const Comparison& file : files) {
    ordered_json entry = {
        {"path", file.path}, {"layers", ordered_json::array()}, {"findings", ordered_json::array()}};
    for (const LayerError& layer : file.differences.layers) {
      entry["layers"].push_back(error_json(layer.name, layer.format, layer.error));
    }
    for (const verify::Finding& finding : file.differences.findings)
      entry["findings"].push_back(
          {{"subject", finding.subject}, {"text", finding.text}, {"wrong", finding.refused}});
    const Total total = total_of(file.differences);
    entry["totals"] = {{"layers", file.differences.layers.size()},
                       {"below_threshold", count_below(file.differences, threshold_db)},
                       {"sqnr_db", number(total.sqnr_db)},
                       {"weight_rel", number(total.weight_rel)}};
    json["files"].push_back(std::move(entry));
  }
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::report
