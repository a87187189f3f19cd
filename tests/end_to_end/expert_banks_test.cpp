// Banks of experts [experts, out_features, in_features], as ComfyUI has them in GPT-OSS.
#include <string>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

namespace ctq {
namespace {

using safetensors::Dtype;
using safetensors::Reader;
using test::bf16_vector;
using test::bf16_weight;
using test::bytes_of;
using test::Outcome;
using test::run_expecting;
using test::TempDir;
using test::TestTensor;
using Words = std::vector<std::string>;
using Shape = std::vector<int64_t>;

constexpr int64_t kExperts = 3;
const std::string kUp = "layers.0.mlp.experts.gate_up_proj", kDown = "layers.0.mlp.experts.down_proj";

/// One expert of a bank; each has other values, and the last is a hundred times as large.
TestTensor expert(const std::string& bank, int64_t index, Shape shape) {
  const auto seed = static_cast<int64_t>(bank.size()) * 7919 + index * 104729;
  const float factor = index == kExperts - 1 ? 100.0f : 1.0f;
  const std::string name =
      fmt::format("layers.0.experts.{}.{}.weight", index, bank.substr(bank.rfind('.') + 1));
  const int64_t count = shape[0] * shape[1];
  return test::tensor(name, Dtype::kBF16, std::move(shape), test::elements<uint16_t>(count, [&](int64_t i) {
                        return test::bf16(factor * test::weight_value(i + seed));
                      }));
}

struct Bank {
  std::string layer;
  int64_t out_features, in_features;

  Shape shape() const { return {out_features, in_features}; }
};

std::vector<TestTensor> experts_of(const Bank& bank) {
  std::vector<TestTensor> experts;
  for (int64_t i = 0; i < kExperts; ++i) experts.push_back(expert(bank.layer, i, bank.shape()));
  return experts;
}

/// Widths that no format has to fill up.
const std::vector<Bank> kEven = {{kUp, 128, 64}, {kDown, 64, 64}};
/// Widths that NVFP4 and MXFP8 fill up.
const std::vector<Bank> kUneven = {{kUp, 72, 64}, {kDown, 64, 40}};

/// A layer of GPT-OSS, with these banks.
std::vector<TestTensor> gpt_oss(const std::vector<Bank>& banks) {
  std::vector<TestTensor> tensors = {
      bf16_weight("embed_tokens.weight", 96, 64), bf16_vector("norm.weight", 64),
      bf16_weight("layers.0.mlp.router.weight", 3, 64), bf16_vector("layers.0.mlp.router.bias", 3),
      bf16_vector("layers.0.self_attn.sinks", 2)};
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
    tensors.push_back(bf16_weight(fmt::format("layers.0.self_attn.{}.weight", name), 64, 64));
  for (const Bank& bank : banks) {
    std::string bytes;
    for (const TestTensor& one : experts_of(bank)) bytes += one.bytes;
    tensors.push_back(test::tensor(bank.layer + ".weight", Dtype::kBF16,
                                   {kExperts, bank.out_features, bank.in_features}, std::move(bytes)));
    tensors.push_back(bf16_weight(bank.layer + ".bias", kExperts, bank.out_features));
  }
  return tensors;
}

/// The same banks as layers of a model of which nothing is known.
std::vector<TestTensor> apart(const std::vector<Bank>& banks) {
  std::vector<TestTensor> tensors;
  for (const Bank& bank : banks) {
    for (TestTensor& one : experts_of(bank)) tensors.push_back(std::move(one));
  }
  return tensors;
}

class Files {
 public:
  explicit Files(const std::vector<Bank>& banks) : banks_(banks) {
    test::make_checkpoint(path("in"), gpt_oss(banks));
    test::make_checkpoint(path("apart"), apart(banks));
  }

  std::string path(const std::string& name) const { return dir_ / (name + ".safetensors"); }
  std::string report() const { return dir_ / "report.json"; }
  Outcome convert(const std::string& from, const std::string& to, Words options, int code = 0) const {
    options.insert(options.begin(), {"-i", path(from), "-o", path(to)});
    return run_expecting(options, code);
  }
  /// The tensors of a bank's experts, which are layers of their own in that file, in a row.
  std::string experts(const std::string& file, const Bank& bank, const std::string& role) const {
    const Reader reader(path(file));
    std::string bytes;
    for (int64_t i = 0; i < kExperts; ++i)
      bytes += bytes_of(reader, fmt::format("layers.0.experts.{}.{}.{}", i,
                                            bank.layer.substr(bank.layer.rfind('.') + 1), role));
    return bytes;
  }

