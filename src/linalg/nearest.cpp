#include "linalg/nearest.h"

#include <ATen/ATen.h>

namespace ctq::linalg {
namespace {

/// `mantissa` stored bits, normal numbers from 2^min_exponent on.
at::Tensor nearest_float(const at::Tensor& u, int mantissa, int min_exponent, double max) {
  const at::Tensor v = u.clamp(-max, max);
  const auto [fraction, exponent] = at::frexp(v);  // fraction in [1/2, 1): the binade is 2^(exponent - 1)
  const at::Tensor power = (exponent - 1).clamp_min_(min_exponent).sub_(mantissa);
  const at::Tensor steps = at::ldexp(v, power.neg()).round_();
  return at::ldexp(steps, power).to(u.scalar_type());
}

}  // namespace

at::Tensor nearest(const at::Tensor& u, Code code) {
  switch (code) {
    case Code::kInt8: return u.round().clamp_(-127, 127);
    case Code::kE4M3: return nearest_float(u, 3, -6, 448);     // largest finite E4M3
    case Code::kE5M2: return nearest_float(u, 2, -14, 57344);  // largest finite E5M2
  }
  TORCH_INTERNAL_ASSERT(false);
}

}  // namespace ctq::linalg
