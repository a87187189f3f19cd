#include "linalg/tiles_gpu.h"

#include <algorithm>
#include <bit>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "linalg/gpu_kernels.h"
#include "linalg/source.h"
#include "linalg/tiles_aten.h"

namespace ctq::linalg::on_gpu {
namespace {

constexpr int64_t kTilesOfThread = int64_t{1} << 15;  // scales that outweigh waking a thread

/// Null also for what has no elements.
const gpu::Kernels* kernels_for(const at::Tensor& matrix) {
  return matrix.numel() > 0 && matrix.is_contiguous() ? gpu_kernels(matrix.device()) : nullptr;
}

gpu::Tiles tiles_of(const at::Tensor& matrix, Tiling tiling) {
  return {matrix.size(0), matrix.size(1), tiling.rows, tiling.cols};
}

/// [count_down, count_across] float32.
at::Tensor amax(const gpu::Kernels& kernels, const at::Tensor& weight, const gpu::Tiles& tiles) {
  const Tiling tiling{tiles.tile_rows, tiles.tile_cols};
  at::Tensor result = at::zeros({tiling.count_down(tiles.rows), tiling.count_across(tiles.cols)},
                                weight.options().dtype(at::kFloat));
  check_launch(kernels,
               kernels.amax(source_of(weight), weight.const_data_ptr(), tiles,
                            static_cast<uint32_t*>(result.mutable_data_ptr()), gpu_queue(weight.device())));
  return result;
}

at::Tensor encoded(const gpu::Kernels& kernels, const at::Tensor& weight, const gpu::Tiles& tiles, Code code,
                   bool divide, const at::Tensor& factor) {
  check_device(weight.device(), {factor});
  at::Tensor codes = at::empty(weight.sizes(), weight.options().dtype(code_dtype(code)));
  check_launch(kernels, kernels.encode(source_of(weight), code, divide, weight.const_data_ptr(), tiles,
                                       factor.const_data_ptr<float>(), codes.mutable_data_ptr(),
                                       gpu_queue(weight.device())));
  return codes;
}

}  // namespace

Extent extent(const at::Tensor& weight) {
  const gpu::Kernels* kernels = kernels_for(weight);
  if (!kernels) return aten::extent(weight);
  constexpr int64_t kWide = 256;  // so that no thread is idle
  const int64_t last = weight.dim() > 0 ? weight.size(-1) : 1, columns = last < kWide ? weight.numel() : last;
  const int64_t rows = weight.numel() / columns;
  const auto most = amax(*kernels, weight, {rows, columns, rows, columns}).item<float>();
  if (std::bit_cast<uint32_t>(most) >= kInfinityBits) return aten::extent(weight);
  return {.amax = most};
}

at::Tensor tile_amax(const at::Tensor& weight, Tiling tiling) {
  const gpu::Kernels* kernels = kernels_for(weight);
  return kernels ? amax(*kernels, weight, tiles_of(weight, tiling)) : aten::tile_amax(weight, tiling);
}

TileCodes quantize_tiles(const at::Tensor& weight, Tiling tiling, TileCoding coding, bool* finite) {
  const gpu::Kernels* kernels = kernels_for(weight);
  if (!kernels) return aten::quantize_tiles(weight, tiling, coding, finite);
  const gpu::Tiles tiles = tiles_of(weight, tiling);
  const at::Tensor largest = amax(*kernels, weight, tiles).cpu();
  // Scales and factors as one tensor: one way up.
  at::Tensor both = at::empty({2, largest.size(0), largest.size(1)}, at::kFloat);
  auto* const decode = both.mutable_data_ptr<float>();
  auto* const factor = decode + largest.numel();
  const auto* const magnitude = largest.const_data_ptr<float>();
  *finite = true;
  float whole = 0;
  for (int64_t i = 0; i < largest.numel(); ++i) {
    *finite = *finite && std::bit_cast<uint32_t>(magnitude[i]) < kInfinityBits;
    whole = std::max(whole, magnitude[i]);
  }
  if (!*finite)
    return {at::empty(weight.sizes(), weight.options().dtype(code_dtype(coding.code))),
            both[0].zero_().to(weight.device()), whole};
  if (!coding.two_levels && largest.numel() > 1) whole = 0;
  at::parallel_for(0, largest.numel(), kTilesOfThread, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const TileScale scale = coding.rule(magnitude[i], whole);
      decode[i] = scale.decode;
      factor[i] = scale.factor;
    }
  });
  const at::Tensor there = both.to(weight.device());
  at::Tensor codes = encoded(*kernels, weight, tiles, coding.code, coding.divide, there[1]);
  return {std::move(codes), there[0], whole};
}

at::Tensor encode_tiles(const at::Tensor& weight, Tiling tiling, Code code, bool divide,
                        const at::Tensor& factor) {
  const gpu::Kernels* kernels = kernels_for(weight);
  return kernels ? encoded(*kernels, weight, tiles_of(weight, tiling), code, divide, factor.contiguous())
                 : aten::encode_tiles(weight, tiling, code, divide, factor);
}

at::Tensor decode_tiles(const at::Tensor& codes, Code code, Tiling tiling, const at::Tensor& decode) {
  const gpu::Kernels* kernels = kernels_for(codes);
  if (!kernels) return aten::decode_tiles(codes, code, tiling, decode);
  const at::Tensor scale = decode.contiguous();
  check_device(codes.device(), {scale});
  at::Tensor values = at::empty(codes.sizes(), codes.options().dtype(at::kFloat));
  check_launch(*kernels, kernels->decode(code, codes.const_data_ptr(), tiles_of(codes, tiling),
                                         scale.const_data_ptr<float>(), values.mutable_data_ptr<float>(),
                                         gpu_queue(codes.device())));
  return values;
}

at::Tensor pack_nibbles(const at::Tensor& codes, bool even_is_high) {
  const gpu::Kernels* kernels = kernels_for(codes);
  if (!kernels) return aten::pack_nibbles(codes, even_is_high);
  std::vector<int64_t> shape = codes.sizes().vec();
  shape.back() /= 2;
  at::Tensor packed = at::empty(shape, codes.options());
  check_launch(*kernels, kernels->pack(codes.const_data_ptr(), packed.numel(), even_is_high,
                                       packed.mutable_data_ptr(), gpu_queue(codes.device())));
  return packed;
}

}  // namespace ctq::linalg::on_gpu
