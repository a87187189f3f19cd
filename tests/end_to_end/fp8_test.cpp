// The command `fp8`, from the shell.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

/// Under encoder.0.attn three weights, one ten times as large; what the lists of the programs name; a small
/// one.
std::string make_encoder(const TempDir& dir) {
  const std::string path = dir / "t5.safetensors";
  TestTensor large = bf16_weight("encoder.0.attn.v.weight", 64, 64);
  large.bytes = elements<uint16_t>(64 * 64, [](int64_t i) { return bf16(10 * weight_value(i)); });
  make_checkpoint(
      path,
      {bf16_weight("encoder.0.attn.q.weight", 64, 64), bf16_weight("encoder.0.attn.k.weight", 64, 64), large,
       bf16_weight("encoder.0.ff.wi.weight", 128, 64), bf16_weight("encoder.0.norm.weight", 64, 64),
       bf16_weight("encoder.0.tiny.weight", 16, 64), bf16_weight("decoder.0.q.weight", 64, 64),
       bf16_weight("final_layer.linear.weight", 64, 64), bf16_vector("encoder.0.attn.q.bias", 64)},
      {{"modelspec.title", "small"}});
  return path;
}

Reader converted(const TempDir& dir, std::vector<std::string> words, const std::string& name) {
  words.insert(words.begin(), {"fp8", "-i", dir / "t5.safetensors"});
  const Outcome outcome = run_binary(words);
  INFO(outcome.err << outcome.out);
  REQUIRE(outcome.code == 0);
  return Reader(dir / name);
}

float scale_of(const Reader& file, const std::string& name) {
  float value = 0;
  std::memcpy(&value, bytes_of(file, name).data(), sizeof value);
  return value;
}

