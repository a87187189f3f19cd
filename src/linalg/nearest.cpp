#include "linalg/nearest.h"

#include <ATen/ATen.h>

#include "linalg/tiles.h"

namespace ctq::linalg {
namespace {

at::Tensor nearest_float(const at::Tensor& u, const CodeRow& row) {
  const at::Tensor v = u.clamp(row.min, row.max);
  const auto [fraction, exponent] = at::frexp(v);  // fraction in [1/2, 1): the binade is 2^(exponent - 1)
  const at::Tensor power = (exponent - 1).clamp_min_(row.min_exponent).sub_(row.mantissa_bits);
  const at::Tensor steps = at::ldexp(v, power.neg()).round_();
  return at::ldexp(steps, power).to(u.scalar_type());
}

at::Tensor levels(const at::Tensor& like) {
  return at::tensor(at::ArrayRef<float>(kLevels16), at::TensorOptions(at::kFloat).device(like.device()));
}

/// Index of the nearest level.
at::Tensor nearest_level(const at::Tensor& u) {
  const at::Tensor all = levels(u);
  const at::Tensor midpoints = (all.slice(0, 1) + all.slice(0, 0, -1)).div_(2);
  return at::bucketize(u.to(at::kFloat).contiguous(), midpoints, /*out_int32=*/true);
}

/// E2M1 code of a value of its grid: the values 0, 0.5, 1, 1.5, 2, 3, 4, 6 are 2 |u| = 0, 1, 2, 3, 4, 6,
/// 8, 12.
at::Tensor e2m1_code(const at::Tensor& value) {
  const at::Tensor twice = value.abs().mul_(2);
  const at::Tensor upper = at::where(twice > 4, twice.div(2).add_(2), twice);  // 6 -> 5, 8 -> 6, 12 -> 8
  const at::Tensor magnitude = at::where(twice > 8, upper.sub(1), upper).to(at::kByte);
  return magnitude.add_(value.signbit().to(at::kByte).mul_(8));
}

}  // namespace

at::Tensor nearest(const at::Tensor& u, Code code) {
  const CodeRow row = code_row(code);
  switch (row.spacing) {
    case Spacing::kInteger: return u.round().clamp_(row.min, row.max);
    case Spacing::kFloat: return nearest_float(u, row);
    case Spacing::kLevels: return levels(u).index({nearest_level(u)}).to(u.scalar_type());
  }
  TORCH_INTERNAL_ASSERT(false);
}

at::ScalarType code_dtype(Code code) {
  switch (code) {
    case Code::kInt8: return at::kChar;
    case Code::kE4M3: return at::kFloat8_e4m3fn;
    case Code::kE5M2: return at::kFloat8_e5m2;
    case Code::kE2M1:
    case Code::kLevel16: return at::kByte;
    case Code::kInt4:
    case Code::kNibble: return at::kChar;
  }
  TORCH_INTERNAL_ASSERT(false);
}

at::Tensor codes_of(const at::Tensor& u, Code code) {
  switch (code) {
    case Code::kE4M3: return u.clamp(-448, 448).to(at::kFloat8_e4m3fn);
    case Code::kE5M2: return u.clamp(-57344, 57344).to(at::kFloat8_e5m2);
    case Code::kE2M1: return e2m1_code(nearest(u, code));
    case Code::kLevel16: return nearest_level(u).to(at::kByte);
    case Code::kInt8:
    case Code::kInt4:
    case Code::kNibble: return nearest(u, code).to(at::kChar);
  }
  TORCH_INTERNAL_ASSERT(false);
}

at::Tensor values_of(const at::Tensor& codes, Code code) {
  if (code == Code::kLevel16) return levels(codes).index({codes.to(at::kInt)});
  if (code != Code::kE2M1) return codes.to(at::kFloat);
  constexpr float kValues[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  return at::tensor(at::ArrayRef<float>(kValues), at::TensorOptions(at::kFloat).device(codes.device()))
      .index({codes.to(at::kInt)});
}

}  // namespace ctq::linalg
