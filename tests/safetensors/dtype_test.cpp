#include "safetensors/dtype.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace ctq::safetensors {

TEST_CASE("dtype: every name has its size and is read back", "[safetensors]") {
  struct Row {
    Dtype dtype;
    std::string name;
    int bits;
  };
  const std::vector<Row> rows = {
      {Dtype::kU64, "U64", 64},
      {Dtype::kI64, "I64", 64},
      {Dtype::kF64, "F64", 64},
      {Dtype::kC64, "C64", 64},
      {Dtype::kF32, "F32", 32},
      {Dtype::kU32, "U32", 32},
      {Dtype::kI32, "I32", 32},
      {Dtype::kBF16, "BF16", 16},
      {Dtype::kF16, "F16", 16},
      {Dtype::kU16, "U16", 16},
      {Dtype::kI16, "I16", 16},
      {Dtype::kF8E5M2FNUZ, "F8_E5M2FNUZ", 8},
      {Dtype::kF8E4M3FNUZ, "F8_E4M3FNUZ", 8},
      {Dtype::kF8E8M0, "F8_E8M0", 8},
      {Dtype::kF8E4M3, "F8_E4M3", 8},
      {Dtype::kF8E5M2, "F8_E5M2", 8},
      {Dtype::kI8, "I8", 8},
      {Dtype::kU8, "U8", 8},
      {Dtype::kF6E3M2, "F6_E3M2", 6},
      {Dtype::kF6E2M3, "F6_E2M3", 6},
      {Dtype::kF4, "F4", 4},
      {Dtype::kBool, "BOOL", 8},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(dtype_name(row.dtype) == row.name);
    CHECK(parse_dtype(row.name) == row.dtype);
    CHECK(dtype_bits(row.dtype) == row.bits);
    CHECK(tensor_bytes(row.dtype, std::vector<int64_t>{2, 4}) == static_cast<uint64_t>(row.bits));
  }
}

TEST_CASE("dtype: other names are not defined", "[safetensors]") {
  for (const std::string name : {"", "f32", "F33", "F8_e4m3", "C128", "bool", "F32 ", "F8"}) {
    CAPTURE(name);
    CHECK(parse_dtype(name) == std::nullopt);
  }
}

TEST_CASE("dtype: four types can be quantized", "[safetensors]") {
  CHECK(is_float(Dtype::kF64));
  CHECK(is_float(Dtype::kF32));
  CHECK(is_float(Dtype::kF16));
  CHECK(is_float(Dtype::kBF16));
  CHECK_FALSE(is_float(Dtype::kF8E4M3));
  CHECK_FALSE(is_float(Dtype::kC64));
  CHECK_FALSE(is_float(Dtype::kI64));
  CHECK_FALSE(is_float(Dtype::kF4));
}

TEST_CASE("tensor_bytes: scalars, empty tensors, whole bytes, overflow", "[safetensors]") {
  using Shape = std::vector<int64_t>;
  const int64_t largest = INT64_MAX;
  CHECK(tensor_bytes(Dtype::kF32, Shape{}) == 4u);
  CHECK(tensor_bytes(Dtype::kF32, Shape{0, 7}) == 0u);
  CHECK(tensor_bytes(Dtype::kF16, Shape{1, 2, 3, 4, 5}) == 240u);
  CHECK(tensor_bytes(Dtype::kF4, Shape{3, 2}) == 3u);
  CHECK(tensor_bytes(Dtype::kF4, Shape{3}) == std::nullopt);
  CHECK(tensor_bytes(Dtype::kF6E2M3, Shape{4}) == 3u);
  CHECK(tensor_bytes(Dtype::kF6E2M3, Shape{2}) == std::nullopt);
  CHECK(tensor_bytes(Dtype::kU8, Shape{4294967296, 4294967296, 4294967296}) == std::nullopt);
  CHECK(tensor_bytes(Dtype::kU8, Shape{largest}) == std::nullopt);
  CHECK(tensor_bytes(Dtype::kU8, Shape{largest / 8}) == static_cast<uint64_t>(largest / 8));
  CHECK(tensor_bytes(Dtype::kF64, Shape{largest / 8}) == std::nullopt);
  CHECK(tensor_bytes(Dtype::kU8, Shape{0, largest, largest}) == 0u);
}

}  // namespace ctq::safetensors
