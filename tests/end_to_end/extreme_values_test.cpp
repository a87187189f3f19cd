// Finite weights that a format cannot hold: rotated sums beyond float32, values below every scale.
#include <cmath>
#include <functional>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "quantized/decode.h"
#include "safetensors/reader.h"
#include "support/clip_g_checkpoint.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using safetensors::Dtype;
using safetensors::Reader;
using Words = std::vector<std::string>;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TestTensor weight(std::string name, const std::function<float(int64_t)>& value) {
  return tensor(std::move(name), Dtype::kF32, {64, 256}, elements<float>(int64_t{64} * 256, value));
}

/// "odd.weight" with those values beside a usual weight.
class Folder {
 public:
  explicit Folder(const std::function<float(int64_t)>& value) {
    make_checkpoint(*this / "m.safetensors",
                    {weight("odd.weight", value), bf16_weight("usual.weight", 64, 256)});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }

  Outcome convert(const Words& flags, int code = 0) const {
    Words words{"-i", *this / "m.safetensors", "-o", *this / "o.safetensors", "--threads", "1"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_expecting(words, code);
  }
  /// Whether the odd weight is as it was.
  bool is_kept() const {
    const Reader before(*this / "m.safetensors"), after(*this / "o.safetensors");
    const auto* info = after.find("odd.weight");
    return info->dtype == Dtype::kF32 && bytes_of(after, "odd.weight") == bytes_of(before, "odd.weight");
  }
  /// The greatest error of a weight of the output, as a share of its largest magnitude.
  double error(const std::string& name) const {
    const auto before = model::Checkpoint::open(*this / "m.safetensors");
    const auto after = model::Checkpoint::open(*this / "o.safetensors");
    const quantized::QuantizedFile file = quantized::find_layers(after);
    const at::Tensor original = model::load(*before.find(name)).to(at::kDouble);
    const quantized::Layer* layer = file.of_weight(*after.find(name));
    REQUIRE(layer != nullptr);
    const at::Tensor decoded = quantized::decode(file, *layer).to(at::kDouble);
    return ((decoded - original).abs().max() / original.abs().max()).item<double>();
  }

 private:
  TempDir dir_;
};

/// A row near the end of float32, all of one sign, so that rotated sums leave it.
float overflowing(int64_t i) { return i < 256 ? 3e37f : weight_value(i); }

const std::vector<Words> kEveryFormat = {
    {"--fp8"},
    {"--format", "float8_e5m2"},
    {"--fp8", "--scaling_mode", "row"},
    {"--fp8", "--scaling_mode", "block", "--block_size", "32"},
    {"--fp8", "--scaling_mode", "block3d", "--block_size", "32"},
    {"--int8", "--scaling_mode", "tensor"},
    {"--int8", "--scaling_mode", "row"},
    {"--int8", "--scaling_mode", "row", "--convrot"},
    {"--int8", "--scaling_mode", "axis"},
    {"--int8", "--block_size", "32"},
    {"--nvfp4"},
    {"--mxfp8"},
    {"--format", "hybrid_mxfp8"},
    {"--format", "convrot_w4a4"},
    {"--format", "asym_w4a8_int8"},
    {"--format", "awq_w4a16"},
    {"--optimizer", "quip", "--quip-store-transformed"},
};

const std::vector<std::string> kEveryOptimizer = {"rtn",      "auto",   "gptq",     "quip",
                                                  "implied",  "direct", "adaround", "tpec",
                                                  "original", "adamw",  "radam",    "prodigy"};

/// Kept and named, or quantized with a sane error.
void check_kept_or_sound(const Folder& files, const Outcome& run) {
  INFO(run.err << run.out);
  CHECK(files.error("usual.weight") < 0.3);
  if (files.is_kept()) {
    CHECK(has(run.err, "tensor 'odd.weight' has values "));
    CHECK(has(run.err, "it is copied unquantized"));
  } else {
    CHECK(files.error("odd.weight") < 0.3);
    CHECK_FALSE(has(run.err, "copied unquantized"));
  }
}

}  // namespace

