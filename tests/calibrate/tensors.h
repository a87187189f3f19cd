// Tensors of a test file from LibTorch's.
#pragma once

#include <string>

#include <ATen/ATen.h>

#include "model/checkpoint.h"
#include "support/make_checkpoint.h"

namespace ctq::test {

inline TestTensor stored(const std::string& name, const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  return tensor(name, model::container_dtype(flat.scalar_type()), flat.sizes().vec(),
                {static_cast<const char*>(flat.const_data_ptr()), flat.nbytes()});
}

inline at::Tensor loaded(const model::Checkpoint& file, const std::string& name) {
  const auto* entry = file.find(name);
  return entry ? model::load(*entry).clone() : at::Tensor();
}

}  // namespace ctq::test
