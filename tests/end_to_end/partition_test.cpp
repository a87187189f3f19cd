// Parts of a plan, and what joins them.
#include <cmath>

#include <catch2/catch.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;
using Names = std::vector<std::string>;

namespace {

/// Layers of several sizes and a bias; one weight holds a NaN, which only the process that reads it could
/// see.
struct Fixture {
  TempDir dir;
  std::string model = dir / "m.safetensors";

  Fixture() {
    TestTensor holed = bf16_weight("holed.weight", 32, 64);
    const uint16_t nan = bf16(NAN);
    std::memcpy(holed.bytes.data(), &nan, sizeof nan);
    make_checkpoint(
        model, {bf16_weight("a.weight", 96, 64), bf16_vector("a.bias", 96), bf16_weight("b.weight", 64, 64),
                bf16_weight("c.weight", 32, 64), bf16_vector("norm.weight", 64), holed});
  }
  Outcome convert(const std::string& output, const Names& more = {}, const std::string& prefix = "") const {
    Names args = {"-i", model, "-o", dir / output, "--fp8", "--comfy_quant", "--save-quant-metadata"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args, prefix);
  }
  Outcome assemble(const Names& parts, const std::string& output = "joined.safetensors") const {
    Names args = {"assemble"};
    for (const std::string& part : parts) args.push_back(dir / part);
    args.insert(args.end(), {"-o", dir / output});
    return run_binary(args);
  }
  std::string bytes(const std::string& name) const { return read_file(dir / name); }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("partition: the parts, joined in any order, are the bytes of one run", "[end_to_end]") {
  const Fixture files;
  REQUIRE(files.convert("one.safetensors").code == 0);
  const int parts = GENERATE(1, 2, 9);  // nine: more than there are layers
  Names names;
  size_t tensors = 0;
  for (int part = parts; part >= 1; --part) {
    const Outcome run = files.convert("o.safetensors", {"--partition", fmt::format("{}/{}", part, parts)});
    INFO(run.err);
    REQUIRE(run.code == 0);
    names.push_back(fmt::format("o.part-{}-of-{}.safetensors", part, parts));
    tensors += ctq::safetensors::Reader(files.dir / names.back()).header().tensors.size();
  }
  CHECK(tensors == ctq::safetensors::Reader(files.dir / "one.safetensors").header().tensors.size());
  const Outcome joined = files.assemble(names);
  INFO(joined.err);
  REQUIRE(joined.code == 0);
  CHECK(files.bytes("joined.safetensors") == files.bytes("one.safetensors"));
}

TEST_CASE("partition: parts that make their own factors of inputs, joined, are the bytes of one run",
          "[end_to_end][smoothquant]") {
  const Fixture files;
  std::vector<TestTensor> model, recorded;
  for (const char* block : {"text_model.encoder.layers.0.", "text_model.encoder.layers.1."}) {
    const std::string name = block;
    for (const char* norm : {"layer_norm1", "layer_norm2"}) {
      model.push_back(bf16_vector(name + norm + ".weight", 64));
      model.push_back(bf16_vector(name + norm + ".bias", 64));
    }
    for (const char* layer : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                              "self_attn.out_proj", "mlp.fc1", "mlp.fc2"}) {
      model.push_back(bf16_weight(name + layer + ".weight", 64, 64));
      model.push_back(bf16_vector(name + layer + ".bias", 64));
      recorded.push_back(tensor(name + layer + ".channel_max", ctq::safetensors::Dtype::kF32, {64},
                                elements<float>(64, [](int64_t i) { return 1.0f + float(i % 7) * 5; })));
    }
  }
  make_checkpoint(files.model, model);
  make_checkpoint(files.dir / "cal.safetensors", recorded);
  const Names words{"-i",
                    files.model,
                    "--int8",
                    "--scaling_mode",
                    "row",
                    "--simple",
                    "--comfy_quant",
                    "--smoothquant",
                    "--calibration-data",
                    files.dir / "cal.safetensors",
                    "--client",
                    "any"};
  const auto convert = [&](const std::string& output, const Names& more) {
    Names all = words;
    all.insert(all.end(), {"-o", files.dir / output});
    all.insert(all.end(), more.begin(), more.end());
    const Outcome run = run_binary(all);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    return run.out;
  };
  CHECK(has(convert("one.safetensors", {}), "6 inputs"));
  Names names;
  for (const char* part : {"1", "2", "3"}) {
    convert("o.safetensors", {"--partition", std::string(part) + "/3"});
    names.push_back(std::string("o.part-") + part + "-of-3.safetensors");
  }
  REQUIRE(files.assemble(names).code == 0);
  CHECK(files.bytes("joined.safetensors") == files.bytes("one.safetensors"));
}

TEST_CASE("partition: layers are shared out by their cost", "[end_to_end]") {
  const Fixture files;
  for (const char* part : {"1/2", "2/2"})
    REQUIRE(files.convert("o.safetensors", {"--partition", part}).code == 0);
  const ctq::safetensors::Reader first(files.dir / "o.part-1-of-2.safetensors"),
      second(files.dir / "o.part-2-of-2.safetensors");
  // 96 rows against 64 + 32; a bias is where its weight is.
  CHECK(first.find("a.weight") != nullptr);
  CHECK(first.find("a.bias") != nullptr);
  CHECK(first.find("a.comfy_quant") != nullptr);
  CHECK(second.find("b.weight") != nullptr);
  CHECK(second.find("b.comfy_quant") != nullptr);
  CHECK(second.find("c.weight") != nullptr);
}

TEST_CASE("partition: what does not belong together is refused", "[end_to_end]") {
  const Fixture files;
  for (const char* part : {"1/2", "2/2"})
    REQUIRE(files.convert("o.safetensors", {"--partition", part}).code == 0);
  REQUIRE(files.convert("x.safetensors", {"--partition", "1/2", "--manual_seed", "7"}).code == 0);
  REQUIRE(files.convert("x.safetensors").code == 0);
  const std::string first = "o.part-1-of-2.safetensors", second = "o.part-2-of-2.safetensors";
  const auto [parts, words] = GENERATE_COPY(table<Names, std::string>({
      {{first}, "part 2 of 2 is missing"},
      {{first, second, first}, "is part 1 of 2, as is"},
      {{second, "x.part-1-of-2.safetensors"}, "x.part-1-of-2.safetensors: belongs to another plan"},
      {{first, "x.safetensors"}, "x.safetensors: is not a part"},
      {{first, "absent.safetensors"}, "absent.safetensors"},
  }));
  const Outcome run = files.assemble(parts);
  CAPTURE(run.err);
  CHECK(run.code == 4);
  CHECK(has(run.err, words));
  CHECK_FALSE(std::filesystem::exists(files.dir / "joined.safetensors"));
  CHECK(files.assemble({first, second}, second).code == 2);
}

TEST_CASE("partition: the scheduler's rank, and options that parts cannot have", "[end_to_end]") {
  const Fixture files;
  REQUIRE(files.convert("o.safetensors", {"--partition", "auto"}, "env PMI_RANK=1 PMI_SIZE=3").code == 0);
  CHECK(std::filesystem::exists(files.dir / "o.part-2-of-3.safetensors"));
  for (const Names& more :
       {Names{"--max-shard-size", "1MB"}, Names{"--dry-run"}, Names{"--manual_seed", "-1"}}) {
    Names args = {"--partition", "1/2"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = files.convert("o.safetensors", args);
    CHECK(run.code == 2);
    CHECK(has(run.err, "argument --partition: does not go with " + more[0].substr(0, 5)));
  }
}
