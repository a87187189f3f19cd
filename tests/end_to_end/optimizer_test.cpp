// Optimizers from the command line.
#include <cmath>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <ATen/ATen.h>

#include "model/checkpoint.h"
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

/// The layers of a quality report; never none.
nlohmann::json layers_of(const std::string& path) {
  nlohmann::json layers = nlohmann::json::parse(read_file(path)).at("layers");
  REQUIRE_FALSE(layers.empty());
  return layers;
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
  for (const auto& layer : layers_of(dir / "q.json")) {
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
  auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i", model, "-o", dir / "o.safetensors", "--fp8"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const auto refused = [&](const std::vector<std::string>& more, const std::string& said) {
    const Outcome run = with(more);
    INFO(run.err << said);
    CHECK(run.code == 2);
    CHECK(run.err.find(said) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(dir / "o.safetensors"));
  };
  refused({"--min_k", "9", "--max_k", "8"}, "--min_k: is above --max_k 8 (got '9')");
  refused({"--optimizer", "quip", "--quip-store-transformed"}, "--quip-store-transformed");
  refused({"--optimizer", "sgd"}, "must be one of");
  refused({"--quality", "good", "--optimizer", "direct"}, "--quality: chooses the optimizer");
  refused({"--quality", "best", "--simple"}, "--quality: does not go with --simple");
  refused({"--lr", "0.1", "--lr_min", "0.2"}, "--lr_min: is above --lr 0.1");
  refused({"--lr_threshold", "1"}, "--lr_threshold: must be below 1");
  refused({"--lr", "0"}, "must be greater than 0");
  refused({"--top_p", "1.5"}, "--top_p");
  refused({"--num_iter", "-1"}, "--num_iter");
  refused({"--lr_factor", "1"}, "--lr_factor");
  refused({"--early-stop-stall", "0"}, "--early-stop-stall");
  refused({"--lr-shape-influence", "2"}, "--lr-shape-influence");
  refused({"--sweeps", "-1"}, "--sweeps");

  const auto notes = [&](const std::vector<std::string>& more, const std::string& said) {
    const Outcome run = with(more);
    INFO(run.out << run.err << said);
    CHECK(run.code == 0);
    CHECK(run.out.find(said) != std::string::npos);
  };
  notes({"--optimizer", "rtn", "--sweeps", "2"}, "--sweeps has no effect when rounding to nearest");
  notes({"--optimizer", "direct", "--simple"}, "--optimizer direct has no effect with --simple");
  notes({"--lr", "0.1"}, "--lr has no effect without an optimizer that learns");
  notes({"--optimizer", "adamw", "--num_iter", "2", "--lr_gamma", "0.5"},
        "--lr_gamma has no effect with this --lr_schedule");
  notes({"--optimizer", "adamw", "--num_iter", "2", "--use_speed"}, "without --optimizer prodigy");
  notes({"--optimizer", "adamw", "--num_iter", "2", "--scales", "search"},
        "--scales has no effect with learned rounding");
  notes({"--optimizer", "original", "--num_iter", "0"}, "--num_iter 0 rounds to nearest");
  notes({"--bias-correction", "on"}, "--bias-correction on without --calibration-data is norm");
  notes({"--manual_seed", "-1"}, "was picked");
}

TEST_CASE("optimizer: by default the checkpoint's own statistics are used, and the log says where",
          "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const Outcome run = run_binary({"-i", model, "--fp8", "--quality-json", dir / "q.json"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(std::filesystem::exists(dir / "m_auto_fp8_tensor.safetensors"));
  CHECK(run.out.find("optimizer auto: direct for 1 layer, implied for 2 layers "
                     "(1 behind a norm, 1 behind an activation)") != std::string::npos);
  CHECK(run.out.find("implied (norm encoder.layer.0.attention.output.LayerNorm)") != std::string::npos);
  for (const auto& layer : layers_of(dir / "q.json")) {
    const auto& optimizer = layer.at("optimizer");
    CHECK(optimizer.at("objective").get<double>() < optimizer.at("objective_nearest").get<double>());
    CHECK(optimizer.at("iterations") == (optimizer.at("method") == "direct" ? 0 : 2));
    CHECK(optimizer.at("subspace_rel").get<double>() > 0);
    CHECK(optimizer.at("seconds").get<double>() > 0);
  }
  const Outcome plan = run_binary({"-i", model, "--fp8", "--dry-run"});
  CHECK(plan.out.find("target, implied (gelu of encoder.layer.0.intermediate.dense") != std::string::npos);
  CHECK(plan.out.find("target, direct") != std::string::npos);
}

