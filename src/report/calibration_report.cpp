#include "report/calibration_report.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "calibrate/input_rows.h"

namespace ctq::report {
namespace {

using calibrate::CalibrationFile;
using nlohmann::ordered_json;

constexpr int64_t kFewRows = 64;

/// One line of the list.
struct Row {
  std::string layer;
  int64_t rows = 0, width = 0, counted = 0;
  int64_t distinct = 0, groups = 0;     ///< of the rows
  double rank = 0;                      ///< calibrate::effective_rank()
  std::vector<std::string> statistics;  ///< "rows", "mean"
  std::vector<std::string> shared_by;
};

struct Listing {
  std::vector<Row> rows;
  int64_t stored_rows = 0;
  size_t layers = 0, few = 0;  ///< inputs with few distinct rows
  uint64_t bytes = 0;          ///< of the file
};

std::vector<std::string> statistics_of(const CalibrationFile::Entry& entry) {
  std::vector<std::string> names;
  for (const CalibrationFile::Part& part : CalibrationFile::kParts)
    if (entry.*part.second) names.emplace_back(part.first.substr(1));
  if (!entry.json_channel_max.empty()) names.emplace_back("channel_max");
  if (!entry.json_channel_mean.empty()) names.emplace_back("channel_mean");
  if (entry.json_input_scale) names.emplace_back("input_scale");
  return names;
}

Listing list(const CalibrationFile& file) {
  Listing listing;
  std::map<std::string, std::vector<std::string>> sharing;
  for (const auto& [layer, owner] : file.shared()) sharing[owner].push_back(layer);
  for (const auto& [layer, entry] : file.entries()) {
    Row row{.layer = layer,
            .rows = entry.stored_rows(),
            .width = file.width(layer),
            .counted = file.counted(layer),
            .statistics = statistics_of(entry),
            .shared_by = sharing[layer]};
    if (row.rows > 0) {
      const calibrate::InputRows rows = calibrate::distinct_rows(calibrate::stored_rows(*entry.rows),
                                                                 calibrate::row_origins(entry), at::kCPU);
      row.distinct = rows.any() ? rows.rows.size(0) : 0;
      row.groups = rows.group_count;
      row.rank = rows.any() ? calibrate::effective_rank(rows) : 0;
      listing.few += row.distinct < kFewRows;
    }
    listing.rows.push_back(std::move(row));
    listing.stored_rows += entry.stored_rows();
  }
  listing.layers = file.entries().size() + file.shared().size();
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(file.path(), error);
  listing.bytes = error ? 0 : bytes;
  return listing;
}

}  // namespace

std::string calibration_table(const CalibrationFile& file) {
  const Listing listing = list(file);
  size_t column = 5;
  for (const Row& row : listing.rows) column = std::max(column, printable(row.layer).size());
  std::string text = fmt::format("{:<{}}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}  {}\n", "Input", column,
                                 "Rows", "Distinct", "Groups", "Rank", "Width", "Counted", "Statistics");
  for (const Row& row : listing.rows) {
    const auto of_rows = [&](double value) {
      return row.rows > 0 ? fmt::format("{:.0f}", value) : std::string("-");
    };
    text += fmt::format("{:<{}}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}  {}\n", printable(row.layer),
                        column, row.rows, of_rows(static_cast<double>(row.distinct)),
                        of_rows(static_cast<double>(row.groups)), of_rows(row.rank), row.width, row.counted,
                        fmt::join(row.statistics, ", "));
    for (const std::string& layer : row.shared_by) text += fmt::format("  also {}\n", printable(layer));
  }
  text += fmt::format("\n{} inputs of {} layers, {} rows, {}\n", listing.rows.size(), listing.layers,
                      listing.stored_rows, human_bytes(listing.bytes));
  if (listing.few > 0)
    text += fmt::format(
        "{} input{} fewer than {} distinct rows, as conditioning and time steps have: other prompts and "
        "other "
        "numbers of steps show more, the same again do not\n",
        listing.few, listing.few == 1 ? " has" : "s have", kFewRows);
  for (const auto& [key, value] : file.metadata()) {
    if (key != "shared" && key != "counts" && key != "distinct" && key != "effective_ranks")
      text += fmt::format("{}: {}\n", printable(key), printable(value, 400));
  }
  return text;
}

std::string calibration_json(const CalibrationFile& file) {
  const Listing listing = list(file);
  ordered_json root{{"file", file.path()}, {"inputs", ordered_json::array()}};
  for (const Row& row : listing.rows) {
    root["inputs"].push_back({{"layer", row.layer},
                              {"rows", row.rows},
                              {"distinct_rows", row.distinct},
                              {"groups", row.groups},
                              {"effective_rank", row.rank},
                              {"width", row.width},
                              {"counted", row.counted},
                              {"statistics", row.statistics},
                              {"shared_by", row.shared_by}});
  }
  root["totals"] = {{"inputs", listing.rows.size()},
                    {"layers", listing.layers},
                    {"rows", listing.stored_rows},
                    {"bytes", listing.bytes}};
  root["metadata"] = file.metadata();
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string enough_table(const pipeline::Enough& enough) {
  std::string text =
      fmt::format("{:>8}  {:>19}  {:>12}\n", "Pictures", "Error against plain", "Layers worse");
  for (const pipeline::Enough::Point& point : enough.points)
    text += fmt::format("{:>8}  {:>19.3f}  {:>12}\n", point.pictures, point.ratio, point.worse);
  text += fmt::format("FP8, {} layers{}, judged by {} other picture{}\n", enough.layers,
                      enough.left_out > 0 ? fmt::format(" ({} left out)", enough.left_out) : "",
                      enough.judges, enough.judges == 1 ? "" : "s");
  if (enough.points.size() < 2) return text;
  const pipeline::Enough::Point& last = enough.points.back();
  const auto half =
      std::ranges::find_if(enough.points.rbegin(), enough.points.rend(),
                           [&](const auto& point) { return 2 * point.pictures <= last.pictures; });
  const pipeline::Enough::Point& before = half == enough.points.rend() ? enough.points.front() : *half;
  constexpr double kWorthwhile = 0.05;
  const double gain = 1 - last.ratio / before.ratio;
  text += fmt::format("from {} to {} pictures: {:.0f} % less; {}\n", before.pictures, last.pictures,
                      std::max(0.0, 100 * gain),
                      gain > kWorthwhile ? "more pictures, of other prompts, will lower it further"
                                         : "more of the kind bring little");
  return text;
}

std::string enough_json(const pipeline::Enough& enough) {
  ordered_json root{{"layers", enough.layers},
                    {"left_out", enough.left_out},
                    {"judging_pictures", enough.judges},
                    {"points", ordered_json::array()}};
  for (const pipeline::Enough::Point& point : enough.points)
    root["points"].push_back(
        {{"pictures", point.pictures}, {"error_against_plain", point.ratio}, {"layers_worse", point.worse}});
  return root.dump(2) + "\n";
}

}  // namespace ctq::report
