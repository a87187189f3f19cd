// LoRAs that are merged before the conversion, and instead of it.
#include <algorithm>
#include <filesystem>
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
using nlohmann::json;
using safetensors::Dtype;
using safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

at::Tensor normal(std::vector<int64_t> shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// A small model, and a LoRA for its two layers and its norm.
class Folder {
 public:
  explicit Folder(at::ScalarType type = at::kFloat) {
    make_checkpoint(model(),
                    {stored("model.diffusion_model.blk.0.qkv.weight", (normal({96, 64}, 1) * 0.1).to(type)),
                     stored("model.diffusion_model.blk.0.qkv.bias", normal({96}, 2).to(type)),
                     stored("model.diffusion_model.blk.0.out.weight", (normal({64, 64}, 3) * 0.1).to(type)),
                     stored("model.diffusion_model.blk.0.norm.weight", at::ones({64}, type)),
                     stored("model.diffusion_model.other.weight", normal({64, 64}, 4).to(type))});
    make_checkpoint(lora(), {stored("lora_unet_blk_0_qkv.lora_down.weight", normal({4, 64}, 5)),
                             stored("lora_unet_blk_0_qkv.lora_up.weight", normal({96, 4}, 6) * 0.05),
                             stored("lora_unet_blk_0_qkv.alpha", at::tensor(2.0f)),
                             stored("lora_unet_blk_0_out.lora_down.weight", normal({4, 64}, 7)),
                             stored("lora_unet_blk_0_out.lora_up.weight", normal({64, 4}, 8) * 0.05),
                             stored("lora_unet_blk_0_norm.diff", normal({64}, 9) * 0.1)});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }
  std::string model() const { return dir_ / "model.safetensors"; }
  std::string lora() const { return dir_ / "lora.safetensors"; }

  /// A LoRA with one layer.
  std::string pair(const std::string& name, const std::string& layer, int64_t rows, int64_t columns) const {
    make_checkpoint(dir_ / name, {stored(layer + ".lora_A.weight", normal({2, columns}, 1)),
                                  stored(layer + ".lora_B.weight", normal({rows, 2}, 2))});
    return dir_ / name;
  }

  Outcome run(const Words& words, int code = 0) const { return run_expecting(words, code); }
  Words merging() const { return {"-i", model(), "--merge-lora", lora()}; }

 private:
  TempDir dir_;
};

at::Tensor value(const std::string& path, const std::string& name) {
  const model::Checkpoint file = model::Checkpoint::open(path);
  const auto* entry = file.find(name);
  REQUIRE(entry != nullptr);
  return model::load(*entry).to(at::kFloat).clone();
}

void check_same_tensors(const std::string& left, const std::string& right) {
  const Reader a(left), b(right);
  REQUIRE(a.header().tensors.size() == b.header().tensors.size());
  for (const safetensors::TensorInfo& info : a.header().tensors) {
    CAPTURE(info.name);
    CHECK(bytes_of(a, info.name) == bytes_of(b, info.name));
  }
}

}  // namespace

TEST_CASE("merge-lora: a conversion is that of the merged model, with every optimizer", "[end_to_end]") {
  const Folder files;
  files.run(files.merging() + Words{"--lora-only-to", files / "merged.safetensors"});
  const Words flags = GENERATE(values<Words>({{"--simple"},
                                              {"--optimizer", "direct", "--scaling_mode", "row"},
                                              {"--optimizer", "auto", "--fp8", "--report-quality"},
                                              {"--simple", "--nvfp4", "--exclude-layers", "out"},
                                              {"--fp16"}}));
  CAPTURE(flags);
  const Outcome at_once = files.run(files.merging() + Words{"-o", files / "a.safetensors"} + flags);
  const Outcome in_steps =
      files.run(Words{"-i", files / "merged.safetensors", "-o", files / "b.safetensors"} + flags);
  check_same_tensors(files / "a.safetensors", files / "b.safetensors");
  const size_t table = at_once.out.find("SQNR");
  CHECK((table == std::string::npos) == (in_steps.out.find("SQNR") == std::string::npos));
  CHECK(at_once.out.find("3 of 3 layers") != std::string::npos);
}