TEST_CASE("optimizer: --quality fast is round to nearest, best ends below good", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const auto objective = [&](const std::string& quality) {
    const Outcome run = run_binary({"-i", model, "-o", dir / (quality + ".safetensors"), "--fp8", "--quality",
                                    quality, "--quality-json", dir / "q.json"});
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    double sum = 0;
    for (const auto& layer : layers_of(dir / "q.json"))
      sum += layer.contains("optimizer") ? layer.at("optimizer").at("objective").get<double>() : 0.0;
    return sum;
  };
  CHECK(objective("fast") == 0);
  CHECK(objective("best") < objective("good"));
  REQUIRE(run_binary({"-i", model, "-o", dir / "simple.safetensors", "--fp8", "--simple"}).code == 0);
  CHECK(read_file(dir / "fast.safetensors") == read_file(dir / "simple.safetensors"));
}

TEST_CASE("optimizer: iterative learned rounding lowers subspace_rel on every layer", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const auto flags = GENERATE(values<std::vector<std::string>>({{"--optimizer", "original"},
                                                                {"--optimizer", "adamw"},
                                                                {"--optimizer", "radam"},
                                                                {"--optimizer", "prodigy"},
                                                                {"--profile", "seed"},
                                                                {"--profile", "peer"}}));
  CAPTURE(flags);
  std::vector<std::string> args = {
      "-i", model, "--comfy_quant",       "--fp8",          "--num_iter",  "80", "--min_k", "8", "--max_k",
      "16", "-o",  dir / "o.safetensors", "--quality-json", dir / "q.json"};
  args.insert(args.end(), flags.begin(), flags.end());
  const Outcome run = run_binary(args);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  for (const auto& layer : layers_of(dir / "q.json")) {
    const auto& optimizer = layer.at("optimizer");
    CHECK(optimizer.at("objective_name") == "subspace");
    CHECK(optimizer.at("objective").get<double>() < optimizer.at("objective_nearest").get<double>());
    CHECK(optimizer.at("iterations") == 80);
    CHECK(optimizer.at("stopped_by") == "iterations");
  }
}

TEST_CASE("optimizer: layers of a configuration have their own", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  write_file(dir / "c.json", R"({
      "query": {"format": "float8_e4m3fn", "optimizer": "adamw", "num_iter": 3},
      "intermediate": {"format": "float8_e4m3fn", "simple": true},
      "_default": {"format": "float8_e4m3fn"}})");
  const auto methods = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i",
                                     model,
                                     "-o",
                                     dir / "o.safetensors",
                                     "--comfy_quant",
                                     "--layer-config",
                                     dir / "c.json",
                                     "--quality-json",
                                     dir / "q.json"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = run_binary(args);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    std::vector<std::string> found;
    for (const auto& layer : layers_of(dir / "q.json"))
      found.push_back(layer.contains("optimizer") ? layer.at("optimizer").at("method").get<std::string>()
                                                  : "rtn");
    return found;  // attention query, intermediate, output
  };
  CHECK(methods({}) == std::vector<std::string>{"adamw", "rtn", "implied"});
  CHECK(methods({"--optimizer", "direct"}) == std::vector<std::string>{"adamw", "rtn", "direct"});
  CHECK(methods({"--simple"}) == std::vector<std::string>{"adamw", "rtn", "rtn"});
}

TEST_CASE("optimizer: --simple does not reach custom layers and the fallback", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const auto count = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i",
                                     model,
                                     "-o",
                                     dir / "o.safetensors",
                                     "--fp8",
                                     "--simple",
                                     "--custom-layers",
                                     "query",
                                     "--custom-type",
                                     "int8",
                                     "--fallback",
                                     "int8",
                                     "--exclude-layers",
                                     "intermediate",
                                     "--quality-json",
                                     dir / "q.json"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = run_binary(args);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    int optimized = 0;
    for (const auto& layer : layers_of(dir / "q.json")) optimized += layer.contains("optimizer");
    return optimized;
  };
  CHECK(count({}) == 2);
  CHECK(count({"--custom-simple"}) == 1);
  CHECK(count({"--custom-simple", "--fallback-simple"}) == 0);
}

