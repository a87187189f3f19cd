// Values and codes of the grids, for kernels: the same bits on a CPU and on a GPU, on every instruction set.
//
// Everything here has internal linkage: kernels of different instruction sets must not share a function
// (cpu/tiles.simd.cpp). Compile without contraction to fused multiply-add.
#pragma once

#include <cstdint>

#include "linalg/code.h"
#include "linalg/kernels/blocks.h"

#ifdef __CUDACC__
#define CTQ_KERNEL_FUNCTION __host__ __device__ __forceinline__
#else
#define CTQ_KERNEL_FUNCTION inline
#endif

namespace ctq::linalg {
namespace {

constexpr int32_t kMagnitudeBits = 0x7FFFFFFF;  // of float32
constexpr int32_t kExponentBits = 0x7F800000;

CTQ_KERNEL_FUNCTION int32_t bits_of(float x) { return __builtin_bit_cast(int32_t, x); }
CTQ_KERNEL_FUNCTION float float_of(int32_t bits) { return __builtin_bit_cast(float, bits); }
/// The bits of 2^e.
CTQ_KERNEL_FUNCTION constexpr int32_t exponent_bits(int e) { return (e + 127) << 23; }

/// Adding 1.5 * 2^23 leaves no bits for fractions.
CTQ_KERNEL_FUNCTION float nearest_integer(float u, float min, float max) {
  const float below = u < max ? u : max;
  const float clamped = below > min ? below : min;
  return (clamped + 0x1.8p23f) - 0x1.8p23f;
}

/// Adding 2^(e + 23 - kMantissaBits), 2^e being the binade of |u|, leaves no bits below the format's step
/// there.
template <int kMantissaBits, int kMinExponent>
CTQ_KERNEL_FUNCTION float nearest_float(float u, float max) {
  const int32_t all = bits_of(u) & kMagnitudeBits;
  const int32_t magnitude = all < bits_of(max) ? all : bits_of(max);
  const int32_t own = magnitude & kExponentBits;
  const int32_t binade = own > exponent_bits(kMinExponent) ? own : exponent_bits(kMinExponent);
  const float magic = float_of(binade + ((23 - kMantissaBits) << 23));
  const float rounded = (float_of(magnitude) + magic) - magic;
  return float_of(bits_of(rounded) | (bits_of(u) & ~kMagnitudeBits));
}

template <int kIndex>
constexpr float kLevel = kLevels16[kIndex];
template <int kIndex>
constexpr float kMidpoint = (kLevels16[kIndex] + kLevels16[kIndex + 1]) / 2;

/// Of two equally near levels the lower.
template <int kBelow = 0>
CTQ_KERNEL_FUNCTION float nearest_level(float u, float level = kLevel<0>) {
  if constexpr (kBelow < 15)
    return nearest_level<kBelow + 1>(u, u > kMidpoint<kBelow> ? kLevel<kBelow + 1> : level);
  else
    return level;
}

/// Nearest value of the code, saturating.
template <Code kCode>
CTQ_KERNEL_FUNCTION float nearest(float u) {
  constexpr CodeRow kRow = code_row(kCode);
  if constexpr (kRow.spacing == Spacing::kInteger)
    return nearest_integer(u, kRow.min, kRow.max);
  else if constexpr (kRow.spacing == Spacing::kFloat)
    return nearest_float<kRow.mantissa_bits, kRow.min_exponent>(u, kRow.max);
  else
    return nearest_level(u);
}

CTQ_KERNEL_FUNCTION float widen(float x) { return x; }
CTQ_KERNEL_FUNCTION float widen(double x) { return static_cast<float>(x); }

struct BFloat16 {
  uint16_t bits;
};
CTQ_KERNEL_FUNCTION float widen(BFloat16 x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16);
}

struct Float16 {
  uint16_t bits;
};
CTQ_KERNEL_FUNCTION float widen(Float16 x) {
  const int32_t magnitude = x.bits & 0x7FFF;
  const int32_t special =
      magnitude >= 0x7C00 ? exponent_bits(-15) : 0;  // infinity and NaN: to the top exponent
  const int32_t normal = (magnitude << 13) + exponent_bits(-15) + special;
  const int32_t subnormal = bits_of(static_cast<float>(magnitude) * 0x1p-24f);
  const int32_t value = magnitude < 0x0400 ? subnormal : normal;
  return __builtin_bit_cast(float,
                            static_cast<uint32_t>(value) | (static_cast<uint32_t>(x.bits & 0x8000) << 16));
}

/// Nearest value of a binary format with `kMantissa` stored bits and normal numbers from 2^kMinExponent on,
/// ties to even.
///
/// Adding 2^(e + 23 - mantissa) to |u|, with 2^e its binade, rounds it to a multiple of the format's step
/// there; the sum's low bits are that multiple. Below the normal numbers the step stays, which gives the
/// subnormals.
template <int kMantissa, int kMinExponent>
CTQ_KERNEL_FUNCTION uint8_t encode_float(float u, float max) {
  const int32_t all = bits_of(u) & kMagnitudeBits;
  const int32_t magnitude = all < bits_of(max) ? all : bits_of(max);
  const int32_t own = magnitude & kExponentBits;
  const int32_t binade = own > exponent_bits(kMinExponent) ? own : exponent_bits(kMinExponent);
  const int32_t magic = binade + ((23 - kMantissa) << 23);
  const int32_t steps = bits_of(float_of(magnitude) + float_of(magic)) - magic;
  const int32_t code = ((binade - exponent_bits(kMinExponent)) >> (23 - kMantissa)) + steps;
  return static_cast<uint8_t>(code | ((bits_of(u) >> 24) & 0x80));
}

CTQ_KERNEL_FUNCTION uint8_t encode_integer(float u, float min, float max) {
  const float below = u < max ? u : max;
  const float clamped = below > min ? below : min;
  return static_cast<uint8_t>(
      bits_of(clamped + 0x1.8p23f));  // the step of float32 there is 1: the low byte is the integer
}

/// Index of the nearest level: how many midpoints lie below.
template <int kBelow = 0>
CTQ_KERNEL_FUNCTION uint8_t encode_level(float u, int32_t index = 0) {
  if constexpr (kBelow < 15)
    return encode_level<kBelow + 1>(u, index + (u > kMidpoint<kBelow> ? 1 : 0));
  else
    return static_cast<uint8_t>(index);
}

/// The code of the nearest value.
template <Code kCode>
CTQ_KERNEL_FUNCTION uint8_t encode_value(float u) {
  constexpr CodeRow kRow = code_row(kCode);
  if constexpr (kRow.spacing == Spacing::kInteger) return encode_integer(u, kRow.min, kRow.max);
  if constexpr (kRow.spacing == Spacing::kLevels) return encode_level(u);
  if constexpr (kRow.spacing == Spacing::kFloat) {
    const uint8_t code = encode_float<kRow.mantissa_bits, kRow.min_exponent>(u, kRow.max);
    if constexpr (kRow.bits == 8)
      return code;
    else
      return static_cast<uint8_t>((code & 7) | (code >> 4));  // the sign from bit 7 to bit 3
  }
}

CTQ_KERNEL_FUNCTION float decode_e4m3(uint8_t code) {
  const int32_t magnitude = code & 0x7F;
  const int32_t normal = (magnitude << 20) + exponent_bits(-7);
  const int32_t subnormal = bits_of(static_cast<float>(magnitude) * 0x1p-9f);
  const int32_t finite = magnitude < 8 ? subnormal : normal;
  const int32_t value = magnitude == 0x7F ? 0x7FC00000 : finite;
  return __builtin_bit_cast(float, static_cast<uint32_t>(value) | (static_cast<uint32_t>(code & 0x80) << 24));
}

CTQ_KERNEL_FUNCTION float decode_e2m1(uint8_t code) {
  const int32_t magnitude = code & 7;
  const int32_t value = magnitude < 2
                            ? bits_of(static_cast<float>(magnitude) * 0.5f)
                            : (magnitude << 22) + exponent_bits(-1);  // one bit of mantissa below 2^0
  return __builtin_bit_cast(float, static_cast<uint32_t>(value) | (static_cast<uint32_t>(code & 8) << 28));
}

template <int kIndex = 15>
CTQ_KERNEL_FUNCTION float level_at(int32_t index) {
  if constexpr (kIndex > 0)
    return index == kIndex ? kLevel<kIndex> : level_at<kIndex - 1>(index);
  else
    return kLevel<0>;
}

/// What a code stands for.
template <Code kCode>
CTQ_KERNEL_FUNCTION float decode_value(uint8_t code) {
  if constexpr (kCode == Code::kE4M3) return decode_e4m3(code);
  if constexpr (kCode == Code::kE5M2)
    return widen(Float16{static_cast<uint16_t>(code << 8)});  // the upper half of a float16
  if constexpr (kCode == Code::kE2M1) return decode_e2m1(code);
  if constexpr (kCode == Code::kLevel16) return level_at(code & 15);
  return static_cast<float>(static_cast<int8_t>(code));
}

/// Calls run.operator()<code>(), and returns what it returns.
template <typename Run>
auto with_code(Code code, const Run& run) {
  switch (code) {
    case Code::kInt8: return run.template operator()<Code::kInt8>();
    case Code::kE4M3: return run.template operator()<Code::kE4M3>();
    case Code::kE5M2: return run.template operator()<Code::kE5M2>();
    case Code::kE2M1: return run.template operator()<Code::kE2M1>();
    case Code::kInt4: return run.template operator()<Code::kInt4>();
    case Code::kNibble: return run.template operator()<Code::kNibble>();
    case Code::kLevel16: return run.template operator()<Code::kLevel16>();
  }
  __builtin_unreachable();
}

/// Calls run(a value of the element type as it lies in memory), and returns what it returns.
template <typename Run>
auto with_source(Source source, const Run& run) {
  switch (source) {
    case Source::kFloat32: return run(float{});
    case Source::kFloat16: return run(Float16{});
    case Source::kBFloat16: return run(BFloat16{});
    case Source::kFloat64: return run(double{});
  }
  __builtin_unreachable();
}

}  // namespace
}  // namespace ctq::linalg
