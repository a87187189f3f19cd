// Scales that are better than absmax.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "linalg/moment.h"
#include "optimize/rounding.h"

namespace ctq::optimize {

/// What becomes of a layer's scales.
enum class Scales : uint8_t {
  kUsual,     ///< kSearch for codes of 4 bits, where it gains most; else kAbsmax
  kAbsmax,    ///< the largest magnitude becomes the largest code
  kSearch,    ///< per scale the best of several, judged by rounding to nearest
  kRefit,     ///< as searched, and once more in closed form for the codes that were chosen
  kByFormat,  ///< kRefit; kAbsmax for rows on a uniform grid, where clipping gained nothing
              ///< (docs/benchmarks.md)
};

/// What kUsual and kByFormat mean for a layer; anything else is itself.
Scales scales_for(const Layer& layer, Scales scales);

/// The layer with searched scales, rounded to nearest anew. Per scale the best of s c for s = absmax, taken
/// to the nearest that the format can store: on uniform grids c = 1 - (j/16)^2 / 2, j = 0 .. 16, from 1 to
/// 1/2; on floating ones, whose relative steps repeat from octave to octave, c = 2^(-j/16), j = 0 .. 15; on
/// those of 4 bits, which have little more than an octave, c = 2^(j/8), j = -6 .. 5; where scales are powers
/// of two c = 1 and 1/2. c < 1 clips the largest weights.
///
/// Judged by sum e H_JJ e^T over the tile's rows, H_JJ the block of the tile's columns; so tiles of full
/// width are judged by tr(E H E^T) itself.
///
/// h  [in_features, in_features] float32, the layer's device; undefined: the identity. A tensor scale judged
///    by ||E|| alone clips what a network needs, so such a layer comes back as it is
Layer search_scales(const Layer& layer, const linalg::Moment& h);

/// Scales that minimise tr(E H E^T) for fixed values, to the nearest that the format can store: for one scale
/// over all columns s = <W, Q>_H / <Q, Q>_H, <A, B>_H = tr(A H B^T); with several per row one after the
/// other, each given the others. Scales that would not be positive stay.
///
/// values   [out_features, in_features] on the grid
/// scale    where to start; the result has its shape
/// h        as for search_scales()
at::Tensor refit_scales(const Layer& layer, const at::Tensor& values, const at::Tensor& scale,
                        const linalg::Moment& h);

}  // namespace ctq::optimize
