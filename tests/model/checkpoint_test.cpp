#include "model/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "base/log.h"
#include "safetensors/container.h"
#include "safetensors/index.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::model {
namespace {

using ctq::test::bf16_vector;
using ctq::test::bf16_weight;
using ctq::test::f32_weight;
using ctq::test::HasCode;
using ctq::test::make_checkpoint;
using ctq::test::TempDir;
using ctq::test::tensor;
using ctq::test::TestTensor;
using ctq::test::write_file;
using safetensors::Dtype;
using safetensors::test::container;
using Names = std::vector<std::string>;

/// Warnings logged while it lives; they are not printed.
class Warnings {
 public:
  Warnings() : before_(warning_count()), level_(spdlog::default_logger()->level()) {
    spdlog::default_logger()->set_level(spdlog::level::off);
  }
  ~Warnings() { spdlog::default_logger()->set_level(level_); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  int count() const { return warning_count() - before_; }

 private:
  int before_;
  spdlog::level::level_enum level_;
};

/// Two shards with their index: a.weight and a.bias in the first, b.weight in the second.
void make_shards(const TempDir& dir, const std::map<std::string, std::string>& weight_map, uint64_t total) {
  make_checkpoint(dir / "m-00001-of-00002.safetensors",
                  {f32_weight("a.weight", 4, 2), bf16_vector("a.bias", 4)},
                  {{"title", "first"}, {"one", "1"}});
  make_checkpoint(dir / "m-00002-of-00002.safetensors", {bf16_weight("b.weight", 2, 8)},
                  {{"title", "second"}, {"two", "2"}});
  write_file(dir / "m.safetensors.index.json", safetensors::write_index(weight_map, total));
}

const std::string kFirst = "m-00001-of-00002.safetensors", kSecond = "m-00002-of-00002.safetensors";
const std::map<std::string, std::string> kWholeMap = {
    {"a.weight", kFirst}, {"a.bias", kFirst}, {"b.weight", kSecond}};
constexpr uint64_t kWholeBytes = 32 + 8 + 32;

bool is_aligned(const at::Tensor& loaded) {
  return reinterpret_cast<uintptr_t>(loaded.const_data_ptr()) % c10::elementSize(loaded.scalar_type()) == 0;
}

}  // namespace

TEST_CASE("checkpoint: a single file, its tensors in byte order of their names", "[model]") {
  const TempDir dir;
  const std::string path = dir / "m.safetensors";
  make_checkpoint(
      path,
      {bf16_vector("b", 2), f32_weight("a.weight", 2, 3), bf16_vector("a.10", 2), bf16_vector("a.9", 2),
       bf16_vector("B", 2), bf16_vector("\xc3\xb6", 2), bf16_vector("", 2)},
      {{"title", "x"}});
  const Warnings warnings;
  const Checkpoint checkpoint = Checkpoint::open(path);
  CHECK(checkpoint.path() == path);
  CHECK(checkpoint.names() == Names{"", "B", "a.10", "a.9", "a.weight", "b", "\xc3\xb6"});
  CHECK(checkpoint.files() == Names{path});
  CHECK(checkpoint.bytes() == std::filesystem::file_size(path));
  CHECK(checkpoint.metadata() == safetensors::Metadata{{"title", "x"}});
  CHECK(warnings.count() == 0);
}

TEST_CASE("checkpoint: find gives each tensor and nothing for other names", "[model]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_vector("c", 3), bf16_vector("a", 1), bf16_vector("b.weight", 2)});
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  for (const std::string& name : checkpoint.names()) {
    REQUIRE(checkpoint.find(name) != nullptr);
    CHECK(checkpoint.find(name)->name() == name);
  }
  CHECK(checkpoint.find("c")->info->shape == std::vector<int64_t>{3});
  for (const char* name : {"", "b", "b.weight2", "0", "d"}) CHECK(checkpoint.find(name) == nullptr);
}

TEST_CASE("checkpoint: the layer is the name before .weight", "[model]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_vector("x.0.weight", 1), bf16_vector("x.0.bias", 1),
                                          bf16_vector("weight", 1), bf16_vector("y.weight_v", 1)});
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  CHECK(checkpoint.find("x.0.weight")->layer() == "x.0");
  CHECK(checkpoint.find("x.0.bias")->layer() == "");
  CHECK(checkpoint.find("weight")->layer() == "");
  CHECK(checkpoint.find("y.weight_v")->layer() == "");
}

