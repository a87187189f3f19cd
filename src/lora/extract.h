// A LoRA that adds back what quantization lost.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quantized/layers.h"

namespace ctq::lora {

struct ExtractOptions {
  int64_t rank = 32;                                      ///< lower for layers with a shorter side
  std::function<bool(const std::string& tensor)> always;  ///< weights that are covered whatever their place
                                                          ///< and shape; null: none
  int64_t depth = 1;                                      ///< blocks with an index below this are covered
  double aspect_threshold = 0;  ///< only layers whose longer side is below this many shorter ones; 0: the
                                ///< rule of wants()
  safetensors::Dtype dtype = safetensors::Dtype::kF32;  ///< F32, F16 or BF16
};

/// Whether a layer is covered. The block index is the first number between dots in its name.
///
/// Yes when `always` says so. Else no without a block index or with one that is not below `depth`. Else by
/// the ratio r of the longer to the shorter side: with a threshold r < threshold; without one r < 3, or r <=
/// 4 for block 0 and for names with qkv, attn or proj.
bool wants(const ExtractOptions& options, const std::string& tensor, int64_t out_features,
           int64_t in_features);

/// Name of the layer in the adapter: "diffusion_model." and the layer without the prefix that a checkpoint
/// may give it.
std::string adapter_name(std::string_view layer);

/// What became of a layer. Errors are relative to the norm of the original weight.
struct Extracted {
  std::string layer;
  int64_t rank = 0;
  double error_before = 0;  ///< ||W - D||_F / ||W||_F
  double error_after = 0;   ///< of D + up down, as stored
};

/// Writes `<name>.lora_up.weight` [out_features, rank] and `<name>.lora_down.weight` [rank, in_features] for
/// every covered layer: up down is the best approximation of rank r of W - D, by randomized SVD, W the
/// original weight and D what the quantized file decodes to. There is no alpha: loaders then scale by 1.
///
/// returns  the covered layers, by name
/// throws   Error(kFailure): no layer is covered; Error(kBadInput): a layer without an original, or one that
///          cannot be decoded; see safetensors::Writer
std::vector<Extracted> extract(const quantized::QuantizedFile& original,
                               const quantized::QuantizedFile& quantized, const ExtractOptions& options,
                               const std::string& output);

}  // namespace ctq::lora
