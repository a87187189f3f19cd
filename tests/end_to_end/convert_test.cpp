// Whole conversions with the program itself.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

/// Two layers, a norm, a convolution, an integer tensor, an E8M0 tensor, a scalar and an empty one, with
/// metadata.
std::string make_small_model(const TempDir& dir, std::string_view name = "model.safetensors") {
  const std::string path = dir / name;
  make_checkpoint(
      path,
      {bf16_weight("blocks.0.to_q.weight", 256, 128), bf16_vector("blocks.0.to_q.bias", 256),
       f32_weight("blocks.0.mlp.weight", 64, 384), bf16_vector("blocks.0.norm.weight", 128),
       tensor("conv.weight", Dtype::kF16, {2, 1, 3, 3}, std::string(36, 'c')),
       tensor("ids", Dtype::kI64, {2}, std::string(16, 'i')), tensor("e8m0", Dtype::kF8E8M0, {3}, "abc"),
       tensor("scalar", Dtype::kF32, {}, std::string(4, 'A')),
       tensor("empty.weight", Dtype::kBF16, {0, 16}, "")},
      {{"modelspec.title", "small"}});
  return path;
}

}  // namespace

TEST_CASE("convert: FP8 in the comfy layout, everything else byte for byte", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir), output = dir / "out.safetensors";
  const Outcome run = run_binary({"-i", model, "-o", output, "--fp8", "--comfy_quant"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const Reader in(model), out(output);
  CHECK(out.find("blocks.0.to_q.weight")->dtype == Dtype::kF8E4M3);
  CHECK(out.find("blocks.0.to_q.weight_scale")->shape.empty());
  CHECK(bytes_of(out, "blocks.0.to_q.comfy_quant") == R"({"format": "float8_e4m3fn"})");
  for (const char* name : {"blocks.0.to_q.bias", "blocks.0.norm.weight", "conv.weight", "ids", "e8m0",
                           "scalar", "empty.weight"}) {
    CHECK(bytes_of(out, name) == bytes_of(in, name));
    CHECK(out.find(name)->dtype == in.find(name)->dtype);
    CHECK(out.find(name)->shape == in.find(name)->shape);
  }
  CHECK(out.header().metadata.at("modelspec.title") == "small");
  CHECK(out.header().metadata.at("format") == "pt");
  CHECK(dir.entries() == std::vector<std::string>{"model.safetensors", "out.safetensors"});
}

TEST_CASE("convert: each layout has its names, types and shapes", "[end_to_end]") {
  struct Row {
    std::vector<std::string> flags;
    std::string format;
    Dtype weight;
    std::vector<int64_t> scale;
  };
  const auto row = GENERATE(values<Row>({
      {{"--fp8"}, "float8_e4m3fn", Dtype::kF8E4M3, {}},
      {{"--fp8", "--scaling_mode", "row"}, "float8_e4m3fn_rowwise", Dtype::kF8E4M3, {256}},
      {{"--fp8", "--scaling-mode=block", "--block_size", "64"},
       "float8_e4m3fn_blockwise",
       Dtype::kF8E4M3,
       {4, 2}},
      {{"--fp8", "--scaling_mode", "block3d", "--block_size", "64"},
       "float8_e4m3fn_block3d",
       Dtype::kF8E4M3,
       {256, 2, 1}},
      {{"--format", "float8_e5m2"}, "float8_e5m2", Dtype::kF8E5M2, {}},
      {{"--int8", "--scaling_mode", "tensor"}, "int8_tensorwise", Dtype::kI8, {}},
      {{"--int8", "--scaling_mode", "row"}, "int8_tensorwise", Dtype::kI8, {256, 1}},
      {{"--scaling_mode", "axis"}, "int8_axiswise", Dtype::kI8, {256}},
      {{"--block_size", "64"}, "int8_blockwise", Dtype::kI8, {4, 2}},
      {{"--format", "int8_tensorwise"}, "int8_tensorwise", Dtype::kI8, {256, 1}},
  }));
  const TempDir dir;
  const std::string model = make_small_model(dir), output = dir / "out.safetensors";
  std::vector<std::string> args = {"-i", model, "-o", output, "--comfy_quant", "--save-quant-metadata"};
  args.insert(args.end(), row.flags.begin(), row.flags.end());
  const Outcome run = run_binary(args);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  const Reader out(output);
  CHECK(out.find("blocks.0.to_q.weight")->dtype == row.weight);
  CHECK(out.find("blocks.0.to_q.weight_scale")->shape == row.scale);
  CHECK(out.find("blocks.0.to_q.weight_scale")->dtype == Dtype::kF32);
  const auto marker = nlohmann::json::parse(bytes_of(out, "blocks.0.to_q.comfy_quant"));
  CHECK(marker.at("format") == row.format);
  const auto header = nlohmann::json::parse(out.header().metadata.at("_quantization_metadata"));
  CHECK(header.at("layers").at("blocks.0.to_q") == marker);
}

TEST_CASE("convert: the legacy layout marks FP8 files and says so for INT8", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir), output = dir / "out.safetensors";
  REQUIRE(run_binary({"-i", model, "-o", output, "--fp8"}).code == 0);
  {
    const Reader out(output);
    CHECK(out.find("scaled_fp8")->dtype == Dtype::kF8E4M3);
    CHECK(out.find("blocks.0.to_q.scale_weight") != nullptr);
    CHECK(out.find("blocks.0.to_q.comfy_quant") == nullptr);
  }
  const Outcome int8 = run_binary({"-i", model, "-o", output, "--int8", "--scaling_mode", "row"});
  CHECK(int8.code == 0);
  CHECK(int8.out.find("--comfy_quant") != std::string::npos);
  CHECK(Reader(output).find("scaled_fp8") == nullptr);
}

