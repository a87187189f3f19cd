// Products of BF16 operands, with sums in float32, on GPUs that have them: half the memory traffic and many
// times the speed of float32, for an error of one part in 500 in a product.
#pragma once

#include <cstdint>
#include <limits>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace ctq::linalg {

enum class Bf16Operation : uint8_t {
  kProduct,   ///< of matrices, and the corrections of error feedback
  kHadamard,  ///< values between the butterflies, which stay float32
  kHessian,   ///< X^T X
};

/// From how many elements on an operation uses BF16. The default: never.
struct Bf16Compute {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  int64_t product = kNever;
  int64_t hadamard = kNever;
  int64_t hessian = kNever;
};

/// Of all later arithmetic of the process.
void set_bf16_compute(const Bf16Compute& compute);

/// Whether the device has BF16 arithmetic: a GPU of compute capability 8.0 or later.
bool has_bf16(at::Device device);

/// Whether an operation on `like`, a float32 tensor, is to use it. elements: of the larger operand. Never on
/// the CPU.
bool uses_bf16(Bf16Operation operation, double elements, const at::Tensor& like);

/// The same of the product a b.
bool product_uses_bf16(const at::Tensor& a, const at::Tensor& b);

/// x with every value rounded to BF16. float32 in, float32 out.
at::Tensor rounded_to_bf16(const at::Tensor& x);

/// a b of operands rounded to BF16. [M, K] times [K, N], float32; the result float32, any device.
at::Tensor bf16_product(const at::Tensor& a, const at::Tensor& b);

}  // namespace ctq::linalg
