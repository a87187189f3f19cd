// The bytes that the clients' own libraries make, reproduced.
#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include <fmt/format.h>

#include "format/codec.h"
#include "format/swizzle.h"
#include "linalg/golden.h"

namespace ctq::format {
namespace {

using test::Golden;
using test::same_bits;

struct Vector {
  const char* file;
  const char* input;
  const char* weight;
  const char* scale;
  const char* decoded;  ///< null where the file has none
  const char* format;
  Granularity granularity;
  int64_t block_size;
  int64_t rotation_group = 0;
};

constexpr Vector kVectors[] = {
    {"fp8_scaled", "in.w", "out.e4m3fn.weight", "out.e4m3fn.weight_scale", "deq.e4m3fn", "float8_e4m3fn",
     Granularity::kTensor, 0},
    {"fp8_scaled", "in.w_bf16", "out.bf16src.e4m3fn.weight", "out.bf16src.e4m3fn.weight_scale", nullptr,
     "float8_e4m3fn", Granularity::kTensor, 0},
    {"fp8_scaled", "in.w", "out.e5m2.weight", "out.e5m2.weight_scale", "deq.e5m2", "float8_e5m2",
     Granularity::kTensor, 0},
    {"fp8_scaled", "in.w_bf16", "out.bf16src.e5m2.weight", "out.bf16src.e5m2.weight_scale", nullptr,
     "float8_e5m2", Granularity::kTensor, 0},
    {"fp8_scaled", "in.v", "out.row.weight", "out.row.weight_scale", "deq.row", "float8_e4m3fn_rowwise",
     Granularity::kRow, 0},
    {"fp8_scaled", "in.v", "out.block16.weight", "out.block16.weight_scale", "deq.block16",
     "float8_e4m3fn_blockwise", Granularity::kBlock, 16},
    {"fp8_scaled", "in.v", "out.block3d16.weight", "out.block3d16.weight_scale", "deq.block3d16",
     "float8_e4m3fn_block3d", Granularity::kBlock3d, 16},
    {"int8_tensorwise", "in.w", "out.tensor.weight", "out.tensor.weight_scale", "deq.tensor",
     "int8_tensorwise", Granularity::kTensor, 0},
    {"int8_tensorwise", "in.w", "out.row.weight", "out.row.weight_scale", "deq.row", "int8_tensorwise",
     Granularity::kRow, 0},
    {"int8_tensorwise", "in.zero", "out.zero.tensor.weight", "out.zero.tensor.weight_scale", nullptr,
     "int8_tensorwise", Granularity::kTensor, 0},
    {"int8_tensorwise", "in.zero", "out.zero.row.weight", "out.zero.row.weight_scale", nullptr,
     "int8_tensorwise", Granularity::kRow, 0},
    {"int8_tensorwise", "in.rot4", "out.rot4.weight", "out.rot4.weight_scale", "deq.rot4", "int8_tensorwise",
     Granularity::kRow, 0, 4},
    {"int8_tensorwise", "in.rot16", "out.rot16.weight", "out.rot16.weight_scale", "deq.rot16",
     "int8_tensorwise", Granularity::kRow, 0, 16},
    {"int8_tensorwise", "in.rot64", "out.rot64.weight", "out.rot64.weight_scale", "deq.rot64",
     "int8_tensorwise", Granularity::kRow, 0, 64},
    {"int8_tensorwise", "in.rot256", "out.rot256.weight", "out.rot256.weight_scale", "deq.rot256",
     "int8_tensorwise", Granularity::kRow, 0, 256},
    {"int8_blockwise", "in.w", "out.round.weight", "out.weight_scale", "deq.round", "int8_blockwise",
     Granularity::kBlock, 32},
};

TEST_CASE("golden: codes, scales and decoded weights are the clients' own", "[format]") {
  for (const Vector& vector : kVectors) {
    CAPTURE(vector.file, vector.weight);
    const Golden golden(vector.file);
    const Codec* codec = find_codec(vector.format, vector.granularity);
    REQUIRE(codec != nullptr);
    const std::optional<Encoded> encoded =
        encode_nearest(*codec, golden[vector.input], vector.block_size, vector.rotation_group);
    REQUIRE(encoded.has_value());
    CHECK(same_bits(encoded->codes, golden[vector.weight]));
    CHECK(same_bits(encoded->scales, golden[vector.scale]));
    if (vector.decoded != nullptr) {
      CHECK(at::allclose(decode(*encoded), golden[vector.decoded], /*rtol=*/1e-6,
                         vector.rotation_group > 0 ? 1e-6 : 0));
    }
  }
}

/// A format whose stored tensors are more than codes and scales: "<key>.<role>" for each of them.
struct Packed {
  const char* file;
  const char* input;
  const char* stored;   ///< before ".weight"
  const char* decoded;  ///< null where the file has none
  const char* format;
  Granularity granularity;
  int64_t rotation_group = 0;
};

constexpr Packed kPacked[] = {
    {"nvfp4", "in.aligned", "out.aligned", "deq.aligned", "nvfp4", Granularity::kGroup},
    {"nvfp4", "in.padded", "out.padded", "deq.padded", "nvfp4", Granularity::kGroup},
    {"nvfp4", "in.swizzle", "out.swizzle", "deq.swizzle", "nvfp4", Granularity::kGroup},
    {"mxfp8", "in.aligned", "out.aligned", "deq.aligned", "mxfp8", Granularity::kGroup},
    {"mxfp8", "in.padded", "out.padded", "deq.padded", "mxfp8", Granularity::kGroup},
    {"mxfp8", "in.swizzle", "out.swizzle", nullptr, "mxfp8", Granularity::kGroup},
    {"convrot_w4a4", "in.w4a4_64", "out.w4a4_64", "deq.w4a4_64", "convrot_w4a4", Granularity::kRow, 64},
    {"convrot_w4a4", "in.w4a4_256", "out.w4a4_256", "deq.w4a4_256", "convrot_w4a4", Granularity::kRow, 256},
};

TEST_CASE("golden: packed tensors are the clients' own, and decode as they decode them", "[format]") {
  for (const Packed& vector : kPacked) {
    CAPTURE(vector.file, vector.input);
    const Golden golden(vector.file);
    const Codec* codec = find_codec(vector.format, vector.granularity);
    REQUIRE(codec != nullptr);
    const at::Tensor input = golden[vector.input];
    const int64_t rows = input.size(0), columns = input.size(1);
    const auto encoded = encode_nearest(*codec, input, 0, vector.rotation_group);
    REQUIRE(encoded.has_value());
    const std::vector<StoredTensor> announced = stored_tensors(*codec, rows, columns, 0);
    const std::vector<at::Tensor> packed = pack(*encoded);
    std::vector<at::Tensor> stored;
    for (size_t i = 0; i < announced.size(); ++i) {
      CAPTURE(announced[i].role);
      stored.push_back(golden[fmt::format("{}.{}", vector.stored, announced[i].role)]);
      CHECK(same_bits(packed.at(i), stored.back()));
    }
    if (vector.decoded == nullptr) continue;
    const Encoded read = unpack(*codec, 0, vector.rotation_group, stored, rows, columns);
    const double tolerance = vector.rotation_group > 0 ? 1e-6 : 0;
    CHECK(at::allclose(decode(read), golden[vector.decoded], /*rtol=*/1e-6, tolerance));
  }
}

TEST_CASE("golden: asym_w4a8_int8 decodes as kitchen decodes it, and is encoded about as well", "[format]") {
  const Golden golden("asym_w4a8_int8");
  const Codec& codec = *find_codec("asym_w4a8_int8", Granularity::kGroup);
  for (const auto& [key, rotation] :
       {std::pair<std::string, int64_t>{"w4_g16_r256", 256}, {"w4_zero_row", 64}}) {
    CAPTURE(key);
    const at::Tensor input = golden["in." + key], decoded = golden["deq." + key];
    std::vector<at::Tensor> stored;
    for (const StoredTensor& announced : stored_tensors(codec, input.size(0), input.size(1), 0))
      stored.push_back(golden[fmt::format("out.{}.{}", key, announced.role)]);
    const Encoded read = unpack(codec, 0, rotation, stored, input.size(0), input.size(1));
    CHECK(at::allclose(decode(read), decoded, /*rtol=*/0, /*atol=*/1e-6));
    const std::vector<at::Tensor> again = pack(read);
    for (size_t i = 0; i < stored.size(); ++i) CHECK(same_bits(again[i], stored[i]));
    const auto ours = encode_nearest(codec, input, 0, rotation);
    REQUIRE(ours.has_value());
    CHECK((decode(*ours) - input).norm().item<double>() <= 1.05 * (decoded - input).norm().item<double>());
  }
}

TEST_CASE("golden: awq_w4a16 decodes as kitchen decodes it", "[format]") {
  const Golden golden("awq_w4a16");
  const Codec& codec = *find_codec("awq_w4a16", Granularity::kGroup);
  const std::vector<at::Tensor> stored = {golden["in.weight"], golden["in.weight_scale"],
                                          golden["in.weight_zeros"]};
  const Encoded read = unpack(codec, 0, 0, stored, 8, 128);
  CHECK(same_bits(read.codes.add(8).to(at::kByte), golden["in.codes"]));
  CHECK(same_bits(decode(read), golden["deq.f32"]));
  const std::vector<at::Tensor> again = pack(read);
  for (size_t i = 0; i < stored.size(); ++i) CHECK(same_bits(again[i], stored[i]));
}

TEST_CASE("golden: scales of blocks lie where tensor cores look for them", "[format]") {
  const Golden golden("swizzle");
  for (const std::string shape : {"16x1", "130x5", "256x8"}) {
    CAPTURE(shape);
    const at::Tensor grid = golden["in." + shape];
    CHECK(same_bits(swizzle(grid), golden["out." + shape]));
    CHECK(same_bits(unswizzle(golden["out." + shape], grid.size(0), grid.size(1)), grid));
  }
}

TEST_CASE("golden: a layer that QuIP transformed decodes as its reader does", "[format]") {
  const Golden golden("rotations");
  const Codec& codec = *find_codec("int8_quip_hadamard", Granularity::kRow);
  const auto size = [](int value) { return at::scalar_tensor(value, at::kInt); };
  const std::vector<at::Tensor> stored = {golden["in.quip.weight"],
                                          golden["in.quip.weight_scale"],
                                          golden["in.quip.sign_row"],
                                          golden["in.quip.sign_col"],
                                          at::scalar_tensor(1, at::kChar),
                                          size(16),
                                          size(32)};
  const Encoded encoded = unpack(codec, 0, 0, stored, 16, 32);
  const at::Tensor expected = golden["deq.quip"];
  CHECK(((decode(encoded) - expected).abs().max() / expected.abs().max()).item<double>() < 1e-6);
  CHECK(at::allclose(in_code_space(decode(encoded), encoded), stored[0].to(at::kFloat) * stored[1], 1e-5,
                     1e-6));
  const std::vector<at::Tensor> again = pack(encoded);
  REQUIRE(again.size() == stored.size());
  for (size_t i = 0; i < again.size(); ++i) CHECK(at::equal(again[i], stored[i]));
}

}  // namespace
}  // namespace ctq::format
