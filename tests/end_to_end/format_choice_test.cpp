// --max-error and --target-size.
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;

namespace {

/// `exact` has only values that NVFP4 holds; the others do not, and `b` has three times as many of them.
struct Fixture {
  TempDir dir;
  std::string model = dir / "m.safetensors", output = dir / "o.safetensors";

  Fixture() {
    const auto held = [](int64_t i) {
      return bf16((i % 16 == 0 ? 6.0f : static_cast<float>(i % 4)) * 0.25f);
    };
    make_checkpoint(model, {tensor("exact.weight", ctq::safetensors::Dtype::kBF16, {64, 128},
                                   elements<uint16_t>(64 * 128, held)),
                            bf16_weight("a.weight", 64, 128), bf16_weight("b.weight", 192, 128)});
  }
  Outcome convert(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {
        "-i", model, "-o", output, "--recipe", "comfy-nvfp4", "--quality-json", dir / "q.json"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  }
  /// Its format in the output; "BF16" where it was kept.
  std::string format(const std::string& layer) const {
    const auto written = ctq::model::Checkpoint::open(output);
    const auto* marker = written.find(layer + ".comfy_quant");
    if (!marker)
      return std::string(ctq::safetensors::dtype_name(written.find(layer + ".weight")->info->dtype));
    const at::Tensor bytes = ctq::model::load(*marker);
    return nlohmann::json::parse(
               std::string(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()))
        .at("format");
  }
  double worst() const {
    const nlohmann::json report = nlohmann::json::parse(read_file(dir / "q.json"));
    double worst = 0;
    for (const auto& layer : report.at("layers"))
      worst = std::max(worst, layer.at("weight_rel").get<double>());
    return worst;
  }
};

}  // namespace

TEST_CASE("format choice: every layer gets the smallest format that stays below the error", "[end_to_end]") {
  const Fixture files;
  const auto formats = [&](const std::string& error) {
    const Outcome run = files.convert({"--max-error", error});
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    CHECK(files.worst() <= std::stod(error));
    CHECK(run.out.find("Formats by measurement: ") != std::string::npos);
    return std::vector{files.format("exact"), files.format("a"), files.format("b")};
  };
  CHECK(formats("0.5") == std::vector<std::string>{"nvfp4", "nvfp4", "nvfp4"});
  CHECK(formats("0.05") == std::vector<std::string>{"nvfp4", "float8_e4m3fn", "float8_e4m3fn"});
  CHECK(formats("0.001") == std::vector<std::string>{"nvfp4", "BF16", "BF16"});
}

TEST_CASE("format choice: the file stays within the size, and errors fall with it", "[end_to_end]") {
  const Fixture files;
  std::filesystem::remove(files.output);
  REQUIRE(files.convert({}).code == 0);
  const auto smallest = std::filesystem::file_size(files.output);
  double before = files.worst();
  for (const uint64_t more : {5'000u, 16'000u, 40'000u}) {
    const uint64_t target = smallest + more;
    const Outcome run = files.convert({"--target-size", std::to_string(target)});
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    CHECK(std::filesystem::file_size(files.output) <= target);
    CHECK(files.format("exact") == "nvfp4");
    CHECK(files.worst() <= before);
    before = files.worst();
  }
  CHECK(before < 0.03);
}

TEST_CASE("format choice: goals that cannot be met, or contradict, are refused with what can be had",
          "[end_to_end]") {
  const Fixture files;
  const auto refused = [&](int code, const std::string& said, const std::vector<std::string>& args) {
    const Outcome run = files.convert(args);
    INFO(run.err);
    CHECK(run.code == code);
    CHECK(run.err.find(said) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(files.output));
  };
  refused(3, "the smallest file that these formats give has", {"--target-size", "1000"});
  refused(3, "no layer stays below it; the least error is",
          {"--max-error", "1e-6", "--exclude-layers", "^exact"});
  refused(2, "one goal at a time", {"--target-size", "1MB", "--max-error", "0.1"});
  refused(2, "must be", {"--max-error", "0"});
}

TEST_CASE("format choice: layers that a rule names keep their formats", "[end_to_end]") {
  const Fixture files;
  const Outcome run = files.convert(
      {"--max-error", "0.001", "--custom-layers", "^b", "--custom-type", "fp8", "--exclude-layers", "^a"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(files.format("exact") == "nvfp4");
  CHECK(files.format("a") == "BF16");
  CHECK(files.format("b") == "float8_e4m3fn");
}
