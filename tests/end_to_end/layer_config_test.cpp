// Options that route layers, with the program itself.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

std::string make_model(const TempDir& dir) {
  const std::string path = dir / "model.safetensors";
  make_checkpoint(path, {bf16_weight("img_in.weight", 64, 64), bf16_weight("blocks.0.qkv.weight", 96, 64),
                         bf16_weight("blocks.0.mlp.weight", 128, 64),
                         bf16_weight("blocks.1.mlp.weight", 128, 64), bf16_vector("norm.weight", 64)});
  return path;
}

std::string marker(const Reader& file, const std::string& layer) {
  const safetensors::TensorInfo* info = file.find(layer + ".comfy_quant");
  REQUIRE(info != nullptr);
  const auto bytes = file.bytes(*info);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Outcome convert(const std::string& model, const std::string& output, std::vector<std::string> more) {
  more.insert(more.begin(), {"-i", model, "-o", output});
  return run_binary(more);
}

TEST_CASE("routing: custom layers, fallback and layer configuration in one file", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir), output = dir / "out.safetensors";
  write_file(dir / "c.json", R"({"blocks\\.1\\.": {"format": "int8_blockwise", "block_size": 32}})");
  const Outcome run = convert(model, output,
                              {"--fp8", "--comfy_quant", "--flux2", "--fallback", "fp16", "--custom-layers",
                               "qkv", "--custom-type", "int8", "--custom-scaling-mode", "row",
                               "--custom-fpmm", "--custom-simple", "--layer-config", dir / "c.json"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(run.err.empty());
  const Reader out(output);
  CHECK(out.find("img_in.weight")->dtype == Dtype::kF16);
  CHECK(marker(out, "blocks.0.qkv") ==
        R"({"format": "int8_tensorwise", "full_precision_matrix_mult": true})");
  CHECK(out.find("blocks.0.qkv.weight_scale")->shape == std::vector<int64_t>{96, 1});
  CHECK(marker(out, "blocks.0.mlp") == R"({"format": "float8_e4m3fn"})");
  CHECK(marker(out, "blocks.1.mlp") == R"({"format": "int8_blockwise", "group_size": 32})");
  CHECK(out.find("blocks.1.mlp.weight_scale")->shape == std::vector<int64_t>{4, 2});
}

TEST_CASE("routing: the worked example of docs/layer_config.md", "[end_to_end]") {
  const TempDir dir;
  const std::string page = read_file(CTQ_SOURCE_DIR "/docs/layer_config.md");
  const size_t begin = page.find("```json\n") + 8;
  REQUIRE(begin > 8);
  write_file(dir / "c.json", page.substr(begin, page.find("```", begin) - begin));
  make_checkpoint(dir / "m.safetensors", {bf16_weight("double_blocks.0.img_attn.proj.weight", 64, 64),
                                          bf16_weight("double_blocks.5.img_attn.proj.weight", 64, 64),
                                          bf16_weight("double_blocks.5.img_mlp.0.weight", 64, 64),
                                          bf16_weight("double_blocks.5.img_attn.qkv.weight", 64, 64)});
  const Outcome run =
      convert(dir / "m.safetensors", dir / "o.safetensors", {"--layer-config", dir / "c.json", "--strict"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  const Reader out(dir / "o.safetensors");
  CHECK(out.find("double_blocks.0.img_attn.proj.weight")->dtype == Dtype::kBF16);
  CHECK(out.find("double_blocks.5.img_attn.proj.weight_scale")->shape.empty());
  CHECK(marker(out, "double_blocks.5.img_mlp.0") == R"({"format": "int8_blockwise", "group_size": 64})");
  CHECK(out.find("double_blocks.5.img_attn.qkv.weight_scale")->shape == std::vector<int64_t>{64, 1});
}

TEST_CASE("routing: contradictions are refused before any file is opened", "[end_to_end]") {
  struct Row {
    std::vector<std::string> args;
    std::string said;
  };
  const auto row = GENERATE(values<Row>({
      {{"--custom-layers", "x"}, "argument --custom-layers: needs --custom-type (got 'x')"},
      {{"--custom-type", "fp8"}, "argument --custom-type: needs --custom-layers (got 'fp8')"},
      {{"--custom-block-size", "4"}, "argument --custom-block-size: needs --custom-layers (got '4')"},
      {{"--custom-scaling-mode", "row"}, "argument --custom-scaling-mode: needs --custom-layers (got 'row')"},
      {{"--custom-simple"}, "argument --custom-simple: needs --custom-layers (got 'true')"},
      {{"--custom-heur"}, "argument --custom-heur: needs --custom-layers (got 'true')"},
      {{"--custom-fpmm"}, "argument --custom-full-precision-mm: needs --custom-layers (got 'true')"},
      {{"--custom-layers", "(", "--custom-type", "int8"}, "argument --custom-layers: bad regular expression"},
      {{"--custom-layers", "x", "--custom-type", "int8", "--custom-scaling-mode", "block3d"},
       "argument --custom-scaling-mode: int8 has no such layout (got 'block3d')"},
      {{"--custom-layers", "x", "--custom-type", "nvfp4", "--custom-scaling-mode", "row"},
       "argument --custom-scaling-mode: nvfp4 has no such layout (got 'row')"},
      {{"--nvfp4", "--scaling_mode", "block"},
       "argument --scaling_mode: does not go with --nvfp4 (got 'block')"},
      {{"--mxfp8", "--block_size", "64"},
       "argument --block_size: does not go with mxfp8, whose groups are of 32 columns (got '64')"},
      {{"--nvfp4", "--fp8"}, "argument --nvfp4: only one target format can be chosen (got '--fp8')"},
      {{"--nvfp4", "--convrot"}, "argument --convrot: goes with INT8 and a scale per row"},
      {{"--format", "convrot_w4a4", "--no-convrot"},
       "argument --convrot: cannot be off: convrot_w4a4 is always rotated"},
      {{"--custom-layers", "x", "--custom-type", "int4"}, "argument --custom-type: must be one of fp8, int8"},
      {{"--custom-block-size", "0"}, "argument --custom-block-size: must be at least 1 (got '0')"},
      {{"--fallback-block-size", "64"}, "argument --fallback-block-size: needs --fallback (got '64')"},
      {{"--fallback-simple"}, "argument --fallback-simple: needs --fallback (got 'true')"},
      {{"--layer-config", "none.json", "--fallback-simple"}, "argument --fallback-simple: needs --fallback"},
      {{"--dry-run", "create-template", "--json"}, "argument --json: goes with --dry-run analyze"},
      {{"--dry-run", "create-template", "-o", "m.safetensors"}, "argument --output: names the template"},
  }));
  std::vector<std::string> args = {"-i", "/no/such/model.safetensors"};
  args.insert(args.end(), row.args.begin(), row.args.end());
  const Outcome run = run_binary(args);
  CHECK(run.code == 2);
  CHECK_THAT(run.err, Catch::StartsWith("convert_to_quant: error: " + row.said));
}

TEST_CASE("routing: switches that are off ask for nothing", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir);
  const Outcome run = convert(model, dir / "o.safetensors",
                              {"--dry-run", "--no-custom-simple", "--fallback-simple=false", "--fullmatch"});
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK_THAT(run.out, Catch::Contains("--fullmatch has no effect without --layer-config"));
}

TEST_CASE("routing: a bad layer configuration names its option, its entry and its file", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir), config = dir / "c.json";
  const auto error = [&](int code) {
    const Outcome run = convert(model, dir / "o.safetensors", {"--layer-config", config});
    CHECK(run.code == code);
    CHECK_THAT(run.err, Catch::StartsWith("convert_to_quant: error: argument --layer-config: ") &&
                            Catch::Contains("(got '" + config + "')"));
    return run.err;
  };
  CHECK_THAT(error(4), Catch::Contains("No such file or directory"));
  write_file(config, "{");
  CHECK_THAT(error(2), Catch::Contains("not valid JSON"));
  write_file(config, R"({"blocks": {"format": "int8_axiswise", "scaling_mode": "block"}})");
  CHECK_THAT(error(2), Catch::Contains("entry 'blocks': scaling_mode 'block' contradicts"));
  write_file(config, R"({"blocks": {"format": ""}})");
  CHECK_THAT(error(2), Catch::Contains("entry 'blocks': 'format' is empty"));
  CHECK(dir.entries() == std::vector<std::string>{"c.json", "model.safetensors"});
}

TEST_CASE("routing: what matches nothing is a warning, and an error with --strict", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir);
  write_file(dir / "c.json", R"({"no_such": {"skip": true}})");
  const bool custom = GENERATE(true, false);
  const std::vector<std::string> args =
      custom ? std::vector<std::string>{"--custom-layers", "no_such", "--custom-type", "fp8"}
             : std::vector<std::string>{"--layer-config", dir / "c.json"};
  const std::string said = custom ? "--custom-layers 'no_such' matches no candidate"
                                  : "--layer-config entry 'no_such' matches no candidate";
  const Outcome run = convert(model, dir / "o.safetensors", args);
  CHECK(run.code == 0);
  CHECK_THAT(run.err, Catch::Contains(said));
  std::filesystem::remove(dir / "o.safetensors");
  std::vector<std::string> strict = args;
  strict.emplace_back("--strict");
  const Outcome refused = convert(model, dir / "o.safetensors", strict);
  CHECK(refused.code == 1);
  CHECK_THAT(refused.err, Catch::Contains(said + " (--strict)"));
  CHECK_FALSE(std::filesystem::exists(dir / "o.safetensors"));
}

TEST_CASE("routing: a fallback to the target's own type, and one that has nothing to do", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir);
  const Outcome same = convert(model, dir / "o.safetensors", {"--flux2", "--fallback", "int8", "--dry-run"});
  CHECK(same.code == 0);
  CHECK_THAT(same.err, Catch::Contains("--fallback int8 is the target's own type"));
  const Outcome idle = convert(model, dir / "o.safetensors", {"--fallback", "fp8", "--dry-run"});
  CHECK(idle.code == 0);
  CHECK_THAT(idle.out, Catch::Contains("--fallback has no effect"));
}

