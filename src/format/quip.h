// Incoherence processing as it is stored: random signs and Walsh-Hadamard transforms on both sides of a
// weight (Chee et al., "QuIP", arXiv:2307.13304, algorithm 1).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace ctq::format {

/// [size] float32 of 1 and -1; the same seed gives the same on all devices.
at::Tensor random_signs(int64_t size, uint64_t seed, at::Device device);

/// H diag(sign_row) W diag(sign_col) H. weight: [out_features, in_features], sides powers of two.
at::Tensor incoherent(const at::Tensor& weight, const at::Tensor& sign_row, const at::Tensor& sign_col);

/// incoherent() undone.
at::Tensor coherent(const at::Tensor& transformed, const at::Tensor& sign_row, const at::Tensor& sign_col);

}  // namespace ctq::format