 private:
  TempDir dir_;
  std::vector<Bank> banks_;
};

struct Row {
  Words options;
  std::string marker;  ///< of the first bank of kEven
  Words roles;         ///< of the tensors beside the weight
};

TEST_CASE("banks: every expert is stored as a layer of its own would be, stacked", "[end_to_end]") {
  const Row row = GENERATE(values<Row>(
      {{{"--fp8"}, R"({"format": "float8_e4m3fn", "num_experts": 3})", {"weight_scale"}},
       {{"--format", "float8_e5m2"}, R"({"format": "float8_e5m2", "num_experts": 3})", {"weight_scale"}},
       {{"--nvfp4"},
        R"({"format": "nvfp4", "orig_shape": [3, 128, 64], "num_experts": 3})",
        {"weight_scale", "weight_scale_2"}},
       {{"--mxfp8"},
        R"({"format": "mxfp8", "orig_shape": [3, 128, 64], "num_experts": 3})",
        {"weight_scale"}},
       {{"--int8", "--scaling_mode", "row"},
        R"({"format": "int8_tensorwise", "num_experts": 3})",
        {"weight_scale"}},
       {{"--int8", "--scaling_mode", "tensor"},
        R"({"format": "int8_tensorwise", "num_experts": 3})",
        {"weight_scale"}},
       {{"--format", "convrot_w4a4"},
        R"({"format": "convrot_w4a4", "convrot_groupsize": 64, "num_experts": 3})",
        {"weight_scale"}}}));
  const bool even = GENERATE(true, false);
  const std::vector<Bank>& banks = even ? kEven : kUneven;
  CAPTURE(row.options, even);
  const Files files(banks);
  Words options = row.options;
  options.insert(options.end(), {"--comfy_quant", "--optimizer", even ? "direct" : "rtn"});
  files.convert("in", "out", options);
  files.convert("apart", "experts", options);

  const Reader out(files.path("out")), in(files.path("in")), experts(files.path("experts"));
  if (even) CHECK(bytes_of(out, kUp + ".comfy_quant") == row.marker);
  for (const Bank& bank : banks) {
    Words roles = row.roles;
    roles.emplace_back("weight");
    for (const std::string& role : roles) {
      CAPTURE(bank.layer, role);
      CHECK(bytes_of(out, fmt::format("{}.{}", bank.layer, role)) == files.experts("experts", bank, role));
      Shape shape = experts
                        .find(fmt::format("layers.0.experts.0.{}.{}",
                                          bank.layer.substr(bank.layer.rfind('.') + 1), role))
                        ->shape;
      shape.insert(shape.begin(), kExperts);
      CHECK(out.find(fmt::format("{}.{}", bank.layer, role))->shape == shape);
    }
    CHECK(bytes_of(out, bank.layer + ".bias") == bytes_of(in, bank.layer + ".bias"));
  }

  run_expecting({"verify", files.path("out"), "--client", "comfyui@0.33", "--original", files.path("in")}, 0);
  run_expecting({"dequantize", files.path("out"), "-o", files.path("plain"), "--dtype", "f32"}, 0);
  run_expecting({"dequantize", files.path("experts"), "-o", files.path("plain-experts"), "--dtype", "f32"},
                0);
  const Reader plain(files.path("plain"));
  for (const Bank& bank : banks) {
    CHECK(plain.find(bank.layer + ".weight")->shape == Shape{kExperts, bank.out_features, bank.in_features});
    CHECK(bytes_of(plain, bank.layer + ".weight") == files.experts("plain-experts", bank, "weight"));
  }
}

TEST_CASE("banks: what ComfyUI does not read in one is kept, with one line", "[end_to_end]") {
  const Files files(kEven);
  const auto kept = [&](Words options) {
    const Outcome run = files.convert("in", "out", std::move(options));
    const Reader out(files.path("out")), in(files.path("in"));
    INFO(run.err);
    CHECK(out.find("layers.0.self_attn.q_proj.comfy_quant"));
    CHECK_FALSE(out.find(kUp + ".comfy_quant"));
    CHECK(bytes_of(out, kUp + ".weight") == bytes_of(in, kUp + ".weight"));
    CHECK((run.err + run.out).find("does not read a bank of experts in this format") != std::string::npos);
    run_expecting({"verify", files.path("out"), "--original", files.path("in"), "--client", "custom"}, 0);
  };
  kept({"--int8", "--block_size", "64", "--comfy_quant", "--simple"});  // for nodes
  kept({"--format", "asym_w4a8_int8", "--comfy_quant", "--simple"});
  kept({"--format", "awq_w4a16", "--comfy_quant", "--simple"});
  kept({"--fp8", "--comfy_quant", "--client", "comfyui@0.22", "--simple"});
}

TEST_CASE("banks: INT8 is not rotated in one, since ComfyUI would not rotate it back", "[end_to_end]") {
  const Files files(kEven);
  const Outcome run = files.convert("in", "out", {"--recipe", "comfy-int8", "--simple"});
  const Reader out(files.path("out"));
  CHECK(bytes_of(out, kUp + ".comfy_quant") == R"({"format": "int8_tensorwise", "num_experts": 3})");
  CHECK(bytes_of(out, "layers.0.self_attn.q_proj.comfy_quant").find("convrot") != std::string::npos);
  CHECK((run.err + run.out).find("2 banks of experts are not rotated") != std::string::npos);
  run_expecting({"verify", files.path("out")}, 0);

  files.convert("in", "rotated", {"--recipe", "comfy-int8", "--client", "any", "--simple"});
  CHECK(bytes_of(Reader(files.path("rotated")), kUp + ".comfy_quant").find("convrot") != std::string::npos);
  CHECK(run_expecting({"verify", files.path("rotated")}, 4).out.find("does not rotate a bank of experts") !=
        std::string::npos);
}

TEST_CASE("banks: the legacy layout has none", "[end_to_end]") {
  const Files files(kEven);
  files.convert("in", "out", {"--fp8", "--simple"});
  CHECK(Reader(files.path("out")).find(kUp + ".comfy_quant"));
  files.convert("in", "legacy", {"--fp8", "--no-comfy_quant", "--simple"});
  CHECK(Reader(files.path("legacy")).find("scaled_fp8"));
  CHECK(Reader(files.path("legacy")).find(kUp + ".weight")->dtype == Dtype::kBF16);
}

TEST_CASE("banks: a 3-D weight of another model is copied", "[end_to_end]") {
  const TempDir dir;
  std::vector<TestTensor> tensors = apart(kEven);
  tensors.push_back(gpt_oss(kEven)[9]);
  REQUIRE(tensors.back().info.shape.size() == 3);
  test::make_checkpoint(dir / "in.safetensors", tensors);
  run_expecting(
      {"-i", dir / "in.safetensors", "-o", dir / "out.safetensors", "--fp8", "--comfy_quant", "--simple"}, 0);
  const Reader out(dir / "out.safetensors");
  CHECK(bytes_of(out, tensors.back().info.name) == tensors.back().bytes);
}

TEST_CASE("banks: within a limit of memory they are the same, and they can be quantized anew",
          "[end_to_end]") {
  const Files files(kUneven);
  files.convert("in", "out", {"--nvfp4", "--comfy_quant", "--simple"});
  const std::string whole = test::read_file(files.path("out"));
  files.convert("in", "small", {"--nvfp4", "--comfy_quant", "--simple", "--max-memory", "1G"});
  CHECK(test::read_file(files.path("small")) == whole);

  // Values of NVFP4 come back as they are: nearest codes of decoded weights are the same codes.
  files.convert("out", "again", {"--nvfp4", "--comfy_quant", "--simple", "--requantize"});
  CHECK(Reader(files.path("again")).find(kDown + ".weight")->shape ==
        Reader(files.path("out")).find(kDown + ".weight")->shape);
  run_expecting({"verify", files.path("again"), "--original", files.path("out")}, 0);
}

TEST_CASE("banks: one expert that no code can stand for keeps the whole bank", "[end_to_end]") {
  const TempDir dir;
  std::vector<TestTensor> tensors = gpt_oss(kEven);
  for (TestTensor& tensor : tensors) {
    if (tensor.info.name == kUp + ".weight")
      tensor.bytes.replace(tensor.bytes.size() - 2, 2, "\xC0\x7F");  // NaN
  }
  test::make_checkpoint(dir / "in.safetensors", tensors);
  const Outcome run = run_expecting(
      {"-i", dir / "in.safetensors", "-o", dir / "out.safetensors", "--fp8", "--comfy_quant", "--simple"}, 0);
  CHECK((run.err + run.out).find("1 NaN") != std::string::npos);
  const Reader out(dir / "out.safetensors");
  CHECK_FALSE(out.find(kUp + ".comfy_quant"));
  CHECK(out.find(kDown + ".comfy_quant"));
}

TEST_CASE("banks: the report and the plan tell of one", "[end_to_end]") {
  const Files files(kEven);
  const Outcome dry = files.convert("in", "none", {"--fp8", "--comfy_quant", "--dry-run"});
  CHECK(dry.out.find(kUp + ".weight") != std::string::npos);
  files.convert("in", "out", {"--nvfp4", "--comfy_quant", "--report", files.report(), "--simple"});
  const auto report = nlohmann::json::parse(test::read_file(files.report()));
  for (const auto& tensor : report.at("tensors")) {
    if (tensor.at("name") != kUp + ".weight") continue;
    const auto& error = tensor.at("error");
    CHECK(error.at("numel").get<int64_t>() == kExperts * 128 * 64);
    CHECK(error.at("weight_rel").get<double>() > 0.01);
    CHECK(error.at("weight_rel").get<double>() < 0.2);
    return;
  }
  FAIL("the report has no such tensor");
}

TEST_CASE("expert banks: MXFP4 of transformers becomes the file that ComfyUI's names and order give",
          "[end_to_end][names]") {
  const TempDir dir;
  // Of every expert and row one block of 32 columns: bytes of two codes, and an exponent.
  std::vector<TestTensor> foreign, own;
  for (const auto& [name, rows] : {std::pair("gate_up_proj", 64), std::pair("down_proj", 32)}) {
    const std::string experts = "layers.0.mlp.experts." + std::string(name);
    std::string blocks, values;
    constexpr float kE2m1[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0f, -0.5, -1, -1.5, -2, -3, -4, -6};
    for (int i = 0; i < kExperts * rows * 16; ++i) {
      const int byte = (i * 37 + i / 16 * 11) % 256;
      blocks += static_cast<char>(byte);
      for (const int code : {byte % 16, byte / 16}) {
        const float value = kE2m1[code] / 8;
        values.append(reinterpret_cast<const char*>(&value), sizeof value);
      }
    }
    foreign.push_back(
        test::tensor("model." + experts + "_blocks", Dtype::kU8, {kExperts, rows, 1, 16}, blocks));
    foreign.push_back(test::tensor("model." + experts + "_scales", Dtype::kU8, {kExperts, rows, 1},
                                   std::string(static_cast<size_t>(kExperts * rows), char(124))));
    foreign.push_back(bf16_weight("model." + experts + "_bias", kExperts, rows));
    own.push_back(test::tensor(experts + ".weight", Dtype::kF32, {kExperts, rows, 32}, values));
    own.push_back(foreign.back());
    own.back().info.name = experts + ".bias";
  }
  for (const TestTensor& other :
       {bf16_vector("layers.0.self_attn.sinks", 2), bf16_weight("layers.0.self_attn.q_proj.weight", 64, 32),
        bf16_weight("layers.0.mlp.router.weight", 3, 32), bf16_weight("embed_tokens.weight", 96, 32)}) {
    own.push_back(other);
    foreign.push_back(other);
    foreign.back().info.name = "model." + other.info.name;
  }
  test::make_checkpoint(dir / "own.safetensors", own);
  test::make_checkpoint(dir / "foreign.safetensors", foreign);
  const auto convert = [&](const std::string& input, const Words& more) {
    Words words{"-i", dir / input, "-o", dir / "o.safetensors", "--fp8", "--comfy_quant", "--simple"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome run = run_expecting(words, 0);
    return std::pair(run.out, test::read_file(dir / "o.safetensors"));
  };
  const auto [said, bytes] = convert("foreign.safetensors", {"--requantize"});
  CHECK(said.find("GPT-OSS under names of transformers") != std::string::npos);
  CHECK(bytes == convert("own.safetensors", {}).second);
  CHECK(Reader(dir / "o.safetensors").find("layers.0.mlp.experts.gate_up_proj.weight")->dtype ==
        Dtype::kF8E4M3);
}

}  // namespace
}  // namespace ctq
