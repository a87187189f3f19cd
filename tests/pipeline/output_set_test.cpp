#include "pipeline/output_set.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "safetensors/index.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::pipeline {
namespace {

using ctq::test::bf16_vector;
using ctq::test::HasCode;
using ctq::test::TempDir;
using safetensors::Dtype;
using safetensors::Reader;
using Names = std::vector<std::string>;

safetensors::TensorInfo info(std::string name, int64_t bytes) {
  safetensors::TensorInfo made;
  made.name = std::move(name), made.dtype = Dtype::kU8, made.shape = {bytes};
  return made;
}

plan::OutputFile file(std::string name, std::vector<safetensors::TensorInfo> tensors) {
  plan::OutputFile made;
  made.name = std::move(name), made.tensors = safetensors::lay_out(std::move(tensors));
  return made;
}

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(const Reader& reader, std::string_view name) {
  const safetensors::TensorInfo* found = reader.find(name);
  REQUIRE(found != nullptr);
  const auto data = reader.bytes(*found);
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

}  // namespace

TEST_CASE("output_set: one file with what was written, copied and known already", "[pipeline]") {
  const TempDir in, out;
  test::make_checkpoint(in / "m.safetensors", {bf16_vector("kept", 4)});
  const model::Checkpoint source = model::Checkpoint::open(in / "m.safetensors");
  plan::Plan plan;
  plan.metadata = {{"format", "pt"}};
  plan.generated.push_back({info("a.comfy_quant", 2), "{}"});
  plan.files = {
      file("x.safetensors", {info("a.weight", 3), info("a.comfy_quant", 2), *source.find("kept")->info})};
  OutputSet outputs(plan, out / "new/x.safetensors");
  outputs.copy(*source.find("kept"));
  outputs.write("a.weight", bytes("abc"));
  CHECK(outputs.commit() == out / "new/x.safetensors");
  const Reader written(out / "new/x.safetensors");
  CHECK(text_of(written, "a.weight") == "abc");
  CHECK(text_of(written, "a.comfy_quant") == "{}");
  CHECK(text_of(written, "kept") == text_of(Reader(in / "m.safetensors"), "kept"));
  CHECK(written.header().metadata == plan.metadata);
}

TEST_CASE("output_set: shards and their index", "[pipeline]") {
  const TempDir dir;
  plan::Plan plan;
  plan.files = {file("x-00001-of-00002.safetensors", {info("a", 2), info("c", 1)}),
                file("x-00002-of-00002.safetensors", {info("b", 4)})};
  OutputSet outputs(plan, dir / "x.safetensors");
  outputs.write("c", bytes("3"));
  outputs.write("b", bytes("4444"));
  outputs.write("a", bytes("12"));
  CHECK(outputs.commit() == dir / "x.safetensors.index.json");
  CHECK(dir.entries() ==
        Names{"x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors", "x.safetensors.index.json"});
  const safetensors::ShardIndex index = safetensors::read_index(dir / "x.safetensors.index.json");
  CHECK(index.weight_map == std::map<std::string, std::string>{{"a", "x-00001-of-00002.safetensors"},
                                                               {"b", "x-00002-of-00002.safetensors"},
                                                               {"c", "x-00001-of-00002.safetensors"}});
  CHECK(index.total_size == 7);
  CHECK(text_of(Reader(dir / "x-00001-of-00002.safetensors"), "a") == "12");
  CHECK(text_of(Reader(dir / "x-00002-of-00002.safetensors"), "b") == "4444");
}

namespace {

/// The second rename does not happen, as after a crash.
void commit_half(const TempDir& dir, const Names& names) {
  plan::Plan plan;
  plan.files = {file(names[0], {info("a", 2)}), file(names[1], {info("b", 4)})};
  OutputSet outputs(plan, dir / "x.safetensors");
  outputs.write("a", bytes("12"));
  outputs.write("b", bytes("4444"));
  std::filesystem::remove(dir / names[1]);
  std::filesystem::create_directory(dir / names[1]);
  test::write_file(dir / (names[1] + "/x"), "");
  CHECK_THROWS_MATCHES(outputs.commit(), Error, HasCode(ErrorCode::kFailure, names[1]));
}

const Names kTwo = {"x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors"};

}  // namespace

TEST_CASE("output_set: a commit that fails between two shards leaves no set of two generations",
          "[pipeline]") {
  const TempDir dir;
  for (const std::string& name : kTwo) test::write_file(dir / name, "older");
  commit_half(dir, kTwo);
  CHECK(dir.entries() == kTwo);
  CHECK_THROWS(model::Checkpoint::open(dir / kTwo[0]));
}

TEST_CASE("output_set: an older set with an index stays whole until the new one is", "[pipeline]") {
  const TempDir dir;
  const std::string index = dir / "x.safetensors.index.json";
  const Names older = {"x-00001-of-00003.safetensors", "x-00002-of-00003.safetensors",
                       "x-00003-of-00003.safetensors"};
  for (const std::string& name : older) test::write_file(dir / name, "older " + name);
  test::write_file(index, safetensors::write_index({{"a", older[0]}, {"b", older[1]}, {"c", older[2]}}, 7));
  commit_half(dir, kTwo);
  const safetensors::ShardIndex left = safetensors::read_index(index);
  CHECK(left.total_size == 7);
  REQUIRE(left.weight_map.size() == 3);
  for (const std::string& name : older)
    CHECK(test::read_file(dir / ("x.older" + name.substr(1))) == "older " + name);
  CHECK(left.weight_map.at("b") == "x.older-00002-of-00003.safetensors");

  // The next run takes its place, and leaves nothing of either.
  std::filesystem::remove_all(dir / kTwo[1]);
  plan::Plan plan;
  plan.files = {file(kTwo[0], {info("a", 2)}), file(kTwo[1], {info("b", 4)})};
  OutputSet outputs(plan, dir / "x.safetensors");
  outputs.write("a", bytes("12"));
  outputs.write("b", bytes("4444"));
  outputs.commit();
  CHECK(safetensors::read_index(index).shards() == kTwo);
  CHECK(dir.entries() == Names{kTwo[0], kTwo[1], "x.safetensors.index.json"});
}

TEST_CASE("output_set: shards of an older index go, others stay", "[pipeline]") {
  const TempDir dir;
  const Names older = {"x-00001-of-00003.safetensors", "x-00002-of-00003.safetensors",
                       "x-00003-of-00003.safetensors"};
  for (const std::string& name : older) test::write_file(dir / name, "older");
  test::write_file(dir / "y-00001-of-00003.safetensors", "another model's");
  test::write_file(
      dir / "x.safetensors.index.json",
      safetensors::write_index(
          {{"a", older[0]}, {"b", older[1]}, {"c", older[2]}, {"d", "y-00001-of-00003.safetensors"}}, 0));
  plan::Plan plan;
  plan.files = {file("x-00001-of-00002.safetensors", {info("a", 2)}),
                file("x-00002-of-00002.safetensors", {info("b", 4)})};
  OutputSet outputs(plan, dir / "x.safetensors");
  outputs.write("a", bytes("12"));
  outputs.write("b", bytes("4444"));
  outputs.commit();
  CHECK(dir.entries() == Names{"x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors",
                               "x.safetensors.index.json", "y-00001-of-00003.safetensors"});
}

TEST_CASE("output_set: without commit nothing is left, and an older file is as it was", "[pipeline]") {
  const TempDir dir;
  test::write_file(dir / "x.safetensors", "older");
  plan::Plan plan;
  plan.files = {file("x.safetensors", {info("a", 2)})};
  {
    OutputSet outputs(plan, dir / "x.safetensors");
    outputs.write("a", bytes("12"));
    CHECK(dir.entries().size() == 2);
  }
  CHECK(dir.entries() == Names{"x.safetensors"});
  CHECK(test::read_file(dir / "x.safetensors") == "older");
}

TEST_CASE("output_set: when one shard is not whole, none gets its name", "[pipeline]") {
  const TempDir dir;
  plan::Plan plan;
  plan.files = {file("x-00001-of-00002.safetensors", {info("a", 2)}),
                file("x-00002-of-00002.safetensors", {info("b", 4)})};
  {
    OutputSet outputs(plan, dir / "x.safetensors");
    outputs.write("a", bytes("12"));
    CHECK_THROWS_MATCHES(outputs.commit(), Error, HasCode(ErrorCode::kFailure, "'b'"));
  }
  CHECK(dir.entries().empty());
}

}  // namespace ctq::pipeline
