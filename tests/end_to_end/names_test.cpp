// Models under the names of diffusers, written under ComfyUI's.
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/quantized_checkpoint.h"
#include "support/run_binary.h"
#include "support/stored_bytes.h"

using namespace ctq;
using namespace ctq::test;

namespace {

using Words = std::vector<std::string>;
constexpr int64_t kWidth = 64;

at::Tensor tensor_of(const std::string& path, const std::string& name) {
  const auto file = model::Checkpoint::open(path);
  REQUIRE(file.find(name));
  return model::load(*file.find(name)).clone();
}

at::Tensor normal(std::vector<int64_t> shape, uint64_t seed) {
  return (at::randn(shape, at::detail::createCPUGenerator(seed)) * 0.05).to(at::kBFloat16);
}

/// A layer of ours, and the parts that it has under the names of diffusers, by rows.
struct Layer {
  std::string own;
  std::vector<std::pair<std::string, int64_t>> parts;
  bool swapped = false;
};

const std::vector<Layer> kFlux = {
    {"img_in", {{"x_embedder", kWidth}}},
    {"txt_in", {{"context_embedder", kWidth}}},
    {"double_blocks.0.img_attn.qkv",
     {{"transformer_blocks.0.attn.to_q", kWidth},
      {"transformer_blocks.0.attn.to_k", kWidth},
      {"transformer_blocks.0.attn.to_v", kWidth}}},
    {"double_blocks.0.txt_attn.qkv",
     {{"transformer_blocks.0.attn.add_q_proj", kWidth},
      {"transformer_blocks.0.attn.add_k_proj", kWidth},
      {"transformer_blocks.0.attn.add_v_proj", kWidth}}},
    {"double_blocks.0.img_mlp.0", {{"transformer_blocks.0.ff.net.0.proj", 4 * kWidth}}},
    {"single_blocks.0.linear1",
     {{"single_transformer_blocks.0.attn.to_q", kWidth},
      {"single_transformer_blocks.0.attn.to_k", kWidth},
      {"single_transformer_blocks.0.attn.to_v", kWidth},
      {"single_transformer_blocks.0.proj_mlp", 4 * kWidth}}},
    {"final_layer.adaLN_modulation.1", {{"norm_out.linear", 2 * kWidth}}, true},
};

/// The same small Flux as one file with ComfyUI's names and as a folder of two shards with diffusers'.
class Twins {
 public:
  Twins() {
    std::vector<TestTensor> own, foreign;
    uint64_t seed = 1;
    for (const Layer& layer : kFlux) {
      int64_t rows = 0;
      for (const auto& part : layer.parts) rows += part.second;
      for (const char* kind : {".weight", ".bias"}) {
        const bool weight = kind == std::string(".weight");
        const at::Tensor whole =
            normal(weight ? std::vector<int64_t>{rows, kWidth} : std::vector<int64_t>{rows}, seed++);
        own.push_back(stored(layer.own + kind, whole));
        int64_t first = 0;
        for (const auto& [name, count] : layer.parts) {
          const at::Tensor part = whole.narrow(0, first, count);
          foreign.push_back(stored(name + kind, layer.swapped ? part.roll(count / 2, 0) : part));
          first += count;
        }
      }
    }
    const at::Tensor scale = normal({16}, 99);
    own.push_back(stored("double_blocks.0.img_attn.norm.query_norm.scale", scale));
    foreign.push_back(stored("transformer_blocks.0.attn.norm_q.weight", scale));
    make_checkpoint(original(), own, {{"format", "pt"}});
    std::filesystem::create_directory(folder());
    const auto half = foreign.begin() + static_cast<std::ptrdiff_t>(foreign.size() / 2);
    nlohmann::json index;
    const auto shard = [&](const std::string& name, std::vector<TestTensor> tensors) {
      for (const TestTensor& tensor : tensors) index["weight_map"][tensor.info.name] = name;
      make_checkpoint(folder() + "/" + name, tensors, {{"format", "pt"}});
    };
    shard("diffusion_pytorch_model-00001-of-00002.safetensors", {foreign.begin(), half});
    shard("diffusion_pytorch_model-00002-of-00002.safetensors", {half, foreign.end()});
    write_file(folder() + "/diffusion_pytorch_model.safetensors.index.json", index.dump());
    write_file(folder() + "/config.json", "{}");
  }
  std::string original() const { return dir_ / "flux.safetensors"; }
  std::string folder() const { return dir_ / "transformer"; }
  std::string operator/(std::string_view name) const { return dir_ / name; }