double weight_rel(const TempDir& dir, const std::string& name) {
  const Outcome outcome =
      run_binary({"compare", dir / "t5.safetensors", dir / name, "--output-report", dir / "r.json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  double worst = 0;
  for (const json& layer : json::parse(read_file(dir / "r.json"))["files"][0]["layers"])
    worst = std::max(worst, layer["weight_rel"].get<double>());
  return worst;
}

}  // namespace

TEST_CASE("fp8: tpec writes the legacy layout of its program", "[end_to_end]") {
  const TempDir dir;
  make_encoder(dir);
  const Reader file = converted(dir, {}, "t5_float8_e4m3fn_scaled_learned_svd.safetensors");
  CHECK(file.find("scaled_fp8")->shape == std::vector<int64_t>{2});
  CHECK(bytes_of(file, "scaled_fp8") == std::string(2, '\0'));
  CHECK(file.find("encoder.0.tiny.weight")->dtype == Dtype::kF8E4M3);
  CHECK(file.find("decoder.0.q.weight")->dtype == Dtype::kF8E4M3);
  CHECK(file.find("encoder.0.attn.q.scale_weight")->dtype == Dtype::kF32);
  CHECK(file.find("encoder.0.attn.q.scale_input") == nullptr);
  CHECK(file.header().metadata.at("modelspec.title") == "small");
  CHECK(bytes_of(file, "encoder.0.attn.q.bias") ==
        bytes_of(Reader(dir / "t5.safetensors"), "encoder.0.attn.q.bias"));
  CHECK(weight_rel(dir, "t5_float8_e4m3fn_scaled_learned_svd.safetensors") < 0.03);
}

TEST_CASE("fp8: a text encoder keeps, loses and gains what its readers expect", "[end_to_end]") {
  const TempDir dir;
  make_encoder(dir);
  const Reader file = converted(dir, {"--t5xxl", "--keep_distillation"},
                                "t5_float8_e4m3fn_scaled_learned_nodistill_svd.safetensors");
  const Reader original(dir / "t5.safetensors");
  CHECK(file.find("scaled_fp8")->shape == std::vector<int64_t>{0});
  CHECK(file.find("decoder.0.q.weight") == nullptr);
  for (const char* kept : {"encoder.0.norm.weight", "final_layer.linear.weight"})
    CHECK(bytes_of(file, kept) == bytes_of(original, kept));
  CHECK(file.find("encoder.0.norm.scale_weight") == nullptr);
  CHECK(scale_of(file, "encoder.0.attn.q.scale_input") == scale_of(file, "encoder.0.attn.q.scale_weight"));
  CHECK(file.find("encoder.0.attn.q.scale_input")->shape.empty());
}

TEST_CASE("fp8: one-byte scales are those of the codes, alone and shared", "[end_to_end]") {
  const TempDir dir;
  make_encoder(dir);
  const bool shared = GENERATE(true, false);
  const std::string name = shared ? "t5_float8_e4m3fn_scaled_ultra_8bit_shared.safetensors"
                                  : "t5_float8_e4m3fn_scaled_ultra_8bit.safetensors";
  const Reader file = converted(
      dir,
      {"--method", "adaround", "--num_iter", "20", shared ? "--use_shared_scales" : "--no-use_shared_scales"},
      name);
  CHECK(bytes_of(file, "scale_format") == std::string(1, '\x08'));
  CHECK(json::parse(file.header().metadata.at("ctq.scale8"))["meaning"] == "dequant");
  CHECK(file.find("encoder.0.tiny.weight")->dtype == Dtype::kBF16);  // a side below 32
  const auto code = [&](const std::string& layer) { return bytes_of(file, layer + ".scale_weight"); };
  CHECK(code("encoder.0.attn.q").size() == 1);
  CHECK((code("encoder.0.attn.q") == code("encoder.0.attn.v")) == shared);
  CHECK(code("encoder.0.ff.wi") != code("encoder.0.attn.v"));
  CHECK(weight_rel(dir, name) < (shared ? 0.04 : 0.032));

  const Outcome migrated = run_binary({"migrate", "u8log", "-i", dir / name, "-o", dir / "f32.safetensors"});
  INFO(migrated.err);
  REQUIRE(migrated.code == 0);
  CHECK(weight_rel(dir, "f32.safetensors") == Approx(weight_rel(dir, name)));
}

TEST_CASE("fp8: names without a folder, and refusals", "[end_to_end]") {
  const TempDir dir;
  make_encoder(dir);
  const std::string here = "cd " + shell_quoted(dir / "") + " &&";
  CHECK(run_binary({"fp8", "t5.safetensors", "-o", "out.safetensors", "--method", "rtn"}, here).code == 0);
  CHECK(Reader(dir / "out.safetensors").find("scaled_fp8") != nullptr);
  CHECK(run_binary({"fp8", "t5.safetensors", "-o", "t5.safetensors"}, here).code == 2);
  CHECK(run_binary({"fp8", "absent.safetensors"}, here).code == 4);
  CHECK(run_binary({"fp8"}, here).code == 2);
  const Outcome marked = run_binary({"fp8", "t5.safetensors", "--no-legacy", "-o", "m.safetensors"}, here);
  CHECK(marked.code == 0);
  CHECK(Reader(dir / "m.safetensors").find("encoder.0.attn.q.comfy_quant") != nullptr);
}

TEST_CASE("links: ctq starts from the peer's defaults", "[end_to_end]") {
  const TempDir dir;
  make_encoder(dir);
  std::filesystem::create_symlink(CTQ_BINARY, dir / "ctq");
  const auto plans_fp8 = [&](const std::string& program, const std::string& options) {
    const std::string command = shell_quoted(program) + " -i " + shell_quoted(dir / "t5.safetensors") +
                                " --dry-run --json " + options + " >" + shell_quoted(dir / "plan.json") +
                                " 2>/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
    const std::string plan = read_file(dir / "plan.json");
    return plan.find("float8_e4m3fn") != std::string::npos;
  };
  CHECK(plans_fp8(dir / "ctq", ""));
  CHECK_FALSE(plans_fp8(dir / "ctq", "--profile seed"));
  CHECK_FALSE(plans_fp8(CTQ_BINARY, ""));
}
