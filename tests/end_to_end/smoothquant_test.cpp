// Conversions with --smoothquant.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "format/codec.h"
#include "model/checkpoint.h"
#include "quantized/decode.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;

namespace {

constexpr int64_t kWidth = 64;
const std::string kBlock = "text_model.encoder.layers.0.";

/// A block of CLIP's text encoder; three channels of the first norm stand out.
struct Fixture {
  TempDir dir;
  std::string model = dir / "m.safetensors", recording = dir / "cal.safetensors",
              output = dir / "o.safetensors";

  Fixture() {
    std::vector<TestTensor> tensors;
    for (const char* norm : {"layer_norm1", "layer_norm2"}) {
      const auto scale = [](int64_t i) { return bf16(i % 20 == 3 ? 12.0f : 0.7f + weight_value(i)); };
      tensors.push_back(tensor(kBlock + norm + ".weight", ctq::safetensors::Dtype::kBF16, {kWidth},
                               elements<uint16_t>(kWidth, scale)));
      tensors.push_back(bf16_vector(kBlock + norm + ".bias", kWidth));
    }
    for (const char* layer :
         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"}) {
      tensors.push_back(bf16_weight(kBlock + layer + ".weight", kWidth, kWidth));
      tensors.push_back(bf16_vector(kBlock + layer + ".bias", kWidth));
    }
    tensors.push_back(bf16_weight(kBlock + "mlp.fc1.weight", 128, kWidth));
    tensors.push_back(bf16_weight(kBlock + "mlp.fc2.weight", kWidth, 128));
    make_checkpoint(model, tensors);
    std::vector<TestTensor> recorded;
    for (const char* layer : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}) {
      const at::Tensor rows = normed("layer_norm1", model).to(at::kBFloat16).contiguous();
      recorded.push_back(tensor(kBlock + layer + ".rows", ctq::safetensors::Dtype::kBF16, rows.sizes().vec(),
                                {static_cast<const char*>(rows.const_data_ptr()), rows.nbytes()}));
    }
    make_checkpoint(recording, recorded);
  }

  /// What a norm of that file makes of 600 rows.
  static at::Tensor normed(const std::string& norm, const std::string& file) {
    at::manual_seed(5);
    const auto checkpoint = ctq::model::Checkpoint::open(file);
    const auto part = [&](const char* name) {
      return ctq::model::load(*checkpoint.find(kBlock + norm + name)).to(at::kFloat);
    };
    return at::layer_norm(at::randn({600, kWidth}), {kWidth}, part(".weight"), part(".bias"));
  }
  /// Of the converted file.
  at::Tensor decoded(const std::string& layer) const {
    const auto checkpoint = ctq::model::Checkpoint::open(output);
    const at::Tensor weight = ctq::model::load(*checkpoint.find(kBlock + layer + ".weight")).to(at::kFloat);
    const auto* scale = checkpoint.find(kBlock + layer + ".weight_scale");
    return scale ? weight * ctq::model::load(*scale) : weight;
  }
  at::Tensor original(const std::string& layer) const {
    const auto checkpoint = ctq::model::Checkpoint::open(model);
    return ctq::model::load(*checkpoint.find(kBlock + layer + ".weight")).to(at::kFloat);
  }
  Outcome convert(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {"-i", model, "-o", output, "--comfy_quant", "--client", "any"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  }
};

/// Dynamic INT8 with a scale per row, as the loader's product quantizes an input.
at::Tensor as_int8(const at::Tensor& x) {
  const at::Tensor scale = x.abs().amax(1, true) / 127;
  return (x / scale).round() * scale;
}

const std::vector<std::string> kRow = {"--int8", "--scaling_mode", "row", "--smoothquant-alpha", "0.6"};

}  // namespace

TEST_CASE("smoothquant: outputs with quantized inputs come closer, and outputs with float inputs stay",
          "[end_to_end]") {
  const Fixture files;
  const std::string optimizer = GENERATE("rtn", "gptq");
  const auto error = [&](bool smooth) {
    std::vector<std::string> args = kRow;
    args.insert(args.end(), {"--optimizer", optimizer, "--calibration-data", files.recording,
                             "--bias-correction", "off"});
    if (smooth) args.emplace_back("--smoothquant");
    const Outcome run = files.convert(args);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    CHECK(
        (run.out.find("1 inputs are divided by what makes them (1 behind norms); 3 quantized layers read") !=
         std::string::npos) == smooth);
    const at::Tensor x = Fixture::normed("layer_norm1", files.output);
    const at::Tensor wanted =
        Fixture::normed("layer_norm1", files.model).mm(files.original("self_attn.q_proj").t());
    const at::Tensor w = files.decoded("self_attn.q_proj");
    CHECK(((x.mm(w.t()) - wanted).norm() / wanted.norm()).item<double>() < 0.02);
    return ((as_int8(x).mm(w.t()) - wanted).norm() / wanted.norm()).item<double>();
  };
  CHECK(error(true) < 0.6 * error(false));
}

