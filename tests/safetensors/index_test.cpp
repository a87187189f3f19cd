#include "safetensors/index.h"

#include <filesystem>
#include <string>
#include <vector>

#include "container.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::safetensors {
namespace {

using ctq::test::HasCode;
using ctq::test::TempDir;
using ctq::test::write_file;
using test::container;
using Names = std::vector<std::string>;

constexpr const char* kIndex = "model.safetensors.index.json";

ShardIndex read_text(const std::string& text) {
  const TempDir dir;
  write_file(dir / kIndex, text);
  return read_index(dir / kIndex);
}

#define CHECK_REJECTED(expression, ...) \
  CHECK_THROWS_MATCHES(expression, Error, HasCode(ErrorCode::kBadInput, __VA_ARGS__))

}  // namespace

TEST_CASE("index: tensors, shards and size", "[safetensors]") {
  const ShardIndex index = read_text(
      R"({"metadata":{"total_size":12,"weight_map":{"x":1}},"other":[{"weight_map":{}}],)"
      R"("weight_map":{"b":"2.safetensors","a":"1.safetensors","c":"sub/2.safetensors","d":"1.safetensors"}})");
  CHECK(index.total_size == 12);
  CHECK(index.weight_map.size() == 4);
  CHECK(index.weight_map.at("b") == "2.safetensors");
  CHECK(index.shards() == Names{"1.safetensors", "2.safetensors", "sub/2.safetensors"});
  CHECK(read_text(R"({"weight_map":{},"metadata":null})").total_size == 0);
  CHECK(read_text(R"({"weight_map":{},"metadata":{"total_size":"many"}})").total_size == 0);
}

TEST_CASE("index: what is refused", "[safetensors]") {
  CHECK_REJECTED(read_text(""), kIndex, "not valid JSON");
  CHECK_REJECTED(read_text("{\"weight_map\":{}"), "not valid JSON");
  CHECK_REJECTED(read_text(std::string("{\"weight_map\":{}}\0", 18)), "not valid JSON");
  CHECK_REJECTED(read_text("{\"\xff\":1}"), "not UTF-8");
  CHECK_REJECTED(read_text("[]"), "an array, not a JSON object");
  CHECK_REJECTED(read_text("3"), "the number 3");
  CHECK_REJECTED(read_text("{}"), "no 'weight_map'");
  CHECK_REJECTED(read_text(R"({"weight_map":[]})"), "weight_map is an array");
  CHECK_REJECTED(read_text(R"({"weight_map":null})"), "weight_map is null");
  CHECK_REJECTED(read_text(R"({"weight_map":{"a":1}})"), "tensor 'a'", "the number 1");
  CHECK_REJECTED(read_text(R"({"weight_map":{"a":{}}})"), "tensor 'a'", "an object");
  CHECK_REJECTED(read_text(R"({"weight_map":{"a":"1","a":"2"}})"), "tensor 'a' twice");
  CHECK_REJECTED(read_text(R"({"weight_map":{},"weight_map":{}})"), "'weight_map' is given twice");
  CHECK_REJECTED(read_text(std::string(1'000'000, '[')), "an array");
}

TEST_CASE("index: shard names stay in the folder", "[safetensors]") {
  for (const std::string shard :
       {"/etc/passwd", "../x.safetensors", "a/../../x.safetensors", "..", "", "a\\u0000b"}) {
    CAPTURE(shard);
    CHECK_REJECTED(read_text(R"({"weight_map":{"t":")" + shard + R"("}})"), "tensor 't'",
                   "leaves the folder");
  }
  CHECK(read_text(R"({"weight_map":{"t":"..x.safetensors"}})").shards() == Names{"..x.safetensors"});
}

TEST_CASE("index: writing and reading back", "[safetensors]") {
  const std::string text = write_index({{"b", "2.safetensors"}, {"a\"", "1.safetensors"}}, 7);
  CHECK(text ==
        "{\n  \"metadata\": {\n    \"total_size\": 7\n  },\n  \"weight_map\": {\n"
        "    \"a\\\"\": \"1.safetensors\",\n    \"b\": \"2.safetensors\"\n  }\n}\n");
  CHECK(read_text(text).total_size == 7);
  CHECK(read_text(text).weight_map.at("a\"") == "1.safetensors");
  CHECK(read_text(write_index({}, 0)).weight_map.empty());
}

TEST_CASE("resolve_checkpoint: a file, an index, a folder", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "1.safetensors", container("{}"));
  const CheckpointFiles file = resolve_checkpoint(dir / "1.safetensors");
  CHECK(file.index.empty());
  CHECK(file.files == Names{dir / "1.safetensors"});
  CHECK(resolve_checkpoint(dir.path().string()).files == file.files);

  write_file(dir / "2.safetensors", container("{}"));
  write_file(dir / ".3.safetensors", "hidden");
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "2 candidates", "'1.safetensors', '2.safetensors'");

  write_file(dir / kIndex, write_index({{"a", "2.safetensors"}, {"b", "1.safetensors"}}, 0));
  const CheckpointFiles shards = resolve_checkpoint(dir / kIndex);
  CHECK(shards.index == dir / kIndex);
  CHECK(shards.files == Names{dir / "1.safetensors", dir / "2.safetensors"});
  CHECK(resolve_checkpoint(dir.path().string()).index == dir / kIndex);

  write_file(dir / "other.safetensors.index.json", "{}");
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), "2 candidates", kIndex,
                 "other.safetensors.index.json");
}

TEST_CASE("resolve_checkpoint: what is missing is named", "[safetensors]") {
  const TempDir dir;
  CHECK_REJECTED(resolve_checkpoint(dir / "none"), dir / "none", "No such file or directory");
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), dir.path().string(), "neither");
  write_file(dir / kIndex, write_index({{"a", "1.safetensors"}}, 0));
  CHECK_REJECTED(resolve_checkpoint(dir.path().string()), kIndex, "'1.safetensors'",
                 "is the download complete?");
  std::filesystem::create_directory(dir / "1.safetensors");
  CHECK_REJECTED(resolve_checkpoint(dir / kIndex), "'1.safetensors'", "is a directory");
  write_file(dir / "empty.json", R"({"weight_map":{}})");
  CHECK_REJECTED(resolve_checkpoint(dir / "empty.json"), "lists no tensors");
}

}  // namespace ctq::safetensors
