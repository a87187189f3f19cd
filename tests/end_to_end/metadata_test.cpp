// What becomes of a header's metadata.
#include <catch2/catch.hpp>

#include "safetensors/reader.h"
#include "support/clip_g_checkpoint.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;
using ctq::safetensors::Metadata;
using ctq::safetensors::Reader;
using Words = std::vector<std::string>;

namespace {

const Metadata kHashes = {
    {"modelspec.hash_sha256", "0xab"}, {"sshs_model_hash", "cd"}, {"sshs_legacy_hash", "ef"}};
const Metadata kOthers = {{"modelspec.title", "x"}, {"ss_sd_model_hash", "of a model it was trained on"}};

Metadata all() {
  Metadata metadata = kHashes;
  metadata.insert(kOthers.begin(), kOthers.end());
  return metadata;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void check(const std::string& path) {
  const Metadata metadata = Reader(path).header().metadata;
  for (const auto& [key, value] : kHashes) CHECK(metadata.count(key) == 0);
  for (const auto& [key, value] : kOthers) CHECK(metadata.at(key) == value);
}

/// The file of a run with the hashes put back, as older programs leave them.
std::string with_hashes(const TempDir& dir, const std::string& name, const Words& flags) {
  Words words{"-i", dir / "m.safetensors", "-o", dir / "made.safetensors", "--simple"};
  words.insert(words.end(), flags.begin(), flags.end());
  run_expecting(words, 0);
  const Reader made(dir / "made.safetensors");
  std::vector<TestTensor> tensors;
  for (const auto& info : made.header().tensors) {
    const auto bytes = made.bytes(info);
    tensors.push_back(tensor(info.name, info.dtype, info.shape,
                             {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  make_checkpoint(dir / name, tensors, all());
  return dir / name;
}

}  // namespace

TEST_CASE("hashes of the tensors are left out wherever tensors change, all else stays", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight("blk.0.q.weight", 64, 64), bf16_vector("blk.0.q.bias", 64)}, all());
  const std::string output = dir / "o.safetensors";
  Words words;
  SECTION("conversion") { words = {"-i", dir / "m.safetensors", "--fp8", "--comfy_quant"}; }
  SECTION("fp8") { words = {"fp8", dir / "m.safetensors", "--num_iter", "2"}; }
  SECTION("clip-g") {
    make_checkpoint(dir / "clip.safetensors", clip_g_tensors(32), all());
    words = {"clip-g", "-i", dir / "clip.safetensors"};
  }
  SECTION("edit") {
    words = {"edit", with_hashes(dir, "q.safetensors", {"--fp8", "--comfy_quant"}), "--add-keys", "'a': 1"};
  }
  SECTION("migrate") {
    words = {"migrate", "fp8-scaled", "-i", with_hashes(dir, "q.safetensors", {"--fp8"})};
  }
  SECTION("dequantize") { words = {"dequantize", with_hashes(dir, "q.safetensors", {"--fp8"})}; }
  SECTION("requantize") {
    words = {"-i", with_hashes(dir, "q.safetensors", {"--fp8"}), "--requantize", "--int8", "--simple"};
  }
  words.insert(words.end(), {"-o", output});
  const Outcome run = run_expecting(words, 0);
  check(output);
  CHECK(has(run.out + run.err,
            "left out of the header: modelspec.hash_sha256, sshs_legacy_hash, sshs_model_hash"));
}

TEST_CASE("hashes of the tensors: merged LoRAs, shards and parts", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 64, 64), bf16_weight("b.weight", 64, 64)},
                  all());
  make_checkpoint(dir / "l.safetensors",
                  {bf16_weight("a.lora_A.weight", 16, 64), bf16_weight("a.lora_B.weight", 64, 16)});
  run_expecting({"-i", dir / "m.safetensors", "--merge-lora", dir / "l.safetensors", "--lora-only-to",
                 dir / "merged.safetensors"},
                0);
  check(dir / "merged.safetensors");
  run_expecting({"-i", dir / "m.safetensors", "-o", dir / "s.safetensors", "--fp8", "--simple",
                 "--max-shard-size", "5000"},
                0);
  check(dir / "s-00001-of-00002.safetensors");
  for (const char* part : {"1/2", "2/2"})
    run_expecting(
        {"-i", dir / "m.safetensors", "-o", dir / "p.safetensors", "--fp8", "--simple", "--partition", part},
        0);
  run_expecting({"assemble", dir / "p.part-1-of-2.safetensors", dir / "p.part-2-of-2.safetensors", "-o",
                 dir / "joined.safetensors"},
                0);
  check(dir / "joined.safetensors");
}

TEST_CASE("averages beside the weights: named, and left out with --remove-ema", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("model.diffusion_model.a.weight", 64, 64),
                                          bf16_weight("model_ema.diffusion_modelaweight", 64, 64),
                                          bf16_vector("model_ema.decay", 1)});
  const Words words{"-i", dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8", "--simple"};
  const Outcome kept = run_expecting(words, 0);
  CHECK(has(kept.out,
            "2 tensors model_ema.* (8.00 KiB) are averages that training kept beside the weights; they are "
            "kept (--remove-ema leaves them out)"));
  CHECK(Reader(dir / "o.safetensors").find("model_ema.decay") != nullptr);
  Words without = words;
  without.emplace_back("--remove-ema");
  CHECK(has(run_expecting(without, 0).out, "they are left out"));
  const Reader file(dir / "o.safetensors");
  CHECK(file.find("model_ema.decay") == nullptr);
  CHECK(file.find("model_ema.diffusion_modelaweight") == nullptr);
  CHECK(file.find("model.diffusion_model.a.weight") != nullptr);

  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 64, 64)});
  CHECK(has(run_expecting(without, 0).out, "--remove-ema has no effect"));
}