TEST_CASE("convert: --fp16 casts candidates and leaves what float16 cannot hold", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {f32_weight("a.weight", 16, 16),
                   tensor("big.weight", Dtype::kF32, {16, 16},
                          elements<float>(256, [](int64_t i) { return i == 7 ? 7e4f : 1.0f; }))});
  const Outcome run = run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp16"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const Reader out(dir / "o.safetensors");
  CHECK(out.find("a.weight")->dtype == Dtype::kF16);
  CHECK(out.find("big.weight")->dtype == Dtype::kF32);
  CHECK(run.err.find("big.weight") != std::string::npos);
}

TEST_CASE("convert: NaN and infinite weights are kept, named and counted, --strict refuses them",
          "[end_to_end]") {
  const TempDir dir;
  const auto with = [](float special) {
    return elements<float>(1024, [special](int64_t i) { return i == 1000 ? special : weight_value(i); });
  };
  make_checkpoint(dir / "m.safetensors",
                  {f32_weight("good.weight", 32, 32), tensor("nan.weight", Dtype::kF32, {32, 32}, with(NAN)),
                   tensor("inf.weight", Dtype::kF32, {32, 32}, with(-INFINITY))});
  const Outcome run = run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8",
                                  "--comfy_quant", "--report-quality"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(run.err.find("'nan.weight' has 1 NaN and 0 infinite values") != std::string::npos);
  CHECK(run.err.find("'inf.weight' has 0 NaN and 1 infinite values") != std::string::npos);
  CHECK(run.out.find("Layers below 30.0 dB: 2 / 3") != std::string::npos);
  const Reader in(dir / "m.safetensors"), out(dir / "o.safetensors");
  CHECK(bytes_of(out, "nan.weight") == bytes_of(in, "nan.weight"));
  CHECK(out.find("nan.weight_scale") == nullptr);
  CHECK(out.find("good.weight")->dtype == Dtype::kF8E4M3);

  const Outcome strict =
      run_binary({"-i", dir / "m.safetensors", "-o", dir / "s.safetensors", "--fp8", "--strict"});
  CHECK(strict.code == 1);
  CHECK(dir.entries() == std::vector<std::string>{"m.safetensors", "o.safetensors"});
}