TEST_CASE("optimizer: --bias-correction norm changes the biases behind a norm, by -E mean(x)",
          "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const auto convert = [&](const std::string& word) {
    const std::string out = dir / (word + ".safetensors");
    const Outcome run = run_binary({"-i", model, "-o", out, "--int8", "--scaling_mode", "tensor",
                                    "--comfy_quant", "--optimizer", "rtn", "--bias-correction", word});
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    return ctq::model::Checkpoint::open(out);
  };
  const auto off = convert("off"), automatic = convert("auto"), norm = convert("norm");
  const auto original = ctq::model::Checkpoint::open(model);
  const auto value = [](const ctq::model::Checkpoint& from, const std::string& name) {
    return ctq::model::load(*from.find(name)).to(at::kFloat);
  };
  const std::string p = "encoder.layer.0.";
  for (const std::string name : {"intermediate.dense.bias", "output.dense.bias"}) {
    CHECK(at::equal(value(off, p + name), value(original, p + name)));
    CHECK(at::equal(value(automatic, p + name), value(original, p + name)));
  }
  CHECK(at::equal(value(norm, p + "output.dense.bias"), value(original, p + "output.dense.bias")));
  const at::Tensor decoded =
      value(norm, p + "intermediate.dense.weight") * value(norm, p + "intermediate.dense.weight_scale");
  const at::Tensor error = decoded - value(original, p + "intermediate.dense.weight");
  const at::Tensor mean = value(original, p + "attention.output.LayerNorm.bias");
  const at::Tensor expected = value(original, p + "intermediate.dense.bias") - error.mv(mean);
  const at::Tensor corrected = value(norm, p + "intermediate.dense.bias");
  CHECK_FALSE(at::equal(corrected, value(original, p + "intermediate.dense.bias")));
  CHECK(at::allclose(corrected, expected, 1e-2, 1e-6));
}

TEST_CASE("optimizer: a weight that holds NaN is kept, the others are optimized", "[end_to_end]") {
  const TempDir dir;
  std::vector<TestTensor> tensors = {bf16_weight("a.weight", 64, 64), bf16_weight("b.weight", 64, 64)};
  tensors[0].bytes[0] = '\xff', tensors[0].bytes[1] = '\x7f';
  make_checkpoint(dir / "m.safetensors", tensors);
  const auto method = GENERATE(as<std::string>(), "auto", "direct", "adamw");
  const Outcome run = run_binary({"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8",
                                  "--num_iter", "20", "--optimizer", method});
  INFO(run.err << run.out);
  CHECK(run.code == 0);
  CHECK(run.out.find("codes chosen by the optimizer             1 weights") != std::string::npos);
  const auto written = ctq::model::Checkpoint::open(dir / "o.safetensors");
  CHECK(written.find("a.weight")->info->dtype == ctq::safetensors::Dtype::kBF16);
  CHECK(written.find("b.weight")->info->dtype == ctq::safetensors::Dtype::kF8E4M3);
}

TEST_CASE("optimizer: quip stores the rotated weight where it is asked to and the sides allow it",
          "[end_to_end]") {
  const TempDir dir;
  at::manual_seed(1);
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight("a.weight", 256, 128), bf16_weight("b.weight", 96, 128)});
  const auto convert = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i",  dir / "m.safetensors", "-o", dir / "o.safetensors", "--optimizer",
                                     "quip"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const Outcome run = convert({"--quip-store-transformed", "--quip-seed", "3"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  const auto written = ctq::model::Checkpoint::open(dir / "o.safetensors");
  const auto part = [&](const std::string& name) {
    return ctq::model::load(*written.find(name)).to(at::kFloat);
  };
  const auto marker = [&](const std::string& layer) {
    const at::Tensor bytes = ctq::model::load(*written.find(layer + ".comfy_quant"));
    return std::string(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes());
  };
  CHECK(marker("a") == R"({"format": "int8_quip_hadamard"})");
  CHECK(marker("b") == R"({"format": "int8_tensorwise"})");
  CHECK(part("a.hadamard_size_out").item<float>() == 256);
  CHECK(part("a.hadamard_size_in").item<float>() == 128);
  CHECK(part("a.hadamard_quip").item<float>() == 1);
  // W = diag(s_row) H q s H diag(s_col), by a Hadamard matrix that is written out.
  const auto hadamard = [](int64_t size) {
    at::Tensor h = at::ones({1, 1});
    while (h.size(0) < size) h = at::cat({at::cat({h, h}, 1), at::cat({h, -h}, 1)});
    return h / std::sqrt(static_cast<double>(size));
  };
  const at::Tensor rotated = part("a.weight") * part("a.weight_scale");
  const at::Tensor decoded =
      hadamard(256).mm(rotated).mm(hadamard(128)) * part("a.sign_col") * part("a.sign_row").unsqueeze(1);
  const auto original = ctq::model::Checkpoint::open(dir / "m.safetensors");
  const at::Tensor weight = ctq::model::load(*original.find("a.weight")).to(at::kFloat);
  CHECK(((decoded - weight).norm() / weight.norm()).item<float>() < 0.015F);

  const auto refused = [&](const std::vector<std::string>& more, const std::string& said) {
    const Outcome bad = convert(more);
    INFO(bad.err);
    CHECK(bad.code == 2);
    CHECK(bad.err.find(said) != std::string::npos);
  };
  refused({"--quip-store-transformed", "--no-quip-hadamard"}, "needs --quip-hadamard");
  refused({"--quip-store-transformed", "--fp8"}, "is a layout of INT8 of its own");
  refused({"--quip-requant-scheme", "block", "--scaling_mode", "row"}, "does not go with --scaling_mode row");
  CHECK(convert({"--quip-store-transformed", "--quip-no-store-transformed"}).code == 0);
  CHECK(ctq::model::Checkpoint::open(dir / "o.safetensors").find("a.sign_row") == nullptr);
}

TEST_CASE("optimizer: quip's own options choose the layout after rotating back", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 128, 128)});
  const auto scales = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {
        "-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--comfy_quant", "--optimizer", "quip"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = run_binary(args);
    INFO(run.err);
    REQUIRE(run.code == 0);
    return ctq::model::Checkpoint::open(dir / "o.safetensors").find("a.weight_scale")->info->shape;
  };
  CHECK(scales({}) == std::vector<int64_t>{128, 1});
  CHECK(scales({"--no-quip-requant-tensor-per-row"}).empty());
  CHECK(scales({"--quip-requant-scheme", "block", "--block_size", "64"}) == std::vector<int64_t>{2, 2});
  CHECK(scales({"--scaling_mode", "tensor"}).empty());
}

