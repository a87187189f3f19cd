#include "format/grid.h"

#include <iterator>

#include <ATen/ATen.h>

namespace ctq::format {
namespace {

class IntegerGrid final : public Grid {
 public:
  IntegerGrid(std::string_view name, linalg::Code code, float min, float max)
      : name_(name), code_(code), min_(min), max_(max) {}

  std::string_view name() const override { return name_; }
  linalg::Code code() const override { return code_; }
  float min() const override { return min_; }
  float max_abs() const override { return max_; }
  bool uniform() const override { return true; }
  at::Tensor nearest(const at::Tensor& u) const override { return u.round().clamp_(min_, max_); }
  at::Tensor below(const at::Tensor& u) const override { return u.floor().clamp_(min_, max_); }
  at::Tensor above(const at::Tensor& u) const override { return u.ceil().clamp_(min_, max_); }

 private:
  std::string_view name_;
  linalg::Code code_;
  float min_, max_;
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
  float min() const override { return -max_; }
  float max_abs() const override { return max_; }
  bool uniform() const override { return false; }
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

/// Increasing values without a rule.
class LevelGrid final : public Grid {
 public:
  std::string_view name() const override { return "level16"; }
  linalg::Code code() const override { return linalg::Code::kLevel16; }
  float min() const override { return linalg::kLevels16[0]; }
  float max_abs() const override { return linalg::kLevels16[kCount - 1]; }
  bool uniform() const override { return false; }
  at::Tensor nearest(const at::Tensor& u) const override {
    const at::Tensor all = levels(u);
    return pick(u, at::bucketize(u.contiguous(), (all.slice(0, 1) + all.slice(0, 0, -1)).div_(2)));
  }
  at::Tensor below(const at::Tensor& u) const override {
    return pick(u, at::bucketize(u.contiguous(), levels(u), /*out_int32=*/false, /*right=*/true).sub_(1));
  }
  at::Tensor above(const at::Tensor& u) const override {
    return pick(u, at::bucketize(u.contiguous(), levels(u)));
  }

 private:
  static constexpr int64_t kCount = std::size(linalg::kLevels16);
  static at::Tensor levels(const at::Tensor& like) {
    return at::tensor(at::ArrayRef<float>(linalg::kLevels16),
                      at::TensorOptions(at::kFloat).device(like.device()));
  }
  static at::Tensor pick(const at::Tensor& u, const at::Tensor& index) {
    return levels(u).index({index.clamp(0, kCount - 1)});
  }
};

// Kernels are for matrices on the CPU.
bool fits_kernels(const at::Tensor& matrix) {
  return matrix.is_cpu() && matrix.dim() == 2 && matrix.numel() > 0;
}
linalg::Tiling one_tile(const at::Tensor& matrix) { return {matrix.size(0), matrix.size(1)}; }
at::Tensor one_scale() { return at::ones({1, 1}, at::kFloat); }

}  // namespace

at::Tensor Grid::codes(const at::Tensor& values) const {
  if (!fits_kernels(values) || values.scalar_type() != at::kFloat) return linalg::codes_of(values, code());
  return linalg::encode_tiles(values.contiguous(), one_tile(values), code(), /*divide=*/false, one_scale());
}

at::Tensor Grid::values(const at::Tensor& codes) const {
  if (!fits_kernels(codes)) return linalg::values_of(codes, code());
  return linalg::decode_tiles(codes.contiguous(), code(), one_tile(codes), one_scale());
}

const Grid& int8_grid() {
  // -128 has no positive twin, and no encoder writes it.
  static const IntegerGrid grid("int8", linalg::Code::kInt8, -127, 127);
  return grid;
}

const Grid& int4_grid() {
  static const IntegerGrid grid("int4", linalg::Code::kInt4, -7, 7);
  return grid;
}

const Grid& nibble_grid() {
  static const IntegerGrid grid("nibble", linalg::Code::kNibble, -8, 7);
  return grid;
}

const Grid& level16_grid() {
  static const LevelGrid grid;
  return grid;
}

const Grid& e2m1_grid() {
  static const FloatGrid grid("e2m1", linalg::Code::kE2M1, 6, /*mantissa_bits=*/1, /*min_exponent=*/0);
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