  /// The bytes of what becomes of the model.
  std::string converted(const std::string& input, const Words& words) const {
    const std::string output = dir_ / "out.safetensors";
    Words all{"-i", input, "-o", output, "--progress", "none"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = run_expecting(all, 0);
    const bool told = (outcome.out + outcome.err).find("names of diffusers") != std::string::npos;
    CHECK(told == (input == folder()));
    return read_file(output);
  }

 private:
  TempDir dir_;
};

}  // namespace

TEST_CASE("names: a folder of diffusers becomes the file that ComfyUI's own names give, bit by bit",
          "[names]") {
  const Twins twins;
  const Words words = GENERATE(values<Words>({
      {"--recipe", "comfy-fp8", "--quality", "fast"},
      {"--recipe", "comfy-nvfp4", "--quality", "fast"},
      {"--int8", "--comfy_quant", "--optimizer", "implied"},
  }));
  CHECK(twins.converted(twins.folder(), words) == twins.converted(twins.original(), words));
}

TEST_CASE("names: a LoRA of either library's names goes into either file", "[names][lora]") {
  const Twins twins;
  const auto lora = [&](const std::string& name, const std::vector<std::pair<std::string, int64_t>>& layers) {
    std::vector<TestTensor> tensors;
    uint64_t seed = 50;
    for (const auto& [layer, rows] : layers) {
      tensors.push_back(stored(layer + ".lora_A.weight", normal({4, kWidth}, seed++)));
      tensors.push_back(stored(layer + ".lora_B.weight", normal({rows, 4}, seed++)));
    }
    make_checkpoint(twins / name, tensors);
    return twins / name;
  };
  const std::string path =
      GENERATE(true, false)
          ? lora("diffusers.safetensors", {{"transformer.transformer_blocks.0.attn.to_k", kWidth},
                                           {"transformer.single_transformer_blocks.0.proj_mlp", 4 * kWidth},
                                           {"transformer.norm_out.linear", 2 * kWidth}})
          : lora("kohya.safetensors", {{"lora_unet_double_blocks_0_img_attn_qkv", 3 * kWidth},
                                       {"lora_unet_single_blocks_0_linear1", 7 * kWidth}});
  const Words words{"--fp8", "--comfy_quant", "--quality", "fast", "--merge-lora", path};
  const std::string merged = twins.converted(twins.folder(), words);
  CHECK(merged == twins.converted(twins.original(), words));
  CHECK(merged != twins.converted(twins.original(), {"--fp8", "--comfy_quant", "--quality", "fast"}));
}

TEST_CASE("names: inputs recorded under either library's names serve either file", "[names][calibration]") {
  const Twins twins;
  // Layers that are joined read the same rows, so one of them has them for all.
  const auto record = [&](bool own) {
    std::vector<TestTensor> tensors;
    nlohmann::json shared = nlohmann::json::object();
    uint64_t seed = 70;
    for (const Layer& layer : kFlux) {
      const std::string& owner = own ? layer.own : layer.parts.front().first;
      tensors.push_back(stored(owner + ".rows", normal({200, kWidth}, seed++) * 20));
      for (const auto& part : layer.parts)
        if (!own && part.first != owner) shared[part.first] = owner;
    }
    make_checkpoint(twins / "cal.safetensors", tensors,
                    {{"format", "ctq-calibration"}, {"shared", shared.dump()}});
    return twins / "cal.safetensors";
  };
  const auto words = GENERATE(values<Words>({
      {"--fp8", "--comfy_quant", "--optimizer", "gptq", "--static-activations"},
      {"--nvfp4", "--smoothquant"},
  }));
  const auto with = [&](const std::string& input, bool own) {
    Words all = words;
    all.insert(all.end(), {"--calibration-data", record(own)});
    return twins.converted(input, all);
  };
  const std::string right = with(twins.original(), true);
  CHECK(with(twins.folder(), true) == right);
  CHECK(with(twins.folder(), false) == right);
  CHECK(with(twins.original(), false) == right);
}

TEST_CASE("names: input scales by names of diffusers, the largest of what is joined",
          "[names][calibration]") {
  const Twins twins;
  write_file(twins / "s.json",
             R"({"transformer_blocks.0.attn.to_q": 0.25, "transformer_blocks.0.attn.to_k": 0.5,
                                   "transformer_blocks.0.ff.net.0.proj": 0.125})");
  const std::string out = twins / "o.safetensors";
  const Outcome run = run_expecting({"-i", twins.original(), "-o", out, "--fp8", "--comfy_quant", "--simple",
                                     "--input-scales", twins / "s.json"},
                                    0);
  CHECK((run.out + run.err).find("3 of its layers have another library's names") != std::string::npos);
  CHECK(tensor_of(out, "double_blocks.0.img_attn.qkv.input_scale").item<float>() == 0.5f);
  CHECK(tensor_of(out, "double_blocks.0.img_mlp.0.input_scale").item<float>() == 0.125f);
}

