// Adapters written out by hand, and layers that need no file.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "lora/adapter.h"
#include "support/quantized_checkpoint.h"

namespace ctq::test {

inline at::Tensor normal(std::vector<int64_t> shape, uint64_t seed = 1) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

inline TestTensor scalar(std::string name, float value) { return stored(std::move(name), at::tensor(value)); }

/// A file in a folder of its own.
struct AdapterFile {
  explicit AdapterFile(const std::vector<TestTensor>& tensors, const safetensors::Metadata& metadata = {},
                       const std::string& name = "lora.safetensors") {
    make_checkpoint(dir / name, tensors, metadata);
    adapter = std::make_unique<lora::Adapter>(dir / name);
  }
  const lora::AdapterLayer& layer(size_t index = 0) const { return adapter->layers().at(index); }

  TempDir dir;
  std::unique_ptr<lora::Adapter> adapter;
};

}  // namespace ctq::test