TEST_CASE("routing: custom layers and the fallback inherit block size and scaling mode", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir);
  const auto formats = [&](std::vector<std::string> args) {
    args.insert(args.end(), {"--dry-run", "--json"});
    const Outcome run = convert(model, dir / "o.safetensors", args);
    INFO(run.err);
    REQUIRE(run.code == 0);
    std::map<std::string, std::string> found;
    const auto plan = nlohmann::json::parse(run.out);
    for (const auto& row : plan.at("tensors")) {
      found[row.at("name")] = fmt::format("{} {}", row.value("format", ""), row.value("block_size", 0));
    }
    return found;
  };
  const std::vector<std::string> both = {"--custom-layers",  "mlp",    "--custom-type", "fp8",
                                         "--exclude-layers", "img_in", "--fallback",    "int8"};
  const auto with = [&](std::vector<std::string> args) {
    args.insert(args.end(), both.begin(), both.end());
    return formats(args);
  };
  auto found = with({"--fp16"});  // each type's own default
  CHECK(found["blocks.0.mlp.weight"] == "float8_e4m3fn 0");
  CHECK(found["img_in.weight"] == "int8_tensorwise 0");  // blocks of 128 do not divide 64
  CHECK(found["blocks.0.qkv.weight"] == "float16 0");
  found = with({"--block_size", "32", "--scaling_mode", "block"});
  CHECK(found["blocks.0.mlp.weight"] == "float8_e4m3fn_blockwise 32");
  CHECK(found["img_in.weight"] == "int8_blockwise 32");
  found = with({"--block_size", "32", "--scaling_mode", "block", "--custom-block-size", "64",
                "--fallback-block-size", "16"});
  CHECK(found["blocks.0.mlp.weight"] == "float8_e4m3fn_blockwise 64");
  CHECK(found["blocks.0.qkv.weight"] == "int8_blockwise 32");
  CHECK(found["img_in.weight"] == "int8_blockwise 16");
  found = with({"--fp8", "--scaling_mode", "block3d", "--block_size", "32", "--custom-scaling-mode", "row"});
  CHECK(found["blocks.0.mlp.weight"] == "float8_e4m3fn_rowwise 0");
  CHECK(found["img_in.weight"] == "int8_blockwise 32");  // INT8 has no block3d
}

