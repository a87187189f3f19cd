// Quantized inputs of a conversion, LoRAs of its error, and `analyze`.
#include <cstring>

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

using Words = std::vector<std::string>;

class Folder {
 public:
  Folder() {
    make_checkpoint(*this / "model.safetensors",
                    {bf16_weight("blk.0.q.weight", 64, 128), bf16_weight("blk.1.q.weight", 64, 64),
                     bf16_vector("blk.0.q.bias", 64)},
                    {{"modelspec.title", "small"}});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }

  Outcome run(const Words& words, int code = 0) const { return run_expecting(words, code); }
  std::string converted(const std::string& from, std::string_view name, const Words& flags) const {
    Words words{"-i", from, "-o", *this / name, "--simple"};
    words.insert(words.end(), flags.begin(), flags.end());
    run(words);
    return *this / name;
  }

 private:
  TempDir dir_;
};

}  // namespace

TEST_CASE("requantize: the file is that of the decoded weights, from every dialect", "[end_to_end]") {
  const Folder files;
  const Words from =
      GENERATE(values<Words>({{"--fp8"},
                              {"--fp8", "--comfy_quant", "--save-quant-metadata"},
                              {"--scaling_mode", "row", "--convrot", "--convrot-group-size", "64"},
                              {"--block_size", "32"},
                              {"--nvfp4"}}));
  CAPTURE(from);
  const std::string quantized = files.converted(files / "model.safetensors", "q.safetensors", from);
  const Words target{"--format", "int8_tensorwise", "--scaling_mode", "row", "--comfy_quant"};
  Words refused{"-i", quantized, "-o", files / "x.safetensors"};
  CHECK(files.run(refused, 4).err.find("or add --requantize") != std::string::npos);

  Words again = target;
  again.emplace_back("--requantize");
  const Reader once(files.converted(quantized, "again.safetensors", again));
  files.run({"dequantize", quantized, "-o", files / "plain.safetensors", "--dtype", "f32"});
  const Reader twice(files.converted(files / "plain.safetensors", "twice.safetensors", target));
  REQUIRE(once.header().tensors.size() == twice.header().tensors.size());
  for (const safetensors::TensorInfo& info : once.header().tensors) {
    CAPTURE(info.name);
    CHECK(bytes_of(once, info.name) == bytes_of(twice, info.name));
  }
  CHECK_FALSE(once.header().metadata.contains("_quantization_metadata"));
  CHECK(once.header().metadata.at("modelspec.title") == "small");
  files.run({"verify", files / "again.safetensors", "--original", files / "model.safetensors"});
}

TEST_CASE("requantize: layers that are kept come out plain", "[end_to_end]") {
  const Folder files;
  const std::string quantized = files.converted(files / "model.safetensors", "q.safetensors",
                                                {"--scaling_mode", "row", "--comfy_quant"});
  const Reader out(
      files.converted(quantized, "out.safetensors",
                      {"--requantize", "--fp8", "--comfy_quant", "--exclude-layers", R"(blk\.1)"}));
  CHECK(out.find("blk.1.q.weight")->dtype == Dtype::kBF16);
  for (const char* role : {"weight_scale", "comfy_quant"})
    CHECK(out.find(std::string("blk.1.q.") + role) == nullptr);
  files.run({"dequantize", quantized, "-o", files / "plain.safetensors"});
  CHECK(bytes_of(out, "blk.1.q.weight") == bytes_of(Reader(files / "plain.safetensors"), "blk.1.q.weight"));
  CHECK(bytes_of(out, "blk.0.q.bias") == bytes_of(Reader(files / "model.safetensors"), "blk.0.q.bias"));
  CHECK(
      files
          .run({"-i", files / "model.safetensors", "-o", files / "x.safetensors", "--requantize", "--simple"})
          .out.find("--requantize has no effect") != std::string::npos);
}

TEST_CASE("requantize: a broken layer is refused before work", "[end_to_end]") {
  const Folder files;
  const std::string marker = R"({"format": "int8_tensorwise"})";
  make_checkpoint(files / "broken.safetensors",
                  {tensor("a.weight", Dtype::kI8, {4, 4}, std::string(16, '\1')),
                   tensor("a.comfy_quant", Dtype::kU8, {static_cast<int64_t>(marker.size())}, marker)});
  const Outcome run =
      files.run({"-i", files / "broken.safetensors", "-o", files / "x.safetensors", "--requantize"}, 4);
  CHECK(run.err.find("weight_scale is missing") != std::string::npos);
}