TEST_CASE("merge-lora: shards in, shards out", "[end_to_end]") {
  const Folder files;
  files.run({"-i", files.model(), "-o", files / "s.safetensors", "--simple", "--exclude-layers", ".",
             "--allow-empty", "--max-shard-size", "30kB"});
  const Words flags{"--simple", "-i", files / "s.safetensors.index.json", "--merge-lora", files.lora()};
  files.run(flags + Words{"-o", files / "a.safetensors"});
  files.run(files.merging() + Words{"--simple", "-o", files / "b.safetensors"});
  check_same_tensors(files / "a.safetensors", files / "b.safetensors");
  files.run(flags + Words{"-o", files / "c.safetensors", "--max-shard-size", "10kB"});
  const std::string name = "model.diffusion_model.blk.0.norm.weight";
  CHECK(value(files / "c.safetensors.index.json", name).equal(value(files / "b.safetensors", name)));
}

TEST_CASE("lora-only-to: the merged model in its own types", "[end_to_end]") {
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16, at::kHalf);
  const Folder files(type);
  files.run(files.merging() +
            Words{"--lora-only-to", files / "out.safetensors", "--merge-lora-scale", "0.5"});
  const Reader before(files.model()), after(files / "out.safetensors");
  REQUIRE(after.header().tensors.size() == before.header().tensors.size());
  for (const safetensors::TensorInfo& info : before.header().tensors)
    CHECK(after.find(info.name)->dtype == info.dtype);
  for (const char* name : {"model.diffusion_model.other.weight", "model.diffusion_model.blk.0.qkv.bias"})
    CHECK(bytes_of(after, name) == bytes_of(before, name));
  const std::string name = "model.diffusion_model.blk.0.qkv.weight", lora = "lora_unet_blk_0_qkv.lora_";
  const at::Tensor delta =
      value(files.lora(), lora + "up.weight").mm(value(files.lora(), lora + "down.weight")) * (2.0 / 4);
  const at::Tensor expected = value(files.model(), name) + 0.5 * delta;
  const at::Tensor merged = value(files / "out.safetensors", name);
  const double bound = type == at::kFloat ? 1e-6 : type == at::kHalf ? 0.001 : 0.006;
  CHECK((merged - expected).abs().max().item<double>() <= bound);
  CHECK((merged - expected.to(type).to(at::kFloat)).ne(0).sum().item<int64_t>() <= expected.numel() / 50);
  files.run({"-i", files.model(), "--lora-only-to", files / "x.safetensors"}, 2);
  files.run(files.merging() + Words{"--lora-only-to", files / "x.safetensors", "-o", files / "y.safetensors"},
            2);
  files.run(files.merging() + Words{"--lora-only-to", files / "x.safetensors", "--dry-run"}, 2);
  files.run(files.merging() + Words{"--lora-only-to", files / "x.safetensors", "--report", files / "r.html"},
            2);
  files.run(files.merging() + Words{"--lora-only-to", files.lora()}, 2);
  files.run(files.merging() + Words{"--lora-only-to", files.model()}, 2);
  CHECK_FALSE(std::filesystem::exists(files / "x.safetensors"));
}

TEST_CASE("merge-loras: the n-th counts 0.9^n, unless it is turned off", "[end_to_end]") {
  const Folder files;
  make_checkpoint(files / "zero.safetensors", {stored("a.weight", at::zeros({2, 2}))});
  Words loras{"--merge-loras"};
  for (const std::string name : {"1", "2", "3"}) {
    make_checkpoint(files / name + ".safetensors", {stored("a.diff", at::ones({2, 2}))});
    if (name != "3") loras.push_back(files / name + ".safetensors");
  }
  loras = loras + Words{"--merge-lora", files / "3.safetensors"};
  const auto sum = [&](const Words& flags) {
    files.run(Words{"-i", files / "zero.safetensors", "--lora-only-to", files / "o.safetensors"} + loras +
              flags);
    return value(files / "o.safetensors", "a.weight")[0][0].item<double>();
  };
  CHECK(sum({}) == Approx(2.71));
  CHECK(sum({"--no-merge-lora-dampen"}) == Approx(3));
  CHECK(sum({"--merge-lora-scale", "2"}) == Approx(5.42));
  CHECK(sum({"--merge-lora-scale", "1,0,10"}) == Approx(1 + 8.1));
  CHECK(sum({"--merge-lora-scale", "1,-1,0", "--merge-lora-dampen=false"}) == Approx(0).margin(1e-9));
  for (const std::string scale : {"1,2", "", "x", "inf", "1,,2", "nan"})
    files.run(Words{"-i", files / "zero.safetensors", "--lora-only-to", files / "p.safetensors",
                    "--merge-lora-scale=" + scale} +
                  loras,
              2);
}

