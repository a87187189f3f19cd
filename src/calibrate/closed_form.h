// Moments of a path's output without drawing rows.
#pragma once

#include <cstdint>

#include "calibrate/path.h"

namespace ctq::calibrate {

/// Moments for a path without `up`, or with one and units enough: exact after the norm and after values;
/// after an activation for pre-activations y that are normal, as sums of many inputs nearly are.
///
/// With t standard normal and h_n the normalised Hermite polynomials, a unit of mean m and deviation s has
/// the coefficients a_n = E act(m + s t) h_n(t), and two units with correlation r
///   E act(y_i) act(y_j) = sum_n a_n(i) a_n(j) r^n     (Mehler's formula; n to 8, the diagonal whole).
///
/// Of many units the last is too much: there, of the order n = 1, whose matrix has the rank of the norm's
/// width, what lies in the leading directions, and of n = 2 what lies in products of a few of them. Each is
/// below the whole, so that D, which keeps the diagonal as it is, is not negative. There x = act(u) v is no
/// harder: the orders of a unit are its expected value, gradient and second derivatives in z (the chaos
/// expansion of a square-integrable function of normal numbers), and v adds to each.
///
/// returns  a matrix or, where closed_form_rows() says so, D + X^T X; on the path's device; on the CPU the
///          same bits for any number of threads
Moments closed_form_moments(const Path& path);

/// What stands right before the layer.
enum class Behind : uint8_t { kNorm, kActivation, kGatedActivation };

/// Rows X of the moments; 0: they are a matrix or, gated, have no closed form. width: of the norm
int64_t closed_form_rows(Behind behind, int64_t width, int64_t outputs);

}  // namespace ctq::calibrate
