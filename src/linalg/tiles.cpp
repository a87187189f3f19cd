#include "linalg/tiles.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "linalg/kernels/cpu/tile_kernels.h"
#include "linalg/source.h"
#include "linalg/tiles_aten.h"
#include "linalg/tiles_gpu.h"

namespace ctq::linalg {
namespace {

// Work for a thread that outweighs waking it up: about 0.1 ms.
constexpr int64_t kTaskElements = int64_t{1} << 17;

/// A matrix in memory and its tiles.
struct Matrix {
  Matrix(const at::Tensor& tensor, Tiling tiling_)
      : rows(tensor.size(0)),
        cols(tensor.size(1)),
        tiling(tiling_),
        across(tiling.count_across(cols)),
        row_bytes(cols * static_cast<int64_t>(tensor.element_size())),
        data(static_cast<const std::byte*>(tensor.const_data_ptr())) {
    TORCH_INTERNAL_ASSERT(tensor.is_contiguous());
  }
  const void* row(int64_t index) const { return data + index * row_bytes; }
  cpu::Band band(int64_t height) const { return {height, cols, tiling.cols}; }
  bool empty() const { return rows == 0 || cols == 0; }

  int64_t rows;
  int64_t cols;
  Tiling tiling;
  int64_t across;
  int64_t row_bytes;
  const std::byte* data;
};

/// Calls run(first row, number of rows, index of the row of tiles) for pieces that lie in one row of tiles
/// each, in parallel. Rows of tiles may be cut; whatever the caller does must not depend on where.
template <typename Run>
void for_rows(const Matrix& matrix, const Run& run) {
  if (matrix.empty()) return;
  at::parallel_for(0, matrix.rows, std::max<int64_t>(1, kTaskElements / matrix.cols),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end;) {
                       const int64_t tile = row / matrix.tiling.rows;
                       const int64_t stop = std::min(end, (tile + 1) * matrix.tiling.rows);
                       run(row, stop - row, tile);
                       row = stop;
                     }
                   });
}

void raise(std::atomic<uint32_t>& most, uint32_t bits) {
  uint32_t seen = most.load(std::memory_order_relaxed);
  while (seen < bits && !most.compare_exchange_weak(seen, bits, std::memory_order_relaxed)) {
  }
}

/// float32 bits of the largest magnitude of all of it; at least kInfinityBits when there is a NaN or an
/// infinity.
uint32_t magnitude_bits(const at::Tensor& weight) {
  const Source source = source_of(weight);
  const auto* data = static_cast<const std::byte*>(weight.const_data_ptr());
  const int64_t bytes = static_cast<int64_t>(weight.element_size());
  std::atomic<uint32_t> most = 0;
  at::parallel_for(0, weight.numel(), kTaskElements, [&](int64_t begin, int64_t end) {
    uint32_t bits = 0;
    const int64_t n = end - begin;
    cpu::kernels().amax(source, data + begin * bytes, {1, n, n}, &bits);
    raise(most, bits);
  });
  return most;
}

void encode_rows(const Matrix& weight, Source source, Code code, bool divide, const float* factor,
                 std::byte* codes) {
  for_rows(weight, [&](int64_t row, int64_t height, int64_t tile) {
    cpu::kernels().encode(source, code, divide, weight.row(row), weight.band(height),
                          factor + tile * weight.across, codes + row * weight.cols);
  });
}

/// Scales of one row of tiles from the bits of their magnitudes. False when one of them is not finite.
bool apply(ScaleRule rule, float whole, const std::vector<uint32_t>& bits, float* decode, float* factor) {
  bool finite = true;
  for (size_t t = 0; t < bits.size(); ++t) {
    if (bits[t] >= kInfinityBits) {
      decode[t] = std::numeric_limits<float>::quiet_NaN();
      finite = false;
      continue;
    }
    const TileScale scale = rule(std::bit_cast<float>(bits[t]), whole);
    decode[t] = scale.decode;
    factor[t] = scale.factor;
  }
  return finite;
}

std::byte* bytes_of(at::Tensor& codes) { return static_cast<std::byte*>(codes.mutable_data_ptr()); }

}  // namespace

Extent extent(const at::Tensor& weight) {
  if (!weight.is_cpu()) return on_gpu::extent(weight);
  const uint32_t bits = magnitude_bits(weight);
  if (bits >= kInfinityBits) return aten::extent(weight);
  return {.amax = std::bit_cast<float>(bits)};
}

at::Tensor tile_amax(const at::Tensor& weight, Tiling tiling) {
  if (!weight.is_cpu()) return on_gpu::tile_amax(weight, tiling);
  const Matrix matrix(weight, tiling);
  const Source source = source_of(weight);
  const int64_t down = tiling.count_down(matrix.rows);
  at::Tensor result = at::zeros({down, matrix.across}, weight.options().dtype(at::kFloat));
  if (matrix.empty()) return result;
  auto* bits = static_cast<uint32_t*>(result.mutable_data_ptr());
  if (result.numel() == 1) {
    *bits = magnitude_bits(weight);
    return result;
  }
  const int64_t grain = std::max<int64_t>(1, kTaskElements / (tiling.rows * matrix.cols));
  at::parallel_for(0, down, grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile * tiling.rows;
      cpu::kernels().amax(source, matrix.row(row), matrix.band(std::min(tiling.rows, matrix.rows - row)),
                          bits + tile * matrix.across);
    }
  });
  return result;
}

