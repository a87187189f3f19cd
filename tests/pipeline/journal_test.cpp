#include "pipeline/journal.h"

#include <cmath>
#include <limits>

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <catch2/catch.hpp>

#include "safetensors/writer.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::pipeline {
namespace {

using ctq::test::TempDir;
using Names = std::vector<std::string>;

const ResumeKey kKey{.version = "1", .input = "in", .options = "fp8"};

DoneRecord record_named(const std::string& tensor) {
  DoneRecord record;
  record.tensor = tensor;
  record.checksums = {1, ~uint64_t{0}};
  return record;
}

plan::Plan plan_of_files(const Names& names) {
  plan::Plan plan;
  for (const std::string& name : names) plan.files.emplace_back().name = name;
  return plan;
}

/// A run that is interrupted after these tensors.
void leave(const std::string& output, const Names& tensors, const plan::ValueFindings& findings = {},
           const Names& files = {"x"}) {
  Journal journal(output, kKey);
  journal.begin(plan_of_files(files), findings);
  for (const std::string& file : files)
    test::write_file(safetensors::partial_path(output.substr(0, output.rfind('/') + 1) + file), "partial");
  for (const std::string& tensor : tensors) journal.add(record_named(tensor), [] {});
  journal.flush([] {});
  journal.keep();
}

}  // namespace

TEST_CASE("done_record: every number comes back to the last bit", "[pipeline]") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  DoneRecord record = record_named("blk.\xc3\xa4\n.weight");
  record.seconds = 0.1;
  record.error = metrics::WeightError{.numel = 7,
                                      .mse = 1.0 / 3,
                                      .max_error = 1e-300,
                                      .sqnr_db = kInfinity,
                                      .weight_rel = -0.0,
                                      .variance_db = std::nan(""),
                                      .non_finite = 2,
                                      .to_zero = 5,
                                      .rows_to_zero = 3};
  record.squares = {.error = 1.0 / 7, .weight = kInfinity};
  record.optimized = Optimized{.method = "direct",
                               .source = "recorded",
                               .objective_name = "trace",
                               .nearest_objective = 0.3,
                               .objective = 0.1,
                               .iterations = 12,
                               .samples = 345,
                               .stopped_by = "stall",
                               .guarded = true,
                               .subspace = SubspaceError{.nearest = 0.7, .stored = 0.6},
                               .output = OutputError{.nearest = 0.5, .stored = 0.4},
                               .nearest_error = 0.2};
  record.histograms = metrics::WeightHistograms{.original = {-0.1, 1.0 / 3, {0, 7}},
                                                .decoded = {-0.1, 1.0 / 3, {int64_t{1} << 40, 3}},
                                                .error = {-1e-7, 1e-7, {5, 2}}};
  record.bias_change = at::tensor({0.1, -1e-310, kInfinity}, at::kDouble);
  const std::string line = write_record(record);
  CHECK(line.find('\n') == std::string::npos);
  const auto read = read_record(line);
  REQUIRE(read.has_value());
  CHECK(read->tensor == record.tensor);
  CHECK(read->checksums == record.checksums);
  CHECK(read->seconds == 0.1);
  CHECK(read->error->mse == 1.0 / 3);
  CHECK(read->error->max_error == 1e-300);
  CHECK(read->error->sqnr_db == kInfinity);
  CHECK(std::signbit(read->error->weight_rel));
  CHECK(std::isnan(read->error->variance_db));
  CHECK(read->error->non_finite == 2);
  CHECK(read->error->to_zero == 5);
  CHECK(read->error->rows_to_zero == 3);
  CHECK(read->squares.error == 1.0 / 7);
  CHECK(read->squares.weight == kInfinity);
  CHECK(read->optimized->objective == 0.1);
  CHECK(read->optimized->guarded);
  CHECK(read->optimized->samples == 345);
  CHECK(read->optimized->subspace->stored == 0.6);
  CHECK(read->optimized->output->nearest == 0.5);
  CHECK(read->histograms == record.histograms);
  CHECK(read->optimized->nearest_error == 0.2);
  CHECK(at::equal(read->bias_change, record.bias_change));
  CHECK(write_record(*read) == line);
}

TEST_CASE("done_record: what is absent stays absent, and other lines are none", "[pipeline]") {
  const auto read = read_record(write_record(record_named("a")));
  REQUIRE(read.has_value());
  CHECK_FALSE(read->error.has_value());
  CHECK_FALSE(read->optimized.has_value());
  CHECK_FALSE(read->histograms.has_value());
  CHECK_FALSE(read->bias_change.defined());
  for (const char* line : {"", "{", "[]", "{}", R"({"tensor":"a","checksums":["x"],"seconds":"0"})"}) {
    INFO(line);
    CHECK_FALSE(read_record(line).has_value());
  }
}

TEST_CASE("journal: the same run finds its records and findings", "[pipeline]") {
  const TempDir dir;
  const plan::ValueFindings findings{{"nan.weight", "1 NaN"}};
  leave(dir / "x", {"a", "b"}, findings);
  leave(dir / "x", {"c"}, findings);
  Journal journal(dir / "x", kKey);
  CHECK(journal.findings() == findings);
  journal.begin(plan_of_files({"x"}), findings);
  for (const char* tensor : {"a", "b", "c"}) {
    REQUIRE(journal.find(tensor) != nullptr);
    CHECK(journal.find(tensor)->checksums == record_named(tensor).checksums);
  }
  CHECK(journal.find("d") == nullptr);
  CHECK(journal.records() == 3);
}

TEST_CASE("journal: records of another run or of other findings are forgotten", "[pipeline]") {
  const TempDir dir;
  leave(dir / "x", {"a"}, {}, {"x-1", "x-2"});
  CHECK(dir.entries() == Names{".x-1.partial", ".x-2.partial", ".x.journal"});
  ResumeKey key = kKey;
  plan::ValueFindings findings;
  SECTION("version") { key.version = "2"; }
  SECTION("input") { key.input = "other"; }
  SECTION("options") { key.options = "int8"; }
  SECTION("findings") { findings["b.weight"] = "1 NaN"; }
  Journal journal(dir / "x", key);
  journal.begin(plan_of_files({"x"}), findings);
  CHECK(journal.find("a") == nullptr);
  CHECK(journal.records() == 0);
  CHECK(dir.entries() == Names{".x.journal"});
}

TEST_CASE("journal: is nothing worth keeping, or no run wants it, nothing is left", "[pipeline]") {
  const TempDir dir;
  SECTION("no tensor done") { leave(dir / "x", {}); }
  SECTION("not kept") {
    leave(dir / "x", {"a"});
    const Journal failed(dir / "x", kKey);
  }
  SECTION("removed") {
    leave(dir / "x", {"a"});
    CHECK(dir.entries().size() == 2);
    Journal::remove_left(dir / "x");
    Journal::remove_left(dir / "x");
  }
  CHECK(dir.entries().empty());
}

TEST_CASE("journal: the data are on the disk before their record", "[pipeline]") {
  const TempDir dir;
  Journal journal(dir / "x", kKey);
  journal.begin(plan_of_files({"x"}), {});
  const auto written = std::filesystem::file_size(dir / ".x.journal");
  int synced = 0;
  journal.add(record_named("a"), [&] {
    ++synced;
    CHECK(std::filesystem::file_size(dir / ".x.journal") == written);
  });
  journal.flush([&] { ++synced; });
  CHECK(synced == 1);
  CHECK(std::filesystem::file_size(dir / ".x.journal") > written);
}

}  // namespace ctq::pipeline
