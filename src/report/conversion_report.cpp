#include "report/conversion_report.h"
#include "plan/blocks.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "csv.h"
#include "error_json.h"
#include "histogram_chart.h"
#include "html.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using pipeline::LayerError;
using pipeline::Result;
using plan::Decision;
using plan::TensorPlan;

constexpr size_t kWorstLayers = 25;
constexpr size_t kLayersWithValues = 6;

ordered_json histogram_json(const metrics::Histogram& histogram) {
  return {{"low", number(histogram.low)}, {"high", number(histogram.high)}, {"counts", histogram.counts}};
}

/// Figures of the error, and how the values are spread where they were counted.
ordered_json measured_json(const LayerError& layer) {
  ordered_json json = layer_json(layer);
  if (const auto& histograms = layer.histograms) {
    json["histograms"] = {{"original", histogram_json(histograms->original)},
                          {"stored", histogram_json(histograms->decoded)},
                          {"error", histogram_json(histograms->error)}};
  }
  return json;
}

/// Lists of numbers on one line each. text: JSON with line breaks
std::string with_short_lists(const std::string& text) {
  constexpr std::string_view kOfNumbers = "0123456789+-.eE, \n";
  std::string shorter;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    shorter += text[i];
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\') shorter += text[++i];
    if (in_string || text[i] != '[') continue;
    const size_t end = text.find_first_not_of(kOfNumbers, i + 1);
    if (end == std::string::npos || text[end] != ']') continue;
    for (++i; i < end; ++i) {
      if (text[i] != ' ' && text[i] != '\n') shorter += text[i];
      if (text[i] == ',') shorter += ' ';
    }
    --i;
  }
  return shorter;
}

using ErrorsByName = std::map<std::string_view, const LayerError*>;

ErrorsByName errors_of(const Result& result) {
  ErrorsByName errors;
  for (const LayerError& layer : result.quality) errors[layer.name] = &layer;
  return errors;
}

std::string format_of(const TensorPlan& tensor) {
  const bool changed = tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast;
  return changed ? tensor.target.label() : "";
}

std::string figure(double value) { return std::isfinite(value) ? fmt::format("{:.9g}", value) : ""; }

/// Of the weights of each block taken together, in the order of the file's names, numbers as numbers.
std::vector<Bar> blocks_of(const Result& result) {
  struct Sums {
    double error = 0, weight = 0;
    size_t layers = 0;
  };
  std::map<plan::BlockName, Sums> blocks;
  for (const LayerError& layer : result.quality) {
    const std::optional<plan::BlockName> block = plan::block_of(layer.name);
    if (!block || !std::isfinite(layer.error.weight_rel) || !(layer.error.weight_rel > 0)) continue;
    Sums& sums = blocks[*block];
    const double error = layer.error.mse * static_cast<double>(layer.error.numel);
    sums.error += error;
    sums.weight += error / (layer.error.weight_rel * layer.error.weight_rel);
    ++sums.layers;
  }
  std::vector<Bar> bars;
  for (const auto& [block, sums] : blocks) {
    const double rel = std::sqrt(sums.error / sums.weight);
    bars.push_back({block.label(), rel, fmt::format("{:.5f}", rel),
                    fmt::format("{}: {} layers", block.label(), sums.layers)});
  }
  return bars;
}

/// The largest relative error first, NaN before all.
std::vector<const LayerError*> worst_layers(const Result& result, size_t most) {
  std::vector<const LayerError*> layers;
  for (const LayerError& layer : result.quality) layers.push_back(&layer);
  std::ranges::stable_sort(layers, std::greater{}, [](const LayerError* layer) {
    return std::isnan(layer->error.weight_rel) ? INFINITY : layer->error.weight_rel;
  });
  if (layers.size() > most) layers.resize(most);
  return layers;
}

std::vector<Bar> worst_bars(const Result& result) {
  std::vector<Bar> bars;
  for (const LayerError* layer : worst_layers(result, kWorstLayers)) {
    const metrics::WeightError& error = layer->error;
    bars.push_back(
        {layer->name, std::isfinite(error.weight_rel) ? error.weight_rel : 0,
         fmt::format("{:.5f}, {:.1f} dB", error.weight_rel, error.sqnr_db),
         fmt::format("{} ({}): largest error {:.4g}", layer->name, layer->format, error.max_error)});
  }
  return bars;
}

/// Empty where no values were counted.
std::string value_figures(const Result& result) {
  std::string figures;
  for (const LayerError* layer : worst_layers(result, kLayersWithValues)) {
    if (!layer->histograms) continue;
    figures += fmt::format(
        "<figure><figcaption>{} <span class=\"quiet\">{}, {:.1f} dB, largest error "
        "{:.3g}</span></figcaption>\n"
        "{}</figure>\n",
        escaped(layer->name), escaped(layer->format), layer->error.sqnr_db, layer->error.max_error,
        histogram_charts(layer->name, *layer->histograms));
  }
  return figures;
}

std::string formats_table(const Result& result) {
  struct Sums {
    size_t tensors = 0;
    uint64_t in = 0, out = 0;
  };
  std::map<std::string, Sums> rows;
  for (const TensorPlan& tensor : result.plan.tensors) {
    const std::string format = format_of(tensor);
    Sums& sums = rows[format.empty() ? std::string(decision_name(tensor.decision)) : format];
    ++sums.tensors, sums.in += tensor.bytes_in(), sums.out += tensor.bytes_out();
  }
  std::string table =
      "<table><tr><th>Format</th><th class=\"number\">Tensors</th><th class=\"number\">Before</th><th "
      "class=\"number\">After</th></tr>\n";
  for (const auto& [format, sums] : rows) {
    table += fmt::format(
        "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td "
        "class=\"number\">{}</td></tr>\n",
        escaped(format), sums.tensors, human_bytes(sums.in), human_bytes(sums.out));
  }
  return table + "</table>\n";
}

