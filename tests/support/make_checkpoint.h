// Small safetensors files made in a test.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "safetensors/header.h"
#include "safetensors/writer.h"
#include "temp_dir.h"

namespace ctq::test {

/// A tensor and its bytes.
struct TestTensor {
  safetensors::TensorInfo info;
  std::string bytes;
};

/// Bytes of the elements' type, from a function of the index.
template <typename Element, typename Function>
std::string elements(int64_t count, Function value) {
  std::string bytes(static_cast<size_t>(count) * sizeof(Element), '\0');
  for (int64_t i = 0; i < count; ++i) {
    const Element element = value(i);
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof(Element), &element, sizeof element);
  }
  return bytes;
}

inline TestTensor tensor(std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape,
                         std::string bytes) {
  TestTensor made;
  made.info.name = std::move(name), made.info.dtype = dtype, made.info.shape = std::move(shape);
  made.bytes = std::move(bytes);
  return made;
}

/// A float32 value as BF16, truncated: enough for made-up weights.
inline uint16_t bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

/// Deterministic values of about normal shape and standard deviation 0.02.
inline float weight_value(int64_t i) {
  uint64_t state = static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
  float sum = 0;
  for (int k = 0; k < 4; ++k) {
    state ^= state >> 29, state *= 0xBF58476D1CE4E5B9u, state ^= state >> 32;
    sum += static_cast<float>(state & 0xFFFF) / 65536.0f - 0.5f;
  }
  return sum * 0.035f;
}

inline TestTensor bf16_weight(std::string name, int64_t rows, int64_t columns) {
  const auto seed = static_cast<int64_t>(name.size()) * 7919;
  return tensor(std::move(name), safetensors::Dtype::kBF16, {rows, columns},
                elements<uint16_t>(rows * columns, [&](int64_t i) { return bf16(weight_value(i + seed)); }));
}

inline TestTensor f32_weight(std::string name, int64_t rows, int64_t columns) {
  return tensor(std::move(name), safetensors::Dtype::kF32, {rows, columns},
                elements<float>(rows * columns, [](int64_t i) { return weight_value(i); }));
}

inline TestTensor bf16_vector(std::string name, int64_t size) {
  return tensor(std::move(name), safetensors::Dtype::kBF16, {size},
                elements<uint16_t>(size, [](int64_t i) { return bf16(weight_value(i)); }));
}

inline void make_checkpoint(const std::string& path, const std::vector<TestTensor>& tensors,
                            const safetensors::Metadata& metadata = {}) {
  std::vector<safetensors::TensorInfo> infos;
  for (const TestTensor& made : tensors) infos.push_back(made.info);
  safetensors::Writer writer(path, safetensors::lay_out(infos), metadata);
  for (const TestTensor& made : tensors) writer.write(made.info.name, std::as_bytes(std::span(made.bytes)));
  writer.commit();
}

}  // namespace ctq::test
