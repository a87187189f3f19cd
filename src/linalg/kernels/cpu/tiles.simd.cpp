// Compiled once per instruction set, with CTQ_KERNEL_ISA as the name of the namespace.
//
// Plain branch-free loops that the compiler vectorises. Nothing here may be shared between the instruction
// sets: no inline function of a header (the linker would keep one copy, perhaps one that this machine cannot
// run), hence no standard library.
#include <cstdint>

#include "linalg/kernels/cpu/tile_kernels.h"
#include "linalg/kernels/grids.h"

#define CTQ_STRINGIFY_EXPANDED(x) #x
#define CTQ_STRINGIFY(x) CTQ_STRINGIFY_EXPANDED(x)

namespace ctq::linalg::cpu::CTQ_KERNEL_ISA {
namespace {

constexpr int64_t kChunk =
    1024;  // columns handled at a time; its factors and converted elements stay in the first-level cache
int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

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
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (code_row(kCode).spacing == Spacing::kLevels)
      values[i] = kLevels16[codes[i] & 15] * decode[i];  // a gather is faster than selects
    else
      values[i] = decode_value<kCode>(codes[i]) * decode[i];
  }
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
  static Bits magnitude(float x) { return bits_of(x) & kMagnitudeBits; }
};
struct Double {
  using Element = double;
  using Bits = int32_t;
  static Bits magnitude(double x) { return bits_of(static_cast<float>(x)) & kMagnitudeBits; }
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