TEST_CASE("rotated sums beyond float32: the tensor is named and kept, the run goes on", "[end_to_end]") {
  const Folder files(overflowing);
  const std::string recipe = GENERATE("comfy-int8", "comfy-w4a4");
  const Outcome run = files.convert({"--recipe", recipe});
  CHECK(files.is_kept());
  CHECK(has(run.err,
            "tensor 'odd.weight' has values up to 3e+37, whose sums overflow float32 when the weight is "
            "rotated: it is copied unquantized"));
  CHECK(Reader(files / "o.safetensors").find("usual.weight_scale") != nullptr);
  const Outcome strict = files.convert({"--recipe", recipe, "--strict"}, 1);
  CHECK(has(strict.err, "'odd.weight'"));
  CHECK_FALSE(has(strict.err, "changed while"));
}

TEST_CASE("extreme values: no format writes what decodes to something else", "[end_to_end][slow]") {
  for (const auto& values : std::vector<std::function<float(int64_t)>>{
           overflowing,
           [](int64_t i) { return i == 700 ? 3.4e38f : weight_value(i); },  // one value at the very end
           [](int64_t i) { return 1e20f * weight_value(i); },               // squares overflow
           [](int64_t i) { return 1e-22f * weight_value(i); },              // squares underflow
           [](int64_t i) { return 1e-37f * weight_value(i); },              // scales underflow
           [](int64_t i) { return 1e-41f * weight_value(i) / 0.02f; }}) {   // denormal numbers
    const Folder files(values);
    for (const Words& format : kEveryFormat) {
      CAPTURE(format, values(0), values(300));
      Words flags = format;
      flags.insert(flags.end(), {"--comfy_quant", "--allow-empty"});
      check_kept_or_sound(files, files.convert(flags));
    }
  }
}

TEST_CASE("extreme values: no optimizer makes them worse", "[end_to_end][slow]") {
  for (const auto& values : std::vector<std::function<float(int64_t)>>{
           [](int64_t i) { return i == 700 ? 3.4e38f : weight_value(i); },
           [](int64_t i) { return 1e20f * weight_value(i); },
           [](int64_t i) { return 1e-22f * weight_value(i); },
           [](int64_t i) { return i < 256 ? 1e-22f * weight_value(i) : weight_value(i); }}) {
    const Folder files(values);
    for (const std::string& optimizer : kEveryOptimizer) {
      for (const Words& format : {Words{"--fp8"}, Words{"--int8", "--scaling_mode", "row", "--convrot"}}) {
        CAPTURE(optimizer, format, values(300));
        Words flags = format;
        flags.insert(flags.end(), {"--comfy_quant", "--optimizer", optimizer, "--num_iter", "20"});
        check_kept_or_sound(files, files.convert(flags));
      }
    }
  }
}

TEST_CASE("float16 cannot hold weights below all its numbers, nor beyond", "[end_to_end]") {
  const float factor = GENERATE(1e-9f, 1e9f);
  const Folder files([&](int64_t i) { return factor * weight_value(i); });
  const Outcome run = files.convert({"--fp16"});
  CHECK(files.is_kept());
  CHECK(has(run.err, "float16"));
  CHECK(Reader(files / "o.safetensors").find("usual.weight")->dtype == Dtype::kF16);
}

TEST_CASE("a weight of zeros is no finding", "[end_to_end]") {
  const Folder files([](int64_t) { return 0.0f; });
  for (const Words& format : kEveryFormat) {
    CAPTURE(format);
    Words flags = format;
    flags.insert(flags.end(), {"--comfy_quant"});
    CHECK(files.convert(flags).err.empty());
    CHECK_FALSE(files.is_kept());
  }
}

TEST_CASE("a choice of formats by error keeps what no format holds", "[end_to_end]") {
  const Folder files(overflowing);
  const Words goal = GENERATE(Words{"--max-error", "0.2"}, Words{"--target-size", "90KB"});
  Words flags{"--recipe", "comfy-int8"};
  flags.insert(flags.end(), goal.begin(), goal.end());
  check_kept_or_sound(files, files.convert(flags));
}

TEST_CASE("parts of a plan keep the same weights", "[end_to_end]") {
  const Folder files(overflowing);
  files.convert({"--recipe", "comfy-int8"});
  const std::string whole = read_file(files / "o.safetensors");
  files.convert({"--recipe", "comfy-int8", "--partition", "1/2"});
  files.convert({"--recipe", "comfy-int8", "--partition", "2/2"});
  run_expecting({"assemble", files / "o.part-1-of-2.safetensors", files / "o.part-2-of-2.safetensors", "-o",
                 files / "joined.safetensors"},
                0);
  CHECK(read_file(files / "joined.safetensors") == whole);
}