TEST_CASE("merge-lora: what does not belong to the model", "[end_to_end]") {
  const Folder files;
  const auto convert = [&](const Words& flags, int code) {
    return files.run(Words{"-i", files.model(), "-o", files / "x.safetensors", "--simple"} + flags, code).err;
  };
  CHECK(convert({"--merge-lora", files.pair("no.safetensors", "transformer.other_model.x", 8, 8)}, 1)
            .find("transformer.other_model.x") != std::string::npos);
  CHECK(
      convert({"--merge-lora", files.pair("wide.safetensors", "blk.0.out", 64, 65)}, 4).find("'blk.0.out'") !=
      std::string::npos);
  CHECK(convert({"--merge-lora", files / "missing.safetensors"}, 4).find("--merge-lora") !=
        std::string::npos);
  CHECK(convert({"--merge-loras", files.lora(), files / "missing.safetensors"}, 4).find("missing") !=
        std::string::npos);
  CHECK(convert({"--merge-lora", files.model()}, 4).find("is of no kind of adapter") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(files / "x.safetensors"));

  make_checkpoint(files / "part.safetensors",
                  {stored("blk.0.norm.diff", at::ones({64})), stored("blk.0.out.diff", at::ones({64, 64})),
                   stored("blk.9.norm.diff", at::ones({64}))});
  CHECK(convert({"--merge-lora", files / "part.safetensors"}, 0).find("blk.9.norm") != std::string::npos);
  CHECK(convert({"--merge-lora", files / "part.safetensors", "--strict"}, 1).find("blk.9.norm") !=
        std::string::npos);
  write_file(files / "map.json", R"({"blk.9.norm": null})");
  const Words mapped{"--merge-lora", files / "part.safetensors", "--lora-map", files / "map.json"};
  CHECK(convert(mapped + Words{"--strict"}, 0).find("blk.9.norm") == std::string::npos);
  write_file(files / "map.json", R"({"blk.9.norm": "blk.7.norm"})");
  CHECK(convert(mapped, 4).find("blk.7.norm") != std::string::npos);
  write_file(files / "map.json", R"({"blk.9.norm": null, "blk.typo": "a"})");
  CHECK(convert(mapped + Words{"--strict"}, 1).find("blk.typo") != std::string::npos);
  for (const char* bad : {"[]", "{", R"({"a": 1})"}) {
    write_file(files / "map.json", bad);
    CHECK(convert(mapped, 4).find("--lora-map") != std::string::npos);
  }
  convert({"--merge-lora", files.lora(), "--lora-map", files / "none.json"}, 4);
  convert({"--merge-lora", files.lora(), "--extract-lora"}, 2);
  convert({"--merge-loras"}, 2);
  CHECK(files.run({"-i", files.model(), "-o", files / "x.safetensors", "--simple", "--merge-lora-scale", "2"})
            .out.find("--merge-lora-scale has no effect") != std::string::npos);
}

TEST_CASE("merge-lora: a quantized model is decoded first, or refused", "[end_to_end]") {
  const Folder files;
  files.run({"-i", files.model(), "-o", files / "q.safetensors", "--simple", "--fp8", "--comfy_quant"});
  const Words words{"-i",         files / "q.safetensors", "--merge-lora",
                    files.lora(), "--lora-only-to",        files / "m.safetensors"};
  CHECK(files.run(words, 4).err.find("--requantize") != std::string::npos);
  files.run(words + Words{"--requantize"});
  const std::string name = "model.diffusion_model.blk.0.out.weight";
  files.run(files.merging() + Words{"--lora-only-to", files / "exact.safetensors"});
  const at::Tensor exact = value(files / "exact.safetensors", name);
  const at::Tensor error = value(files / "m.safetensors", name) - exact;
  CHECK((error.norm() / exact.norm()).item<double>() < 0.05);
  CHECK(Reader(files / "m.safetensors").find("model.diffusion_model.blk.0.out.comfy_quant") == nullptr);
}

