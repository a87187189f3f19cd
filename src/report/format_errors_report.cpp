#include "report/format_errors_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "error_json.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using pipeline::FormatError;
using pipeline::LayerFormatErrors;

/// All layers in one format.
struct Total {
  size_t layers = 0;
  uint64_t bytes = 0;
  double error_squares = 0;
  double weight_squares = 0;
  double max_error = 0;

  void add(const FormatError& format) {
    const double squares = format.error.mse * static_cast<double>(format.error.numel);
    ++layers, bytes += format.bytes, error_squares += squares;
    if (format.error.weight_rel > 0)
      weight_squares += squares / (format.error.weight_rel * format.error.weight_rel);
    max_error = std::max(max_error, format.error.max_error);
  }
  double sqnr_db() const { return 10 * std::log10(weight_squares / error_squares); }
};

}  // namespace

std::string format_errors_table(const std::vector<LayerFormatErrors>& layers) {
  const std::string rule = std::string(124, '-') + "\n";
  std::string text = fmt::format("{:<50} | {:<32} | {:>12} | {:>8} | {:>10}\n{}", "Layer", "format", "MSE",
                                 "SQNR dB", "max error", rule);
  std::map<std::string, Total> totals;
  for (const LayerFormatErrors& layer : layers) {
    for (const FormatError& format : layer.formats) {
      text +=
          fmt::format("{:<50} | {:<32} | {:>12.4e} | {:>8.2f} | {:>10.6f}\n", printable(layer.name, 50),
                      format.target.label(), format.error.mse, format.error.sqnr_db, format.error.max_error);
      totals[format.target.label()].add(format);
    }
    if (layer.formats.empty())
      text += fmt::format("{:<50} | none fits, or it is not finite\n", printable(layer.name, 50));
  }
  text += rule;
  for (const auto& [format, total] : totals) {
    text += fmt::format("{:<50} | {:<32} | {:>12} | {:>8.2f} | {:>10.6f}\n",
                        fmt::format("{} layers together", total.layers), format, human_bytes(total.bytes),
                        total.sqnr_db(), total.max_error);
  }
  return text;
}

std::string format_errors_json(const std::vector<LayerFormatErrors>& layers) {
  ordered_json rows = ordered_json::array();
  for (const LayerFormatErrors& layer : layers) {
    ordered_json formats = ordered_json::array();
    for (const FormatError& format : layer.formats) {
      ordered_json& row = formats.emplace_back(error_json(layer.name, format.target.label(), format.error));
      row["bytes"] = format.bytes;
    }
    rows.push_back({{"name", layer.name}, {"bytes", layer.bytes}, {"formats", std::move(formats)}});
  }
  return ordered_json{{"layers", std::move(rows)}}.dump(2) + "\n";
}

}  // namespace ctq::report
