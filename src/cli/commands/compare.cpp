#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "cli/command_input.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/base/log.h"
#include "ctq/cli/option_table.h"
#include "ctq/engine/output_path.h"
#include "ctq/report/file_report.h"
#include "ctq/safetensors/writer.h"
#include "ctq/verify/values.h"

namespace ctq::cli {
namespace {

struct Files {
  std::string original;
  std::vector<std::string> quantized;
};

/// The first word is the original unless --original names it; the others are quantized.
Files files_of(const Arguments& arguments) {
  Files files{arguments.text("original"), arguments.list("quantized")};
  std::vector<std::string> words = arguments.list("files");
  if (files.original.empty() && !words.empty()) {
    files.original = words.front();
    words.erase(words.begin());
  }
  files.quantized.insert(files.quantized.end(), words.begin(), words.end());
  if (files.original.empty()) fail(ErrorCode::kUsage, "argument --original: is required");
  if (files.quantized.empty()) fail(ErrorCode::kUsage, "argument --quantized: is required");
  return files;
}

std::function<bool(const std::string&)> layer_filter(const Arguments& arguments) {
  auto matches = name_filter(arguments, "filter");
  if (!arguments.given("layers_to_compare")) return matches;
  const std::vector<std::string> parts = comma_list(arguments.text("layers_to_compare"));
  return [matches, parts](const std::string& layer) {
    const bool listed = std::ranges::any_of(
        parts, [&](const std::string& part) { return layer.find(part) != std::string::npos; });
    return listed && (!matches || matches(layer));
  };
}

}  // namespace

int run_compare(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("compare"));
  const Files files = files_of(arguments);
  const auto wanted = layer_filter(arguments);
  const std::string& report_path = arguments.text("output_report");
  const double threshold = arguments.given("quality_threshold") ? arguments.number("quality_threshold")
                                                                : -std::numeric_limits<double>::infinity();
  start_log(Verbosity::kNormal, /*notes_to_stderr=*/true);
  const at::Device device = device_of(arguments);
  install_signal_handlers();
  if (!report_path.empty()) {
    engine::check_output_path(report_path, files.original, /*no_clobber=*/false);
    for (const std::string& path : files.quantized)
      engine::check_output_path(report_path, path, /*no_clobber=*/false);
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
                                           static_cast<size_t>(arguments.integer("top_layers")), threshold));
  if (!report_path.empty())
    safetensors::write_text_file(report_path,
                                 report::comparison_json(files.original, comparisons, threshold));
  if (below == 0 || !arguments.given("quality_threshold")) return 0;
  warn("{} of {} layers are below {:.1f} dB", below, layers, threshold);
  return static_cast<int>(ErrorCode::kQuality);
}

}  // namespace ctq::cli