TEST_CASE("convert: a layer that the block size does not divide gets row scales, and says why",
          "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight("a.weight", 256, 256), bf16_weight("odd.weight", 64, 2048)});
  const std::vector<std::string> base = {"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--int8"};
  auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = base;
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const Outcome row = with({});
  INFO(row.err << row.out);
  REQUIRE(row.code == 0);
  CHECK(row.out.find("64 is not a multiple of block size 128") != std::string::npos);
  CHECK(row.out.find("--comfy_quant switched on") != std::string::npos);
  CHECK(Reader(dir / "o.safetensors").find("odd.weight_scale")->shape == std::vector<int64_t>{64, 1});
  CHECK(with({"--no-comfy_quant"}).code == 2);

  CHECK(with({"--block-fallback", "skip"}).code == 0);
  CHECK(Reader(dir / "o.safetensors").find("odd.weight")->dtype == Dtype::kBF16);
  CHECK(with({"--block-fallback", "error"}).code == 1);
  CHECK(with({"--block-fallback", "pad"}).code == 2);
  CHECK(with({"--heur"}).code == 0);
  CHECK(Reader(dir / "o.safetensors").find("odd.weight")->dtype == Dtype::kBF16);
}

TEST_CASE("convert: threads, read-ahead and kernels do not change a byte", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir);
  const auto mode = GENERATE(values<std::string>({"--fp8", "--int8", "--scaling_mode=row"}));
  REQUIRE(run_binary({"-i", model, "-o", dir / "a.safetensors", mode, "--threads", "2"}).code == 0);
  const std::string expected = read_file(dir / "a.safetensors");
  REQUIRE(run_binary({"-i", model, "-o", dir / "b.safetensors", mode, "--threads", "1"}).code == 0);
  CHECK(read_file(dir / "b.safetensors") == expected);
  REQUIRE(run_binary({"-i", model, "-o", dir / "b.safetensors", mode, "--low-memory"}, "CTQ_KERNELS=baseline")
              .code == 0);
  CHECK(read_file(dir / "b.safetensors") == expected);
}

TEST_CASE("convert: shards and their index hold the same tensors as one file", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir);
  REQUIRE(run_binary({"-i", model, "-o", dir / "one.safetensors", "--fp8", "--comfy_quant"}).code == 0);
  REQUIRE(run_binary({"-i", model, "-o", dir / "many.safetensors", "--fp8", "--comfy_quant",
                      "--max-shard-size", "40000"})
              .code == 0);
  CHECK(dir.entries() ==
        std::vector<std::string>{"many-00001-of-00002.safetensors", "many-00002-of-00002.safetensors",
                                 "many.safetensors.index.json", "model.safetensors", "one.safetensors"});
  const Reader one(dir / "one.safetensors");
  const auto index = nlohmann::json::parse(read_file(dir / "many.safetensors.index.json"));
  CHECK(index.at("weight_map").size() == one.header().tensors.size());
  for (const auto& [name, shard] : index.at("weight_map").items()) {
    CHECK(bytes_of(Reader(dir / shard.get<std::string>()), name) == bytes_of(one, name));
  }
  // The shards of an unquantized model are an input like any other.
  REQUIRE(
      run_binary({"-i", model, "-o", dir / "half.safetensors", "--fp16", "--max-shard-size", "70000"}).code ==
      0);
  REQUIRE(
      run_binary({"-i", dir / "half.safetensors.index.json", "-o", dir / "from_shards.safetensors", "--fp8"})
          .code == 0);
  REQUIRE(run_binary({"-i", model, "-o", dir / "x.safetensors", "--fp8", "--max-shard-size", "1000"}).code ==
          2);
}