TileCodes quantize_tiles(const at::Tensor& weight, Tiling tiling, TileCoding coding, bool* finite) {
  if (!weight.is_cpu()) return on_gpu::quantize_tiles(weight, tiling, coding, finite);
  const Matrix matrix(weight, tiling);
  const Source source = source_of(weight);
  const int64_t down = tiling.count_down(matrix.rows);
  at::Tensor codes = at::empty({matrix.rows, matrix.cols}, weight.options().dtype(code_dtype(coding.code)));
  at::Tensor decode = at::zeros({down, matrix.across}, weight.options().dtype(at::kFloat));
  *finite = true;
  if (matrix.empty()) return {codes, decode};
  auto* scale = decode.mutable_data_ptr<float>();

  if (decode.numel() == 1) {  // the scale needs all of the weight before the first code: two passes
    float factor = 1;
    const uint32_t bits = magnitude_bits(weight);
    *finite = apply(coding.rule, std::bit_cast<float>(bits), {bits}, scale, &factor);
    if (*finite) encode_rows(matrix, source, coding.code, coding.divide, &factor, bytes_of(codes));
    return {codes, decode, std::bit_cast<float>(bits)};
  }
  const uint32_t whole = coding.two_levels ? magnitude_bits(weight) : 0;
  if (whole >= kInfinityBits) {
    *finite = false;
    return {codes, decode};
  }
  std::byte* const out = bytes_of(codes);
  std::atomic<bool> all_finite = true;
  const int64_t grain = std::max<int64_t>(1, kTaskElements / (tiling.rows * matrix.cols));
  at::parallel_for(0, down, grain, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> bits(static_cast<size_t>(matrix.across));
    std::vector<float> factor(bits.size(), 1.0f);
    for (int64_t tile = begin; tile < end;
         ++tile) {  // a row of tiles is still in the cache when it is read again
      const int64_t row = tile * tiling.rows;
      const cpu::Band band = matrix.band(std::min(tiling.rows, matrix.rows - row));
      cpu::kernels().amax(source, matrix.row(row), band, bits.data());
      if (!apply(coding.rule, std::bit_cast<float>(whole), bits, scale + tile * matrix.across,
                 factor.data())) {
        all_finite = false;
        return;
      }
      cpu::kernels().encode(source, coding.code, coding.divide, matrix.row(row), band, factor.data(),
                            out + row * matrix.cols);
    }
  });
  *finite = all_finite;
  return {codes, decode, std::bit_cast<float>(whole)};
}

at::Tensor encode_tiles(const at::Tensor& weight, Tiling tiling, Code code, bool divide,
                        const at::Tensor& factor) {
  if (!weight.is_cpu()) return on_gpu::encode_tiles(weight, tiling, code, divide, factor);
  at::Tensor codes = at::empty_like(weight, weight.options().dtype(code_dtype(code)));
  const at::Tensor factors = factor.contiguous();
  encode_rows(Matrix(weight, tiling), source_of(weight), code, divide, factors.const_data_ptr<float>(),
              bytes_of(codes));
  return codes;
}

at::Tensor decode_tiles(const at::Tensor& codes, Code code, Tiling tiling, const at::Tensor& decode) {
  TORCH_INTERNAL_ASSERT(codes.scalar_type() == code_dtype(code));
  if (!codes.is_cpu()) return on_gpu::decode_tiles(codes, code, tiling, decode);
  const Matrix matrix(codes, tiling);
  at::Tensor values = at::empty_like(codes, codes.options().dtype(at::kFloat));
  const at::Tensor scales = decode.contiguous();
  const auto* scale = scales.const_data_ptr<float>();
  auto* out = values.mutable_data_ptr<float>();
  for_rows(matrix, [&](int64_t row, int64_t height, int64_t tile) {
    cpu::kernels().decode(code, matrix.row(row), matrix.band(height), scale + tile * matrix.across,
                          out + row * matrix.cols);
  });
  return values;
}

at::Tensor pack_nibbles(const at::Tensor& codes, bool even_is_high) {
  TORCH_INTERNAL_ASSERT(codes.element_size() == 1 && codes.is_contiguous() && codes.size(-1) % 2 == 0);
  if (!codes.is_cpu()) return on_gpu::pack_nibbles(codes, even_is_high);
  std::vector<int64_t> shape = codes.sizes().vec();
  shape.back() /= 2;
  at::Tensor packed = at::empty(shape, codes.options());
  const auto* in = static_cast<const std::byte*>(codes.const_data_ptr());
  std::byte* const out = bytes_of(packed);
  at::parallel_for(0, packed.numel(), kTaskElements, [&](int64_t begin, int64_t end) {
    cpu::kernels().pack_nibbles(in + 2 * begin, end - begin, even_is_high, out + begin);
  });
  return packed;
}

at::Tensor unpack_nibbles(const at::Tensor& packed, bool even_is_high) {
  const auto bytes = packed.view(at::kByte);
  const at::Tensor low = bytes.bitwise_and(15), high = bytes.bitwise_right_shift(4);
  std::vector<int64_t> shape = packed.sizes().vec();
  shape.back() *= 2;
  const at::Tensor codes =
      (even_is_high ? at::stack({high, low}, -1) : at::stack({low, high}, -1)).reshape(shape);
  if (packed.scalar_type() != at::kChar) return codes;
  return codes.bitwise_xor(8).view(at::kChar).sub(8);  // extends the sign
}

const char* kernel_isa() { return cpu::kernels().isa; }

}  // namespace ctq::linalg
