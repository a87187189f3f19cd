// Checkpoints of one block, with names and shapes as a model family has them.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/checkpoint.h"
#include "support/make_checkpoint.h"
#include "support/temp_dir.h"

namespace ctq::test {

/// Collects tensors under a prefix. Values are fixed: norm scales about 1, biases about 0.3, weights of
/// linears such that their outputs are about as large as their inputs.
class StructureCheckpoint {
 public:
  explicit StructureCheckpoint(std::string prefix = "") : prefix_(std::move(prefix)) {}

  StructureCheckpoint& vector(const std::string& name, int64_t size, float centre) {
    const auto seed = static_cast<int64_t>(name.size()) * 131;
    const std::string bytes =
        elements<float>(size, [&](int64_t i) { return centre + 15.0f * weight_value(i + seed); });
    tensors_.push_back(tensor(prefix_ + name, safetensors::Dtype::kF32, {size}, bytes));
    return *this;
  }
  StructureCheckpoint& layer_norm(const std::string& name, int64_t size) {
    return vector(name + ".weight", size, 1.0f).vector(name + ".bias", size, 0.3f);
  }
  StructureCheckpoint& rms_norm(const std::string& name, int64_t size) {
    return vector(name + ".weight", size, 1.0f);
  }
  StructureCheckpoint& matrix(const std::string& name, int64_t out_features, int64_t in_features) {
    const float scale = 50.0f / std::sqrt(static_cast<float>(in_features));
    const auto seed = static_cast<int64_t>(name.size()) * 7919;
    const std::string bytes = elements<float>(out_features * in_features,
                                              [&](int64_t i) { return scale * weight_value(i + seed); });
    tensors_.push_back(tensor(prefix_ + name, safetensors::Dtype::kF32, {out_features, in_features}, bytes));
    return *this;
  }
  StructureCheckpoint& linear(const std::string& name, int64_t out_features, int64_t in_features) {
    return matrix(name + ".weight", out_features, in_features);
  }
  StructureCheckpoint& biased(const std::string& name, int64_t out_features, int64_t in_features) {
    return linear(name, out_features, in_features).vector(name + ".bias", out_features, 0.1f);
  }
  StructureCheckpoint& poison(const std::string& name, float value) {
    for (TestTensor& made : tensors_) {
      if (made.info.name == prefix_ + name) std::memcpy(made.bytes.data() + 8, &value, sizeof value);
    }
    return *this;
  }
  StructureCheckpoint& add(TestTensor made) {
    tensors_.push_back(std::move(made));
    return *this;
  }

  model::Checkpoint open() const {
    make_checkpoint(*folder_ / "model.safetensors", tensors_);
    return model::Checkpoint::open(*folder_ / "model.safetensors");
  }

 private:
  std::shared_ptr<TempDir> folder_ = std::make_shared<TempDir>();
  std::string prefix_;
  std::vector<TestTensor> tensors_;
};

/// A tensor's values in float64.
inline at::Tensor values(const model::Checkpoint& checkpoint, const std::string& name) {
  return model::load(*checkpoint.find(name)).to(at::kDouble);
}

}  // namespace ctq::test
