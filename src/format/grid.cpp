#include "format/grid.h"

#include <iterator>

#include <ATen/ATen.h>

namespace ctq::format {
namespace {

class IntegerGrid final : public Grid {
 public:
  using Grid::Grid;
  at::Tensor nearest(const at::Tensor& u) const override { return u.round().clamp_(min(), max_abs()); }
  at::Tensor below(const at::Tensor& u) const override { return u.floor().clamp_(min(), max_abs()); }
  at::Tensor above(const at::Tensor& u) const override { return u.ceil().clamp_(min(), max_abs()); }
};

/// Binary floating point: a step of 2^(e - mantissa_bits) in the binade of 2^e, and of the lowest normal
/// binade below that. u / step is exact: it lies in [2^mantissa_bits, 2 * 2^mantissa_bits), or below the
/// normal numbers is larger than u.
class FloatGrid final : public Grid {
 public:
  using Grid::Grid;
  at::Tensor nearest(const at::Tensor& u) const override {
    const at::Tensor v = u.clamp(min(), max_abs()), step = step_at(v);
    return (v / step).round_().mul_(step);
  }
  at::Tensor below(const at::Tensor& u) const override {
    const at::Tensor v = u.clamp(min(), max_abs()), step = step_at(v);
    return (v / step).floor_().mul_(step);
  }
  at::Tensor above(const at::Tensor& u) const override {
    const at::Tensor v = u.clamp(min(), max_abs()), step = step_at(v);
    return (v / step).ceil_().mul_(step);
  }

 private:
  at::Tensor step_at(const at::Tensor& v) const {
    constexpr int64_t kExponentBits = 0x7F800000;  // of float32
    return v.view(at::kInt)
        .bitwise_and(kExponentBits)
        .clamp_min_((row().min_exponent + 127) << 23)
        .view(at::kFloat)
        .mul_(1.0 / (1 << row().mantissa_bits));
  }
};

/// Increasing values without a rule.
class LevelGrid final : public Grid {
 public:
  using Grid::Grid;
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

// Kernels are for matrices.
bool fits_kernels(const at::Tensor& matrix) { return matrix.dim() == 2 && matrix.numel() > 0; }
linalg::Tiling one_tile(const at::Tensor& matrix) { return {matrix.size(0), matrix.size(1)}; }
at::Tensor one_scale(const at::Tensor& matrix) {
  return at::ones({1, 1}, matrix.options().dtype(at::kFloat));
}

}  // namespace

at::Tensor Grid::codes(const at::Tensor& values) const {
  if (!fits_kernels(values) || values.scalar_type() != at::kFloat) return linalg::codes_of(values, code());
  return linalg::encode_tiles(values.contiguous(), one_tile(values), code(), /*divide=*/false,
                              one_scale(values));
}

at::Tensor Grid::values(const at::Tensor& codes) const {
  if (!fits_kernels(codes)) return linalg::values_of(codes, code());
  return linalg::decode_tiles(codes.contiguous(), code(), one_tile(codes), one_scale(codes));
}

const Grid& int8_grid() {
  // -128 has no positive twin, and no encoder writes it.
  static const IntegerGrid grid(linalg::Code::kInt8);
  return grid;
}

const Grid& int4_grid() {
  static const IntegerGrid grid(linalg::Code::kInt4);
  return grid;
}

const Grid& nibble_grid() {
  static const IntegerGrid grid(linalg::Code::kNibble);
  return grid;
}

const Grid& level16_grid() {
  static const LevelGrid grid(linalg::Code::kLevel16);
  return grid;
}

const Grid& e2m1_grid() {
  static const FloatGrid grid(linalg::Code::kE2M1);
  return grid;
}

const Grid& e4m3_grid() {
  static const FloatGrid grid(linalg::Code::kE4M3);
  return grid;
}

const Grid& e5m2_grid() {
  static const FloatGrid grid(linalg::Code::kE5M2);
  return grid;
}

}  // namespace ctq::format