TEST_CASE("merge-lora: a dry run says which tensors change", "[end_to_end]") {
  const Folder files;
  const Outcome text = files.run(files.merging() + Words{"--dry-run"});
  CHECK(text.out.find("blk.0.norm.weight <- lora_unet_blk_0_norm") != std::string::npos);
  const Outcome run = files.run(files.merging() + Words{"--dry-run", "--json"});
  const json plan = json::parse(run.out);
  size_t changed = 0;
  for (const json& tensor : plan.at("tensors")) {
    if (!tensor.contains("lora")) continue;
    ++changed;
    CHECK(tensor.at("lora").size() == 1);
  }
  CHECK(changed == 3);
}

TEST_CASE("merge-lora: values are judged as merged", "[end_to_end]") {
  const Folder files;
  make_checkpoint(files / "big.safetensors", {stored("blk.0.out.diff", at::full({64, 64}, 1e5))});
  const Outcome run = files.run({"-i", files.model(), "-o", files / "x.safetensors", "--fp16", "--merge-lora",
                                 files / "big.safetensors"});
  CHECK(run.err.find("beyond float16") != std::string::npos);
  const Reader out(files / "x.safetensors");
  CHECK(out.find("model.diffusion_model.blk.0.out.weight")->dtype == Dtype::kF32);
  CHECK(value(files / "x.safetensors", "model.diffusion_model.blk.0.out.weight").min().item<float>() > 9e4f);

  const Folder halves(at::kHalf);
  make_checkpoint(halves / "big.safetensors", {stored("blk.0.norm.diff", at::full({64}, 1e5))});
  CHECK(halves
            .run({"-i", halves.model(), "-o", halves / "x.safetensors", "--simple", "--merge-lora",
                  halves / "big.safetensors"},
                 1)
            .err.find("blk.0.norm.weight") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(halves / "x.safetensors"));
}

TEST_CASE(
    "merge-lora: one of which half matches nothing is refused, but for layers of another model of the "
    "pipeline",
    "[lora]") {
  const Folder files;
  const auto merge = [&](const std::vector<std::string>& layers, const Words& more, int code) {
    std::vector<TestTensor> tensors;
    for (const std::string& layer : layers) tensors.push_back(stored(layer + ".diff", at::ones({64})));
    make_checkpoint(files / "half.safetensors", tensors);
    return files
        .run(Words{"-i", files.model(), "--merge-lora", files / "half.safetensors", "--lora-only-to",
                   files / "merged.safetensors"} +
                 more,
             code)
        .err;
  };
  const std::string known = "lora_unet_blk_0_norm";
  CHECK(merge({known, "lora_unet_blk_7_norm"}, {}, 1).find("--allow-partial-lora") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(files / "merged.safetensors"));
  CHECK(merge({known, "lora_unet_blk_7_norm"}, {"--allow-partial-lora"}, 0).find("lora_unet_blk_7_norm") !=
        std::string::npos);
  const std::vector<std::string> encoder = {known, "lora_te_text_model_x", "lora_te_text_model_y",
                                            "lora_te_text_model_z"};
  CHECK(merge(encoder, {}, 0).find("lora_te_text_model_x") != std::string::npos);
}

TEST_CASE("merge-lora: textual inversions that came along are left out with a word", "[lora]") {
  const Folder files;
  make_checkpoint(files / "bundle.safetensors", {stored("blk.0.norm.diff", at::ones({64})),
                                                 stored("bundle_emb.my token.clip_l", normal({4, 8}, 1))});
  const Words words{"-i",
                    files.model(),
                    "--merge-lora",
                    files / "bundle.safetensors",
                    "--lora-only-to",
                    files / "m.safetensors"};
  CHECK(files.run(words).err.find("bundle_emb.my token.clip_l") != std::string::npos);
  CHECK(files.run(words + Words{"--strict"}, 1).err.find("bundle_emb.my token.clip_l") != std::string::npos);
}