TEST_CASE("names: kept for diffusers and on request, where ComfyUI would lose every scale", "[names]") {
  const Twins twins;
  const Outcome outcome = run_expecting({"-i", twins.folder(), "-o", twins / "kept.safetensors", "--fp8",
                                         "--scaling_mode", "row", "--client", "diffusers"},
                                        0);
  const safetensors::Reader file(twins / "kept.safetensors");
  CHECK(file.find("transformer_blocks.0.attn.to_q.weight"));
  CHECK_FALSE(file.find("double_blocks.0.img_attn.qkv.weight"));
  const Outcome refused =
      run_expecting({"-i", twins.folder(), "-o", twins / "x.safetensors", "--fp8", "--names", "keep"}, 1);
  CHECK(refused.err.find("names of the diffusers library") != std::string::npos);
}

TEST_CASE(
    "names: a dry run and one in parts show ComfyUI's names too, and a quantized file is renamed once "
    "decoded",
    "[names]") {
  const Twins twins;
  const Outcome plan = run_expecting({"-i", twins.folder(), "--fp8", "--dry-run"}, 0);
  CHECK(plan.out.find("double_blocks.0.img_attn.qkv") != std::string::npos);
  CHECK(plan.out.find("transformer_blocks.0.attn.to_q") == std::string::npos);

  const Words fp8{"--fp8", "--comfy_quant"};
  const std::string whole = twins.converted(twins.folder(), fp8);
  for (const char* part : {"1/2", "2/2"})
    run_expecting({"-i", twins.folder(), "-o", twins / "parts.safetensors", "--fp8", "--comfy_quant",
                   "--partition", part},
                  0);
  run_expecting({"assemble", twins / "parts.part-1-of-2.safetensors", twins / "parts.part-2-of-2.safetensors",
                 "-o", twins / "parts.safetensors"},
                0);
  const safetensors::Reader assembled(twins / "parts.safetensors"), single(twins / "out.safetensors");
  REQUIRE(assembled.header().tensors.size() == single.header().tensors.size());
  for (const auto& info : single.header().tensors)
    CHECK(bytes_of(assembled, info.name) == bytes_of(single, info.name));

  run_expecting({"-i", twins.folder(), "-o", twins / "kept.safetensors", "--fp8", "--comfy_quant", "--names",
                 "keep", "--client", "any"},
                0);
  CHECK(run_expecting({"verify", twins / "kept.safetensors"}, 4).out.find("names of the diffusers library") !=
        std::string::npos);
  const Outcome refused =
      run_expecting({"-i", twins / "kept.safetensors", "-o", twins / "x.safetensors", "--int8"}, 4);
  CHECK(refused.err.find("--requantize") != std::string::npos);
  run_expecting({"-i", twins / "kept.safetensors", "-o", twins / "again.safetensors", "--int8",
                 "--comfy_quant", "--requantize"},
                0);
  CHECK(safetensors::Reader(twins / "again.safetensors").find("double_blocks.0.img_attn.qkv.weight_scale"));
}

TEST_CASE("names: a model that lacks a part of a joined layer is refused, and converted with its own names",
          "[names]") {
  const TempDir dir;
  const std::string input = dir / "half.safetensors";
  std::vector<TestTensor> tensors;
  for (const char* name : {"x_embedder", "context_embedder", "transformer_blocks.0.attn.add_q_proj",
                           "single_transformer_blocks.0.attn.to_q"})
    tensors.push_back(bf16_weight(std::string(name) + ".weight", kWidth, kWidth));
  make_checkpoint(input, tensors);
  const Outcome outcome = run_expecting({"-i", input, "-o", dir / "o.safetensors", "--fp8"}, 4);
  CHECK(outcome.err.find("--names keep") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(dir / "o.safetensors"));
  run_expecting({"-i", input, "-o", dir / "o.safetensors", "--fp8", "--names", "keep", "--client", "any"}, 0);
}

TEST_CASE("names: the folder is the original of what was made of it, for verify, compare and extract-lora",
          "[names]") {
  const Twins twins;
  const std::string output = twins / "o.safetensors", lora = twins / "l.safetensors";
  run_expecting({"-i", twins.folder(), "-o", output, "--fp8", "--comfy_quant", "--quality", "fast",
                 "--extract-lora", "--lora-output", lora},
                0);
  CHECK(std::filesystem::exists(lora));
  run_expecting({"verify", output, "--original", twins.folder(), "--min-sqnr", "20"}, 0);
  CHECK(run_expecting({"compare", twins.folder(), output}, 0).out.find("double_blocks.0.img_attn.qkv") !=
        std::string::npos);
}
