#include "optimize/scales.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/objective.h"
#include "linalg/panels.h"
#include "linalg/scale_search.h"

namespace ctq::optimize {
namespace {

/// Factors of absmax to try besides 1. A uniform grid gains by clipping alone; a floating one's relative
/// steps repeat from octave to octave; one of 4 bits has little more than an octave, so that larger scales,
/// too, put weights elsewhere.
std::vector<double> candidates(const Layer& layer) {
  std::vector<double> factors;
  if (layer.form.codec && layer.form.codec->scale_type == format::ScaleType::kE8M0) {
    factors.push_back(0.5);
  } else if (layer.grid->uniform()) {
    for (int j = 1; j <= 16; ++j) factors.push_back(1 - j * j / 512.0);
  } else if (layer.grid->bits() == 4) {
    for (int j = -6; j <= 5; ++j) factors.push_back(std::exp2(j / 8.0));
  } else {
    for (int j = 1; j <= 15; ++j) factors.push_back(std::exp2(-j / 16.0));
  }
  return factors;
}

/// One number per tile as [rows, 1]. tile_column: [tiles down, 1]
at::Tensor by_row(const Layer& layer, const at::Tensor& tile_column) {
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
at::Tensor weighted_squares(const at::Tensor& error, const linalg::Moment& moment) {
  if (moment.defined() && !moment.is_matrix()) return linalg::objective_rows(error, moment);
  const at::Tensor h = moment.defined() ? moment.matrix() : at::Tensor();
  at::Tensor squares = at::empty({error.size(0)}, error.options().dtype(at::kDouble));
  linalg::for_panels(error.device(), error.size(0), [&](int64_t row, int64_t rows) {
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
  linalg::Moment block(const linalg::Moment& h) const {
    if (!h.defined() || (!h.is_matrix() && width == h.size())) return h;
    return h.block(begin, width, begin, width).contiguous();
  }
};

std::vector<Span> spans(const Layer& layer) {
  const int64_t columns = layer.weight.size(1), tile = layer.tiling.cols;
  std::vector<Span> all;
  for (int64_t begin = 0; begin < columns; begin += tile)
    all.push_back({begin, std::min(tile, columns - begin)});
  return all;
}

/// Tiles of one row, all candidates at once, in our own kernel.
void search_runs(const Layer& layer, const linalg::Moment& h, at::Tensor scale, at::Tensor nearest) {
  const std::vector<double> factors = candidates(layer);
  const at::Tensor each = at::tensor(factors, at::kDouble).to(layer.scale.options()).view({-1, 1, 1});
  const at::Tensor tried = at::cat({layer.scale.unsqueeze(0), storable(layer, layer.scale * each)});
  const auto found = linalg::search_scales(layer.weight, layer.tiling.cols, layer.grid->code(), tried, h);
  scale.copy_(found.scale);
  nearest.copy_(found.values);
}

/// The columns of one tile, in ATen operations, by the rule of linalg::search_scales(): the first of the
/// least, beginning with the layer's own scale. scale: [tiles down, 1]
void search_tiles(const Layer& layer, const Span& span, const linalg::Moment& h, at::Tensor scale,
                  at::Tensor nearest) {
  const at::Tensor weight = span.of(layer.weight).contiguous(), absmax = scale.clone();
  const auto cost_of = [&](const at::Tensor& values, const at::Tensor& tried_rows) {
    return sum_tiles(layer, weighted_squares(at::addcmul(-weight, values, tried_rows), h));
  };
  const at::Tensor absmax_rows = by_row(layer, absmax);
  nearest.copy_(layer.grid->nearest(scaled(weight, absmax_rows)));
  at::Tensor least = cost_of(nearest, absmax_rows);
  for (const double factor : candidates(layer)) {
    const at::Tensor tried = storable(layer, absmax * factor), tried_rows = by_row(layer, tried);
    const at::Tensor values = layer.grid->nearest(scaled(weight, tried_rows));
    const at::Tensor cost = cost_of(values, tried_rows), better = cost < least;
    least = at::where(better, cost, least);
    scale.copy_(at::where(better, tried, scale));
    nearest.copy_(at::where(by_row(layer, better), values, nearest));
  }
}

/// Columns whose E H is kept current at a time.
constexpr int64_t kRefitColumns = 512;

/// In place of `error` = values * fitted - W and `fitted`.
void refit(const Layer& layer, const at::Tensor& values, const linalg::Moment& h, at::Tensor error,
           at::Tensor fitted) {
  const std::vector<Span> all = spans(layer);
  const int64_t columns = layer.weight.size(1);
  std::optional<linalg::Pull> pulled;
  if (h.defined()) pulled.emplace(h, error);
  for (size_t first = 0, next = 0; first < all.size(); first = next) {
    const int64_t begin = all[first].begin;
    while (next < all.size() && (next == first || all[next].begin + all[next].width <= begin + kRefitColumns))
      ++next;
    const int64_t end = next < all.size() ? all[next].begin : columns;
    at::Tensor pull = error.narrow(1, begin, end - begin);  // E H
    at::Tensor before;
    if (pulled) {
      if (!h.is_matrix()) before = pull.clone();
      pull = pulled->columns(begin, end - begin);
    }
    for (size_t i = first; i < next; ++i) {
      const Span& span = all[i];
      const at::Tensor part = span.of(values).contiguous();
      const at::Tensor pull_part = pull.narrow(1, span.begin - begin, span.width);
      const at::Tensor slope = sum_tiles(layer, (pull_part * part).sum(1, /*keepdim=*/false, at::kDouble));
      const at::Tensor curvature = sum_tiles(layer, weighted_squares(part, span.block(h)));
      at::Tensor column = fitted.narrow(1, static_cast<int64_t>(i), 1);
      const at::Tensor moved = storable(layer, (column - slope / curvature).to(at::kFloat));
      const at::Tensor kept = (curvature > 0).logical_and(moved > 0).logical_and(moved.isfinite());
      const at::Tensor better = at::where(kept, moved, column);
      const at::Tensor change = part * by_row(layer, better - column);
      column.copy_(better);
      span.of(error).add_(change);
      const int64_t after = span.begin + span.width, rest = end - after;
      if (!h.defined() || rest == 0) continue;
      const at::Tensor coupling = h.block(span.begin, span.width, after, rest);
      linalg::for_panels(error.device(), error.size(0), [&](int64_t row, int64_t count) {
        pull.narrow(1, after - begin, rest)
            .narrow(0, row, count)
            .addmm_(change.narrow(0, row, count), coupling);
      });
    }
    if (before.defined()) pulled->moved(begin, error.narrow(1, begin, end - begin) - before);
  }
}

/// Runs whose rows do not depend on each other: on the CPU panel by panel, each on one thread.
bool by_panels(const Layer& layer) { return layer.weight.is_cpu() && layer.tiling.rows == 1; }

}  // namespace

Scales scales_for(const Layer& layer, Scales scales) {
  if (scales == Scales::kUsual) return layer.grid->bits() == 4 ? Scales::kSearch : Scales::kAbsmax;
  if (scales != Scales::kByFormat) return scales;
  const bool whole_rows = layer.tiling.rows == 1 && layer.tiling.cols >= layer.weight.size(1);
  return whole_rows && layer.grid->code() == linalg::Code::kInt8 ? Scales::kAbsmax : Scales::kRefit;
}

Layer search_scales(const Layer& layer, const linalg::Moment& h) {
  const bool one_scale = layer.scale.numel() == 1 && layer.weight.size(0) > 1;
  if (layer.weight.numel() == 0 || (one_scale && !h.defined())) return layer;
  Layer searched = layer;
  searched.scale = layer.scale.clone();
  searched.nearest = layer.nearest.clone();
  if (layer.tiling.rows == 1 && linalg::searches_runs(layer.weight, layer.tiling.cols)) {
    linalg::for_panels(layer.weight.device(), layer.weight.size(0), [&](int64_t row, int64_t rows) {
      search_runs(rows_of(layer, row, rows), h, searched.scale.narrow(0, row, rows),
                  searched.nearest.narrow(0, row, rows));
    });
    return searched;
  }
  int64_t tile = 0;
  for (const Span& span : spans(layer))
    search_tiles(layer, span, span.block(h), searched.scale.narrow(1, tile++, 1), span.of(searched.nearest));
  return searched;
}

at::Tensor refit_scales(const Layer& layer, const at::Tensor& values, const at::Tensor& scale,
                        const linalg::Moment& h) {
  at::Tensor fitted = scale.clone();
  if (layer.weight.numel() == 0) return fitted;
  at::Tensor error = error_of(layer, values, scale);
  if (!by_panels(layer)) {
    refit(layer, values, h, error, fitted);
    return fitted;
  }
  linalg::for_panels(layer.weight.size(0), [&](int64_t row, int64_t rows) {
    const auto part = [&](const at::Tensor& tensor) { return tensor.narrow(0, row, rows); };
    refit(rows_of(layer, row, rows), part(values), h, part(error), part(fitted));
  });
  return fitted;
}

}  // namespace ctq::optimize
