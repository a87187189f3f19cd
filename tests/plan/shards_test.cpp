#include "plan/shards.h"

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "safetensors/writer.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::plan {
namespace {

using ctq::test::HasCode;
using safetensors::Dtype;
using safetensors::TensorInfo;
using Names = std::vector<std::string>;

TensorInfo info(std::string name, Dtype dtype, std::vector<int64_t> shape) {
  TensorInfo made;
  made.name = std::move(name), made.dtype = dtype, made.shape = std::move(shape);
  return made;
}

/// A plan written out. Sizes are in bytes of the output.
class MadePlan {
 public:
  explicit MadePlan(format::Layout layout = format::Layout::kComfy) { plan.layout = layout; }

  void keep(const std::string& name, int64_t bytes) {
    add(name, Decision::kKeep).outputs = {info(name, Dtype::kU8, {bytes})};
  }
  /// A weight of that many codes, a scale of 4 bytes and a marker of `marker_bytes`.
  void quantize(const std::string& layer, int64_t codes, int64_t marker_bytes) {
    TensorPlan& tensor = add(layer + ".weight", Decision::kQuantize);
    tensor.outputs = {info(layer + ".weight", Dtype::kI8, {codes}),
                      info(layer + ".weight_scale", Dtype::kF32, {})};
    plan.generated.push_back({info(layer + ".comfy_quant", Dtype::kU8, {marker_bytes}),
                              std::string(static_cast<size_t>(marker_bytes), '{')});
  }
  TensorPlan& add(const std::string& name, Decision decision) {
    infos_.push_back(info(name, Dtype::kBF16, {1}));
    entries_.push_back({nullptr, &infos_.back()});
    TensorPlan& tensor = plan.tensors.emplace_back();
    tensor.source = &entries_.back(), tensor.decision = decision;
    return tensor;
  }

  Plan plan;

