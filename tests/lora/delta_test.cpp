// What each kind of adapter adds, against sums written out.
#include "lora/delta.h"

#include <catch2/catch.hpp>

#include "lora/adapter_file.h"
#include "support/matchers.h"

namespace ctq::lora {
namespace {

using namespace ctq::test;

/// Largest difference, relative to the largest value.
double distance(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

/// sum over i and j of core[i, j, :] a[p, i] b[j, q], in float64.
at::Tensor tucker_sum(const at::Tensor& a, const at::Tensor& core, const at::Tensor& b) {
  const auto kernel = core.sizes().slice(2).vec();
  std::vector<int64_t> shape{a.size(0), b.size(1)};
  shape.insert(shape.end(), kernel.begin(), kernel.end());
  at::Tensor sum = at::zeros(shape, at::kDouble);
  for (int64_t p = 0; p < a.size(0); ++p) {
    for (int64_t q = 0; q < b.size(1); ++q) {
      at::Tensor cell = sum[p][q];
      for (int64_t i = 0; i < core.size(0); ++i) {
        for (int64_t j = 0; j < core.size(1); ++j)
          cell.add_(core[i][j].to(at::kDouble) * (a[p][i].item<double>() * b[j][q].item<double>()));
      }
    }
  }
  return sum;
}

at::Tensor norm_over(const at::Tensor& x, at::IntArrayRef dims) {
  return x.square().sum(dims, /*keepdim=*/true).sqrt();
}

constexpr double kNear = 1e-6;

}  // namespace

TEST_CASE("low rank: of a matrix, of a convolution, with a core", "[lora]") {
  SECTION("matrix") {
    const at::Tensor a = normal({3, 5}, 1), b = normal({7, 3}, 2), w = normal({7, 5}, 3);
    const AdapterFile file(
        {stored("x.lora_down.weight", a), stored("x.lora_up.weight", b), scalar("x.alpha", 6)});
    CHECK(distance(merged_weight(w, file.layer(), 0.5),
                   (w.to(at::kDouble) + 0.5 * 2 * b.to(at::kDouble).mm(a.to(at::kDouble))).to(at::kFloat)) <
          kNear);
  }
  SECTION("half precision is read as it is") {
    const at::Tensor a = normal({3, 5}, 1).to(at::kBFloat16), b = normal({7, 3}, 2).to(at::kHalf);
    const AdapterFile file({stored("x.lora_A.weight", a), stored("x.lora_B.weight", b)});
    CHECK(distance(weight_delta(file.layer()), b.to(at::kFloat).mm(a.to(at::kFloat))) < kNear);
  }
  SECTION("convolution") {
    const at::Tensor a = normal({3, 4, 3, 3}, 1), b = normal({6, 3, 1, 1}, 2), w = normal({6, 4, 3, 3}, 3);
    const AdapterFile file({stored("x.lora_down.weight", a), stored("x.lora_up.weight", b)});
    const at::Tensor delta = at::einsum("or,rikl->oikl", {b.flatten(1), a});
    CHECK(distance(merged_weight(w, file.layer(), 1), w + delta) < kNear);
  }
  SECTION("core") {
    const at::Tensor a = normal({3, 4, 1, 1}, 1), b = normal({6, 2, 1, 1}, 2), mid = normal({2, 3, 3, 2}, 3);
    const AdapterFile file({stored("x.lora_down.weight", a), stored("x.lora_up.weight", b),
                            stored("x.lora_mid.weight", mid), scalar("x.alpha", 1.5)});
    const at::Tensor delta = tucker_sum(b.flatten(1), mid, a.flatten(1)).to(at::kFloat) / 2;
    CHECK(distance(merged_weight(at::zeros({6, 4, 3, 2}), file.layer(), 1), delta) < kNear);
  }
}

TEST_CASE("LoHa: the product of two products, with and without cores", "[lora]") {
  SECTION("matrix") {
    const at::Tensor a1 = normal({6, 2}, 1), b1 = normal({2, 5}, 2), a2 = normal({6, 2}, 3),
                     b2 = normal({2, 5}, 4);
    const AdapterFile file({stored("x.hada_w1_a", a1), stored("x.hada_w1_b", b1), stored("x.hada_w2_a", a2),
                            stored("x.hada_w2_b", b2), scalar("x.alpha", 1)});
    CHECK(distance(weight_delta(file.layer()), a1.mm(b1) * a2.mm(b2) / 2) < kNear);
  }
  SECTION("cores") {
    const at::Tensor a1 = normal({2, 6}, 1), b1 = normal({2, 5}, 2), a2 = normal({2, 6}, 3),
                     b2 = normal({2, 5}, 4), t1 = normal({2, 2, 3, 3}, 5), t2 = normal({2, 2, 3, 3}, 6);
    const AdapterFile file({stored("x.hada_w1_a", a1), stored("x.hada_w1_b", b1), stored("x.hada_t1", t1),
                            stored("x.hada_w2_a", a2), stored("x.hada_w2_b", b2), stored("x.hada_t2", t2)});
    const at::Tensor delta = tucker_sum(a1.t(), t1, b1) * tucker_sum(a2.t(), t2, b2);
    CHECK(distance(merged_weight(at::zeros({6, 5, 3, 3}), file.layer(), 1), delta.to(at::kFloat)) < kNear);
  }
}

TEST_CASE("LoKr: every way to write its factors", "[lora]") {
  const at::Tensor w1a = normal({2, 3}, 1), w1b = normal({3, 4}, 2), w2a = normal({5, 3}, 3),
                   w2b = normal({3, 6}, 4);
  const bool whole_first = GENERATE(true, false), whole_second = GENERATE(true, false);
  CAPTURE(whole_first, whole_second);
  const at::Tensor first = w1a.mm(w1b), second = w2a.mm(w2b);
  std::vector<TestTensor> tensors{scalar("x.alpha", 6)};
  if (whole_first) {
    tensors.push_back(stored("x.lokr_w1", first));
  } else {
    tensors.push_back(stored("x.lokr_w1_a", w1a)), tensors.push_back(stored("x.lokr_w1_b", w1b));
  }
  if (whole_second) {
    tensors.push_back(stored("x.lokr_w2", second));
  } else {
    tensors.push_back(stored("x.lokr_w2_a", w2a)), tensors.push_back(stored("x.lokr_w2_b", w2b));
  }
  const AdapterFile file(tensors);
  at::Tensor expected = at::empty({10, 24});
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 4; ++j)
      expected.narrow(0, i * 5, 5).narrow(1, j * 6, 6).copy_(first[i][j] * second);
  }
  CHECK(distance(weight_delta(file.layer()), expected * (whole_first && whole_second ? 1 : 2)) < kNear);
}