TEST_CASE("checkpoint: shards are one list, opened by index or by folder", "[model]") {
  const TempDir dir;
  make_shards(dir, kWholeMap, kWholeBytes);
  const bool by_folder = GENERATE(false, true);
  const Warnings warnings;
  const Checkpoint checkpoint =
      Checkpoint::open(by_folder ? dir.path().string() : dir / "m.safetensors.index.json");
  CHECK(checkpoint.names() == Names{"a.bias", "a.weight", "b.weight"});
  CHECK(checkpoint.files() == Names{dir / kFirst, dir / kSecond});
  CHECK(checkpoint.find("a.weight")->file->path() == dir / kFirst);
  CHECK(checkpoint.find("b.weight")->file->path() == dir / kSecond);
  CHECK(checkpoint.bytes() ==
        std::filesystem::file_size(dir / kFirst) + std::filesystem::file_size(dir / kSecond));
  CHECK(warnings.count() == 0);
}

TEST_CASE("checkpoint: metadata of all shards, of keys that differ the first one's", "[model]") {
  const TempDir dir;
  make_shards(dir, kWholeMap, kWholeBytes);
  CHECK(Checkpoint::open(dir.path().string()).metadata() ==
        safetensors::Metadata{{"title", "first"}, {"one", "1"}, {"two", "2"}});
}

TEST_CASE("checkpoint: a folder with a single file is that file", "[model]") {
  const TempDir dir;
  make_checkpoint(dir / "only.safetensors", {bf16_vector("a", 2)});
  write_file(dir / "config.json", "{}");
  CHECK(Checkpoint::open(dir.path().string()).files() == Names{dir / "only.safetensors"});
}

TEST_CASE("checkpoint: a tensor in two shards is refused, both named", "[model]") {
  const TempDir dir;
  make_checkpoint(dir / kFirst, {bf16_vector("a", 2), bf16_vector("twice", 2)});
  make_checkpoint(dir / kSecond, {bf16_vector("b", 2), bf16_vector("twice", 2)});
  write_file(dir / "m.safetensors.index.json",
             safetensors::write_index({{"a", kFirst}, {"b", kSecond}, {"twice", kSecond}}, 16));
  CHECK_THROWS_MATCHES(Checkpoint::open(dir.path().string()), Error,
                       HasCode(ErrorCode::kBadInput, "'twice'", dir / kFirst, dir / kSecond));
}

TEST_CASE("checkpoint: a tensor that the index lists and no shard holds is refused", "[model]") {
  const TempDir dir;
  auto map = kWholeMap;
  map["b.bias"] = kSecond;
  make_shards(dir, map, kWholeBytes);
  CHECK_THROWS_MATCHES(Checkpoint::open(dir.path().string()), Error,
                       HasCode(ErrorCode::kBadInput, "'b.bias'", kSecond, "complete"));
}

TEST_CASE("checkpoint: a tensor that lies in another shard than the index says is refused", "[model]") {
  const TempDir dir;
  auto map = kWholeMap;
  map["a.bias"] = kSecond;
  make_shards(dir, map, kWholeBytes);
  CHECK_THROWS_MATCHES(Checkpoint::open(dir.path().string()), Error,
                       HasCode(ErrorCode::kBadInput, "'a.bias'", kFirst, kSecond));
}

TEST_CASE("checkpoint: a missing shard is refused", "[model]") {
  const TempDir dir;
  make_shards(dir, kWholeMap, kWholeBytes);
  std::filesystem::remove(dir / kSecond);
  CHECK_THROWS_MATCHES(Checkpoint::open(dir.path().string()), Error, HasCode(ErrorCode::kBadInput, kSecond));
}

TEST_CASE("checkpoint: a tensor that the index does not list is taken, with a warning", "[model]") {
  const TempDir dir;
  auto map = kWholeMap;
  map.erase("a.bias");
  make_shards(dir, map, kWholeBytes);
  const Warnings warnings;
  CHECK(Checkpoint::open(dir.path().string()).find("a.bias") != nullptr);
  CHECK(warnings.count() == 1);
}