 private:
  std::deque<TensorInfo> infos_;
  std::deque<model::Checkpoint::Entry> entries_;
};

/// Names of a file's tensors, sorted.
Names names_in(const OutputFile& file) {
  Names names;
  for (const TensorInfo& tensor : file.tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t tensor_bytes(const OutputFile& file) {
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : file.tensors) bytes += tensor.bytes();
  return bytes;
}

}  // namespace

TEST_CASE("shards: one file without a bound, whatever its name", "[plan]") {
  MadePlan made;
  made.keep("a", 1000);
  made.quantize("b", 5000, 30);
  const std::string name = GENERATE(as<std::string>(), "out.safetensors", "out.bin");
  const std::vector<OutputFile> files = lay_out_files(made.plan, name, 0);
  REQUIRE(files.size() == 1);
  CHECK(files[0].name == name);
  CHECK(names_in(files[0]) == Names{"a", "b.comfy_quant", "b.weight", "b.weight_scale"});
}

TEST_CASE("shards: one file with the plain name when everything fits the bound", "[plan]") {
  MadePlan made;
  made.keep("a", 60);
  made.keep("b", 40);
  const std::vector<OutputFile> files = lay_out_files(made.plan, "out.safetensors", 100);
  REQUIRE(files.size() == 1);
  CHECK(files[0].name == "out.safetensors");
  CHECK(lay_out_files(made.plan, "out.safetensors", 99).size() == 2);
}

TEST_CASE("shards: in the order of the plan, as many tensors in each as fit", "[plan]") {
  MadePlan made;
  for (const char* name : {"a", "b", "c", "d", "e"}) made.keep(name, 40);
  made.keep("f", 100);
  const std::vector<OutputFile> files = lay_out_files(made.plan, "out.safetensors", 100);
  REQUIRE(files.size() == 4);
  CHECK(names_in(files[0]) == Names{"a", "b"});
  CHECK(names_in(files[1]) == Names{"c", "d"});
  CHECK(names_in(files[2]) == Names{"e"});
  CHECK(names_in(files[3]) == Names{"f"});
  for (const OutputFile& file : files) CHECK(tensor_bytes(file) <= 100);
}

TEST_CASE("shards: numbered from 1, with five digits", "[plan]") {
  MadePlan made;
  for (const char* name : {"a", "b", "c"}) made.keep(name, 10);
  const std::vector<OutputFile> files = lay_out_files(made.plan, "my.model.safetensors", 10);
  REQUIRE(files.size() == 3);
  CHECK(files[0].name == "my.model-00001-of-00003.safetensors");
  CHECK(files[2].name == "my.model-00003-of-00003.safetensors");
}

TEST_CASE("shards: the tensors of a layer stay together, marker included", "[plan]") {
  MadePlan made;
  made.keep("a", 50);
  made.quantize("b", 60, 16);  // 80 in all: fits beside a only without its marker or scale
  made.quantize("c", 10, 6);   // 20: fits exactly beside b
  made.keep("d", 1);
  const std::vector<OutputFile> files = lay_out_files(made.plan, "out.safetensors", 100);
  REQUIRE(files.size() == 3);
  CHECK(names_in(files[0]) == Names{"a"});
  CHECK(names_in(files[1]) ==
        Names{"b.comfy_quant", "b.weight", "b.weight_scale", "c.comfy_quant", "c.weight", "c.weight_scale"});
  CHECK(names_in(files[2]) == Names{"d"});
}

TEST_CASE("shards: a marker of the whole file is written once", "[plan]") {
  MadePlan made(format::Layout::kLegacy);
  made.keep("a", 10);
  made.keep("b", 10);
  made.plan.generated.push_back({info("scaled_fp8", Dtype::kF8E4M3, {2}), std::string(2, '\0')});
  const std::vector<OutputFile> files = lay_out_files(made.plan, "out.safetensors", 12);
  Names all;
  for (const OutputFile& file : files) {
    for (const std::string& name : names_in(file)) all.push_back(name);
  }
  std::sort(all.begin(), all.end());
  CHECK(all == Names{"a", "b", "scaled_fp8"});
}

TEST_CASE("shards: a layer that no file can hold is kUsage, named with its size", "[plan]") {
  MadePlan made;
  made.keep("small", 10);
  made.quantize("big.layer", 60, 16);
  CHECK_THROWS_MATCHES(
      lay_out_files(made.plan, "out.safetensors", 79), Error,
      HasCode(ErrorCode::kUsage, "--max-shard-size", "'big.layer.weight'", "80 bytes", "'79'"));
  CHECK_NOTHROW(lay_out_files(made.plan, "out.safetensors", 80));
}

TEST_CASE("shards: removed tensors take no room", "[plan]") {
  MadePlan made;
  made.keep("a", 10);
  made.add("b", Decision::kRemove);
  made.keep("c", 10);
  const std::vector<OutputFile> files = lay_out_files(made.plan, "out.safetensors", 20);
  REQUIRE(files.size() == 1);
  CHECK(names_in(files[0]) == Names{"a", "c"});
}

TEST_CASE("shards: a plan without tensors is one empty file", "[plan]") {
  const std::vector<OutputFile> files = lay_out_files(Plan(), "out.safetensors", 100);
  REQUIRE(files.size() == 1);
  CHECK(files[0].name == "out.safetensors");
  CHECK(files[0].tensors.empty());
}

TEST_CASE("shards: the bytes of each file are what its writer makes", "[plan]") {
  MadePlan made;
  made.plan.metadata = {{"format", "pt"}, {"title", "with \"quotes\" and \xc3\xb6"}};
  made.keep("a", 33);
  made.quantize("b", 60, 16);
  made.keep("c", 90);
  const test::TempDir dir;
  const std::vector<OutputFile> files = lay_out_files(made.plan, "out.safetensors", 100);
  REQUIRE(files.size() == 3);
  for (const OutputFile& file : files) {
    CHECK(file.bytes == safetensors::Writer(dir / file.name, file.tensors, made.plan.metadata).file_bytes());
  }
}

}  // namespace ctq::plan
