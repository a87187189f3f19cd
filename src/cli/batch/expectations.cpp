#include "expectations.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <stdlib.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/options/option_file.h"
#include "engine/job.h"
#include "model/checkpoint.h"
#include "safetensors/writer.h"

namespace ctq::cli::batch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& fact) { fail(ErrorCode::kBadInput, "{}", fact); }

/// Decibels and bytes differ by a difference, relative errors by a share.
bool is_absolute(const std::string& figure) { return figure.ends_with("_db") || figure.ends_with("_bytes"); }

bool is_close(const std::string& figure, double wanted, double got, double tolerance) {
  const double reach = is_absolute(figure) ? tolerance : tolerance * std::abs(wanted);
  return std::abs(got - wanted) <= reach;
}

void compare_numbers(const std::string& file, const Figures& wanted, const Figures& got,
                     const Tolerances& tolerances, std::vector<std::string>& deviations) {
  std::set<std::string> names;
  for (const auto& [name, value] : wanted.numbers) names.insert(name);
  for (const auto& [name, value] : got.numbers) names.insert(name);
  const auto words = [](const Figures& figures, const std::string& name) {
    const auto found = figures.numbers.find(name);
    return found == figures.numbers.end() ? std::string("none") : fmt::format("{:.8g}", found->second);
  };
  for (const std::string& name : names) {
    const auto want = wanted.numbers.find(name), have = got.numbers.find(name);
    const bool both = want != wanted.numbers.end() && have != got.numbers.end();
    if (both && is_close(name, want->second, have->second, tolerances.at(name))) continue;
    deviations.push_back(
        fmt::format("{}: {}: wanted {}, got {}", file, name, words(wanted, name), words(got, name)));
  }
}

/// The name that a job has in the document.
std::string name_of(const Job& job) {
  const std::string file = fs::path(job.input).filename().string();
  return job.recipe.empty() ? file : fmt::format("{} [{}]", file, job.recipe);
}

uint64_t output_bytes(const std::string& output) {
  const std::string index = output + ".index.json";
  return model::Checkpoint::open(fs::exists(output) ? output : index).bytes();
}

/// What the report of a conversion (docs/cli.md, --quality-json) says altogether.
void add_quality(const std::string& report, Figures& figures) {
  const json quality = json::parse(read_option_file("--quality-json", report));
  for (const char* name : {"mean_weight_rel", "total_sqnr_db"}) {
    const json& value = quality.at("summary").at(name);
    if (value.is_number() && !quality.at("layers").empty()) figures.numbers[name] = value.get<double>();
  }
  double output_rel = 0, worst = INFINITY;
  size_t layers = 0;
  for (const json& layer : quality.at("layers")) {
    const json& sqnr = layer.at("sqnr_db");
    if (sqnr.is_number() && sqnr.get<double>() < worst) {
      worst = sqnr.get<double>();
      figures.worst_layer = layer.at("name").get<std::string>();
      figures.numbers["worst_sqnr_db"] = worst;
    }
    const json measured = layer.value("optimizer", json::object()).value("output_rel", json());
    if (measured.is_number()) output_rel += measured.get<double>(), ++layers;
  }
  if (layers > 0) figures.numbers["mean_output_rel"] = output_rel / static_cast<double>(layers);
}

}  // namespace

const Tolerances& standard_tolerances() {
  static const Tolerances kStandard{{"output_bytes", 0},
                                    {"mean_weight_rel", 0.01},
                                    {"mean_output_rel", 0.02},
                                    {"total_sqnr_db", 0.1},
                                    {"worst_sqnr_db", 0.2}};
  return kStandard;
}

std::vector<std::string> deviations(const Expectations& wanted, const FigureTable& got) {
  std::vector<std::string> sentences;
  for (const auto& [file, want] : wanted.files) {
    const auto found = got.find(file);
    if (found == got.end()) {
      sentences.push_back(fmt::format("{}: wanted, but no file of the batch has that name", file));
      continue;
    }
    const Figures& have = found->second;
    if (want.exit_code != have.exit_code)
      sentences.push_back(
          fmt::format("{}: exit_code: wanted {}, got {}", file, want.exit_code, have.exit_code));
    compare_numbers(file, want, have, wanted.tolerances, sentences);
    if (want.worst_layer != have.worst_layer)
      sentences.push_back(
          fmt::format("{}: worst_layer: wanted '{}', got '{}'", file, want.worst_layer, have.worst_layer));
  }
  for (const auto& [file, have] : got) {
    if (!wanted.files.contains(file)) sentences.push_back(fmt::format("{}: nothing is said of it", file));
  }
  return sentences;
}