std::string kept_table(const Result& result) {
  std::map<std::string, size_t> reasons;
  for (const TensorPlan& tensor : result.plan.tensors) {
    if (tensor.candidate && (tensor.decision == Decision::kKeep || tensor.decision == Decision::kRemove))
      ++reasons[tensor.reason];
  }
  if (reasons.empty()) return "<p>Every weight that can be quantized was.</p>\n";
  std::string table = "<table><tr><th>Reason</th><th class=\"number\">Weights</th></tr>\n";
  for (const auto& [reason, count] : reasons)
    table += fmt::format("<tr><td>{}</td><td class=\"number\">{}</td></tr>\n", escaped(reason), count);
  return table + "</table>\n";
}

ordered_json time_json(const pipeline::TimeSpent& time) {
  return {{"seconds", time.budget},
          {"spent", time.seconds},
          {"optimized", time.optimized},
          {"cut_short", time.cut_short},
          {"left_over", time.left_over},
          {"largest_left_over", number(time.largest_left_over)},
          {"least_optimized", number(time.least_optimized)}};
}

}  // namespace

std::string conversion_json(const Result& result, const std::string& input) {
  const ErrorsByName errors = errors_of(result);
  ordered_json json = {{"report", "convert_to_quant"},
                       {"version", 1},
                       {"input", input},
                       {"output", result.written},
                       {"seconds", number(result.seconds)},
                       {"peak_memory_bytes", result.peak_memory_bytes},
                       {"bytes_in", result.plan.bytes_in},
                       {"bytes_out", result.plan.bytes_out},
                       {"optimized", result.optimized},
                       {"guarded", result.guarded},
                       {"biases_corrected", result.biases_corrected},
                       {"moved_to_cpu", result.moved_to_cpu},
                       {"time_budget", result.time ? time_json(*result.time) : ordered_json()},
                       {"tensors", ordered_json::array()}};
  for (const TensorPlan& tensor : result.plan.tensors) {
    const auto error = errors.find(tensor.source->name());
    const std::string format = format_of(tensor);
    json["tensors"].push_back(
        {{"name", tensor.source->name()},
         {"decision", decision_name(tensor.decision)},
         {"reason", tensor.reason},
         {"format", format.empty() ? ordered_json() : ordered_json(format)},
         {"dtype", safetensors::dtype_name(tensor.source->info->dtype)},
         {"shape", tensor.source->info->shape},
         {"bytes_in", tensor.bytes_in()},
         {"bytes_out", tensor.bytes_out()},
         {"error", error == errors.end() ? ordered_json() : measured_json(*error->second)}});
  }
  return with_short_lists(json.dump(2, ' ', false, ordered_json::error_handler_t::replace)) + "\n";
}

std::string conversion_csv(const Result& result) {
  const ErrorsByName errors = errors_of(result);
  std::string text =
      "name,decision,reason,format,dtype,shape,bytes_in,bytes_out,weight_rel,sqnr_db,max_error,output_rel,"
      "optimizer,seconds\r\n";
  for (const TensorPlan& tensor : result.plan.tensors) {
    text += fmt::format("{},{},{},{},{},{},{},{},", csv_field(tensor.source->name()),
                        decision_name(tensor.decision), csv_field(tensor.reason),
                        csv_field(format_of(tensor)), safetensors::dtype_name(tensor.source->info->dtype),
                        fmt::join(tensor.source->info->shape, "x"), tensor.bytes_in(), tensor.bytes_out());
    const auto found = errors.find(tensor.source->name());
    if (found == errors.end()) {
      text += ",,,,,\r\n";
      continue;
    }
    const LayerError& layer = *found->second;
    const bool output = layer.optimized && layer.optimized->output;
    text +=
        fmt::format("{},{},{},{},{},{:.3f}\r\n", figure(layer.error.weight_rel), figure(layer.error.sqnr_db),
                    figure(layer.error.max_error), output ? figure(layer.optimized->output->stored) : "",
                    layer.optimized ? layer.optimized->method : "", layer.seconds);
  }
  return text;
}

std::string conversion_html(const Result& result, const std::string& input) {
  std::string body = fmt::format(
      "<p>{} to {}, {:.1f} %. {}, peak memory {}. {} weights quantized, {} of them by an optimizer.</p>\n",
      human_bytes(result.plan.bytes_in), human_bytes(result.plan.bytes_out),
      100.0 * static_cast<double>(result.plan.bytes_out) /
          static_cast<double>(std::max<uint64_t>(result.plan.bytes_in, 1)),
      human_duration(result.seconds), human_bytes(result.peak_memory_bytes),
      result.plan.count(Decision::kQuantize), result.optimized);
  body += formats_table(result);
  if (const std::vector<Bar> bars = blocks_of(result); !bars.empty())
    body +=
        "<h2>Error by block</h2>\n<p class=\"quiet\">Norm of the error over the norm of the weights.</p>\n" +
        bar_chart("Relative error by block", bars);
  if (const std::vector<Bar> bars = worst_bars(result); !bars.empty())
    body += "<h2>Worst layers</h2>\n" + bar_chart("Relative error of the worst layers", bars);
  if (const std::string figures = value_figures(result); !figures.empty())
    body +=
        "<h2>Values of the worst layers</h2>\n<p class=\"quiet\">Filled: as they were. Line: as stored, "
        "decoded. Then the error, stored less original. Heights are logarithms of counts.</p>\n" +
        figures;
  body += "<h2>Weights that stay</h2>\n" + kept_table(result);
  return html_page("Conversion report", fmt::format("{} to {}", input, result.written), body);
}

}  // namespace ctq::report
