#include "report/run_summary.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/shell.h"
#include "base/text.h"
#include "pipeline/sampled_error.h"

namespace ctq::report {

using plan::Decision;
using plan::TensorPlan;

namespace {

/// What became of --time.
std::string time_line(const pipeline::TimeSpent& time) {
  const size_t layers = time.optimized + time.left_over;
  std::string text = fmt::format("  time: {} of {} layers optimized in {} of {}", time.optimized, layers,
                                 human_duration(time.seconds), human_duration(time.budget));
  if (time.cut_short > 0) text += fmt::format(", {} of them cut short", time.cut_short);
  if (time.left_over > 0)
    text += fmt::format("; {} rounded to nearest, whose errors are at most {:.4g}", time.left_over,
                        time.largest_left_over);
  if (time.left_over > 0 && time.optimized > 0)
    text += fmt::format(" (of the optimized before at least {:.4g})", time.least_optimized);
  return text + "\n";
}

double percent(const plan::Plan& plan) {
  return 100.0 * static_cast<double>(plan.bytes_out) /
         static_cast<double>(std::max<uint64_t>(plan.bytes_in, 1));
}

/// Output features that codes lost, with the weight that lost most; empty: none did.
std::string lost_rows_line(const pipeline::Result& result) {
  int64_t rows = 0;
  size_t weights = 0;
  const pipeline::LayerError* worst = nullptr;
  for (const pipeline::LayerError& layer : result.quality) {
    if (layer.error.rows_to_zero == 0) continue;
    rows += layer.error.rows_to_zero, ++weights;
    if (!worst || layer.error.rows_to_zero > worst->error.rows_to_zero) worst = &layer;
  }
  if (!worst) return "";
  return fmt::format("  {:<36} {:>6} rows of {} weights, most of {} ({})\n", "became zeros", rows, weights,
                     printable(worst->name), worst->error.rows_to_zero);
}

}  // namespace

std::string run_summary(const pipeline::Result& result, const Paint& paint) {
  const plan::Plan& plan = result.plan;
  std::map<std::string, size_t> formats;
  size_t by_shape = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast)
      ++formats[tensor.target.label()];
    if (tensor.shape_fallback) ++by_shape;
  }
  std::string text = fmt::format("{} {}\n", paint(Tone::kGood, "Written:"), result.written);
  for (const auto& [format, count] : formats) text += fmt::format("  {:<36} {:>6} weights\n", format, count);
  text += fmt::format("  {:<36} {:>6} tensors\n", "kept as they are", plan.count(Decision::kKeep));
  if (result.optimized > 0) {
    text += fmt::format("  {:<36} {:>6} weights, {} of them guarded (round to nearest kept)\n",
                        "codes chosen by the optimizer", result.optimized, result.guarded);
  }
  if (result.moved_to_cpu > 0)
    text += fmt::format("  {:<36} {:>6} weights\n", "done on the CPU, not the GPU", result.moved_to_cpu);
  if (result.smoothed_inputs > 0)
    text += fmt::format("  {:<36} {:>6} inputs\n", "smoothed", result.smoothed_inputs);
  if (result.biases_corrected > 0)
    text += fmt::format("  {:<36} {:>6} biases\n", "corrected for the mean input", result.biases_corrected);
  if (const size_t removed = plan.count(Decision::kRemove))
    text += fmt::format("  {:<36} {:>6} tensors\n", "removed", removed);
  if (by_shape > 0)
    text += fmt::format("  {:<36} {:>6} weights\n", "of these, block size does not divide", by_shape);
  if (!result.findings.empty()) {
    text +=
        fmt::format("  {:<36} {:>6} weights\n", "of these, kept for their values", result.findings.size());
  }
  text += fmt::format("  {} -> {} ({:.1f} %), {}, peak memory {} without mapped files\n",
                      human_bytes(plan.bytes_in), human_bytes(plan.bytes_out), percent(plan),
                      human_duration(result.seconds), human_bytes(result.peak_memory_bytes));
  text += lost_rows_line(result);
  if (result.time && result.time->optimized + result.time->left_over > 0) text += time_line(*result.time);
  if (!result.quality.empty()) {
    const auto worst = std::ranges::min_element(result.quality, {}, [](const auto& layer) {
      return std::isnan(layer.error.sqnr_db) ? -INFINITY : layer.error.sqnr_db;
    });
    text += fmt::format("  worst layer: {} ({:.2f} dB)\n", printable(worst->name), worst->error.sqnr_db);
  }
  return text;
}

std::string closing_line(const pipeline::Result& result, const std::string& input) {
  const plan::Plan& plan = result.plan;
  std::string line = fmt::format("Done: {} ({:.1f} %)", human_bytes(plan.bytes_out), percent(plan));
  if (plan.count(Decision::kQuantize) == 0) return line + "\n";
  const metrics::Squares& squares = result.squares;
  if (squares.weight > 0 && squares.error > 0) {
    line += fmt::format(", weights {:.2f} dB", 10 * std::log10(squares.weight / squares.error));
    if (result.quality.empty()) line += fmt::format(" (of one row in {})", pipeline::kRowsPerSample);
  } else if (squares.weight > 0) {
    line += ", weights exact";
  }
  return fmt::format("{}. Check: convert_to_quant verify {} --original {}\n", line,
                     shell_word(result.written), shell_word(input));
}

}  // namespace ctq::report