TEST_CASE("smoothquant: tensors that nothing was folded into stay as they are, kept readers lose nothing",
          "[end_to_end]") {
  const Fixture files;
  std::vector<std::string> args = kRow;
  args.insert(args.end(), {"--smoothquant", "--simple", "--calibration-data", files.recording,
                           "--exclude-layers", "v_proj|fc", "--bias-correction", "off"});
  const Outcome run = files.convert(args);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  const auto same = [&](const std::string& name) {
    const auto before = ctq::model::Checkpoint::open(files.model),
               after = ctq::model::Checkpoint::open(files.output);
    return at::equal(ctq::model::load(*before.find(kBlock + name)),
                     ctq::model::load(*after.find(kBlock + name)));
  };
  for (const char* name :
       {"layer_norm2.weight", "layer_norm2.bias", "mlp.fc1.weight", "self_attn.v_proj.bias"})
    CHECK(same(name));
  CHECK_FALSE(same("layer_norm1.weight"));
  CHECK_FALSE(same("self_attn.v_proj.weight"));
  const at::Tensor x = Fixture::normed("layer_norm1", files.output);
  const at::Tensor wanted =
      Fixture::normed("layer_norm1", files.model).mm(files.original("self_attn.v_proj").t());
  CHECK(((x.mm(files.decoded("self_attn.v_proj").t()) - wanted).norm() / wanted.norm()).item<double>() <
        1e-6);
}

TEST_CASE("smoothquant: what it cannot do is refused before anything is written", "[end_to_end]") {
  const Fixture files;
  const auto refused = [&](int code, const std::string& said, const std::vector<std::string>& args) {
    const Outcome run = files.convert(args);
    INFO(run.err);
    CHECK(run.code == code);
    CHECK(run.err.find(said) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(files.output));
  };
  const std::string& data = files.recording;
  refused(2, "helps where inputs are quantized to INT8 or NVFP4",
          {"--fp8", "--smoothquant", "--calibration-data", data});
  refused(2, "changes the inputs that --static-activations",
          {"--int8", "--smoothquant", "--calibration-data", data, "--static-activations"});
  refused(2, "at most 1", {"--int8", "--smoothquant", "--smoothquant-alpha", "1.5"});
}

TEST_CASE("smoothquant: a model that nothing can divide is converted, with a warning", "[end_to_end]") {
  const Fixture files;
  const Outcome run = files.convert({"--int8", "--smoothquant", "--calibration-data", files.recording,
                                     "--exclude-layers", "[qkv]_proj", "--scaling_mode", "row"});
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(run.err.find("nothing in this model can divide the input of a quantized layer") != std::string::npos);
}

TEST_CASE("smoothquant: without recorded data norms and weights say how large inputs get", "[end_to_end]") {
  const Fixture files;
  std::vector<std::string> args = kRow;
  args.insert(args.end(), {"--smoothquant", "--simple"});
  const Outcome run = files.convert(args);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(run.out.find("takes the ranges of inputs that norms and weights imply") != std::string::npos);
  const auto before = ctq::model::Checkpoint::open(files.model),
             after = ctq::model::Checkpoint::open(files.output);
  const std::string norm = kBlock + "layer_norm1.weight";
  CHECK_FALSE(at::equal(ctq::model::load(*before.find(norm)), ctq::model::load(*after.find(norm))));
}

TEST_CASE("smoothquant: statistics of random rows are refused, unless they are insisted on", "[end_to_end]") {
  const Fixture files;
  const std::string random = files.dir / "random.safetensors";
  REQUIRE(run_binary({"calibrate", "-i", files.model, "-o", random}).code == 0);
  std::vector<std::string> args = kRow;
  args.insert(args.end(), {"--smoothquant", "--simple", "--calibration-data", random});
  const Outcome refused = files.convert(args);
  CHECK(refused.code == 2);
  CHECK(refused.err.find("are of random rows") != std::string::npos);
  CHECK(refused.err.find("--allow-random-calibration") != std::string::npos);
  args.emplace_back("--allow-random-calibration");
  CHECK(files.convert(args).code == 0);
  // What does not ask how large inputs are goes on without them, and says so.
  const Outcome without = files.convert({"--int8", "--calibration-data", random});
  CHECK(without.code == 0);
  CHECK(without.err.find("they are not used") != std::string::npos);
}

