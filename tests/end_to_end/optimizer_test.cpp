// Optimizers from the command line.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;

namespace {

/// A BERT-like block: the norm before the MLP and the MLP, so that `implied` knows the inputs of both
/// linears.
std::string make_block(const TempDir& dir) {
  const std::string p = "encoder.layer.0.";
  make_checkpoint(
      dir / "m.safetensors",
      {bf16_weight(p + "attention.self.query.weight", 64, 64),
       bf16_vector(p + "attention.output.LayerNorm.weight", 64),
       bf16_vector(p + "attention.output.LayerNorm.bias", 64),
       bf16_weight(p + "intermediate.dense.weight", 256, 64), bf16_vector(p + "intermediate.dense.bias", 256),
       bf16_weight(p + "output.dense.weight", 64, 256), bf16_vector(p + "output.dense.bias", 64)});
  return dir / "m.safetensors";
}

}  // namespace

TEST_CASE("optimizer: direct lowers its objective on every layer, says so, and names the file after itself",
          "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const Outcome run = run_binary({"-i", model, "--fp8", "--comfy_quant", "--optimizer", "direct", "--sweeps",
                                  "1", "--quality-json", dir / "q.json"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(std::filesystem::exists(dir / "m_direct_fp8_tensor.safetensors"));
  for (const auto& layer : nlohmann::json::parse(read_file(dir / "q.json")).at("layers")) {
    CHECK(layer.at("optimizer").at("method") == "direct");
    CHECK(layer.at("optimizer").at("objective").get<double>() <
          layer.at("optimizer").at("objective_nearest").get<double>());
  }
}

TEST_CASE("optimizer: the same seed gives the same file for any number of threads", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const auto flags =
      GENERATE(values<std::vector<std::string>>({{"--optimizer", "implied"},
                                                 {"--optimizer", "direct", "--objective", "subspace"},
                                                 {"--optimizer", "direct", "--sweeps", "2"}}));
  std::string expected;
  for (const char* threads : {"1", "2", "7"}) {
    std::vector<std::string> args = {
        "-i",  model,       "-o",    dir / "o.safetensors", "--int8", "--scaling_mode",
        "row", "--threads", threads, "--manual_seed",       "5"};
    args.insert(args.end(), flags.begin(), flags.end());
    REQUIRE(run_binary(args).code == 0);
    if (expected.empty()) expected = read_file(dir / "o.safetensors");
    CHECK(read_file(dir / "o.safetensors") == expected);
  }
}

TEST_CASE("optimizer: options that contradict each other are refused, those without effect are noted",
          "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const std::vector<std::string> base = {"-i", model, "-o", dir / "o.safetensors", "--fp8"};
  auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = base;
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  CHECK(with({"--optimizer", "direct", "--objective", "subspace", "--min_k", "9", "--max_k", "8"}).code == 2);
  CHECK(with({"--optimizer", "gptq"}).code == 2);
  CHECK(with({"--sweeps", "2"}).out.find("--sweeps has no effect") != std::string::npos);
  CHECK(with({"--optimizer", "direct", "--simple"}).out.find("no effect with --simple") != std::string::npos);
}
