// Compiled once per instruction set, with CTQ_KERNEL_ISA as the name of the namespace.
//
// Plain branch-free loops that the compiler vectorises. Nothing here may be shared between the instruction
// sets: no inline function of a header (the linker would keep one copy, perhaps one that this machine cannot
// run), hence no standard library.
#include <cstdint>

#include "linalg/kernels/cpu/tile_kernels.h"

#define CTQ_STRINGIFY_EXPANDED(x) #x
#define CTQ_STRINGIFY(x) CTQ_STRINGIFY_EXPANDED(x)

namespace ctq::linalg::cpu::CTQ_KERNEL_ISA {
namespace {

constexpr int64_t kChunk =
    1024;  // columns handled at a time; its factors and converted elements stay in the first-level cache
constexpr int32_t kMagnitude = 0x7FFFFFFF;

int32_t bits_of(float x) { return __builtin_bit_cast(int32_t, x); }
float float_of(int32_t bits) { return __builtin_bit_cast(float, bits); }
int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }
int32_t max_of(int32_t a, int32_t b) { return a > b ? a : b; }
int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int32_t exponent(int e) { return (e + 127) << 23; }  // of 2^e in float32

float widen(double x) { return static_cast<float>(x); }

struct BFloat16 {
  uint16_t bits;
};
float widen(BFloat16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }

struct Float16 {
  uint16_t bits;
};
float widen(Float16 x) {
  const int32_t magnitude = x.bits & 0x7FFF;
  const int32_t special = magnitude >= 0x7C00 ? exponent(-15) : 0;  // infinity and NaN: to the top exponent
  const int32_t normal = (magnitude << 13) + exponent(-15) + special;
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
uint8_t encode_float(float u, float max) {
  const int32_t magnitude = min_of(bits_of(u) & kMagnitude, bits_of(max));
  const int32_t binade = max_of(magnitude & static_cast<int32_t>(kInfinityBits), exponent(kMinExponent));
  const int32_t magic = binade + ((23 - kMantissa) << 23);
  const int32_t steps = bits_of(float_of(magnitude) + float_of(magic)) - magic;
  const int32_t code = ((binade - exponent(kMinExponent)) >> (23 - kMantissa)) + steps;
  return static_cast<uint8_t>(code | ((bits_of(u) >> 24) & 0x80));
}

uint8_t encode_integer(float u, float min, float max) {
  const float below = u < max ? u : max;
  const float clamped = below > min ? below : min;
  return static_cast<uint8_t>(
      bits_of(clamped + 0x1.8p23f));  // the step of float32 there is 1: the low byte is the integer
}

/// Index of the nearest level: how many midpoints lie below.
uint8_t encode_level(float u) {
  int32_t index = 0;
  for (int i = 0; i < 15; ++i) index += u > (kLevels16[i] + kLevels16[i + 1]) / 2;
  return static_cast<uint8_t>(index);
}

template <Code kCode>
uint8_t encode_value(float u) {
  if constexpr (kCode == Code::kInt8) return encode_integer(u, -127.0f, 127.0f);
  if constexpr (kCode == Code::kE4M3) return encode_float<3, -6>(u, 448.0f);     // largest finite E4M3
  if constexpr (kCode == Code::kE5M2) return encode_float<2, -14>(u, 57344.0f);  // largest finite E5M2
  if constexpr (kCode == Code::kE2M1) {
    const uint8_t code = encode_float<1, 0>(u, 6.0f);
    return static_cast<uint8_t>((code & 7) | (code >> 4));  // the sign from bit 7 to bit 3
  }
  if constexpr (kCode == Code::kInt4) return encode_integer(u, -7.0f, 7.0f);
  if constexpr (kCode == Code::kNibble) return encode_integer(u, -8.0f, 7.0f);
  if constexpr (kCode == Code::kLevel16) return encode_level(u);
}

float decode_e4m3(uint8_t code) {
  const int32_t magnitude = code & 0x7F;
  const int32_t normal = (magnitude << 20) + exponent(-7);
  const int32_t subnormal = bits_of(static_cast<float>(magnitude) * 0x1p-9f);
  const int32_t finite = magnitude < 8 ? subnormal : normal;
  const int32_t value = magnitude == 0x7F ? 0x7FC00000 : finite;
  return __builtin_bit_cast(float, static_cast<uint32_t>(value) | (static_cast<uint32_t>(code & 0x80) << 24));
}

float decode_e2m1(uint8_t code) {
  const int32_t magnitude = code & 7;
  const int32_t value = magnitude < 2 ? bits_of(static_cast<float>(magnitude) * 0.5f)
                                      : (magnitude << 22) + exponent(-1);  // one bit of mantissa below 2^0
  return __builtin_bit_cast(float, static_cast<uint32_t>(value) | (static_cast<uint32_t>(code & 8) << 28));
}

template <Code kCode>
float decode_value(uint8_t code) {
  if constexpr (kCode == Code::kE4M3) return decode_e4m3(code);
  if constexpr (kCode == Code::kE5M2)
    return widen(Float16{static_cast<uint16_t>(code << 8)});  // the upper half of a float16
  if constexpr (kCode == Code::kE2M1) return decode_e2m1(code);
  if constexpr (kCode == Code::kLevel16) return kLevels16[code & 15];
  return static_cast<float>(static_cast<int8_t>(code));
}

/// Calls run.operator()<code>().
template <typename Run>
void with_code(Code code, const Run& run) {
  switch (code) {
    case Code::kInt8: return run.template operator()<Code::kInt8>();
    case Code::kE4M3: return run.template operator()<Code::kE4M3>();
    case Code::kE5M2: return run.template operator()<Code::kE5M2>();
    case Code::kE2M1: return run.template operator()<Code::kE2M1>();
    case Code::kInt4: return run.template operator()<Code::kInt4>();
    case Code::kNibble: return run.template operator()<Code::kNibble>();
    case Code::kLevel16: return run.template operator()<Code::kLevel16>();
  }
}

template <Code kCode, bool kDivide>
void encode_run(const float* __restrict weight, const float* __restrict factor, uint8_t* __restrict codes,
                int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float u = kDivide ? weight[i] / factor[i] : weight[i] * factor[i];
    codes[i] = encode_value<kCode>(factor[i] == 0.0f ? 0.0f : u);
  }
}

template <Code kCode>
void decode_run(const uint8_t* __restrict codes, const float* __restrict decode, float* __restrict values,
                int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = decode_value<kCode>(codes[i]) * decode[i];
}

template <typename T>
void widen_run(const T* __restrict weight, float* __restrict values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = widen(weight[i]);
}

/// Writes each tile's number once per column, for the columns [begin, begin + n).
void spread(const float* per_tile, int64_t tile_cols, int64_t begin, int64_t n,
            float* __restrict per_column) {
  int64_t tile = begin / tile_cols;
  for (int64_t i = 0; i < n; ++tile) {
    const int64_t end = min_of(n, (tile + 1) * tile_cols - begin);
    const float value = per_tile[tile];
    for (; i < end; ++i) per_column[i] = value;
  }
}

/// Calls run(offset, n) for pieces of at most kChunk columns of every row, after `per_column` was filled for
/// them.
template <typename Run>
void for_chunks(Band band, const float* per_tile, float* per_column, Run run) {
  if (band.cols <= band.tile_cols) {  // one tile: the band is one long run
    const int64_t numel = band.rows * band.cols;
    if (numel == 0) return;
    for (int64_t i = 0; i < min_of(numel, kChunk); ++i) per_column[i] = per_tile[0];
    for (int64_t i = 0; i < numel; i += kChunk) run(i, min_of(numel - i, kChunk));
    return;
  }
  for (int64_t begin = 0; begin < band.cols; begin += kChunk) {
    const int64_t n = min_of(band.cols - begin, kChunk);
    spread(per_tile, band.tile_cols, begin, n, per_column);
    for (int64_t row = 0; row < band.rows; ++row) run(row * band.cols + begin, n);
  }
}

template <Code kCode, bool kDivide>
void encode_as(Source source, const void* weight, Band band, const float* factor, uint8_t* codes) {
  alignas(64) float per_column[kChunk];
  alignas(64) float widened[kChunk];
  for_chunks(band, factor, per_column, [&](int64_t offset, int64_t n) {
    const float* values = widened;
    switch (source) {
      case Source::kFloat32: values = static_cast<const float*>(weight) + offset; break;
      case Source::kBFloat16: widen_run(static_cast<const BFloat16*>(weight) + offset, widened, n); break;
      case Source::kFloat16: widen_run(static_cast<const Float16*>(weight) + offset, widened, n); break;
      case Source::kFloat64: widen_run(static_cast<const double*>(weight) + offset, widened, n); break;
    }
    encode_run<kCode, kDivide>(values, per_column, codes + offset, n);
  });
}

void encode(Source source, Code code, bool divide, const void* weight, Band band, const float* factor,
            void* codes) {
  uint8_t* out = static_cast<uint8_t*>(codes);
  with_code(code, [&]<Code kCode>() {
    divide ? encode_as<kCode, true>(source, weight, band, factor, out)
           : encode_as<kCode, false>(source, weight, band, factor, out);
  });
}

void decode(Code code, const void* codes, Band band, const float* scale, float* values) {
  alignas(64) float per_column[kChunk];
  const uint8_t* in = static_cast<const uint8_t*>(codes);
  with_code(code, [&]<Code kCode>() {
    for_chunks(band, scale, per_column, [&](int64_t offset, int64_t n) {
      decode_run<kCode>(in + offset, per_column, values + offset, n);
    });
  });
}

template <int kHigh>
void pack_run(const uint8_t* __restrict codes, int64_t n, uint8_t* __restrict packed) {
  for (int64_t i = 0; i < n; ++i)
    packed[i] = static_cast<uint8_t>((codes[2 * i + kHigh] << 4) | (codes[2 * i + 1 - kHigh] & 15));
}

void pack_nibbles(const void* codes, int64_t n, bool even_is_high, void* packed) {
  const auto* const in = static_cast<const uint8_t*>(codes);
  auto* const out = static_cast<uint8_t*>(packed);
  even_is_high ? pack_run<0>(in, n, out) : pack_run<1>(in, n, out);
}

// Magnitudes, compared as the integers their bits are: that orders them, with infinity and then NaN on top.
// Bits is signed because the oldest instruction set has only the signed 16-bit maximum; without its sign bit
// a pattern is never negative.
struct Half {  // float16 and bfloat16
  using Element = uint16_t;
  using Bits = int16_t;
  static Bits magnitude(uint16_t x) { return static_cast<Bits>(x & 0x7FFF); }
};
struct Single {
  using Element = float;
  using Bits = int32_t;
  static Bits magnitude(float x) { return bits_of(x) & kMagnitude; }
};
struct Double {
  using Element = double;
  using Bits = int32_t;
  static Bits magnitude(double x) { return bits_of(static_cast<float>(x)) & kMagnitude; }
};

template <typename Kind>
typename Kind::Bits max_run(const typename Kind::Element* __restrict weight, int64_t n) {
  typename Kind::Bits most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const typename Kind::Bits bits = Kind::magnitude(weight[i]);
    most = bits > most ? bits : most;
  }
  return most;
}

