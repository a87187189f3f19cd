// Quantized files written out by hand.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "quantized/layers.h"
#include "support/make_checkpoint.h"

namespace ctq::test {

inline TestTensor f32(std::string name, std::vector<int64_t> shape, const std::vector<float>& values) {
  return tensor(std::move(name), safetensors::Dtype::kF32, std::move(shape),
                {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

inline TestTensor marker(const std::string& layer, const std::string& json) {
  return tensor(layer + ".comfy_quant", safetensors::Dtype::kU8, {static_cast<int64_t>(json.size())}, json);
}

/// Any tensor that the container can hold.
inline TestTensor stored(std::string name, const at::Tensor& value) {
  const at::Tensor whole = value.contiguous();
  return tensor(std::move(name), model::container_dtype(value.scalar_type()), value.sizes().vec(),
                {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
}

/// A file in a folder of its own, opened.
struct Opened {
  explicit Opened(const std::vector<TestTensor>& tensors, const safetensors::Metadata& metadata = {})
      : checkpoint((make_checkpoint(dir / "m.safetensors", tensors, metadata),
                    model::Checkpoint::open(dir / "m.safetensors"))),
        file(quantized::find_layers(checkpoint)) {}

  TempDir dir;
  model::Checkpoint checkpoint;
  quantized::QuantizedFile file;
};

}  // namespace ctq::test
