#include "linalg/bf16.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>

namespace ctq::linalg {
namespace {

Bf16Compute& limits() {
  static Bf16Compute compute;
  return compute;
}

}  // namespace

void set_bf16_compute(const Bf16Compute& compute) { limits() = compute; }

bool has_bf16(at::Device device) {
  if (device.is_privateuseone()) return true;
  // What it asks of the current device is its compute capability.
  return device.is_cuda() && at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
}

bool uses_bf16(Bf16Operation operation, double elements, const at::Tensor& like) {
  const int64_t from = operation == Bf16Operation::kProduct    ? limits().product
                       : operation == Bf16Operation::kHadamard ? limits().hadamard
                                                               : limits().hessian;
  return from != Bf16Compute::kNever && elements >= static_cast<double>(from) &&
         like.scalar_type() == at::kFloat && has_bf16(like.device());
}

bool product_uses_bf16(const at::Tensor& a, const at::Tensor& b) {
  return uses_bf16(Bf16Operation::kProduct, static_cast<double>(std::max(a.numel(), b.numel())), a);
}

at::Tensor rounded_to_bf16(const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kFloat); }

at::Tensor bf16_product(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.to(at::kBFloat16), right = b.to(at::kBFloat16);
  if (!a.is_cpu()) return at::mm(left, right, at::kFloat);
  return at::mm(left.to(at::kFloat), right.to(at::kFloat));
}

}  // namespace ctq::linalg
