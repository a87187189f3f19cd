#include <filesystem>
#include <string>
#include <vector>

#include "container.h"
#include "safetensors/index.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::safetensors {
namespace {

using ctq::test::HasCode;
using ctq::test::TempDir;
using ctq::test::write_file;
using test::container;
using Names = std::vector<std::string>;

void make(const TempDir& dir, const Names& names) {
  for (const std::string& name : names) {
    std::filesystem::create_directories(std::filesystem::path(dir / name).parent_path());
    write_file(dir / name, container("{}"));
  }
}

Names names_of(const CheckpointFiles& checkpoint) {
  Names names;
  for (const std::string& file : checkpoint.files)
    names.push_back(std::filesystem::path(file).filename().string());
  return names;
}

const Names kSet = {"m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors",
                    "m-00003-of-00003.safetensors"};

#define CHECK_REJECTED(expression, ...) \
  CHECK_THROWS_MATCHES(expression, Error, HasCode(ErrorCode::kBadInput, __VA_ARGS__))

}  // namespace

TEST_CASE("shard names: number, count, variant, and what is none", "[safetensors]") {
  const auto shard = parse_shard_name("a-b.fp16-00002-of-00010.safetensors");
  REQUIRE(shard.has_value());
  CHECK(shard->stem == "a-b.fp16");
  CHECK(shard->number == 2);
  CHECK(shard->count == 10);
  CHECK(shard->of(10) == "a-b.fp16-00010-of-00010.safetensors");
  const auto variant = parse_shard_name("m-0001-of-0002.fp16.safetensors");
  REQUIRE(variant.has_value());
  CHECK(variant->stem == "m");
  CHECK(variant->of(2) == "m-0002-of-0002.fp16.safetensors");
  for (const char* name :
       {"m.safetensors", "m-00001-of-00002", "m-00000-of-00002.safetensors", "m-00003-of-00002.safetensors",
        "m-00001-of-0002.safetensors", "m00001-of-00002.safetensors", "o.part-1-of-2.safetensors",
        "m-00001-of-00002.safetensors.index.json", "m-00001-of-00002.a.b.safetensors", ".safetensors"}) {
    CAPTURE(name);
    CHECK_FALSE(parse_shard_name(name).has_value());
  }
}

TEST_CASE("resolve_checkpoint: a shard stands for its set, with and without an index", "[safetensors]") {
  const TempDir dir;
  make(dir, kSet);
  write_file(dir / "other.safetensors.index.json", write_index({{"x", "other.safetensors"}}, 0));
  const CheckpointFiles bare = resolve_checkpoint(dir / kSet[1]);
  CHECK(bare.index.empty());
  CHECK(names_of(bare) == kSet);
  CHECK(bare.note.find("is shard 2 of 3") != std::string::npos);
  CHECK(names_of(resolve_checkpoint(dir / kSet[1], Shard::kAlone)) == Names{kSet[1]});

  write_file(dir / "m.safetensors.index.fp16.json", write_index({{"a", kSet[0]}, {"b", kSet[1]}}, 0));
  const CheckpointFiles listed = resolve_checkpoint(dir / kSet[0]);
  CHECK(listed.index == dir / "m.safetensors.index.fp16.json");
  CHECK(names_of(listed) == Names{kSet[0], kSet[1]});

  make(dir, {"one-00001-of-00001.safetensors"});
  CHECK(resolve_checkpoint(dir / "one-00001-of-00001.safetensors").note.empty());
}

TEST_CASE("resolve_checkpoint: the missing shard of a set is named", "[safetensors]") {
  const TempDir dir;
  make(dir, {kSet[0], kSet[2]});
  CHECK_REJECTED(resolve_checkpoint(dir / kSet[2]), kSet[2], "of 3 shards", "'" + kSet[1] + "' is missing");
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "'" + kSet[1] + "' is missing");
  CHECK(names_of(resolve_checkpoint(dir / kSet[2], Shard::kAlone)) == Names{kSet[2]});
}

TEST_CASE("resolve_checkpoint: a folder with one set, and with a set among others", "[safetensors]") {
  const TempDir dir;
  make(dir, kSet);
  CHECK(names_of(resolve_checkpoint(dir.path().string())) == kSet);
  make(dir, {"vae.safetensors"});
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "2 candidates", "'vae.safetensors'");
}

TEST_CASE("resolve_checkpoint: a folder whose index has a variant", "[safetensors]") {
  const TempDir dir;
  make(dir, kSet);
  const std::string name = GENERATE("m.safetensors.index.fp16.json", "m.fp16.safetensors.index.json");
  write_file(dir / name, write_index({{"a", kSet[0]}, {"b", kSet[1]}, {"c", kSet[2]}}, 0));
  CHECK(resolve_checkpoint(dir.path().string()).index == dir / name);
  CHECK(names_of(resolve_checkpoint(dir / name)) == kSet);
}

TEST_CASE("resolve_checkpoint: a pipeline stands for its one denoiser", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "model_index.json", "{}");
  make(dir, {"transformer/a-00001-of-00002.safetensors", "transformer/a-00002-of-00002.safetensors",
             "text_encoder/t.safetensors", "vae/v.safetensors"});
  for (const std::string& path : {dir.path().string(), dir / "model_index.json"}) {
    const CheckpointFiles found = resolve_checkpoint(path);
    CHECK(names_of(found) == Names{"a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"});
    CHECK(found.note.find("transformer/") != std::string::npos);
    CHECK(found.note.find("nothing of text_encoder, vae") != std::string::npos);
  }
  make(dir, {"transformer_2/b.safetensors"});
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "'transformer', 'transformer_2'", "name the one");
}

TEST_CASE("resolve_checkpoint: a folder of folders without a denoiser names them", "[safetensors]") {
  const TempDir dir;
  make(dir, {"text_encoder/t.safetensors", "vae/v.safetensors", "scheduler/x.json"});
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "'text_encoder', 'vae'", "holds no model itself");
  // A model beside the folders is the model, as in repositories that hold both.
  make(dir, {"model.safetensors"});
  CHECK(names_of(resolve_checkpoint(dir.path().string())) == Names{"model.safetensors"});
}

TEST_CASE("resolve_checkpoint: a pipeline whose folders hold no weights", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "model_index.json", "{}");
  std::filesystem::create_directory(dir / "unet");
  write_file(dir / "unet/diffusion_pytorch_model.bin", "");
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "no folder of the pipeline", "neither");
  CHECK_REJECTED(resolve_checkpoint(dir / "unet"), "neither", "'diffusion_pytorch_model.bin' cannot be read");
}

}  // namespace ctq::safetensors
