#include "ctq/optimize/scales.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "ctq/linalg/panels.h"

namespace ctq::optimize {
namespace {

std::vector<double> candidates(const format::Grid& grid) {
  std::vector<double> factors;
  const bool uniform = grid.uniform();
  const auto clipped = [](double j) { return 1 - j * j / 512; };
  for (int j = 0; j <= (uniform ? 16 : 15); ++j)
    factors.push_back(uniform ? clipped(j) : std::exp2(-j / 16.0));
  return factors;
}

/// One number per tile as [rows, 1]. tile_column: [tiles down, 1]
at::Tensor rows_of(const Layer& layer, const at::Tensor& tile_column) {
  const at::Tensor expanded =
      layer.tiling.rows > 1 ? tile_column.repeat_interleave(layer.tiling.rows, 0) : tile_column;
  return expanded.narrow(0, 0, layer.weight.size(0));
}

/// Sums over the rows of each tile down, [tiles down, 1] float64. values: [rows].
at::Tensor sum_tiles(const Layer& layer, const at::Tensor& values) {
  const int64_t rows = values.size(0), tile = layer.tiling.rows, tiles = layer.tiling.count_down(rows);
  at::Tensor padded = at::zeros({tiles * tile}, values.options().dtype(at::kDouble));
  padded.narrow(0, 0, rows).copy_(values);
  return padded.reshape({tiles, tile}).sum(1, /*keepdim=*/true);
}

/// e H e^T per row. The same bits for any number of threads.
at::Tensor weighted_squares(const at::Tensor& error, const at::Tensor& h) {
  at::Tensor squares = at::empty({error.size(0)}, error.options().dtype(at::kDouble));
  linalg::for_panels(error.size(0), [&](int64_t row, int64_t rows) {
    const at::Tensor e = error.narrow(0, row, rows);
    const at::Tensor weighted = h.defined() ? e.mm(h) : e;
    squares.narrow(0, row, rows).copy_((weighted * e).sum(1, /*keepdim=*/false, at::kDouble));
  });
  return squares;
}

/// Columns of a tile across, and the block of H that belongs to them.
struct Span {
  int64_t begin = 0, width = 0;
  at::Tensor of(const at::Tensor& matrix) const { return matrix.narrow(1, begin, width); }
  at::Tensor block(const at::Tensor& h) const {
    return h.defined() ? of(h.narrow(0, begin, width)).contiguous() : h;
  }
};

std::vector<Span> spans(const Layer& layer) {
  const int64_t columns = layer.weight.size(1), tile = layer.tiling.cols;
  std::vector<Span> all;
  for (int64_t begin = 0; begin < columns; begin += tile)
    all.push_back({begin, std::min(tile, columns - begin)});
  return all;
}

}  // namespace

Scales scales_for(const Layer& layer, Scales scales) {
  if (scales != Scales::kByFormat) return scales;
  const bool whole_rows = layer.tiling.rows == 1 && layer.tiling.cols >= layer.weight.size(1);
  return whole_rows && layer.grid->code() == linalg::Code::kInt8 ? Scales::kAbsmax
                                                                           : Scales::kRefit;
}

Layer search_scales(const Layer& layer, const at::Tensor& h) {
  const bool one_scale = layer.scale.numel() == 1 && layer.weight.size(0) > 1;
  if (layer.weight.numel() == 0 || (one_scale && !h.defined())) return layer;
  Layer searched = layer;
  searched.scale = layer.scale.clone();
  searched.nearest = layer.nearest.clone();
  int64_t tile = 0;
  for (const Span& span : spans(layer)) {
    const at::Tensor weight = span.of(layer.weight).contiguous(), block = span.block(h);
    const at::Tensor absmax = layer.scale.narrow(1, tile, 1);
    at::Tensor scale = searched.scale.narrow(1, tile++, 1), nearest = span.of(searched.nearest);
    at::Tensor least =
        sum_tiles(layer, weighted_squares(at::addcmul(-weight, nearest, rows_of(layer, absmax)), block));
    for (const double factor : candidates(*layer.grid)) {
      if (factor == 1) continue;
      const at::Tensor tried = storable(layer, absmax * factor), tried_rows = rows_of(layer, tried);
      const at::Tensor values = layer.grid->nearest(scaled(weight, tried_rows));
      const at::Tensor cost =
          sum_tiles(layer, weighted_squares(at::addcmul(-weight, values, tried_rows), block));
      const at::Tensor better = cost < least;
      least = at::where(better, cost, least);
      scale.copy_(at::where(better, tried, scale));
      nearest.copy_(at::where(rows_of(layer, better), values, nearest));
    }
  }
  return searched;
}

at::Tensor refit_scales(const Layer& layer, const at::Tensor& values, const at::Tensor& scale,
                        const at::Tensor& h) {
  at::Tensor fitted = scale.clone();
  if (layer.weight.numel() == 0) return fitted;
  const std::vector<Span> all = spans(layer);
  const at::Tensor error = error_of(layer, values, scale);
  at::Tensor pull = h.defined() ? linalg::product(error, h) : error;  // E H
  for (size_t i = 0; i < all.size(); ++i) {
    const at::Tensor part = all[i].of(values).contiguous();
    const at::Tensor slope =
        sum_tiles(layer, (all[i].of(pull) * part).sum(1, /*keepdim=*/false, at::kDouble));
    const at::Tensor curvature = sum_tiles(layer, weighted_squares(part, all[i].block(h)));
    at::Tensor column = fitted.narrow(1, static_cast<int64_t>(i), 1);
    const at::Tensor moved = storable(layer, (column - slope / curvature).to(at::kFloat));
    const at::Tensor kept = (curvature > 0).logical_and(moved > 0).logical_and(moved.isfinite());
    const at::Tensor next = at::where(kept, moved, column);
    if (all.size() > 1 && h.defined()) {
      const at::Tensor change = part * rows_of(layer, next - column);
      const at::Tensor rows = h.narrow(0, all[i].begin, all[i].width);
      linalg::for_panels(error.size(0), [&](int64_t row, int64_t count) {
        pull.narrow(0, row, count).addmm_(change.narrow(0, row, count), rows);
      });
    }
    column.copy_(next);
  }
  return fitted;
}

}  // namespace ctq::optimize