template <typename Kind>
void max_columns(const typename Kind::Element* __restrict weight, typename Kind::Bits* __restrict most,
                 int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const typename Kind::Bits bits = Kind::magnitude(weight[i]);
    most[i] = bits > most[i] ? bits : most[i];
  }
}

/// Tiles of a row whose width is known while compiling, so that no tile pays for a loop's head and tail.
template <typename Kind, int64_t kWidth>
int64_t max_fixed_tiles(const typename Kind::Element* weight, int64_t tiles, typename Kind::Bits* most) {
  for (int64_t t = 0; t < tiles; ++t) most[t] = max_run<Kind>(weight + t * kWidth, kWidth);
  return tiles;
}

template <typename Kind>
void max_tiles_of_row(const typename Kind::Element* weight, int64_t cols, int64_t tile_cols,
                      typename Kind::Bits* most) {
  int64_t done = 0;
  switch (tile_cols) {
    case 16: done = max_fixed_tiles<Kind, 16>(weight, cols / 16, most); break;
    case 32: done = max_fixed_tiles<Kind, 32>(weight, cols / 32, most); break;
    case 64: done = max_fixed_tiles<Kind, 64>(weight, cols / 64, most); break;
    case 128: done = max_fixed_tiles<Kind, 128>(weight, cols / 128, most); break;
    default: break;
  }
  for (int64_t begin = done * tile_cols; begin < cols; begin += tile_cols, ++done) {
    most[done] = max_run<Kind>(weight + begin, min_of(tile_cols, cols - begin));
  }
}

