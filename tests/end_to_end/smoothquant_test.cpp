// Conversions with --smoothquant.
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "ctq/model/checkpoint.h"
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

TEST_CASE("smoothquant: tensors that nothing was folded into stay as they are; kept readers lose nothing",
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
  refused(2, "needs the largest inputs that were recorded", {"--int8", "--smoothquant"});
  refused(2, "helps where inputs are quantized to INT8",
          {"--fp8", "--smoothquant", "--calibration-data", data});
  refused(2, "changes the inputs that --static_activations",
          {"--int8", "--smoothquant", "--calibration-data", data, "--static-activations"});
  refused(2, "at most 1", {"--int8", "--smoothquant", "--smoothquant-alpha", "1.5"});
  refused(1, "nothing in this model is known",
          {"--int8", "--smoothquant", "--calibration-data", data, "--exclude-layers", "[qkv]_proj"});
}
