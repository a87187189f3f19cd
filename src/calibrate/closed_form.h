// Moments of a path's output without drawing rows.
#pragma once

#include "calibrate/path.h"

namespace ctq::calibrate {

/// Moments for a path without `up`: exact after the norm and after values; after an activation for
/// pre-activations y that are normal, as sums of many inputs nearly are.
///
/// With t standard normal and h_n the normalised Hermite polynomials, a unit of mean m and deviation s has
/// the coefficients a_n = E act(m + s t) h_n(t), and two units with correlation r
///   E act(y_i) act(y_j) = sum_n a_n(i) a_n(j) r^n     (Mehler's formula; n to 8, the diagonal whole).
///
/// returns  on the path's device; on the CPU the same bits for any number of threads
Moments closed_form_moments(const Path& path);

}  // namespace ctq::calibrate
