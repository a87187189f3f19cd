#include "calibrate/closed_form.h"

#include <cmath>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "calibrate/draw.h"
#include "linalg/device.h"

namespace ctq::calibrate {
namespace {

Path make_path(int64_t width, int64_t outputs, Norm norm) {
  at::manual_seed(11);
  Path path;
  path.norm = norm;
  path.width = width;
  path.norm_scale = at::rand({width}).add_(0.5);
  if (norm == Norm::kLayer) path.norm_bias = at::randn({width}).mul_(0.3);
  path.gate.weight = at::randn({outputs, width}).div_(std::sqrt(static_cast<double>(width)));
  path.gate.bias = at::randn({outputs}).mul_(0.2);
  return path;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

TEST_CASE("closed form: every activation agrees with drawn rows", "[calibrate]") {
  // 60,000 rows of 40 columns lie about 0.02 from their limit.
  Path path = make_path(200, 40, GENERATE(Norm::kLayer, Norm::kRms));
  path.activation = GENERATE(Activation::kRelu, Activation::kGelu, Activation::kGeluTanh,
                             Activation::kQuickGelu, Activation::kSilu, Activation::kNone);
  const Moments closed = closed_form_moments(path), drawn = draw_moments(path, 3, 60'000, at::kCPU);
  CAPTURE(static_cast<int>(path.activation));
  CHECK(distance(closed.second.matrix(), drawn.second.matrix()) < 0.03);
  CHECK(distance(closed.mean, drawn.mean) < 0.03);
  CHECK(distance(closed.second.matrix().diagonal(), drawn.second.matrix().diagonal()) < 0.02);
}

TEST_CASE("closed form: units that are constant, or always zero", "[calibrate]") {
  Path path = make_path(32, 5, Norm::kLayer);
  path.activation = Activation::kGelu;
  path.gate.weight[1].zero_();
  path.gate.bias[1] = 2.0f;
  path.gate.weight[3].zero_();
  path.gate.bias[3] = 0.0f;
  const Moments moments = closed_form_moments(path);
  const double constant = at::gelu(at::full({1}, 2.0)).item<double>();
  CHECK(moments.second.matrix()[1][1].item<double>() == Approx(constant * constant).epsilon(1e-5));
  CHECK(moments.second.matrix()[1][2].item<double>() ==
        Approx(constant * moments.mean[2].item<double>()).epsilon(1e-4));
  CHECK(moments.second.matrix()[3].abs().max().item<double>() < 1e-6);
}

TEST_CASE("closed form: the norm of one column gives its bias", "[calibrate]") {
  Path path;
  path.width = 1;
  path.norm_scale = at::ones({1});
  path.norm_bias = at::full({1}, 3.0f);
  CHECK(closed_form_moments(path).second.matrix().item<float>() == 9.0f);
  path.norm = Norm::kRms;
  path.norm_bias = at::Tensor();
  CHECK(closed_form_moments(path).second.matrix().item<float>() == 1.0f);
}

TEST_CASE("closed form: positive semidefinite and symmetric, the same bits for any number of threads",
          "[calibrate]") {
  Path path = make_path(100, 700, Norm::kLayer);
  const bool activated = GENERATE(true, false);
  path.activation = Activation::kGelu;
  if (!activated) std::swap(path.gate, path.values);
  linalg::set_threads(1);
  const Moments one = closed_form_moments(path);
  for (const int threads : {2, 3, 7}) {
    linalg::set_threads(threads);
    const Moments several = closed_form_moments(path);
    CHECK(at::equal(one.second.matrix(), several.second.matrix()));
    CHECK(at::equal(one.mean, several.mean));
  }
  linalg::set_threads(linalg::available_cores());
  CHECK(at::equal(one.second.matrix(), one.second.matrix().t()));
  const at::Tensor roots = at::linalg_eigvalsh(one.second.matrix().to(at::kDouble));
  CHECK(roots.min().item<double>() > -1e-5 * roots.max().item<double>());
}

TEST_CASE("closed form: of many units D + X^T X, with the diagonal and the mean of the whole",
          "[calibrate]") {
  Path path = make_path(64, 4096, GENERATE(Norm::kLayer, Norm::kRms));
  path.activation = GENERATE(Activation::kGelu, Activation::kRelu);
  path.gate.weight[7].zero_();
  path.gate.weight[8].copy_(path.gate.weight[9]);
  const Moments wide = closed_form_moments(path);
  REQUIRE_FALSE(wide.second.is_matrix());
  CHECK(wide.second.rows().size(0) == closed_form_rows(Behind::kActivation, 64, 4096));
  CHECK(wide.second.rest().values().min().item<double>() >= 0);

  Path some = path;
  some.gate = {.weight = path.gate.weight.narrow(0, 0, 300), .bias = path.gate.bias.narrow(0, 0, 300)};
  const Moments whole = closed_form_moments(some);
  REQUIRE(whole.second.is_matrix());
  const at::Tensor h = whole.second.matrix(), part = wide.second.block(0, 300, 0, 300);
  CHECK(at::allclose(part.diagonal(), h.diagonal(), 1e-3, 1e-5));
  CHECK(at::allclose(wide.mean.narrow(0, 0, 300), whole.mean, 1e-4, 1e-5));
  CHECK(distance(part, h) < 0.05);
  // Its rows are a part of the whole: what they leave is positive semidefinite.
  const at::Tensor rows = wide.second.rows().narrow(1, 0, 300).to(at::kDouble);
  const at::Tensor left = at::linalg_eigvalsh(h.to(at::kDouble) - rows.t().mm(rows));
  CHECK(left.min().item<double>() > -1e-3 * h.diagonal().mean().item<double>());
  // And nearly all of what lies off the diagonal.
  const at::Tensor off = h - at::diag(h.diagonal()), found = part - at::diag(part.diagonal());
  CHECK(distance(found, off) < 0.1);
}

/// [rows, width] float32, not normed.
at::Tensor normal_rows(int64_t rows, int64_t width) {
  at::manual_seed(29);
  return at::randn({rows, width});
}

TEST_CASE("closed form: of gated units all of the orders 0 to 2", "[calibrate]") {
  // In 12 dimensions no direction and no pair is left out; z is normal itself, as of a wide RMSNorm.
  Path path = make_path(12, 1024, Norm::kRms);
  path.activation = GENERATE(Activation::kNone, Activation::kSilu, Activation::kGeluTanh);
  path.up.weight = at::randn({1024, 12}).div_(4).add_(path.gate.weight, GENERATE(0.0, 0.7));
  path.up.bias = GENERATE(true, false) ? at::randn({1024}).mul_(0.5) : at::Tensor();
  path.gate.weight[7].zero_();
  path.up.weight[8].zero_();
  CAPTURE(static_cast<int>(path.activation), path.up.bias.defined());
  const Moments closed = closed_form_moments(path);
  REQUIRE_FALSE(closed.second.is_matrix());
  CHECK(closed.second.rows().size(0) == closed_form_rows(Behind::kGatedActivation, 12, 1024));
  CHECK(closed.second.rest().values().min().item<double>() >= 0);

  const at::Tensor z = normal_rows(400'000, 12) * path.norm_scale;
  const auto of_some = [&](const Linear& linear) {
    const at::Tensor y = z.mm(linear.weight.narrow(0, 0, 40).t());
    return linear.bias.defined() ? y + linear.bias.narrow(0, 0, 40) : y;
  };
  const at::Tensor x = activate(path.activation, of_some(path.gate)) * of_some(path.up);
  const at::Tensor h = x.t().mm(x).div_(400'000), part = closed.second.block(0, 40, 0, 40);
  CHECK(distance(part.diagonal(), h.diagonal()) < 0.02);
  CHECK(distance(closed.mean.narrow(0, 0, 40), x.mean(0)) < 0.02);
  // The product of two is of order 2 itself; what else there is lies above it.
  const at::Tensor off = h - at::diag(h.diagonal()), found = part - at::diag(part.diagonal());
  CHECK(distance(found, off) < (path.activation == Activation::kNone ? 0.02 : 0.15));
}

TEST_CASE("closed form: of many units the same bits for any number of threads", "[calibrate]") {
  Path path = make_path(600, 4100, Norm::kLayer);
  path.activation = Activation::kSilu;
  linalg::set_threads(1);
  const Moments one = closed_form_moments(path);
  CHECK(one.second.rows().size(0) == 1 + 512 + 91);
  for (const int threads : {2, 7}) {
    linalg::set_threads(threads);
    const Moments several = closed_form_moments(path);
    CHECK(at::equal(one.second.rows(), several.second.rows()));
    CHECK(at::equal(one.second.rest().values(), several.second.rest().values()));
  }
  linalg::set_threads(linalg::available_cores());
}

}  // namespace
}  // namespace ctq::calibrate