namespace {

/// Layers behind nothing that could divide. Of the first some channels stand out in the input, of the second
/// none do, of the third nothing is recorded but what is largest.
struct Unfoldable {
  TempDir dir;
  std::string model = dir / "m.safetensors", recording = dir / "cal.safetensors",
              output = dir / "o.safetensors";
  std::map<std::string, at::Tensor> rows;

  Unfoldable() {
    at::manual_seed(7);
    std::vector<TestTensor> tensors, recorded;
    for (const std::string layer : {"blocks.0.a", "blocks.0.b", "blocks.0.c"}) {
      tensors.push_back(bf16_weight(layer + ".weight", 96, kWidth));
      at::Tensor x = at::randn({700, kWidth});
      if (layer != "blocks.0.b") x.narrow(1, 8, 3).mul_(40);
      rows[layer] = x = x.to(at::kBFloat16);
      if (layer != "blocks.0.c") {
        recorded.push_back(stored(layer + ".rows", x));
      } else {
        recorded.push_back(stored(layer + ".channel_max", x.abs().amax(0).to(at::kFloat)));
      }
    }
    make_checkpoint(model, tensors);
    make_checkpoint(recording, recorded);
  }
  static TestTensor stored(std::string name, const at::Tensor& value) {
    const at::Tensor whole = value.contiguous();
    return tensor(std::move(name), ctq::model::container_dtype(value.scalar_type()), value.sizes().vec(),
                  {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
  }
  std::vector<std::string> args(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {
        "-i", model, "-o", output, "--nvfp4", "--comfy_quant", "--calibration-data", recording};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  /// As a loader computes a layer whose input it quantizes, against the original; 0: the input stays.
  double error(const std::string& layer, bool quantized) const {
    const auto file = ctq::model::Checkpoint::open(output), before = ctq::model::Checkpoint::open(model);
    const auto found = ctq::quantized::find_layers(file);
    const auto weight = ctq::model::load(*before.find(layer + ".weight")).to(at::kFloat);
    const auto* factors = file.find(layer + ".pre_quant_scale");
    const at::Tensor p = factors ? ctq::model::load(*factors).to(at::kFloat) : at::ones({kWidth});
    const auto of = std::ranges::find(found.layers, layer, &ctq::quantized::Layer::name);
    const at::Tensor codes = ctq::quantized::decode(found, *of) / p;
    const at::Tensor x = rows.at(layer).to(at::kFloat), wanted = x.mm(weight.t());
    at::Tensor input = x * p;
    if (quantized)
      input = ctq::format::decode(*ctq::format::encode_nearest(
          *ctq::format::find_codec("nvfp4", ctq::format::Granularity::kGroup), input, 0));
    return ((input.mm(codes.t()) - wanted).norm() / wanted.norm()).item<double>();
  }
};

bool says(const Outcome& run, const std::string& words) {
  return (run.out + run.err).find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("smoothquant: NVFP4 layers that nothing can divide for get factors of their own where these help",
          "[end_to_end]") {
  const Unfoldable files;
  const std::string optimizer = GENERATE("rtn", "gptq");
  const std::vector<std::string> more = {"--optimizer", optimizer};
  run_expecting(files.args(more), 0);
  const double quantized = files.error("blocks.0.a", true), plain = files.error("blocks.0.a", false);
  std::vector<std::string> smooth = more;
  smooth.insert(smooth.end(), {"--smoothquant", "--report-quality", "--quality-json", files.dir / "q.json"});
  const Outcome run = run_expecting(files.args(smooth), 0);
  INFO(run.out);
  CHECK(says(run, "factors of their own (pre_quant_scale) bring 1 of 2 nvfp4 layers closer; ComfyUI 0.31"));
  CHECK(says(run, "nvfp4 layers without recorded rows to measure on, which get no pre_quant_scale: 1"));
  CHECK(says(run, "layers with factors of their own (pre_quant_scale): 1; layers that are not smoothed: 2"));
  const auto file = ctq::model::Checkpoint::open(files.output);
  REQUIRE(file.find("blocks.0.a.pre_quant_scale"));
  CHECK_FALSE(file.find("blocks.0.b.pre_quant_scale"));
  CHECK_FALSE(file.find("blocks.0.c.pre_quant_scale"));
  CHECK(files.error("blocks.0.a", true) < 0.95 * quantized);
  CHECK(files.error("blocks.0.a", false) < plain);

  run_expecting({"verify", files.output, "--original", files.model}, 0);
  const Outcome old = run_binary({"verify", files.output, "--client", "comfyui@0.30"});
  CHECK(old.code == 4);
  CHECK(says(old, "ComfyUI 0.30 does not read pre_quant_scale"));
  const std::string plain_file = files.dir / "plain.safetensors";
  run_expecting({"dequantize", files.output, "-o", plain_file, "--dtype", "f32"}, 0);
  const auto decoded = ctq::model::Checkpoint::open(plain_file),
             before = ctq::model::Checkpoint::open(files.model);
  CHECK_FALSE(decoded.find("blocks.0.a.pre_quant_scale"));
  const at::Tensor w = ctq::model::load(*before.find("blocks.0.a.weight")).to(at::kFloat);
  CHECK(((ctq::model::load(*decoded.find("blocks.0.a.weight")) - w).norm() / w.norm()).item<double>() < 0.2);
  run_expecting(
      {"-i", files.output, "-o", files.dir / "again.safetensors", "--requantize", "--fp8", "--comfy_quant"},
      0);
  CHECK_FALSE(
      ctq::model::Checkpoint::open(files.dir / "again.safetensors").find("blocks.0.a.pre_quant_scale"));
}

TEST_CASE("smoothquant: the report's figures of a layer with factors are those of compare", "[end_to_end]") {
  const Unfoldable files;
  const Outcome run = run_expecting(
      files.args({"--smoothquant", "--simple", "--report-quality", "--quality-json", files.dir / "q.json"}),
      0);
  const std::string compared = files.dir / "compared.json";
  run_expecting({"compare", files.model, files.output, "--output-report", compared}, 0);
  const auto report = nlohmann::json::parse(read_file(files.dir / "q.json")),
             comparison = nlohmann::json::parse(read_file(compared)).at("files").at(0);
  INFO(report.dump(1) << comparison.dump(1));
  const auto rel = [](const nlohmann::json& layers) {
    for (const auto& layer : layers)
      if (layer.at("name") == "blocks.0.a.weight" || layer.at("name") == "blocks.0.a")
        return layer.at("weight_rel").get<double>();
    return -1.0;
  };
  CHECK(rel(report.at("layers")) > 0.05);
  CHECK(rel(report.at("layers")) == Approx(rel(comparison.at("layers"))).epsilon(1e-4));
}

TEST_CASE(
    "smoothquant: what a dry run announces is what is written, a client that does not read factors gets none",
    "[end_to_end]") {
  const Unfoldable files;
  const std::vector<std::string> smooth = {"--smoothquant", "--simple"};
  std::vector<std::string> dry = smooth;
  dry.insert(dry.end(), {"--dry-run", "--json"});
  const Outcome announced = run_expecting(files.args(dry), 0);
  CHECK_FALSE(std::filesystem::exists(files.output));
  run_expecting(files.args(smooth), 0);
  const auto plan = nlohmann::json::parse(announced.out);
  INFO(plan.dump(1));
  CHECK(plan.at("totals").at("bytes_out") == std::filesystem::file_size(files.output));
  const std::string bytes = read_file(files.output);
  run_expecting(files.args({"--smoothquant", "--simple", "--threads", "1"}), 0);
  CHECK(read_file(files.output) == bytes);

  run_expecting(files.args({"--simple"}), 0);
  const std::string without = read_file(files.output);
  const Outcome old = run_binary(files.args({"--smoothquant", "--simple", "--client", "comfyui@0.30"}));
  CHECK(old.code == 0);
  CHECK(says(old,
             "ComfyUI 0.30 does not read pre_quant_scale, which 0.31 was the first to read; nvfp4 layers "
             "that stay as they are: 3"));
  CHECK(read_file(files.output) == without);
  const Outcome lora = run_binary(files.args({"--smoothquant", "--simple", "--extract-lora"}));
  CHECK(lora.code == 2);
  CHECK(says(lora, "does not go with --smoothquant"));
}

TEST_CASE("smoothquant: a run that was interrupted goes on with the same factors", "[end_to_end][slow]") {
  TempDir in, out;
  const std::string model = in / "m.safetensors", recording = in / "cal.safetensors",
                    output = out / "o.safetensors";
  at::manual_seed(9);
  std::vector<TestTensor> tensors, recorded;
  for (int i = 0; i < 30; ++i) {
    const std::string layer = fmt::format("blocks.{}.a", i);
    tensors.push_back(bf16_weight(layer + ".weight", 256, 256));
    at::Tensor x = at::randn({320, 256});
    if (i % 2 == 0) x.narrow(1, 8, 3).mul_(40);
    recorded.push_back(Unfoldable::stored(layer + ".rows", x.to(at::kBFloat16)));
  }
  make_checkpoint(model, tensors);
  make_checkpoint(recording, recorded);
  const std::vector<std::string> args = {"-i",
                                         model,
                                         "-o",
                                         output,
                                         "--nvfp4",
                                         "--comfy_quant",
                                         "--calibration-data",
                                         recording,
                                         "--optimizer",
                                         "original",
                                         "--num_iter",
                                         "400",
                                         "--threads",
                                         "1",
                                         "--smoothquant"};
  // Without --foreground `timeout` signals the process and its group.
  int code = 0;
  for (const char* seconds : {"2", "4", "8", "16"}) {  // measuring comes first, and leaves nothing
    code = run_binary(args, std::string("timeout --preserve-status -s INT ") + seconds).code;
    if (code != 130 || !out.entries().empty()) break;
  }
  REQUIRE(code == 130);
  const Outcome again = run_expecting(args, 0);
  CHECK(says(again, "resuming: "));
  const auto chosen = [](const Outcome& run) {
    const size_t at = run.out.find("SmoothQuant: factors of their own");
    return at == std::string::npos ? "" : run.out.substr(at, run.out.find('\n', at) - at);
  };
  CHECK((says(again, "bring 15 of 30 nvfp4 layers closer") ||
         says(again, "bring 16 of 30 nvfp4 layers closer")));
  const std::string bytes = read_file(output);
  std::vector<std::string> afresh = args;
  afresh.emplace_back("--no-resume");
  CHECK(chosen(run_expecting(afresh, 0)) == chosen(again));
  CHECK(read_file(output) == bytes);
}

TEST_CASE("linear-dtype: the marker of convrot_w4a4 says it, and later passes keep it", "[end_to_end]") {
  const Unfoldable files;
  const std::string header = R"("convrot_groupsize": 64, "linear_dtype": "int8"})";
  const auto convert = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"-i", files.model, "-o", files.output, "--simple", "--comfy_quant"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  };
  REQUIRE(convert({"--format", "convrot_w4a4"}).code == 0);
  const std::string usual = read_file(files.output);
  CHECK(usual.find("linear_dtype") == std::string::npos);
  REQUIRE(convert({"--format", "convrot_w4a4", "--linear-dtype", "int4"}).code == 0);
  CHECK(read_file(files.output) == usual);
  const Outcome run = convert({"--recipe", "comfy-w4a4", "--linear-dtype", "int8"});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  CHECK(says(run, "convrot_w4a4 (row, convrot 64, linear int8)"));
  CHECK(read_file(files.output).find(header) != std::string::npos);
  run_expecting({"verify", files.output, "--original", files.model}, 0);
  CHECK(says(run_expecting({"inspect", files.output, "--layers"}, 0), "linear int8"));
  const std::string edited = files.dir / "e.safetensors";
  run_expecting({"edit", files.output, "-o", edited, "--add-keys", "'full_precision_matrix_mult': true"}, 0);
  CHECK(read_file(edited).find(R"("linear_dtype": "int8")") != std::string::npos);

  const std::string config = files.dir / "c.json";
  ctq::safetensors::write_text_file(config,
                                    R"({"blocks.0.a": {"format": "convrot_w4a4", "linear_dtype": "int8"}})");
  REQUIRE(convert({"--format", "convrot_w4a4", "--layer-config", config}).code == 0);
  const std::string mixed = read_file(files.output);
  CHECK(mixed.find(header) != std::string::npos);
  CHECK(mixed.find(header) == mixed.rfind(header));

  std::filesystem::remove(files.output);
  for (const std::vector<std::string>& target : std::vector<std::vector<std::string>>{
           {"--nvfp4"}, {"--int8", "--scaling_mode", "row", "--convrot"}, {"--fp16"}}) {
    std::vector<std::string> args = target;
    args.insert(args.end(), {"--linear-dtype", "int8"});
    const Outcome refused = convert(args);
    CHECK(refused.code == 2);
    CHECK(says(refused, "argument --linear-dtype: goes with --format convrot_w4a4 alone"));
    CHECK_FALSE(std::filesystem::exists(files.output));
  }
}