TEST_CASE("create-template: writes beside the model what --layer-config reads", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir), config = dir / "model_layer_config_template.json";
  const Outcome made =
      run_binary({"-i", model, "--block_size", "32", "--flux2", "--dry-run", "create-template"});
  INFO(made.err << made.out);
  REQUIRE(made.code == 0);
  CHECK_THAT(made.out, Catch::Contains("(3 layers to quantize, 1 to keep;"));
  CHECK(dir.entries() == std::vector<std::string>{"model.safetensors", "model_layer_config_template.json"});

  REQUIRE(convert(model, dir / "a.safetensors", {"--block_size", "32", "--flux2"}).code == 0);
  const Outcome again =
      convert(model, dir / "b.safetensors", {"--layer-config", config, "--block_size", "32", "--strict"});
  INFO(again.err);
  REQUIRE(again.code == 0);
  CHECK(read_file(dir / "a.safetensors") == read_file(dir / "b.safetensors"));
}

TEST_CASE("create-template: --output names it, and never a model", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir), content = read_file(model);
  const auto create = [&](const std::string& output, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--dry-run", "create-template"});
    return convert(model, output, more).code;
  };
  CHECK(create(dir / "mine.json") == 0);
  CHECK(nlohmann::json::parse(read_file(dir / "mine.json")).contains("_default"));
  CHECK(create(dir / "mine.json", {"--no-clobber"}) == 1);
  CHECK(create(dir / "mine.json", {"--layer-config", dir / "mine.json"}) == 2);
  CHECK(create(model) == 2);
  CHECK(create(dir / "other.safetensors") == 2);
  std::filesystem::create_symlink(model, dir / "link.json");
  CHECK(create(dir / "link.json") == 2);
  CHECK(read_file(model) == content);
}

TEST_CASE("routing: the derived name says that a file is mixed", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_model(dir);
  REQUIRE(run_binary({"-i", model, "--custom-layers", "mlp", "--custom-type", "fp8"}).code == 0);
  CHECK(std::filesystem::exists(dir / "model_auto_int8mixed_bs128.safetensors"));
}

}  // namespace