TEST_CASE("LoKr: of convolutions", "[lora]") {
  const at::Tensor w1 = normal({2, 3}, 1);
  at::Tensor second;
  std::vector<TestTensor> tensors{stored("x.lokr_w1", w1)};
  SECTION("whole") {
    second = normal({4, 5, 3, 3}, 2);
    tensors.push_back(stored("x.lokr_w2", second));
  }
  SECTION("factored, the kernel in the second") {
    const at::Tensor a = normal({4, 2}, 2), b = normal({2, 5 * 9}, 3);
    second = a.mm(b).reshape({4, 5, 3, 3});
    tensors.push_back(stored("x.lokr_w2_a", a)), tensors.push_back(stored("x.lokr_w2_b", b));
  }
  SECTION("with a core") {
    const at::Tensor a = normal({2, 4}, 2), b = normal({2, 5}, 3), t = normal({2, 2, 3, 3}, 4);
    second = tucker_sum(a.t(), t, b).to(at::kFloat);
    tensors.push_back(stored("x.lokr_w2_a", a)), tensors.push_back(stored("x.lokr_w2_b", b));
    tensors.push_back(stored("x.lokr_t2", t));
  }
  const AdapterFile file(tensors);
  at::Tensor expected = at::empty({8, 15, 3, 3});
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 3; ++j) expected.narrow(0, i * 4, 4).narrow(1, j * 5, 5).copy_(w1[i][j] * second);
  }
  CHECK(distance(merged_weight(at::zeros({8, 15, 3, 3}), file.layer(), 1), expected) < kNear);
}

