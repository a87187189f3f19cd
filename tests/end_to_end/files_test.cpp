// The commands around a finished file, run as a user would.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/quantized_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

/// A model, and quantized files of it.
class Folder {
 public:
  Folder() {
    make_checkpoint(*this / "model.safetensors",
                    {bf16_weight("blk.0.q.weight", 128, 256), bf16_vector("blk.0.q.bias", 128),
                     f32_weight("blk.0.up.weight", 64, 128), bf16_vector("blk.0.norm.weight", 128)},
                    {{"modelspec.title", "small"}});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }
  std::string model() const { return *this / "model.safetensors"; }

  Outcome run(const Words& words, int code = 0) const { return run_expecting(words, code); }
  std::string quantized(std::string_view name, const Words& flags) const {
    Words words{"-i", model(), "-o", *this / name, "--simple", "-q"};
    words.insert(words.end(), flags.begin(), flags.end());
    run(words);
    return *this / name;
  }
  json json_of(Words words, int code = 0) const { return json::parse(run(words, code).out); }

 private:
  TempDir dir_;
};

const std::vector<Words> kEveryFormat = {
    {"--fp8"},
    {"--fp8", "--comfy_quant", "--save-quant-metadata"},
    {"--format", "float8_e5m2", "--comfy_quant"},
    {"--fp8", "--scaling_mode", "row"},
    {"--fp8", "--scaling_mode", "block", "--block_size", "32"},
    {"--fp8", "--scaling_mode", "block3d", "--block_size", "32"},
    {"--int8", "--scaling_mode", "row", "--comfy_quant"},
    {"--int8", "--scaling_mode", "row", "--convrot"},
    {"--int8", "--scaling_mode", "row"},
    {"--int8", "--scaling_mode", "tensor"},
    {"--int8", "--scaling_mode", "axis", "--comfy_quant"},
    {"--int8", "--block_size", "32"},
};

}  // namespace

TEST_CASE("compare: the error of a file is the one that its conversion reported, in every format",
          "[end_to_end]") {
  const Folder files;
  for (const Words& flags : kEveryFormat) {
    CAPTURE(flags);
    Words with_report = flags;
    with_report.insert(with_report.end(), {"--quality-json", files / "quality.json"});
    const std::string file = files.quantized("q.safetensors", with_report);
    const json reported = json::parse(read_file(files / "quality.json"));
    files.run({"compare", files.model(), file, "--output-report", files / "compared.json"});
    const json compared = json::parse(read_file(files / "compared.json")).at("files").at(0);
    REQUIRE(compared.at("layers").size() == 2);
    CHECK(compared.at("findings").empty());
    for (size_t i = 0; i < 2; ++i) {
      CHECK(compared.at("layers").at(i).at("mse") == reported.at("layers").at(i).at("mse"));
      CHECK(compared.at("layers").at(i).at("sqnr_db") == reported.at("layers").at(i).at("sqnr_db"));
    }
    // Decoded to a file of its own, it has the same error.
    files.run({"dequantize", file, "-o", files / "plain.safetensors", "--dtype", "f32"});
    const Reader plain(files / "plain.safetensors"), model(files.model());
    CHECK(plain.header().tensors.size() == model.header().tensors.size());
    CHECK(plain.header().metadata.at("modelspec.title") == "small");
    CHECK_FALSE(plain.header().metadata.contains("_quantization_metadata"));
    files.run({"compare", files / "plain.safetensors", file, "--output-report", files / "same.json"});
    for (const json& layer : json::parse(read_file(files / "same.json")).at("files").at(0).at("layers"))
      CHECK(layer.at("max_error") == 0);
  }
}

TEST_CASE("compare: a threshold, a choice of layers, several files", "[end_to_end]") {
  const Folder files;
  const std::string fp8 = files.quantized("fp8.safetensors", {"--fp8"}),
                    int8 = files.quantized("int8.safetensors", {"--scaling_mode", "row"});
  CHECK(files.run({"compare", files.model(), fp8, int8}).out.find("int8.safetensors against") !=
        std::string::npos);
  files.run({"compare", files.model(), fp8, "--quality-threshold", "20"});
  const Outcome below = files.run({"compare", files.model(), fp8, "--quality-threshold", "40"}, 3);
  CHECK(below.err.find("2 of 2 layers are below 40.0 dB") != std::string::npos);
  const auto layers = [&](const Words& choice) {
    Words words{"compare", "--base", files.model(), "--quantized", fp8, "--output-report", files / "r.json"};
    words.insert(words.end(), choice.begin(), choice.end());
    files.run(words);
    return json::parse(read_file(files / "r.json")).at("files").at(0).at("layers").size();
  };
  CHECK(layers({}) == 2);
  CHECK(layers({"--layers-to-compare", "up,nothing"}) == 1);
  CHECK(layers({"--filter", R"(\.q$)"}) == 1);
  files.run({"compare", files.model(), fp8, "--filter", "nothing"}, 4);
  files.run({"compare", files.model(), files.model()}, 4);
  files.run({"compare", files.model()}, 2);
  files.run({"compare", files.model(), fp8, "--output-report", fp8}, 2);
  files.run({"compare", files.model(), fp8, "--filter", "("}, 2);
}