TEST_CASE("optimizer: gptq column by column gives what it gives in blocks", "[end_to_end]") {
  const TempDir dir;
  const std::string model = make_block(dir);
  const auto codes = [&](const std::string& flag) {
    const Outcome run = run_binary({"-i", model, "-o", dir / "o.safetensors", "--int8", "--scaling_mode",
                                    "row", "--optimizer", "gptq", "--gptq-turbo", flag});
    REQUIRE(run.code == 0);
    CHECK(run.err.find("--gptq-turbo: the run is on the CPU; the blocked pass is used") != std::string::npos);
    return ctq::model::load(*ctq::model::Checkpoint::open(dir / "o.safetensors")
                                 .find("encoder.layer.0.output.dense.weight"))
        .to(at::kFloat);
  };
  const at::Tensor blocks = codes("--gptq-fast"), columns = codes("--no-gptq-fast");
  CHECK((blocks != columns).to(at::kFloat).mean().item<float>() < 1e-3F);
}

TEST_CASE("optimizer: a LoRA says which inputs matter", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight("blocks.0.a.weight", 128, 128), bf16_weight("blocks.0.b.weight", 64, 128)});
  make_checkpoint(dir / "lora.safetensors", {f32_weight("diffusion_model.blocks.0.a.lora_A.weight", 4, 128),
                                             f32_weight("diffusion_model.blocks.0.a.lora_B.weight", 128, 4)});
  const auto original = ctq::model::Checkpoint::open(dir / "m.safetensors"),
             lora = ctq::model::Checkpoint::open(dir / "lora.safetensors");
  const at::Tensor weight = ctq::model::load(*original.find("blocks.0.a.weight")).to(at::kFloat);
  const at::Tensor a = ctq::model::load(*lora.find("diffusion_model.blocks.0.a.lora_A.weight"));
  const auto convert = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i",    dir / "m.safetensors", "-o", dir / "o.safetensors",
                                     "--fp8", "--comfy_quant"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  const auto error = [&](const std::vector<std::string>& more) {
    const Outcome run = convert(more);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    CHECK((run.out.find("direct and LoRA for 1 layer") != std::string::npos) == !more.empty());
    const auto written = ctq::model::Checkpoint::open(dir / "o.safetensors");
    const at::Tensor decoded = ctq::model::load(*written.find("blocks.0.a.weight")).to(at::kFloat) *
                               ctq::model::load(*written.find("blocks.0.a.weight_scale"));
    return a.mm((decoded - weight).t()).norm().item<float>();
  };
  CHECK(error({"--calibration-lora", dir / "lora.safetensors"}) < 0.5F * error({}));

  make_checkpoint(dir / "other.safetensors", {f32_weight("x.lora_A.weight", 4, 128)});
  CHECK(convert({"--calibration-lora", dir / "other.safetensors"}).code == 1);
  CHECK(convert({"--calibration-lora", dir / "none.safetensors"}).code == 4);
  CHECK(convert({"--calibration-lora", dir / "m.safetensors"}).code == 4);
  const Outcome plain = convert({"--simple", "--calibration-lora", dir / "lora.safetensors"});
  CHECK(plain.out.find("--calibration-lora has no effect") != std::string::npos);
}