TEST_CASE("convert: NVFP4 switches the comfy layout on, and its markers say the shape", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 30, 64), bf16_weight("b.weight", 72, 15)});
  const Outcome run = run_binary(
      {"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--nvfp4", "--save-quant-metadata"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK((run.out + run.err).find("--comfy_quant switched on: the legacy layout has no form for nvfp4") !=
        std::string::npos);
  const safetensors::Reader out(dir / "o.safetensors");
  const auto shape = [&](const std::string& name) { return out.find(name)->shape; };
  CHECK(shape("a.weight") == std::vector<int64_t>{32, 32});
  CHECK(shape("a.weight_scale") == std::vector<int64_t>{128, 4});
  CHECK(shape("a.weight_scale_2").empty());
  CHECK(shape("b.weight") == std::vector<int64_t>{80, 8});
  const std::string header = out.header().metadata.at("_quantization_metadata");
  CHECK(header.find(R"("a": {"format": "nvfp4", "orig_shape": [30, 64]})") != std::string::npos);
  CHECK(header.find(R"("b": {"format": "nvfp4", "orig_shape": [72, 15]})") != std::string::npos);
}

TEST_CASE("convert: the output's name is derived, and an older output replaced only on success",
          "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir);
  REQUIRE(run_binary({"-i", model}).code == 0);
  CHECK(dir.entries() == std::vector<std::string>{"model.safetensors", "model_auto_int8_bs128.safetensors"});
  REQUIRE(run_binary({"-i", model, "--fp8"}).code == 0);
  CHECK(std::filesystem::exists(dir / "model_auto_fp8_tensor.safetensors"));
  const std::vector<std::pair<std::vector<std::string>, std::string>> others = {
      {{"--nvfp4", "--simple"}, "model_simple_nvfp4"},
      {{"--mxfp8", "--flux2"}, "model_auto_mxfp8mixed"},
      {{"--nvfp4", "--custom-layers", "q", "--custom-type", "fp8"}, "model_auto_nvfp4_mixed"},
      {{"--format", "convrot_w4a4", "--simple"}, "model_simple_w4a4"}};
  for (const auto& [flags, name] : others) {
    std::vector<std::string> args = {"-i", model};
    args.insert(args.end(), flags.begin(), flags.end());
    const Outcome run = run_binary(args);
    INFO(name << run.err);
    CHECK(run.code == 0);
    CHECK(std::filesystem::exists(dir / (name + ".safetensors")));
  }
  CHECK(run_binary({"-i", model, "--fp8", "--no-clobber"}).code == 1);
  REQUIRE(run_binary({"-i", model, "-o", dir / "new/folder/out.safetensors", "--fp8"}).code == 0);
  CHECK(std::filesystem::exists(dir / "new/folder/out.safetensors"));
}

TEST_CASE("convert: a name without a folder is written to the current one", "[end_to_end]") {
  const TempDir dir;
  make_small_model(dir);
  const Outcome run = run_binary({"-i", "model.safetensors", "-o", "out.safetensors", "--fp8"},
                                 "cd " + shell_quoted(dir.path().string()) + " &&");
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(std::filesystem::exists(dir / "out.safetensors"));
}

TEST_CASE("convert: the dry run's plan is what is then written", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir), output = dir / "out.safetensors";
  const auto flags =
      GENERATE(values<std::vector<std::string>>({{"--fp8", "--comfy_quant"}, {"--int8"}, {"--fp16"}}));
  std::vector<std::string> args = {"-i", model, "-o", output};
  args.insert(args.end(), flags.begin(), flags.end());
  std::vector<std::string> dry = args;
  dry.insert(dry.end(), {"--dry-run", "--json"});
  const Outcome plan = run_binary(dry);
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  CHECK_FALSE(std::filesystem::exists(output));
  const auto json = nlohmann::json::parse(plan.out);
  REQUIRE(run_binary(args).code == 0);
  CHECK(json.at("totals").at("bytes_out") == std::filesystem::file_size(output));
  const Reader out(output);
  for (const auto& tensor : json.at("tensors")) {
    CHECK_FALSE(tensor.at("reason").get<std::string>().empty());
    CHECK(out.find(tensor.at("name").get<std::string>()) != nullptr);
  }
  dry.pop_back();
  const Outcome table = run_binary(dry);
  CHECK(table.code == 0);
  CHECK(table.out.find("output size: " + std::to_string(std::filesystem::file_size(output)) + " bytes") !=
        std::string::npos);
}