Expectations parse_expectations(const std::string& text) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("files") || !root.at("files").is_object())
    refuse("is not a JSON object with \"files\"");
  Expectations expectations{.tolerances = standard_tolerances(), .files = {}};
  const json tolerances = root.value("tolerances", json::object());
  for (const auto& [name, value] : tolerances.items()) {
    const auto known = expectations.tolerances.find(name);
    if (known == expectations.tolerances.end()) refuse("tolerances: '" + name + "' is no figure");
    if (!value.is_number() || value < 0) refuse("tolerances: '" + name + "' is not a number from 0 on");
    known->second = value.get<double>();
  }
  for (const auto& [file, row] : root.at("files").items()) {
    if (!row.is_object()) refuse("'" + file + "' is not an object of figures");
    Figures& figures = expectations.files[file];
    for (const auto& [name, value] : row.items()) {
      if (name == "worst_layer" && value.is_string()) {
        figures.worst_layer = value.get<std::string>();
      } else if (name == "exit_code" && value.is_number_integer()) {
        figures.exit_code = value.get<int>();
      } else if (expectations.tolerances.contains(name) && value.is_number()) {
        figures.numbers[name] = value.get<double>();
      } else {
        refuse("'" + file + "': '" + name + "' is no figure, or not of its kind");
      }
    }
  }
  return expectations;
}

std::string expectations_json(const Expectations& expectations) {
  ordered_json root{{"tolerances", expectations.tolerances}, {"files", ordered_json::object()}};
  for (const auto& [file, figures] : expectations.files) {
    ordered_json& row = root["files"][file];
    row["exit_code"] = figures.exit_code;
    for (const auto& [name, value] : figures.numbers) {
      if (name == "output_bytes") {
        row[name] = static_cast<uint64_t>(value);
      } else {
        row[name] = value;
      }
    }
    if (!figures.worst_layer.empty()) row["worst_layer"] = figures.worst_layer;
  }
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Regression::Regression(const engine::Setting<engine::Path>& expect,
                       const engine::Setting<engine::Path>& write_expect)
    : write_to_(write_expect->string()) {
  if (expect.given()) {
    try {
      wanted_ = parse_expectations(engine::text_of_file(expect, expect->string()));
    } catch (const Error& error) {
      fail(error.code(), "argument {}: {}: {}", expect, expect->string(), error.what());
    }
  }
  std::string folder = (fs::temp_directory_path() / "convert_to_quant-batch-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) fail(ErrorCode::kFailure, "{}: cannot be created", folder);
  reports_ = folder;
}

Regression::~Regression() {
  std::error_code ignored;
  fs::remove_all(reports_, ignored);
}

std::string Regression::report_path(size_t job) const {
  return (reports_ / fmt::format("{}.json", job)).string();
}

void Regression::prepare(std::vector<Job>& jobs) {
  std::set<std::string> names;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (!names.insert(name_of(jobs[i])).second)
      fail(ErrorCode::kUsage, "argument --expect: two files are called {}", name_of(jobs[i]));
    jobs[i].words.push_back("--quality-json=" + report_path(i));
    jobs[i].finished = false;
  }
}

int Regression::judge(const std::vector<Job>& jobs, const std::vector<Result>& results, int otherwise) const {
  FigureTable got;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (results[i].state == Result::State::kNotStarted) continue;
    Figures& figures = got[name_of(jobs[i])];
    figures.exit_code = results[i].code;
    if (!fs::exists(report_path(i))) continue;
    figures.numbers["output_bytes"] = static_cast<double>(output_bytes(jobs[i].output));
    add_quality(report_path(i), figures);
  }
  if (!write_to_.empty()) {
    safetensors::write_text_file(
        write_to_, expectations_json({wanted_ ? wanted_->tolerances : standard_tolerances(), got}));
    spdlog::info("figures of {} conversions: {}", got.size(), write_to_);
  }
  if (!wanted_) return otherwise;
  const std::vector<std::string> found = deviations(*wanted_, got);
  for (const std::string& sentence : found) warn("{}", sentence);
  fmt::print("{} conversions as expected, {} deviations\n", got.size(), found.size());
  return found.empty() ? 0 : static_cast<int>(ErrorCode::kQuality);
}

}  // namespace ctq::cli::batch
