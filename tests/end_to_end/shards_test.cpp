// Models in several files, given in every way that people give them.
#include <catch2/catch.hpp>

#include "safetensors/index.h"
#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;
using ctq::safetensors::Reader;
using Words = std::vector<std::string>;

namespace {

const std::string kFirst = "m-00001-of-00002.safetensors", kSecond = "m-00002-of-00002.safetensors";

void make_shards(const TempDir& dir, const std::string& folder = "") {
  if (!folder.empty()) std::filesystem::create_directories(dir / folder);
  make_checkpoint(dir / (folder + kFirst), {bf16_weight("blocks.0.a.weight", 64, 64)});
  make_checkpoint(dir / (folder + kSecond), {bf16_weight("blocks.1.a.weight", 64, 64)});
}

Words fp8(const std::string& input, const std::string& output) {
  return {"-i", input, "-o", output, "--fp8", "--simple", "--comfy_quant"};
}

void check_whole(const std::string& output) {
  const Reader file(output);
  CHECK(file.find("blocks.0.a.weight_scale") != nullptr);
  CHECK(file.find("blocks.1.a.weight_scale") != nullptr);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("shards: one of them, and their folder, are the whole model", "[end_to_end]") {
  const TempDir dir, out;
  make_shards(dir);
  if (GENERATE(false, true))
    write_file(
        dir / "m.safetensors.index.fp16.json",
        ctq::safetensors::write_index({{"blocks.0.a.weight", kFirst}, {"blocks.1.a.weight", kSecond}}, 0));
  const Outcome one = run_expecting(fp8(dir / kFirst, out / "one.safetensors"), 0);
  CHECK(has(one.out, "is shard 1 of 2; the whole set is read"));
  check_whole(out / "one.safetensors");
  run_expecting(fp8(dir.path().string(), out / "all.safetensors"), 0);
  CHECK(read_file(out / "all.safetensors") == read_file(out / "one.safetensors"));
  // Its name is that of the model, not of the shard.
  run_expecting({"-i", dir / kSecond, "--fp8", "--simple", "--comfy_quant"}, 0);
  check_whole(dir / "m_simple_fp8_tensor.safetensors");
}

TEST_CASE("shards: a missing one is named and nothing is written, inspect shows one alone", "[end_to_end]") {
  const TempDir dir, out;
  make_shards(dir);
  std::filesystem::remove(dir / kFirst);
  for (const std::string& input : {dir / kSecond, dir.path().string()}) {
    const Outcome run = run_expecting(fp8(input, out / "o.safetensors"), 4);
    CHECK(has(run.err, "'" + kFirst + "' is missing"));
  }
  CHECK(out.entries().empty());
  CHECK(has(run_expecting({"inspect", dir / kSecond}, 0).out, "blocks.1.a.weight"));
}

TEST_CASE("shards: a batch takes a set for one model", "[end_to_end]") {
  const TempDir dir, out;
  make_shards(dir);
  const bool folder = GENERATE(true, false);
  const Words input = folder ? Words{"-d", dir.path().string()} : Words{dir / kFirst, dir / kSecond};
  Words words{"batch"};
  words.insert(words.end(), input.begin(), input.end());
  const Words more{"--fp8", "--simple", "--comfy_quant", "--output-dir", out.path().string(), "-y"};
  words.insert(words.end(), more.begin(), more.end());
  run_expecting(words, 0);
  CHECK(out.entries() == Words{"m_simple_fp8_tensor.safetensors"});
  check_whole(out / "m_simple_fp8_tensor.safetensors");
}

TEST_CASE("shards: the root of a pipeline is its one denoiser, or its models are named", "[end_to_end]") {
  const TempDir dir, out;
  write_file(dir / "model_index.json", R"({"_class_name":"FluxPipeline"})");
  make_shards(dir, "transformer/");
  std::filesystem::create_directory(dir / "vae");
  make_checkpoint(dir / "vae/v.safetensors", {bf16_weight("decoder.a.weight", 64, 64)});
  const Outcome run = run_expecting(fp8(dir.path().string(), out / "o.safetensors"), 0);
  CHECK(has(run.out, "its model in transformer/ is read, and nothing of vae"));
  check_whole(out / "o.safetensors");
  std::filesystem::rename(dir / "transformer", dir / "text_encoder");
  const Outcome none = run_expecting(fp8(dir.path().string(), out / "p.safetensors"), 4);
  CHECK(has(none.err, "'text_encoder', 'vae'"));
}

TEST_CASE("shards: an output whose shards have the input's names is refused", "[end_to_end]") {
  const TempDir dir;
  make_shards(dir);
  const std::string before = read_file(dir / kFirst) + read_file(dir / kSecond);
  Words words = fp8(dir / kFirst, dir / "m.safetensors");
  words.insert(words.end(), {"--max-shard-size", "5000"});
  CHECK(has(run_expecting(words, 2).err, "its file '" + kFirst + "' is the input file"));
  CHECK(read_file(dir / kFirst) + read_file(dir / kSecond) == before);
  CHECK(dir.entries() == Words{kFirst, kSecond});
}