TEST_CASE("convert: quality report, its JSON, and exit 3 only for an explicit threshold", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_small_model(dir);
  const std::vector<std::string> base = {"-i", model, "-o", dir / "o.safetensors", "--fp8", "--comfy_quant"};
  auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = base;
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const Outcome report = with({"--report-quality", "--quality-json", dir / "q.json"});
  REQUIRE(report.code == 0);
  CHECK(report.out.find("Layers below 30.0 dB: 0 / 2") != std::string::npos);
  const auto json = nlohmann::json::parse(read_file(dir / "q.json"));
  REQUIRE(json.at("layers").size() == 2);
  const double rel = json.at("layers")[0].at("weight_rel"), db = json.at("layers")[0].at("sqnr_db");
  CHECK(db == Approx(-20 * std::log10(rel)));
  CHECK(rel == Approx(0.0265).margin(0.003));
  CHECK(with({"--quality-threshold", "40", "--quality-threshold-fail"}).code == 3);
  const Outcome warned = with({"--report-quality", "--quality-threshold", "40"});
  CHECK(warned.code == 0);
  CHECK(warned.err.find("below 40.0 dB") != std::string::npos);
  CHECK(std::filesystem::exists(dir / "o.safetensors"));
  CHECK(with({"--quality-threshold", "40"}).code == 0);
}

TEST_CASE("convert: a recipe is a target, a layout and the family's preset", "[end_to_end]") {
  const TempDir dir;
  std::vector<TestTensor> tensors = {bf16_weight("double_blocks.0.img_attn.qkv.weight", 96, 64),
                                     bf16_weight("img_in.weight", 64, 32)};
  make_checkpoint(dir / "m.safetensors", tensors);
  const auto convert = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i",    dir / "m.safetensors", "-o", dir / "o.safetensors", "--dry-run",
                                     "--json"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = run_binary(args);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    return nlohmann::json::parse(run.out);
  };
  const nlohmann::json int8 = convert({"--recipe", "comfy-int8"}), fp8 = convert({"--recipe", "comfy-fp8"});
  CHECK(int8.at("layout") == "comfy");
  CHECK(int8.at("tensors").at(0).at("format") == "int8_tensorwise");
  CHECK(int8.at("tensors").at(0).at("scaling_mode") == "row");
  CHECK(fp8.at("tensors").at(0).at("format") == "float8_e4m3fn");
  for (const auto& [recipe, format] :
       {std::pair{"comfy-nvfp4", "nvfp4"}, {"comfy-mxfp8", "mxfp8"}, {"comfy-w4a4", "convrot_w4a4"}})
    CHECK(convert({"--recipe", recipe}).at("tensors").at(0).at("format") == format);
  CHECK(convert({"--recipe", "comfy-int8", "--scaling_mode", "tensor"})
            .at("tensors")
            .at(0)
            .at("scaling_mode") == "tensor");
  for (const std::vector<std::string>& flags :
       std::vector<std::vector<std::string>>{{"--recipe", "comfy-int8", "--fp8"},
                                             {"--recipe", "comfy-fp8", "--fp16"},
                                             {"--recipe", "x"},
                                             {"--recipe", "comfy-fp8", "--convrot"}}) {
    std::vector<std::string> args = {"-i", dir / "m.safetensors", "-o", dir / "o.safetensors"};
    args.insert(args.end(), flags.begin(), flags.end());
    CAPTURE(flags);
    CHECK(run_binary(args).code == 2);
  }
}