TEST_CASE("DoRA: the norm runs over all dimensions but the one that the magnitudes have", "[lora]") {
  const std::vector<int64_t> shape =
      GENERATE(std::vector<int64_t>{6, 4}, std::vector<int64_t>{6, 4, 3, 3}, std::vector<int64_t>{5, 5});
  const bool of_inputs = GENERATE(false, true);
  CAPTURE(shape, of_inputs);
  std::vector<int64_t> down = shape, up(shape.size(), 1), magnitudes(shape.size(), 1), others;
  down[0] = 3, up[0] = shape[0], up[1] = 3;
  const size_t kept = of_inputs ? 1 : 0;
  magnitudes[kept] = shape[kept];
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != kept) others.push_back(static_cast<int64_t>(i));
  }
  const at::Tensor w = normal(shape, 1), a = normal(down, 2), b = normal(up, 3),
                   m = normal(magnitudes, 4).abs();
  const AdapterFile file({stored("x.lora_down.weight", a), stored("x.lora_up.weight", b),
                          stored("x.dora_scale", m), scalar("x.alpha", 1)});
  const at::Tensor sum = w + b.flatten(1).mm(a.flatten(1)).reshape(shape) / 3;
  const at::Tensor whole = sum * m / norm_over(sum, others);
  CHECK(distance(merged_weight(w, file.layer(), 1), whole) < kNear);
  CHECK(distance(merged_weight(w, file.layer(), 0.25), w + 0.25 * (whole - w)) < kNear);
}

TEST_CASE("DoRA: PEFT's magnitudes are of outputs, whatever their shape", "[lora]") {
  const at::Tensor w = normal({5, 5, 3, 3}, 1), a = normal({2, 5, 3, 3}, 2), b = normal({5, 2, 1, 1}, 3),
                   m = normal({1, 5, 1, 1}, 4).abs();
  const AdapterFile file(
      {stored("x.lora_A.weight", a), stored("x.lora_B.weight", b), stored("x.lora_magnitude_vector", m)});
  const at::Tensor sum = w + b.flatten(1).mm(a.flatten(1)).reshape(w.sizes());
  const at::Tensor expected = sum * m.reshape({5, 1, 1, 1}) / norm_over(sum, {1, 2, 3});
  CHECK(distance(merged_weight(w, file.layer(), 1), expected) < kNear);
}

TEST_CASE("DoRA: rows of zeros stay zeros, and magnitudes of another length are refused", "[lora]") {
  const at::Tensor a = at::zeros({2, 4}), b = at::zeros({3, 2});
  const AdapterFile file(
      {stored("x.lora_A.weight", a), stored("x.lora_B.weight", b), stored("x.dora_scale", at::ones({3, 1}))});
  CHECK(merged_weight(at::zeros({3, 4}), file.layer(), 1).equal(at::zeros({3, 4})));
  const AdapterFile other(
      {stored("x.lora_A.weight", a), stored("x.lora_B.weight", b), stored("x.dora_scale", at::ones({5, 1}))});
  CHECK_THROWS_MATCHES(merged_weight(at::zeros({3, 4}), other.layer(), 1), Error,
                       HasCode(ErrorCode::kBadInput, "x.dora_scale"));
}

TEST_CASE("differences: of weights, norms and biases", "[lora]") {
  const at::Tensor d = normal({4, 3}, 1), w = normal({4, 3}, 2), bias = normal({4}, 3), db = normal({4}, 4);
  const AdapterFile file({stored("x.diff", d), stored("x.diff_b", db)});
  CHECK(distance(merged_weight(w, file.layer(), -2), w - 2 * d) < kNear);
  CHECK(distance(merged_bias(bias, file.layer(), -2), bias - 2 * db) < kNear);
  const AdapterFile of_b({stored("x.lora_A.weight", normal({2, 3})),
                          stored("x.lora_B.weight", normal({4, 2})), stored("x.lora_B.bias", db),
                          scalar("x.alpha", 8)});
  CHECK(distance(merged_bias(bias, of_b.layer(), 0.5), bias + 0.5 * 4 * db) < kNear);
}

TEST_CASE("delta: values that are no numbers are refused by name", "[lora]") {
  at::Tensor a = normal({2, 3});
  a[1][1] = INFINITY;
  const AdapterFile file({stored("x.lora_A.weight", a), stored("x.lora_B.weight", normal({4, 2}))});
  CHECK_THROWS_MATCHES(weight_delta(file.layer()), Error, HasCode(ErrorCode::kBadInput, "x.lora_A.weight"));
}

}  // namespace ctq::lora