TEST_CASE("checkpoint: a wrong total size is a warning, a missing one is nothing", "[model]") {
  struct Row {
    uint64_t total;
    int warnings;
  };
  const auto row = GENERATE(values<Row>({{kWholeBytes, 0}, {kWholeBytes + 1, 1}, {0, 0}}));
  const TempDir dir;
  make_shards(dir, kWholeMap, row.total);
  const Warnings warnings;
  CHECK(Checkpoint::open(dir.path().string()).entries().size() == 3);
  CHECK(warnings.count() == row.warnings);
}

TEST_CASE("checkpoint: a file without tensors is an empty list", "[model]") {
  const TempDir dir;
  write_file(dir / "m.safetensors", container("{}"));
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  CHECK(checkpoint.entries().empty());
  CHECK(checkpoint.find("a") == nullptr);
}

TEST_CASE("fingerprint: one for a file and its shards, another for each change of name, type or shape",
          "[model]") {
  const TempDir dir;
  make_shards(dir, kWholeMap, kWholeBytes);
  const auto of = [&](const std::vector<TestTensor>& tensors) {
    make_checkpoint(dir / "single.safetensors", tensors);
    return fingerprint(Checkpoint::open(dir / "single.safetensors"));
  };
  const TestTensor bias = bf16_vector("a.bias", 4), b = bf16_weight("b.weight", 2, 8);
  const std::string same = of({b, f32_weight("a.weight", 4, 2), bias});
  CHECK(same.size() == 16);
  CHECK(same.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(fingerprint(Checkpoint::open(dir / "m.safetensors.index.json")) == same);
  CHECK(of({b, tensor("a.weight", Dtype::kF32, {4, 2}, std::string(32, 'v')), bias}) == same);  // values
  CHECK(of({b, f32_weight("a.weight", 2, 4), bias}) != same);
  CHECK(of({b, tensor("a.weight", Dtype::kI32, {4, 2}, std::string(32, 'v')), bias}) != same);
  CHECK(of({b, f32_weight("c.weight", 4, 2), bias}) != same);
  CHECK(of({b, f32_weight("a.weight", 4, 2)}) != same);
}

TEST_CASE("load: every float type gives the values that the bytes stand for", "[model]") {
  // 1, -2, 0.5 and 0 in each.
  struct Row {
    Dtype dtype;
    std::string bytes;
    at::ScalarType type;
  };
  using namespace std::string_literals;
  const auto row = GENERATE(values<Row>({
      {Dtype::kF64, "\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\xc0\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\0\0"s,
       at::kDouble},
      {Dtype::kF32, "\0\0\x80\x3f\0\0\0\xc0\0\0\0\x3f\0\0\0\0"s, at::kFloat},
      {Dtype::kF16, "\0\x3c\0\xc0\0\x38\0\0"s, at::kHalf},
      {Dtype::kBF16, "\x80\x3f\0\xc0\0\x3f\0\0"s, at::kBFloat16},
      {Dtype::kF8E4M3, "\x38\xc0\x30\0"s, at::kFloat8_e4m3fn},
      {Dtype::kF8E5M2, "\x3c\xc0\x38\0"s, at::kFloat8_e5m2},
  }));
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {tensor("x", row.dtype, {2, 2}, row.bytes)});
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  const at::Tensor loaded = load(*checkpoint.find("x"));
  CAPTURE(safetensors::dtype_name(row.dtype));
  CHECK(loaded.scalar_type() == row.type);
  CHECK(loaded.sizes() == at::IntArrayRef({2, 2}));
  CHECK(at::equal(loaded.to(at::kDouble), at::tensor({1.0, -2.0, 0.5, 0.0}, at::kDouble).reshape({2, 2})));
  CHECK(container_dtype(row.type) == row.dtype);
}

TEST_CASE("load: integers, booleans, a scalar and an empty tensor", "[model]") {
  const TempDir dir;
  using ctq::test::elements;
  make_checkpoint(dir / "m.safetensors",
                  {tensor("i64", Dtype::kI64, {2}, elements<int64_t>(2, [](int64_t i) { return -1 - i; })),
                   tensor("i8", Dtype::kI8, {2}, "\x7f\x81"), tensor("bool", Dtype::kBool, {2}, {'\0', '\1'}),
                   tensor("scalar", Dtype::kF32, {}, elements<float>(1, [](int64_t) { return 3.5f; })),
                   tensor("empty", Dtype::kF16, {0, 3}, "")});
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  CHECK(at::equal(load(*checkpoint.find("i64")), at::tensor({-1, -2}, at::kLong)));
  CHECK(at::equal(load(*checkpoint.find("i8")).to(at::kLong), at::tensor({127, -127}, at::kLong)));
  CHECK(at::equal(load(*checkpoint.find("bool")).to(at::kLong), at::tensor({0, 1}, at::kLong)));
  CHECK(load(*checkpoint.find("scalar")).dim() == 0);
  CHECK(load(*checkpoint.find("scalar")).item<float>() == 3.5f);
  CHECK(load(*checkpoint.find("empty")).sizes() == at::IntArrayRef({0, 3}));
  CHECK(load(*checkpoint.find("empty")).scalar_type() == at::kHalf);
}

