// A text encoder with the names of OpenCLIP, small.
#pragma once

#include <limits>
#include <map>

#include <c10/util/Half.h>

#include "make_checkpoint.h"

namespace ctq::test {

inline constexpr int64_t kClipWidth = 8;

/// Factors of single weights, by name, and single values to put at their start.
struct Planted {
  std::map<std::string, float> factors;
  std::map<std::string, float> first_values;
};

inline TestTensor f16(std::string name, std::vector<int64_t> shape, float factor = 1,
                      std::optional<float> first = std::nullopt) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  const auto seed = static_cast<int64_t>(std::hash<std::string>{}(name) % 100000);
  std::string bytes = elements<c10::Half>(count, [&](int64_t i) {
    return c10::Half(i == 0 && first ? *first : 2 * factor * weight_value(i + seed));
  });
  return tensor(std::move(name), safetensors::Dtype::kF16, std::move(shape), std::move(bytes));
}

/// `blocks` blocks of 12 tensors, and five tensors outside, two of them not float16.
inline std::vector<TestTensor> clip_g_tensors(int64_t blocks, const Planted& planted = {}) {
  constexpr int64_t kW = kClipWidth;
  std::vector<TestTensor> tensors{f16("token_embedding.weight", {16, kW}),
                                  f16("positional_embedding", {7, kW}), f16("text_projection", {kW, kW}),
                                  f32_weight("ln_final.weight", 1, kW),
                                  tensor("logit_scale", safetensors::Dtype::kF32, {}, std::string(4, 'A'))};
  for (int64_t block = 0; block < blocks; ++block) {
    const std::string prefix = "transformer.resblocks." + std::to_string(block) + ".";
    const auto add = [&](const std::string& rest, std::vector<int64_t> shape) {
      const auto factor = planted.factors.find(prefix + rest);
      const auto first = planted.first_values.find(prefix + rest);
      tensors.push_back(
          f16(prefix + rest, std::move(shape), factor == planted.factors.end() ? 1.0f : factor->second,
              first == planted.first_values.end() ? std::nullopt : std::optional(first->second)));
    };
    add("attn.in_proj_weight", {3 * kW, kW}), add("attn.in_proj_bias", {3 * kW});
    add("attn.out_proj.weight", {kW, kW}), add("attn.out_proj.bias", {kW});
    add("mlp.c_fc.weight", {4 * kW, kW}), add("mlp.c_fc.bias", {4 * kW});
    add("mlp.c_proj.weight", {kW, 4 * kW}), add("mlp.c_proj.bias", {kW});
    for (const char* norm : {"ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"}) add(norm, {kW});
  }
  return tensors;
}

}  // namespace ctq::test
