// Bounds on memory, with the program itself.
#include <catch2/catch.hpp>
#include <regex>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;

namespace {

using Words = std::vector<std::string>;

/// A layer whose second moment is the larger part of the work.
std::string make_wide_model(const TempDir& dir) {
  const std::string path = dir / "wide.safetensors";
  make_checkpoint(path, {bf16_weight("blocks.0.fc.weight", 1024, 4096)});
  return path;
}

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The MiB of "peak memory 123 MiB without mapped files".
double peak_mib(const std::string& text) {
  std::smatch found;
  REQUIRE(std::regex_search(text, found, std::regex("peak memory ([0-9.]+) MiB")));
  return std::stod(found[1]);
}

}  // namespace

TEST_CASE("memory: a limit is kept, in rows and in segments", "[end_to_end]") {
  const TempDir dir;
  // A second moment that is a matrix, made of all rows, and one that is none.
  const bool matrix = GENERATE(true, false);
  const Words plain{"-i",          make_wide_model(dir),
                    "--int8",      "--scaling_mode",
                    "row",         "--comfy_quant",
                    "--optimizer", "direct",
                    "--objective", matrix ? "subspace" : "mixed",
                    "-o",          dir / "o.safetensors",
                    "--threads",   "2"};
  const Outcome free = run_binary(plain);
  REQUIRE(free.code == 0);
  const std::string whole = read_file(dir / "o.safetensors");

  const Outcome by_rows = run_binary(with(plain, {"--max-memory", "420M"}));
  INFO(by_rows.out << by_rows.err);
  REQUIRE(by_rows.code == 0);
  CHECK((read_file(dir / "o.safetensors") == whole) == !matrix);

  const Outcome refused = run_binary(with(plain, {"--max-memory", "150M"}));
  CHECK(refused.code == 2);
  std::smatch least;
  REQUIRE(std::regex_search(
      refused.err, least,
      std::regex("'blocks.0.fc.weight' \\[1024, 4096\\] takes up to .* by direct.*give ([0-9]+) MiB")));
  const double limit = std::stod(least[1]);
  const Outcome tight = run_binary(with(plain, {}), "CTQ_MAX_MEMORY=" + std::string(least[1]) + "M");
  INFO(tight.out << tight.err);
  REQUIRE(tight.code == 0);
  CHECK((tight.out.find("32 segments") != std::string::npos) == matrix);
  CHECK(peak_mib(tight.out) < limit);
  CHECK(peak_mib(tight.out) < peak_mib(free.out));
  CHECK((read_file(dir / "o.safetensors") == whole) == !matrix);
}

TEST_CASE("memory: limits that nothing can keep, and what excludes each other", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_wide_model(dir), output = dir / "o.safetensors";
  struct Row {
    Words options;
    std::string message;
  };
  const auto row = GENERATE(values<Row>({
      {{"--max-memory", "100M"}, "argument --max-memory: the program without any layer takes"},
      {{"--max-memory", "140M", "--optimizer", "adamw"},
       "argument --max-memory: tensor 'blocks.0.fc.weight'"},
      {{"--no-memory-limits", "--low-memory"}, "argument --no-memory-limits: does not go with --low-memory"},
      {{"--no-memory-limits", "--max-memory", "1G"},
       "argument --no-memory-limits: does not go with --max-memory"},
      {{"--no-memory-limits", "--stream-ldlq-threshold", "1"},
       "argument --no-memory-limits: does not go with --stream-ldlq-threshold"},
      {{"--streaming-mode", "extreme"}, "--streaming-mode"},
      {{"--stream-ortho-threshold", "0"}, "--stream-ortho-threshold"},
      {{"--bf16-threshold", "-1"}, "--bf16-threshold"},
      {{"--bf16-compute", "maybe"}, "--bf16-compute"},
  }));
  const Outcome run = run_binary(with({"-i", model, "-o", output, "--int8"}, row.options));
  CHECK(run.code == 2);
  CHECK(run.err.find(row.message) != std::string::npos);
  CHECK(dir.entries() == Words{"wide.safetensors"});
}

TEST_CASE("memory: options of a GPU say that they do nothing on the CPU", "[end_to_end]") {
  const TempDir dir;
  const std::string model = dir / "m.safetensors";
  make_checkpoint(model, {bf16_weight("a.weight", 64, 64)});
  const Words plain{"-i", model, "-o", dir / "o.safetensors", "--int8", "--simple", "--device", "cpu"};
  const std::string without = run_binary(plain).out;
  CHECK(without.find("no effect") == std::string::npos);
  struct Row {
    Words options;
    std::string message;
  };
  const auto row = GENERATE(values<Row>({
      {{"--streaming-mode", "aggressive", "--stream-ldlq-threshold", "4"},
       "note: --streaming-mode, --stream-ldlq-threshold: all work is on the CPU"},
      {{"--streaming"}, "--streaming is an old spelling; write --streaming-mode balanced"},
      {{"--streaming-aggressive"},
       "--streaming-aggressive is an old spelling; write --streaming-mode aggressive"},
      {{"--bf16-compute", "on"}, "note: --bf16-compute on: the CPU has no BF16 arithmetic"},
      {{"--bf16-hessian-threshold", "5"}, "note: --bf16-hessian-threshold has no effect on the CPU"},
      {{"--calib_cpu"}, "note: --calib_cpu has no effect"},
      {{"--no-memory-limits"}, "--no-memory-limits: nothing is checked"},
  }));
  const Outcome run = run_binary(with(plain, row.options));
  CHECK(run.code == 0);
  CHECK((run.out + run.err).find(row.message) != std::string::npos);
}

TEST_CASE("threads: they sleep while they wait, unless the environment says otherwise", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("blocks.0.fc.weight", 64, 64)});
  const Words words{"inspect", dir / "m.safetensors"};
  const Outcome passive = run_binary(words, "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT OMP_DISPLAY_ENV=true");
  CHECK(passive.code == 0);
  CHECK(passive.err.find("OMP_WAIT_POLICY = 'PASSIVE'") != std::string::npos);
  const Outcome active = run_binary(words, "env OMP_WAIT_POLICY=active OMP_DISPLAY_ENV=true");
  CHECK(active.err.find("OMP_WAIT_POLICY = 'ACTIVE'") != std::string::npos);
}