TEST_CASE("load: a tensor whose bytes are not aligned to its element is copied", "[model]") {
  const TempDir dir;
  std::string data = "x";
  data += ctq::test::elements<float>(3, [](int64_t i) { return 1.5f * static_cast<float>(i + 1); });
  data += ctq::test::elements<uint16_t>(2, [](int64_t i) { return ctq::test::bf16(i == 0 ? 1.0f : -2.0f); });
  // The data start at an even offset, whatever the mapping's address is a multiple of.
  std::string json = R"({"byte":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                     R"("f":{"dtype":"F32","shape":[3,1],"data_offsets":[1,13]},)"
                     R"("h":{"dtype":"BF16","shape":[2],"data_offsets":[13,17]}})";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  write_file(dir / "m.safetensors", container(json, data));
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  const at::Tensor f = load(*checkpoint.find("f")), h = load(*checkpoint.find("h"));
  CHECK(is_aligned(f));
  CHECK(is_aligned(h));
  CHECK(at::equal(f, at::tensor({1.5f, 3.0f, 4.5f}).reshape({3, 1})));
  CHECK(at::equal(h.to(at::kFloat), at::tensor({1.0f, -2.0f})));
}

TEST_CASE("checkpoint: a view is of the same files", "[model]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_vector("a", 4), bf16_vector("b", 4)});
  const Checkpoint whole = Checkpoint::open(dir / "m.safetensors");
  const Checkpoint view = whole.view({*whole.find("b")}, {});
  CHECK(view.files() == std::vector<std::string>{dir / "m.safetensors"});
  CHECK(view.view({*view.find("b")}, {}).files() == whole.files());
}

TEST_CASE("load: an aligned tensor is a view of the file, without a copy", "[model]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {f32_weight("a.weight", 8, 8)});
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  const Checkpoint::Entry& entry = *checkpoint.find("a.weight");
  CHECK(load(entry).const_data_ptr() == static_cast<const void*>(entry.file->bytes(*entry.info).data()));
}

TEST_CASE("load: an element type without arithmetic is refused by the tensor's name", "[model]") {
  struct Row {
    Dtype dtype;
    std::string bytes;
  };
  const auto row = GENERATE(values<Row>(
      {{Dtype::kF8E8M0, "abcd"}, {Dtype::kF4, "ab"}, {Dtype::kF6E3M2, "abc"}, {Dtype::kF6E2M3, "abc"}}));
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {tensor("odd.scale", row.dtype, {4}, row.bytes)});
  const Checkpoint checkpoint = Checkpoint::open(dir / "m.safetensors");
  CHECK_THROWS_MATCHES(
      load(*checkpoint.find("odd.scale")), Error,
      HasCode(ErrorCode::kBadInput, "'odd.scale'", std::string(safetensors::dtype_name(row.dtype))));
}

TEST_CASE("container_dtype: the inverse of scalar_type", "[model]") {
  for (int i = 0; i <= static_cast<int>(Dtype::kBool); ++i) {
    safetensors::TensorInfo info;
    info.name = "x", info.dtype = static_cast<Dtype>(i);
    CAPTURE(safetensors::dtype_name(info.dtype));
    const bool without = info.dtype == Dtype::kF8E8M0 || info.dtype == Dtype::kF4 ||
                         info.dtype == Dtype::kF6E3M2 || info.dtype == Dtype::kF6E2M3;
    if (without) {
      CHECK_THROWS_AS(scalar_type(info), Error);
    } else {
      CHECK(container_dtype(scalar_type(info)) == info.dtype);
      CHECK(static_cast<int>(c10::elementSize(scalar_type(info))) * 8 == safetensors::dtype_bits(info.dtype));
    }
  }
}

}  // namespace ctq::model