TEST_CASE("inspect: what is in a file, and what is wrong with it", "[end_to_end]") {
  const Folder files;
  const std::string file = files.quantized(
      "q.safetensors", {"--int8", "--scaling_mode", "row", "--convrot", "--save-quant-metadata"});
  const json all = files.json_of({"inspect", file, "--json", "--layers", "--metadata", "--check"});
  CHECK(all.at("tensors").size() == 8);
  CHECK(all.at("problems").empty());
  CHECK(all.at("metadata").at("modelspec.title") == "small");
  REQUIRE(all.at("layers").size() == 2);
  const json& layer = all.at("layers").at(0);
  CHECK(layer.at("format") == "int8_tensorwise");
  CHECK(layer.at("dialect") == "comfy_quant");
  CHECK(layer.at("marker").at("convrot_groupsize") == 256);
  CHECK(layer.at("sides").at("weight_scale").at("shape") == json({128, 1}));
  CHECK(all.at("summary").at("formats").at("int8_tensorwise (comfy_quant)").at("layers") == 2);
  CHECK(files.json_of({"inspect", file, "--json", "--filter", "norm"}).at("tensors").size() == 1);
  CHECK_FALSE(files.json_of({"inspect", file, "--json", "--no-tensors", "--no-summary"}).contains("tensors"));
  const std::string text = files.run({"inspect", file, "--layers"}).out;
  CHECK(text.find("weight_scale F32 [128, 1], convrot 256") != std::string::npos);
  CHECK(text.find("int8_tensorwise (comfy_quant)") != std::string::npos);

  make_checkpoint(files / "broken.safetensors",
                  {tensor("a.weight", Dtype::kI8, {4, 4}, std::string(16, '\1')),
                   marker("a", R"({"format": "int8_tensorwise"})")});
  CHECK(files.run({"inspect", files / "broken.safetensors"}).out.find("problem") == std::string::npos);
  CHECK(files.run({"inspect", files / "broken.safetensors", "--check"}, 4)
            .out.find("problem: a: weight_scale is missing") != std::string::npos);
  files.run({"inspect", files / "absent.safetensors"}, 4);
  files.run({"inspect"}, 2);
}

TEST_CASE("verify: each client has its own verdict", "[end_to_end]") {
  const Folder files;
  struct Row {
    Words flags;
    int comfyui, custom, sd_cpp;
  };
  const auto row = GENERATE(values<Row>({{{"--fp8", "--comfy_quant"}, 0, 0, 0},
                                         {{"--fp8"}, 0, 0, 0},
                                         {{"--scaling_mode", "row", "--comfy_quant"}, 0, 0, 0},
                                         {{"--scaling_mode", "row", "--convrot"}, 0, 0, 0},
                                         {{"--scaling_mode", "tensor", "--comfy_quant"}, 0, 0, 4},
                                         {{"--scaling_mode", "row"}, 4, 0, 4},
                                         {{"--block_size", "32", "--comfy_quant"}, 4, 0, 4},
                                         {{"--fp8", "--scaling_mode", "row", "--comfy_quant"}, 4, 0, 0},
                                         {{"--fp16"}, 0, 0, 0}}));
  CAPTURE(row.flags);
  const std::string file = files.quantized("q.safetensors", row.flags);
  files.run({"verify", file}, row.comfyui);
  files.run({"verify", file, "--client", "custom"}, row.custom);
  files.run({"verify", file, "--client", "sd.cpp"}, row.sd_cpp);
}

TEST_CASE("verify: values, and the original", "[end_to_end]") {
  const Folder files;
  const std::string file = files.quantized("q.safetensors", {"--scaling_mode", "row", "--comfy_quant"});
  const json good = files.json_of({"verify", file, "--original", files.model(), "--json"});
  CHECK(good.at("ok") == true);
  CHECK(good.at("client") == "comfyui");
  files.run({"verify", file, "--original", files.model(), "--min-sqnr", "60"}, 4);
  files.run({"verify", file, "--min-sqnr", "60"}, 2);
  files.run({"verify", file, "--original", files.model(), "--no-values"}, 2);
  make_checkpoint(files / "nan.safetensors",
                  {tensor("a.weight", Dtype::kI8, {2, 2}, std::string(4, '\1')),
                   f32("a.weight_scale", {2, 1}, {1, NAN}), marker("a", R"({"format": "int8_tensorwise"})")});
  files.run({"verify", files / "nan.safetensors", "--no-values"});
  const json bad = files.json_of({"verify", files / "nan.safetensors", "--json"}, 4);
  CHECK(bad.at("refused").at(0).at("text") == "weight_scale has NaN or infinity");
  CHECK(bad.at("refused").at(1).at("text") == "2 values decode to NaN or infinity");
}

TEST_CASE("dequantize: types, names, and files that are not quantized", "[end_to_end]") {
  const Folder files;
  const std::string file = files.quantized("q.safetensors", {"--fp8"});
  files.run({"dequantize", file});
  CHECK(Reader(files / "q_dequantized.safetensors").find("blk.0.q.weight")->dtype == Dtype::kBF16);
  files.run({"dequantize", file, "--dtype", "f16", "--no-clobber"}, 1);
  files.run({"dequantize", file, "--dtype", "f16"});
  CHECK(Reader(files / "q_dequantized.safetensors").find("blk.0.up.weight")->dtype == Dtype::kF16);
  files.run({"dequantize", file, "-o", file}, 2);
  CHECK(files.run({"dequantize", files.model()}, 4).err.find("holds no quantized layer") !=
        std::string::npos);
  make_checkpoint(files / "large.safetensors",
                  {tensor("a.weight", Dtype::kI8, {1, 1}, "\x7f"), f32("a.weight_scale", {}, {1000}),
                   marker("a", R"({"format": "int8_tensorwise", "orig_dtype": "torch.float32"})")});
  files.run({"dequantize", files / "large.safetensors", "--dtype", "f16"}, 1);
  files.run({"dequantize", files / "large.safetensors"});
  CHECK(Reader(files / "large_dequantized.safetensors").find("a.weight")->dtype == Dtype::kF32);
}