TEST_CASE("convert: --convrot rotates what it can, says what it cannot, and needs INT8 rows",
          "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 32, 512), bf16_weight("b.weight", 32, 192),
                                          bf16_weight("c.weight", 32, 100)});
  const auto convert = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i", dir / "m.safetensors", "-o", dir / "o.safetensors"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const Outcome run = convert({"--int8", "--scaling_mode", "row", "--convrot"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(run.out.find("--comfy_quant switched on: the legacy layout cannot say that a weight is rotated") !=
        std::string::npos);
  CHECK(run.out.find("1 layer is not rotated") != std::string::npos);
  const safetensors::Reader out(dir / "o.safetensors");
  const auto marker = [&](const std::string& layer) {
    const auto bytes = out.bytes(*out.find(layer + ".comfy_quant"));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  CHECK(marker("a") == R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 256})");
  CHECK(marker("b") == R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 64})");
  CHECK(marker("c") == R"({"format": "int8_tensorwise"})");

  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"--fp8", "--convrot"},
           {"--int8", "--convrot"},
           {"--int8", "--scaling_mode", "tensor", "--convrot"},
           {"--fp16", "--convrot"},
           {"--int8", "--scaling_mode", "row", "--convrot", "--convrot-group-size", "8"},
           {"--fp8", "--custom-layers", "a", "--custom-type", "fp8", "--custom-convrot"},
           {"--fp8", "--custom-convrot"}}) {
    CAPTURE(flags);
    CHECK(convert(flags).code == 2);
  }
  const Outcome custom =
      convert({"--fp8", "--custom-layers", "a", "--custom-type", "int8", "--custom-scaling-mode", "row",
               "--custom-convrot", "--custom-convrot-group-size", "16", "--dry-run"});
  CHECK(custom.out.find("int8_tensorwise (row, convrot 16)") != std::string::npos);
}

TEST_CASE("convert: filters, patterns that match nothing, and a recognised family", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "t5.safetensors",
                  {bf16_weight("encoder.block.0.layer.0.SelfAttention.q.weight", 64, 64),
                   bf16_weight("encoder.block.0.layer.0.SelfAttention.k.weight", 64, 64),
                   bf16_weight("encoder.block.23.layer.1.DenseReluDense.wi_1.weight", 64, 64),
                   bf16_weight("shared.weight", 64, 64), bf16_weight("decoder.block.0.weight", 64, 64)});
  const std::vector<std::string> base = {"-i",    dir / "t5.safetensors", "-o", dir / "o.safetensors",
                                         "--fp8", "--comfy_quant"};
  auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = base;
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const Outcome plain = with({});
  REQUIRE(plain.code == 0);
  CHECK(plain.out.find("--t5xxl") != std::string::npos);
  const Outcome t5 = with({"--t5xxl"});
  REQUIRE(t5.code == 0);
  CHECK(Reader(dir / "o.safetensors").find("decoder.block.0.weight") == nullptr);
  CHECK(Reader(dir / "o.safetensors").find("shared.weight")->dtype == Dtype::kBF16);
  CHECK(with({"--exclude-layers", R"(SelfAttention\.(?:q|k)\.)"}).code == 0);
  CHECK(Reader(dir / "o.safetensors").find("encoder.block.0.layer.0.SelfAttention.q.weight")->dtype ==
        Dtype::kBF16);
  const Outcome unused = with({"--exclude-layers", "nothing_like_this"});
  CHECK(unused.code == 0);
  CHECK(unused.err.find("nothing_like_this") != std::string::npos);
  CHECK(with({"--exclude-layers", "nothing_like_this", "--strict"}).code == 1);
  CHECK(with({"--exclude-layers", "(unclosed"}).code == 2);
}

TEST_CASE("configuration: --print-config feeds the same run", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "model.safetensors", {bf16_weight("blocks.0.to_q.weight", 64, 128)});
  const std::vector<std::string> words{"-i", dir / "model.safetensors", "--recipe", "comfy-int8", "--simple",
                                       "-q"};
  std::vector<std::string> printing = words;
  printing.insert(printing.end(), {"-o", dir / "b.safetensors", "--print-config"});
  const Outcome printed = run_binary(printing);
  REQUIRE(printed.code == 0);
  write_file(dir / "run.toml", printed.out);
  CHECK(dir.entries().size() == 2);

  std::vector<std::string> plain = words;
  plain.insert(plain.end(), {"-o", dir / "a.safetensors"});
  REQUIRE(run_binary(plain).code == 0);
  REQUIRE(run_binary({"--config", dir / "run.toml"}).code == 0);
  CHECK(read_file(dir / "a.safetensors") == read_file(dir / "b.safetensors"));
  CHECK(run_binary({"--config", dir / "run.toml"}, "CTQ_DEVICE=gpu").code == 2);
}
