#include "ctq/format/grid.h"

#include <ATen/ATen.h>

namespace ctq::format {
namespace {

class IntegerGrid final : public Grid {
 public:
  std::string_view name() const override { return "int8"; }
  linalg::Code code() const override { return linalg::Code::kInt8; }
  float max_abs() const override { return kMax; }
  at::Tensor nearest(const at::Tensor& u) const override { return u.round().clamp_(-kMax, kMax); }
  at::Tensor below(const at::Tensor& u) const override { return u.floor().clamp_(-kMax, kMax); }
  at::Tensor above(const at::Tensor& u) const override { return u.ceil().clamp_(-kMax, kMax); }

 private:
  static constexpr float kMax = 127;  // -128 has no positive twin, and no encoder writes it
};

/// Binary floating point: a step of 2^(e - mantissa_bits) in the binade of 2^e, and of the lowest normal
/// binade below that. u / step is exact: it lies in [2^mantissa_bits, 2 * 2^mantissa_bits), or below the
/// normal numbers is larger than u.
class FloatGrid final : public Grid {
 public:
  FloatGrid(std::string_view name, linalg::Code code, float max, int mantissa_bits, int min_exponent)
      : name_(name),
        code_(code),
        max_(max),
        min_binade_((min_exponent + 127) << 23),
        step_of_binade_(1.0 / (1 << mantissa_bits)) {}

  std::string_view name() const override { return name_; }
  linalg::Code code() const override { return code_; }
  float max_abs() const override { return max_; }
  at::Tensor nearest(const at::Tensor& u) const override {
    const at::Tensor v = u.clamp(-max_, max_), step = step_at(v);
    return (v / step).round_().mul_(step);
  }
  at::Tensor below(const at::Tensor& u) const override {
    const at::Tensor v = u.clamp(-max_, max_), step = step_at(v);
    return (v / step).floor_().mul_(step);
  }
  at::Tensor above(const at::Tensor& u) const override {
    const at::Tensor v = u.clamp(-max_, max_), step = step_at(v);
    return (v / step).ceil_().mul_(step);
  }

 private:
  at::Tensor step_at(const at::Tensor& v) const {
    constexpr int64_t kExponentBits = 0x7F800000;  // of float32
    return v.view(at::kInt)
        .bitwise_and(kExponentBits)
        .clamp_min_(min_binade_)
        .view(at::kFloat)
        .mul_(step_of_binade_);
  }

  std::string_view name_;
  linalg::Code code_;
  float max_;
  int64_t min_binade_;     // float32 bits of 2^min_exponent
  double step_of_binade_;  // 2^-mantissa_bits
};

}  // namespace

const Grid& int8_grid() {
  static const IntegerGrid grid;
  return grid;
}

const Grid& e4m3_grid() {
  static const FloatGrid grid("e4m3", linalg::Code::kE4M3, 448, /*mantissa_bits=*/3, /*min_exponent=*/-6);
  return grid;
}

const Grid& e5m2_grid() {
  static const FloatGrid grid("e5m2", linalg::Code::kE5M2, 57344, /*mantissa_bits=*/2, /*min_exponent=*/-14);
  return grid;
}

}  // namespace ctq::format