TEST_CASE("clip-g: weights that raw FP8 would make zeros of are named and kept", "[end_to_end]") {
  const TempDir dir;
  const std::string tiny = "transformer.resblocks.9.mlp.c_fc.weight";
  make_checkpoint(dir / "clip.safetensors",
                  clip_g_tensors(32, {.factors = {{tiny, 0.004f}}, .first_values = {}}));
  const Outcome run =
      run_expecting({"clip-g", "-i", dir / "clip.safetensors", "-o", dir / "o.safetensors"}, 0);
  CHECK(has(run.err, tiny + ": values of at most "));
  CHECK(has(run.err, "all zeros in FP8"));
  const Reader before(dir / "clip.safetensors"), after(dir / "o.safetensors");
  CHECK(bytes_of(after, tiny) == bytes_of(before, tiny));
  const auto scaled = run_binary(
      {"clip-g", "-i", dir / "clip.safetensors", "-o", dir / "s.safetensors", "--fp8-scale", "tensor"});
  CHECK_FALSE(has(scaled.err, tiny));
}

TEST_CASE("rows that one scale loses are counted in every report", "[end_to_end]") {
  // With one scale for all, rows 1e8 times smaller than the largest value are zeros.
  const Folder files([](int64_t i) { return i / 256 < 5 ? 1e-9f * weight_value(i) : weight_value(i); });
  const std::string report = files / "r.json", quality = files / "q.json";
  const Outcome run = files.convert({"--fp8", "--comfy_quant", "--simple", "--report", report,
                                     "--report-quality", "--quality-json", quality});
  INFO(run.out);
  CHECK(has(run.out, "5 rows of 1 weights, most of odd.weight (5)"));
  CHECK(has(run.out, "became zeros: 5 rows of odd.weight"));
  const auto json = nlohmann::json::parse(read_file(report));
  for (const auto& row : json.at("tensors")) {
    if (row.at("name") == "odd.weight") {
      CHECK(row.at("error").at("rows_to_zero") == 5);
      CHECK(row.at("error").at("to_zero") >= 5 * 250);
    }
  }
  CHECK(nlohmann::json::parse(read_file(quality)).at("layers").at(0).at("rows_to_zero") == 5);
  const Outcome rows = files.convert({"--fp8", "--scaling_mode", "row", "--simple", "--report-quality"});
  CHECK_FALSE(has(rows.out, "became zeros"));
}

TEST_CASE("convolutions as FP8 without a scale: what it cannot hold stays, and verify measures the rest",
          "[end_to_end]") {
  const TempDir dir;
  const auto conv = [](std::string name, float scale) {
    return tensor(std::move(name), Dtype::kF32, {32, 24, 3, 3},
                  elements<float>(32 * 24 * 9, [=](int64_t i) { return scale * weight_value(i); }));
  };
  make_checkpoint(dir / "m.safetensors",
                  {conv("blocks.0.conv.weight", 5), conv("blocks.0.large.weight", 1e5f),
                   conv("blocks.0.tiny.weight", 1e-6f), bf16_weight("blocks.0.linear.weight", 64, 64)});
  const Outcome run = run_expecting({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8",
                                     "--comfy_quant", "--simple", "--quantize-conv"},
                                    0);
  INFO(run.out << run.err);
  CHECK(has(run.err, "tensor 'blocks.0.large.weight' has largest magnitude"));
  CHECK(has(run.err, "is beyond float8_e4m3fn's 448"));
  CHECK(has(run.err, "which are all zeros in float8_e4m3fn"));
  CHECK(has(run.out, "float8_e4m3fn without scale               1 weights"));
  const Reader after(dir / "o.safetensors");
  CHECK(after.find("blocks.0.conv.weight")->dtype == Dtype::kF8E4M3);
  CHECK(after.find("blocks.0.large.weight")->dtype == Dtype::kF32);
  CHECK(after.find("blocks.0.tiny.weight")->dtype == Dtype::kF32);
  CHECK(after.find("blocks.0.conv.weight_scale") == nullptr);
  const Outcome verdict =
      run_expecting({"verify", dir / "o.safetensors", "--original", dir / "m.safetensors"}, 0);
  CHECK(has(verdict.out, "blocks.0.conv"));
  run_expecting({"dequantize", "-i", dir / "o.safetensors", "-o", dir / "d.safetensors"}, 0);
  CHECK(Reader(dir / "d.safetensors").find("blocks.0.conv.weight")->shape ==
        std::vector<int64_t>{32, 24, 3, 3});
}
