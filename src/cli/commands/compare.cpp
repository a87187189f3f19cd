#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "engine/output_path.h"
#include "report/file_report.h"
#include "safetensors/writer.h"
#include "verify/values.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> original{"original"};
  Setting<std::vector<engine::Path>> quantized{"quantized"};
  Setting<std::vector<engine::Path>> words{"files"};
  Setting<std::string> layers{"layers_to_compare"};
  Setting<std::string> filter{"filter"};
  Setting<int64_t> top_layers{"top_layers", 10};
  Setting<engine::Path> report{"output_report"};
  Setting<double> threshold{"quality_threshold", -std::numeric_limits<double>::infinity()};
  Setting<std::string> device{"device", "auto"};
  Setting<bool> low_memory{"low_memory"};
};

Table make_table(Asked& asked) {
  Table table{.options = {},
              .words = "files",
              .usage =
                  "usage: convert_to_quant compare ORIGINAL QUANTIZED... [options]\n\n"
                  "The error of quantized files against their original, decoded as each file itself says.\n"};
  add(table.options, Page::kStandard, "Input",
      {
          path(asked.original, "--original", "The unquantized file; also the first word").alias("--base"),
          paths(asked.quantized, "--quantized", "Quantized files; also the other words"),
          paths(asked.words, "--files", "The words").hide(),
          text(asked.layers, "--layers-to-compare", "Comma list: layers whose name holds one of these")
              .otherwise("all"),
          pattern(asked.filter, "--filter", "Layers whose name matches").otherwise("all"),
      });
  add(table.options, Page::kStandard, "Report",
      {
          integer(asked.top_layers, "--top-layers", "Worst layers to print").at_least(0),
          path(asked.report, "--output-report", "Write all layers and the totals there, as JSON"),
          number(asked.threshold, "--quality-threshold",
                 "SQNR in dB below which a layer makes the exit code 3")
              .standard(""),
      });
  add(table.options, Page::kStandard, "Running",
      {
          device(asked.device, "--device", "Where to calculate: auto, cpu, cuda or cuda:N"),
          toggle(asked.low_memory, "--low-memory", "Hold one layer at a time; always so").alias("-lm"),
      });
  add_help(table.options);
  return table;
}

struct Files {
  std::string original;
  std::vector<std::string> quantized;
};

/// The first word is the original unless it is named; the others are quantized.
Files files_of(const Asked& asked) {
  Files files{asked.original->string(), paths_of(asked.quantized)};
  std::vector<std::string> words = paths_of(asked.words);
  if (files.original.empty() && !words.empty()) {
    files.original = words.front();
    words.erase(words.begin());
  }
  files.quantized.insert(files.quantized.end(), words.begin(), words.end());
  if (files.original.empty()) engine::refuse_to_have(asked.original, "is required");
  if (files.quantized.empty()) engine::refuse_to_have(asked.quantized, "is required");
  return files;
}

std::function<bool(const std::string&)> layer_filter(const Asked& asked) {
  auto matches = name_filter(asked.filter);
  if (!asked.layers.given()) return matches;
  const std::vector<std::string> parts = comma_list(*asked.layers);
  return [matches, parts](const std::string& layer) {
    const bool listed = std::ranges::any_of(
        parts, [&](const std::string& part) { return layer.find(part) != std::string::npos; });
    return listed && (!matches || matches(layer));
  };
}

}  // namespace

const Table& compare_table() { return shown_table(make_table); }

int run_compare(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const Files files = files_of(asked);
  const auto wanted = layer_filter(asked);
  const std::string report_path = asked.report->string();
  const double threshold = *asked.threshold;
  engine::Session session({.console = engine::Console::kAllToStderr, .handle_signals = true});
  if (*asked.low_memory)
    spdlog::info("note: {} has no effect: one layer at a time is always held", asked.low_memory);
  const at::Device device = device_of(asked.device);
  if (!report_path.empty()) {
    engine::check_output_path(report_path, files.original);
    for (const std::string& path : files.quantized) engine::check_output_path(report_path, path);
  }
  std::vector<report::Comparison> comparisons;
  size_t below = 0, layers = 0;
  for (const std::string& path : files.quantized) {
    const engine::OpenedFile file(path), original(files.original, file.checkpoint);
    comparisons.push_back({path, verify::compare(original.quantized, file.quantized, wanted, device)});
    const size_t measured = comparisons.back().differences.layers.size();
    if (measured == 0) fail(ErrorCode::kBadInput, "{}: holds no quantized layer to compare", path);
    below += report::count_below(comparisons.back().differences, threshold);
    layers += measured;
  }
  fmt::print("{}", report::comparison_text(files.original, comparisons,
                                           static_cast<size_t>(*asked.top_layers), threshold));
  if (!report_path.empty())
    safetensors::write_text_file(report_path,
                                 report::comparison_json(files.original, comparisons, threshold));
  if (below == 0 || !asked.threshold.given()) return 0;
  warn("{} of {} layers are below {:.1f} dB", below, layers, threshold);
  return static_cast<int>(ErrorCode::kQuality);
}

}  // namespace ctq::cli
