#include "done_record.h"

#include <bit>
#include <string_view>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ctq::pipeline {
namespace {

using nlohmann::json;

constexpr size_t kDigits = 16;  // of 64 bits in hexadecimal

/// JSON has no infinities: numbers are written by their bits.
std::string bits_text(uint64_t bits) { return fmt::format("{:016x}", bits); }
std::string bits_text(double value) { return bits_text(std::bit_cast<uint64_t>(value)); }
uint64_t bits_of(std::string_view text) { return std::stoull(std::string(text), nullptr, 16); }
double number_of(const json& text) { return std::bit_cast<double>(bits_of(text.get<std::string>())); }

json pair_json(double first, double second) { return {bits_text(first), bits_text(second)}; }

json error_json(const metrics::WeightError& error) {
  return {{"numel", error.numel},
          {"mse", bits_text(error.mse)},
          {"max_error", bits_text(error.max_error)},
          {"sqnr_db", bits_text(error.sqnr_db)},
          {"weight_rel", bits_text(error.weight_rel)},
          {"variance_db", bits_text(error.variance_db)},
          {"non_finite", error.non_finite},
          {"to_zero", error.to_zero},
          {"rows_to_zero", error.rows_to_zero}};
}

metrics::WeightError error_of(const json& object) {
  return {.numel = object.at("numel"),
          .mse = number_of(object.at("mse")),
          .max_error = number_of(object.at("max_error")),
          .sqnr_db = number_of(object.at("sqnr_db")),
          .weight_rel = number_of(object.at("weight_rel")),
          .variance_db = number_of(object.at("variance_db")),
          .non_finite = object.at("non_finite"),
          .to_zero = object.at("to_zero"),
          .rows_to_zero = object.at("rows_to_zero")};
}

json optimized_json(const Optimized& optimized) {
  json object = {{"method", optimized.method},
                 {"source", optimized.source},
                 {"objective_name", optimized.objective_name},
                 {"nearest_objective", bits_text(optimized.nearest_objective)},
                 {"objective", bits_text(optimized.objective)},
                 {"iterations", optimized.iterations},
                 {"samples", optimized.samples},
                 {"stopped_by", optimized.stopped_by},
                 {"guarded", optimized.guarded}};
  if (const auto& subspace = optimized.subspace)
    object["subspace"] = pair_json(subspace->nearest, subspace->stored);
  if (const auto& error = optimized.nearest_error) object["nearest_error"] = bits_text(*error);
  if (const auto& output = optimized.output) object["output"] = pair_json(output->nearest, output->stored);
  if (const auto& use = optimized.calibration)
    object["calibration"] = {{"rows", use->rows},
                             {"groups", use->groups},
                             {"effective_rank", bits_text(use->effective_rank)},
                             {"damping", bits_text(use->damping)},
                             {"implied_share", bits_text(use->implied_share)},
                             {"used", use->used}};
  return object;
}

Optimized optimized_of(const json& object) {
  Optimized optimized{.method = object.at("method"),
                      .source = object.at("source"),
                      .objective_name = object.at("objective_name"),
                      .nearest_objective = number_of(object.at("nearest_objective")),
                      .objective = number_of(object.at("objective")),
                      .iterations = object.at("iterations"),
                      .samples = object.value("samples", int64_t{0}),
                      .stopped_by = object.at("stopped_by"),
                      .guarded = object.at("guarded"),
                      .subspace = std::nullopt,
                      .output = std::nullopt,
                      .nearest_error = std::nullopt};
  if (const auto error = object.find("nearest_error"); error != object.end())
    optimized.nearest_error = number_of(*error);
  if (const auto pair = object.find("subspace"); pair != object.end())
    optimized.subspace = SubspaceError{.nearest = number_of(pair->at(0)), .stored = number_of(pair->at(1))};
  if (const auto pair = object.find("output"); pair != object.end())
    optimized.output = OutputError{.nearest = number_of(pair->at(0)), .stored = number_of(pair->at(1))};
  if (const auto use = object.find("calibration"); use != object.end())
    optimized.calibration = CalibrationUse{.rows = use->at("rows"),
                                           .groups = use->at("groups"),
                                           .effective_rank = number_of(use->at("effective_rank")),
                                           .damping = number_of(use->at("damping")),
                                           .implied_share = number_of(use->at("implied_share")),
                                           .used = use->at("used")};
  return optimized;
}

json histogram_json(const metrics::Histogram& histogram) {
  return {{"range", pair_json(histogram.low, histogram.high)}, {"counts", histogram.counts}};
}

metrics::Histogram histogram_of(const json& object) {
  return {.low = number_of(object.at("range").at(0)),
          .high = number_of(object.at("range").at(1)),
          .counts = object.at("counts")};
}

std::string vector_text(const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  const double* data = flat.const_data_ptr<double>();
  std::string text;
  for (int64_t i = 0; i < flat.numel(); ++i) text += bits_text(data[i]);
  return text;
}

at::Tensor vector_of(std::string_view text) {
  at::Tensor values = at::empty({static_cast<int64_t>(text.size() / kDigits)}, at::kDouble);
  auto* data = values.mutable_data_ptr<double>();
  for (size_t i = 0; i < text.size() / kDigits; ++i)
    data[i] = std::bit_cast<double>(bits_of(text.substr(i * kDigits, kDigits)));
  return values;
}

}  // namespace

std::string write_record(const DoneRecord& record) {
  json object = {{"tensor", record.tensor},
                 {"seconds", bits_text(record.seconds)},
                 {"squares", pair_json(record.squares.error, record.squares.weight)},
                 {"checksums", json::array()}};
  for (const uint64_t checksum : record.checksums) object["checksums"].push_back(bits_text(checksum));
  if (record.error) object["error"] = error_json(*record.error);
  if (record.optimized) object["optimized"] = optimized_json(*record.optimized);
  if (const auto& histograms = record.histograms) {
    object["histograms"] = {{"original", histogram_json(histograms->original)},
                            {"decoded", histogram_json(histograms->decoded)},
                            {"error", histogram_json(histograms->error)}};
  }
  if (record.bias_change.defined()) object["bias_change"] = vector_text(record.bias_change);
  return object.dump(-1, ' ', /*ensure_ascii=*/true);
}

std::optional<DoneRecord> read_record(const std::string& line) {
  try {
    const json object = json::parse(line);
    DoneRecord record;
    record.tensor = object.at("tensor");
    for (const json& checksum : object.at("checksums"))
      record.checksums.push_back(bits_of(checksum.get<std::string>()));
    if (const auto error = object.find("error"); error != object.end()) record.error = error_of(*error);
    if (const auto optimized = object.find("optimized"); optimized != object.end())
      record.optimized = optimized_of(*optimized);
    if (const auto found = object.find("histograms"); found != object.end()) {
      record.histograms = metrics::WeightHistograms{.original = histogram_of(found->at("original")),
                                                    .decoded = histogram_of(found->at("decoded")),
                                                    .error = histogram_of(found->at("error"))};
    }
    if (const auto change = object.find("bias_change"); change != object.end())
      record.bias_change = vector_of(change->get<std::string>());
    record.seconds = number_of(object.at("seconds"));
    record.squares = {.error = number_of(object.at("squares").at(0)),
                      .weight = number_of(object.at("squares").at(1))};
    return record;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace ctq::pipeline
