// Tensors of the golden files: inputs and the bytes that the clients' own libraries make of them.
#pragma once

#include <cstring>
#include <string>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "safetensors/reader.h"

namespace ctq::test {

class Golden {
 public:
  explicit Golden(const std::string& name)
      : reader_(std::string(CTQ_TEST_GOLDEN "/") + name + ".safetensors") {}

  at::Tensor operator[](const std::string& name) const {
    INFO(name);
    const safetensors::TensorInfo* info = reader_.find(name);
    REQUIRE(info != nullptr);
    at::Tensor tensor = at::empty(info->shape, dtype_of(info->dtype));
    const auto bytes = reader_.bytes(*info);
    REQUIRE(bytes.size() == tensor.nbytes());
    std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    return tensor;
  }

 private:
  static at::ScalarType dtype_of(safetensors::Dtype dtype) {
    switch (dtype) {
      case safetensors::Dtype::kF32: return at::kFloat;
      case safetensors::Dtype::kBF16: return at::kBFloat16;
      case safetensors::Dtype::kI8: return at::kChar;
      case safetensors::Dtype::kI32: return at::kInt;
      case safetensors::Dtype::kU8: return at::kByte;
      case safetensors::Dtype::kF8E4M3: return at::kFloat8_e4m3fn;
      case safetensors::Dtype::kF8E5M2: return at::kFloat8_e5m2;
      default: FAIL("the golden files of this test have no such element type");
    }
    return at::kByte;
  }

  safetensors::Reader reader_;
};

/// Same type, shape and bytes. Unlike at::equal it tells 0 from -0, and takes FP8.
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return left.numel() == 0 || std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

}  // namespace ctq::test
