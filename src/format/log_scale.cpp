#include "format/log_scale.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"
#include "formats.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

constexpr double kStep = (kLogScaleMax - kLogScaleMin) / 255;  // of log10

std::vector<StoredTensor> stored(const Codec& codec, int64_t out_features, int64_t in_features, int64_t) {
  return {{"weight", linalg::code_dtype(codec.grid().code()), {out_features, in_features}},
          {"weight_scale", at::kByte, {}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  const auto scale = encoded.scales.item<float>();
  const bool zero = !encoded.codes.view(at::kByte).bitwise_and(0x7F).any().item<bool>();
  return {encoded.codes.contiguous(), at::full({}, zero ? 0 : log_scale_code(scale), at::kByte)};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t, int64_t, Encoded& encoded) {
  encoded.codes = tensors[0];
  encoded.scales = at::full({}, log_scale_value(tensors[1].item<uint8_t>()), at::kFloat);
}

/// The least one with which nothing saturates. Beyond the largest the exact one, which to_file() refuses.
linalg::TileScale absmax(float amax, float) {
  const float exact = amax / kMaxE4M3;
  const bool fits = exact <= log_scale_value(255);
  const float scale = fits ? log_scale_value(log_scale_code(std::max(exact, log_scale_value(0)))) : exact;
  return {.decode = scale, .factor = 1.0f / scale};
}

constexpr Packing kPacking = {stored, to_file, from_file};

}  // namespace

float log_scale_value(uint8_t code, double log10_min, double log10_max) {
  return static_cast<float>(std::pow(10.0, code / 255.0 * (log10_max - log10_min) + log10_min));
}

uint8_t log_scale_code(float scale) {
  if (!(scale >= log_scale_value(0) && scale <= log_scale_value(255)))
    fail(ErrorCode::kFailure,
         "a scale of {:.6g} lies outside those of one byte, 1e-10 to 100; use --scale_format f32", scale);
  auto code =
      std::clamp(std::ceil((std::log10(static_cast<double>(scale)) - kLogScaleMin) / kStep), 0.0, 255.0);
  // log10 and pow are not exact inverses of each other.
  if (code > 0 && log_scale_value(static_cast<uint8_t>(code - 1)) >= scale) --code;
  if (log_scale_value(static_cast<uint8_t>(code)) < scale) ++code;
  return static_cast<uint8_t>(code);
}

constinit const Codec kLogScale = {.format = "float8_e4m3fn",
                                   .type = "fp8",
                                   .granularity = Granularity::kTensor,
                                   .scale_shape = ScaleShape::kScalar,
                                   .grid = e4m3_grid,
                                   .divide = false,
                                   .absmax = absmax,
                                   .packing = &kPacking,
                                   .scale_type = ScaleType::kLogarithmic,
                                   .target = false};

}  // namespace ctq::format
