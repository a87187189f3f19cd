// A budget of time for the optimizers.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;
using Names = std::vector<std::string>;

namespace {

/// A weight that INT8 per row stores the worse the larger its one outlier per row is.
TestTensor weight_with_outliers(std::string name, float outlier) {
  return tensor(std::move(name), ctq::safetensors::Dtype::kBF16, {128, 128},
                elements<uint16_t>(
                    128 * 128, [&](int64_t i) { return bf16(i % 128 == 5 ? outlier : weight_value(i)); }));
}

/// Errors rise from blk.0 to blk.3.
struct Fixture {
  TempDir dir;
  std::string model = dir / "m.safetensors", output = dir / "o.safetensors", report = dir / "q.json";

  Fixture() {
    make_checkpoint(model,
                    {weight_with_outliers("blk.0.weight", 0.1f), weight_with_outliers("blk.1.weight", 0.2f),
                     bf16_vector("blk.1.bias", 128), weight_with_outliers("blk.2.weight", 0.4f),
                     weight_with_outliers("blk.3.weight", 0.8f)});
  }
  Outcome convert(const Names& more) const {
    Names args = {"-i", model, "-o", output, "--int8", "--scaling_mode", "row", "--comfy_quant"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// More iterations than any machine does in a second.
const Names kEndless = {"--optimizer",        "original",  "--num_iter",        "100000000",
                        "--early-stop-stall", "100000000", "--early-stop-loss", "0",
                        "--early-stop-lr",    "0"};

}  // namespace

TEST_CASE("time: what is left over when it is used up is rounded to nearest and says so", "[end_to_end]") {
  const Fixture files;
  Names args = kEndless;
  args.insert(args.end(), {"--time", "1s", "--quality-json", files.report, "--progress", "plain"});
  const Outcome run = files.convert(args);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(has(run.out, "time: 4 layers rounded to nearest and measured in "));
  CHECK(has(run.out, "(1/5) Processing (INT8): blk.3.weight"));
  CHECK(has(run.out, "iterations (time)"));
  CHECK(has(run.out, "rtn: no time left, weight_rel "));
  CHECK(has(run.out, "time: 1 of 4 layers optimized in "));
  CHECK(has(run.out, " s of 1.00 s, 1 of them cut short; 3 rounded to nearest, whose errors are at most "));
  const nlohmann::json layers = nlohmann::json::parse(read_file(files.report)).at("layers");
  REQUIRE(layers.size() == 4);
  for (const auto& layer : layers) {
    INFO(layer.dump());
    const auto& optimizer = layer.at("optimizer");
    const bool first = layer.at("name") == "blk.3.weight";
    CHECK(optimizer.at("method") == (first ? "original" : "rtn"));
    CHECK(optimizer.at("stopped_by") == "time");
    CHECK(optimizer.at("nearest_error").get<double>() <=
          layers.back().at("optimizer").at("nearest_error").get<double>());
    if (first) CHECK(optimizer.at("objective") < optimizer.at("objective_nearest"));
    if (first) CHECK(optimizer.at("iterations") > 0);
  }
  const Outcome verified = run_binary({"verify", files.output});
  INFO(verified.err << verified.out);
  CHECK(verified.code == 0);
}

TEST_CASE("time: a budget that suffices gives the file of a run without one", "[end_to_end]") {
  const Fixture files;
  const auto optimizer = GENERATE(as<std::string>{}, "auto", "adamw", "tpec", "adaround");
  const Names args = {"--optimizer", optimizer, "--num_iter", "30"};
  REQUIRE(files.convert(args).code == 0);
  const std::string without = read_file(files.output);
  Names with = args;
  with.insert(with.end(), {"--time", "1h30m"});
  const Outcome run = files.convert(with);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(read_file(files.output) == without);
  CHECK(has(run.out, "time: 4 of 4 layers optimized in "));
  CHECK(has(run.out, " of 1 h 30 min\n"));
}

TEST_CASE("time: what it cannot go with is refused, where it does nothing a note says so", "[end_to_end]") {
  const Fixture files;
  const auto refused = [&](const Names& more, const std::string& said) {
    const Outcome run = files.convert(more);
    INFO(run.err << said);
    CHECK(run.code == 2);
    CHECK(has(run.err, said));
    CHECK_FALSE(std::filesystem::exists(files.output));
  };
  refused({"--time", "0.5s"}, "argument --time: must be at least 1 seconds (got '0.5s')");
  refused({"--time", "30"}, "argument --time: not a duration such as 30s, 10m or 1h30m (got '30')");
  refused({"--time", "soon"}, "argument --time: not a duration");
  refused({"--time", "1m", "--partition", "1/2"}, "--time: does not go with --partition");
  refused({"--time", "1m", "--max-error", "0.1"}, "--time: does not go with --max-error");
  refused({"--time", "1m", "--target-size", "1MB"}, "--time: does not go with --target-size");

  const auto notes = [&](const Names& more, const std::string& said) {
    const Outcome run = files.convert(more);
    INFO(run.out << run.err << said);
    CHECK(run.code == 0);
    CHECK(has(run.out, said));
  };
  notes({"--time", "1m", "--dry-run"}, "--time has no effect with --dry-run");
  notes({"--time", "1m", "--optimizer", "rtn"}, "--time has no effect when rounding to nearest");
  notes({"--time", "1m", "--simple"}, "--time has no effect when rounding to nearest");
}