/// float32 bits of a magnitude of the source type.
uint32_t to_float32_bits(Source source, int32_t bits) {
  if (source == Source::kBFloat16) return static_cast<uint32_t>(bits) << 16;
  if (source == Source::kFloat16)
    return static_cast<uint32_t>(bits_of(widen(Float16{static_cast<uint16_t>(bits)})));
  return static_cast<uint32_t>(bits);
}

template <typename Kind>
void amax_as(Source source, const void* weight, Band band, uint32_t* bits) {
  const auto* w = static_cast<const typename Kind::Element*>(weight);
  if (band.cols <= band.tile_cols) {
    if (band.cols > 0) bits[0] = to_float32_bits(source, max_run<Kind>(w, band.rows * band.cols));
    return;
  }
  // As many whole tiles at a time as fit in a chunk: maxima down the columns first, then across each tile.
  alignas(64) typename Kind::Bits columns[kChunk];
  alignas(64) typename Kind::Bits most[kChunk];
  const bool wide = band.tile_cols > kChunk;
  const int64_t step = wide ? band.tile_cols : kChunk / band.tile_cols * band.tile_cols;
  for (int64_t begin = 0, tile = 0; begin < band.cols; begin += step) {
    const int64_t n = min_of(step, band.cols - begin);
    const int64_t tiles = (n + band.tile_cols - 1) / band.tile_cols;
    if (wide) {
      most[0] = 0;
      for (int64_t row = 0; row < band.rows; ++row) {
        const typename Kind::Bits found = max_run<Kind>(w + row * band.cols + begin, n);
        most[0] = found > most[0] ? found : most[0];
      }
    } else if (band.rows == 1) {
      max_tiles_of_row<Kind>(w + begin, n, band.tile_cols, most);
    } else {
      for (int64_t i = 0; i < n; ++i) columns[i] = 0;
      for (int64_t row = 0; row < band.rows; ++row)
        max_columns<Kind>(w + row * band.cols + begin, columns, n);
      for (int64_t t = 0; t < tiles; ++t) {
        typename Kind::Bits found = 0;
        for (int64_t i = t * band.tile_cols; i < min_of(n, (t + 1) * band.tile_cols); ++i) {
          found = columns[i] > found ? columns[i] : found;
        }
        most[t] = found;
      }
    }
    for (int64_t t = 0; t < tiles; ++t, ++tile) bits[tile] = to_float32_bits(source, most[t]);
  }
}

void amax(Source source, const void* weight, Band band, uint32_t* bits) {
  switch (source) {
    case Source::kFloat16:
    case Source::kBFloat16: return amax_as<Half>(source, weight, band, bits);
    case Source::kFloat32: return amax_as<Single>(source, weight, band, bits);
    case Source::kFloat64: return amax_as<Double>(source, weight, band, bits);
  }
}

}  // namespace

extern const TileKernels kKernels = {CTQ_STRINGIFY(CTQ_KERNEL_ISA), amax, encode, decode, pack_nibbles};

}  // namespace ctq::linalg::cpu::CTQ_KERNEL_ISA
