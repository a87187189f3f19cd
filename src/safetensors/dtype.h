// The element types of the safetensors container.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ctq::safetensors {

/// In the order in which the reference writer lays tensors out (docs/formats/safetensors.md), so that every
/// tensor is aligned to its element. Types that we cannot compute with (F6, FNUZ, ...) are read and copied.
enum class Dtype : uint8_t {
  kU64,
  kI64,
  kF64,
  kC64,
  kF32,
  kU32,
  kI32,
  kBF16,
  kF16,
  kU16,
  kI16,
  kF8E5M2FNUZ,
  kF8E4M3FNUZ,
  kF8E8M0,
  kF8E4M3,
  kF8E5M2,
  kI8,
  kU8,
  kF6E3M2,
  kF6E2M3,
  kF4,
  kBool,
};

/// "F8_E4M3", as in the header.
std::string_view dtype_name(Dtype dtype);
/// Bits of one element: 4 and 6 for the sub-byte types.
int dtype_bits(Dtype dtype);
/// Nothing when the container does not define the name (names are upper case).
std::optional<Dtype> parse_dtype(std::string_view name);
/// F64, F32, F16, BF16: what can be quantized.
bool is_float(Dtype dtype);
/// F8_E4M3 or F8_E5M2: what programs store weights in.
bool is_fp8(Dtype dtype);

/// Bytes of a tensor. Nothing when the product overflows 63 bits or a sub-byte tensor does not end on a byte.
/// Dimensions must not be negative; a scalar has no dimensions and one element.
std::optional<uint64_t> tensor_bytes(Dtype dtype, std::span<const int64_t> shape);

}  // namespace ctq::safetensors
