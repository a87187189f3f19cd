// Options that a mode does not read, and weights that are not quantized but change their type.
#include <filesystem>

#include <catch2/catch.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;
using ctq::safetensors::Dtype;
using ctq::safetensors::Reader;

namespace {

using Words = std::vector<std::string>;

struct Fixture {
  TempDir dir;
  std::string model = dir / "m.safetensors", output = dir / "o.safetensors", lora = dir / "l.safetensors";

  Fixture() {
    make_checkpoint(model,
                    {f32_weight("blocks.0.q.weight", 64, 32), f32_weight("blocks.0.kept.weight", 64, 32),
                     bf16_vector("blocks.0.norm.weight", 32),
                     tensor("blocks.0.wide.weight", Dtype::kF32, {2, 2},
                            elements<float>(4, [](int64_t) { return 1e38f; }))});
    make_checkpoint(lora, {bf16_weight("blocks.0.q.lora_A.weight", 4, 32),
                           bf16_weight("blocks.0.q.lora_B.weight", 64, 4)});
  }
  Outcome run(Words words, int code = 0) const {
    words.insert(words.begin(), {"-i", model});
    return run_expecting(words, code);
  }
};

bool says(const Outcome& run, const std::string& text) {
  return (run.out + run.err).find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("modes: options that a merge alone, an analysis of blocks or a dry run does not read are named",
          "[end_to_end]") {
  const Fixture files;
  const Words merge{"--merge-lora", files.lora, "--lora-only-to", files.output};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  CHECK(says(files.run(with(merge, {"--fp8", "--sweeps", "2"})),
             "--sweeps have no effect with --lora-only-to"));
  CHECK_FALSE(says(files.run(merge), "no effect"));
  CHECK(says(files.run(with(merge, {"--quality-json", files.dir / "q.json"}), 2), "--quality-json"));
  CHECK(says(files.run({"--dry-run", "--report-quality", "--output", files.output}),
             "--report-quality has no effect with --dry-run"));
  CHECK(says(files.run({"--dry-run", "--quality-json", files.dir / "q.json"}, 2), "--quality-json"));
  CHECK(says(run_expecting({"analyze", files.model, "--blocks", "--exclude-layers", "q"}, 0),
             "--exclude-layers has no effect with --blocks"));
}

TEST_CASE("output-dtype: weights that stay unquantized change their type, others do not", "[end_to_end]") {
  const Fixture files;
  const Words common{"-o",       files.output,       "--fp8",    "--comfy_quant",
                     "--simple", "--exclude-layers", "kept|wide"};
  const auto type_after = [&](const Words& more, const std::string& name) {
    Words words = common;
    words.insert(words.end(), more.begin(), more.end());
    files.run(words);
    return Reader(files.output).find(name)->dtype;
  };
  CHECK(type_after({}, "blocks.0.kept.weight") == Dtype::kF32);
  CHECK(type_after({"--output-dtype", "bfloat16"}, "blocks.0.kept.weight") == Dtype::kBF16);
  CHECK(Reader(files.output).find("blocks.0.norm.weight")->dtype == Dtype::kBF16);
  CHECK(type_after({"--output-dtype", "float16"}, "blocks.0.kept.weight") == Dtype::kF16);
  CHECK(Reader(files.output).find("blocks.0.wide.weight")->dtype == Dtype::kF32);  // beyond float16
  CHECK(type_after({"--output-dtype", "bfloat16", "--preserve-layers", "kept"}, "blocks.0.kept.weight") ==
        Dtype::kF32);
  CHECK(Reader(files.output).find("blocks.0.wide.weight")->dtype == Dtype::kBF16);
  CHECK(says(files.run({"-o", files.output, "--fp8", "--preserve-layers", "kept"}),
             "--preserve-layers has no effect without --output-dtype"));
}
