#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "block_rows.h"

namespace ctq::report {
namespace {

using metrics::CastStatistics;
using pipeline::BlockStatistics;

std::string with_commas(int64_t count) {
  std::string text = fmt::to_string(count);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::string outliers(const CastStatistics& values) {
  if (values.beyond == 0) return "0";
  return fmt::format("{} ({:.3f}%)", values.beyond,
                     100 * static_cast<double>(values.beyond) / static_cast<double>(values.numel));
}

std::string percent(double error) { return fmt::format("{:.4f}%", 100 * error); }

std::string indented(const BlockRow& row) {
  switch (row.place) {
    case RowPlace::kPart: return "  ├─ " + row.name;
    case RowPlace::kLastPart: return "  └─ " + row.name;
    default: return row.name;
  }
}

/// Columns of one line, in characters.
struct Widths {
  size_t block = 5;
  size_t weight = 22;
  size_t rule = 0;
};

Widths widths_of(const BlockReport& report) {
  Widths widths;
  for (const BlockStatistics& block : report.blocks) {
    widths.block = std::max(widths.block, label_of(block).size());
    for (const BlockRow& row : rows_of(block)) widths.weight = std::max(widths.weight, row.name.size());
  }
  widths.rule = 67 + widths.block + widths.weight;
  return widths;
}

std::string weights_table(const BlockReport& report, const Widths& widths) {
  std::string text = fmt::format("{:>{}} {:<{}} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9}\n{:->{}}\n", "Block",
                                 widths.block, "Component", widths.weight, "Params", "Norm", "Max|W|", "Std",
                                 "Outliers", "QError%", "", widths.rule);
  for (const BlockStatistics& block : report.blocks) {
    for (const BlockRow& row : rows_of(block)) {
      const CastStatistics& values = row.values;
      text += fmt::format(
          "{:>{}} {:<{}} {:>10} {:>10.2f} {:>10.4f} {:>10.6f} {:>10} {:>9}{}\n", printable(label_of(block)),
          widths.block, printable(indented(row)), widths.weight, with_commas(values.numel), values.norm(),
          values.max_abs, values.deviation(), outliers(values), percent(values.relative_error()),
          values.non_finite > 0 ? fmt::format("  {} NaN or infinite", values.non_finite) : "");
    }
    text += "\n";
  }
  return text;
}

std::string ranking_table(const BlockReport& report, const Widths& widths) {
  std::string text = fmt::format("Blocks by error\n{:->{}}\n", "", widths.rule);
  for (const size_t place : report.ranking) {
    const BlockStatistics& block = report.blocks[place];
    text += fmt::format("{:>{}} {:>9}{}\n", printable(label_of(block)), widths.block, percent(block.error()),
                        report.is_sensitive(block) ? " << SENSITIVE" : "");
  }
  return text + fmt::format("Mean: {}\nStandard deviation: {}\nThreshold: {}\n", percent(report.mean),
                            percent(report.deviation), percent(report.threshold));
}

std::string output_table(const ClipGAdvice& advice) {
  std::string text = fmt::format("\n{:>5} {:>16} {:<12} Note\n", "Block", "out_proj QError%", "Risk");
  for (const OutputRisk& row : advice.outputs) {
    const std::string_view note = row.risk == Risk::kHigh       ? "strongly discouraged <<"
                                  : row.risk == Risk::kElevated ? "review carefully <<"
                                                                : "ok";
    text += fmt::format("{:>5} {:>16} {:<12} {}\n", row.block, percent(row.error), risk_word(row.risk), note);
  }
  return text;
}

std::string qkv_table(const ClipGAdvice& advice) {
  std::string text = fmt::format("\n{:>5} {:>10} {:>10} {:>10} {:<10}\n", "Block", "Q QError%", "K QError%",
                                 "V QError%", "Risk");
  for (const QkvRisk& row : advice.qkv) {
    text += fmt::format("{:>5} {:>10} {:>10} {:>10} {}{}\n", row.block, percent(row.query), percent(row.key),
                        percent(row.value), risk_word(row.risk), row.risk == Risk::kLow ? "" : " <<");
  }
  return text;
}

}  // namespace

std::string block_report_text(const BlockReport& report) {
  const Widths widths = widths_of(report);
  std::string text = fmt::format("{:=>{}}\nError of a plain FP8 cast: {}\n{:=>{}}\n", "", widths.rule,
                                 printable(report.path), "", widths.rule);
  text += weights_table(report, widths) + ranking_table(report, widths);
  if (!report.advice) return text;
  text += output_table(*report.advice) + qkv_table(*report.advice) +
          fmt::format("\nRecommendation\n{:->{}}\n", "", widths.rule);
  for (const std::string& sentence : advice_sentences(report)) text += sentence + "\n";
  if (report.advice->command.empty()) return text;
  return text + fmt::format("\n  {}\n", report.advice->command);
}

}  // namespace ctq::report
