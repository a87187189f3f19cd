// Regression runs over fixture models: the figures of each conversion beside stored ones (docs/batch.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctq/engine/settings.h"
#include "jobs.h"
#include "runner.h"

namespace ctq::cli::batch {

/// What is compared of one conversion. Figures of a file that was not written are absent.
struct Figures {
  int exit_code = 0;
  std::string worst_layer;                ///< of the lowest SQNR; empty: nothing was quantized
  std::map<std::string, double> numbers;  ///< "output_bytes", "mean_weight_rel", "total_sqnr_db" ..
};

/// By name: the input's file name, and the recipe.
using FigureTable = std::map<std::string, Figures>;

/// How far a number may be off.
using Tolerances = std::map<std::string, double>;

struct Expectations {
  Tolerances tolerances;
  FigureTable files;
};

/// One sentence per deviation: file, figure, wanted, got.
std::vector<std::string> deviations(const Expectations& wanted, const FigureTable& got);

/// throws  Error(kBadInput) naming what is wrong in the document
Expectations parse_expectations(const std::string& text);
std::string expectations_json(const Expectations& expectations);

/// The tolerances of a file that names none.
const Tolerances& standard_tolerances();

/// A batch whose figures are looked at.
class Regression {
 public:
  /// throws  Error(kBadInput) naming `expect`
  Regression(const engine::Setting<engine::Path>& expect, const engine::Setting<engine::Path>& write_expect);
  ~Regression();
  Regression(const Regression&) = delete;
  Regression& operator=(const Regression&) = delete;

  /// Has every job write its quality report, finished ones too.
  /// throws  Error(kUsage): two jobs of one name
  void prepare(std::vector<Job>& jobs);
  /// Writes --write-expect; prints how the figures deviate.
  /// returns  the exit code of the batch: 0 or 3 with --expect, else `otherwise`
  int judge(const std::vector<Job>& jobs, const std::vector<Result>& results, int otherwise) const;

 private:
  std::string report_path(size_t job) const;

  std::optional<Expectations> wanted_;
  std::string write_to_;
  std::filesystem::path reports_;  ///< a folder of its own
};

}  // namespace ctq::cli::batch
