// Fused one-pass kernels over tiles of a matrix: largest magnitude; scale, round and pack; and back.
//
// A tile is what shares one scale: the whole matrix, a row, a run of columns of a row, or a square block. On
// the CPU these are our own vectorised kernels, chosen at run time by instruction set; on a GPU kernels of
// our own, or where they were not built the same arithmetic in ATen operations. All give the same bits, for
// any number of threads.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "linalg/code.h"

namespace ctq::linalg {

/// Tiles of `rows` x `cols` elements, from the top left; those at the right and lower edges may be smaller.
struct Tiling {
  int64_t rows = 1;
  int64_t cols = 1;

  int64_t count_down(int64_t out_features) const { return (out_features + rows - 1) / rows; }
  int64_t count_across(int64_t in_features) const { return (in_features + cols - 1) / cols; }
};

/// Scale of one tile. The value of a code is `code * decode`; the number that is rounded is `w * factor`, or
/// `w / factor`; where `factor` is 0 it is 0.
struct TileScale {
  float decode;
  float factor;
};

/// From the largest magnitude of a tile to its scale. whole: that of the whole weight, where
/// TileCoding::two_levels asks for it, else 0.
using ScaleRule = TileScale (*)(float amax, float whole);

/// How weights become codes.
struct TileCoding {
  Code code;
  bool divide;  ///< w / factor instead of w * factor; the two differ in the last bit and so in ties
  ScaleRule rule;
  bool two_levels = false;  ///< the rule looks at the whole weight too, which costs another read of it
};

struct TileCodes {
  at::Tensor codes;   ///< [out_features, in_features], of the code's code_dtype()
  at::Tensor decode;  ///< [count_down, count_across] float32, decode scales
  float whole = 0;    ///< largest magnitude of the weight, where TileCoding::two_levels asks for it
};

/// The element type that holds a code, one to an element: int8, uint8, float8_e4m3fn or float8_e5m2.
at::ScalarType code_dtype(Code code);

/// Nearest codes, of the code's code_dtype(). u: float32, any shape and device, in the scaled domain.
at::Tensor codes_of(const at::Tensor& u, Code code);

/// What codes stand for before scaling, float32.
at::Tensor values_of(const at::Tensor& codes, Code code);

/// Largest magnitude and number of non-finite values of a tensor.
struct Extent {
  float amax = 0;  ///< of the finite values; 0 for an empty tensor
  int64_t nan_count = 0;
  int64_t inf_count = 0;
  bool finite() const { return nan_count == 0 && inf_count == 0; }
};

/// Largest magnitude and non-finite values. weight: any shape, float64, float32, float16 or bfloat16, any
/// device, contiguous. Works on the magnitudes' bit patterns, so it costs one read of the data; non-finite
/// values are counted only where there are some. Float64 values are taken as what they round to in float32.
Extent extent(const at::Tensor& weight);

/// Largest magnitude per tile: [count_down, count_across] float32, on the weight's device. weight:
/// [out_features, in_features], contiguous, any float type. A tile that holds a NaN or an infinity gives a
/// non-finite magnitude.
at::Tensor tile_amax(const at::Tensor& weight, Tiling tiling);

/// Scales by absmax and rounds to nearest in one go. weight: [out_features, in_features], contiguous, any
/// float type, any device. Float64 is rounded to float32 first; all arithmetic is float32.
///
/// `finite` becomes false when a tile holds a non-finite value; codes and scales are then meaningless.
TileCodes quantize_tiles(const at::Tensor& weight, Tiling tiling, TileCoding coding, bool* finite);

/// Rounds to nearest with scales that are given. factor: [count_down, count_across] float32. Returns the
/// codes.
at::Tensor encode_tiles(const at::Tensor& weight, Tiling tiling, Code code, bool divide,
                        const at::Tensor& factor);

/// Values of codes times decode, float32, [out_features, in_features].
at::Tensor decode_tiles(const at::Tensor& codes, Code code, Tiling tiling, const at::Tensor& decode);

/// Two codes of 4 bits to a byte, in two's complement where they have a sign. codes: [.., 2 n], contiguous,
/// int8 or uint8; returns [.., n] of the same type, on the same device.
at::Tensor pack_nibbles(const at::Tensor& codes, bool even_is_high);

/// The codes of pack_nibbles(). packed: int8, which gives codes with a sign, or uint8.
at::Tensor unpack_nibbles(const at::Tensor& packed, bool even_is_high);

/// The name of the instruction set the CPU kernels use on this machine: "avx512", "avx2" or "baseline".
/// CTQ_KERNELS in the environment (one of these words) lowers it, for tests.
const char* kernel_isa();

}  // namespace ctq::linalg