TEST_CASE("extract-lora: as a command and at the end of a conversion", "[end_to_end]") {
  const Folder files;
  const std::string quantized = files.converted(files / "model.safetensors", "q.safetensors",
                                                {"--fp8", "--extract-lora", "--lora-rank", "8"});
  CHECK(Reader(files / "q_lora.safetensors").find("diffusion_model.blk.0.q.lora_up.weight")->shape ==
        std::vector<int64_t>{64, 8});
  CHECK(Reader(files / "q_lora.safetensors").header().tensors.size() == 2);
  const std::string by_conversion = read_file(files / "q_lora.safetensors");
  files.run({"extract-lora", files / "model.safetensors", "--quantized", quantized, "--lora-rank", "8"});
  CHECK(read_file(files / "q_lora.safetensors") == by_conversion);
  const Outcome deeper =
      files.run({"extract-lora", files / "model.safetensors", "--quantized", quantized, "-o",
                 files / "l.safetensors", "--lora-depth", "2", "--lora-dtype", "f16"});
  CHECK(deeper.out.find("LoRA of 2 layers") != std::string::npos);
  CHECK(Reader(files / "l.safetensors").find("diffusion_model.blk.1.q.lora_down.weight")->dtype ==
        Dtype::kF16);
  files.run({"extract-lora", files / "model.safetensors", "--quantized", quantized, "--lora-depth", "0"}, 1);
  files.run({"extract-lora", files / "model.safetensors"}, 2);
  files.run({"extract-lora", files / "model.safetensors", "--quantized", quantized, "-o", quantized}, 2);
  files.run({"extract-lora", files / "model.safetensors", "--quantized", quantized, "--lora-target", "("}, 2);
  files.run({"-i", files / "model.safetensors", "-o", files / "y.safetensors", "--lora-rank", "4"}, 2);
}

TEST_CASE("analyze: is the dry run, with the model as a word", "[end_to_end]") {
  const Folder files;
  const std::string model = files / "model.safetensors";
  const Outcome dry = files.run({"-i", model, "--fp8", "--dry-run", "--json"});
  CHECK(files.run({"analyze", model, "--fp8", "--json"}).out == dry.out);
  CHECK(files.run({"analyze", "-i", model, "--fp8", "--json"}).out == dry.out);
  CHECK_FALSE(std::filesystem::exists(files / "model_simple_fp8_tensor.safetensors"));
  files.run({"analyze", model, "--dry-run", "create-template"});
  CHECK(std::filesystem::exists(files / "model_layer_config_template.json"));
  files.run({"analyze", model, model}, 2);
  files.run({"analyze"}, 2);
}

TEST_CASE("requantize: scaled_fp8 with a scale per row, which ComfyUI does not read", "[end_to_end]") {
  const Folder files;
  const std::string input = files / "rows.safetensors";
  make_checkpoint(
      input,
      {tensor("blk.0.q.weight", Dtype::kF8E4M3, {64, 64},
              elements<uint8_t>(64 * 64, [](int64_t i) { return static_cast<uint8_t>(0x30 + i * 7 % 24); })),
       tensor("blk.0.q.scale_weight", Dtype::kF32, {64},
              elements<float>(64, [](int64_t i) { return 0.01f * static_cast<float>(1 + i % 5); })),
       tensor("scaled_fp8", Dtype::kF8E4M3, {2}, std::string(2, '\0'))});
  CHECK(files.run({"verify", input}, 4).out.find("64 elements instead of one") != std::string::npos);
  const Words target{"--fp8", "--comfy_quant"};
  const Reader once(files.converted(input, "once.safetensors", {"--fp8", "--comfy_quant", "--requantize"}));
  files.run({"dequantize", input, "-o", files / "plain.safetensors", "--dtype", "f32"});
  const Reader twice(files.converted(files / "plain.safetensors", "twice.safetensors", target));
  REQUIRE(once.header().tensors.size() == twice.header().tensors.size());
  for (const safetensors::TensorInfo& info : once.header().tensors)
    CHECK(bytes_of(once, info.name) == bytes_of(twice, info.name));
}
