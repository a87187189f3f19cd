// SmoothQuant: factors that move the difficulty of quantizing from a layer's input into its weight.
//
// Xiao et al., arXiv:2211.10438, equation 4: s_j = max|X_j|^alpha / max|W_j|^(1 - alpha); the weight's
// columns are multiplied by s, and the input is divided by it by whatever makes it (calibrate::Fold). The
// model computes the same as before.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "calibrate/folds.h"
#include "calibrate/input_ranges.h"
#include "model/checkpoint.h"

namespace ctq::transform {

/// s_j for one input. Where a channel is never used by either side, or the result is no usable number, s_j
/// is 1; otherwise it lies within 1e-5 and 1e5.
///
/// input_max, weight_max  [in_features] float32, largest magnitude of each channel
/// alpha                  1 moves all difficulty into the weight, 0 all into the input
at::Tensor smoothing_factors(const at::Tensor& input_max, const at::Tensor& weight_max, double alpha);

/// Of an input that only the loader can divide: what it multiplies by, [in_features] BFloat16. 1 / s_j, the
/// s_j divided by their geometric mean, so that input and weight keep their size; within 2^-14 and 2^14, so
/// that float16 holds the same numbers and loaders, which cast to the input's type, all use them.
///
/// input_max, weight_max, alpha: as above
at::Tensor stored_factors(const at::Tensor& input_max, const at::Tensor& weight_max, double alpha);

/// stored_factors() by layer.
using StoredFactors = std::map<std::string, at::Tensor, std::less<>>;

/// Largest magnitude of each column, [in_features] float32. weight: [out_features, in_features], any float
/// type
at::Tensor column_max(const at::Tensor& weight);

/// The inputs of a checkpoint that are smoothed, and what becomes of its tensors. Reads the weights of the
/// layers concerned once when it is made; then safe to use from several threads.
class Smoothing {
 public:
  /// What is smoothed, from headers alone: folds with a reader that is quantized and whose largest inputs
  /// are known.
  static std::vector<calibrate::Fold> candidates(const model::Checkpoint& checkpoint,
                                                 const calibrate::InputRanges& ranges,
                                                 const std::function<bool(std::string_view)>& quantized);

  /// checkpoint  must outlive this
  /// quantized   whether the layer's weight will be. Where a reader or a maker's rows are not, the factors
  ///             are powers of two, so that nothing is rounded; otherwise they are chosen so that a norm's
  ///             new weight, or the bias of a modulation's scale, is exact in its type
  /// device      where the weights are searched for their largest values
  /// stored      of layers that are readers of no fold: their columns are divided by them
  /// concerned   the tensors that apply() and factors() will be asked for; null: all. Weights of other inputs
  ///             are not read
  /// throws      what reading throws; Error(kInterrupted) after a signal
  Smoothing(const model::Checkpoint& checkpoint, const calibrate::InputRanges& ranges, double alpha,
            const std::function<bool(std::string_view)>& quantized, at::Device device,
            const StoredFactors& stored = {},
            const std::function<bool(const model::Checkpoint::Entry&)>& concerned = nullptr);

  /// Inputs that are smoothed.
  size_t inputs() const { return inputs_; }

  bool changes(const model::Checkpoint::Entry& entry) const { return edits_.contains(entry.info); }

  /// The tensor's values as the smoothed model has them, float32. values: as load()ed, or moved to a device.
  at::Tensor apply(const model::Checkpoint::Entry& entry, const at::Tensor& values) const;

  /// What the layer's input is divided by, [in_features] float32 on the CPU; undefined: nothing.
  at::Tensor factors(std::string_view layer) const;

 private:
  struct Rows {
    int64_t first = 0;
    at::Tensor factors;  ///< [rows]
    float offset = 0;
  };
  struct Edit {
    at::Tensor columns;  ///< [in_features] to multiply by, or undefined
    std::vector<Rows> rows;
  };
  void smooth(const model::Checkpoint& checkpoint, const calibrate::Fold& fold, at::Tensor factors);

  std::map<const safetensors::TensorInfo*, Edit> edits_;
  std::map<std::string, at::Tensor, std::less<>> factors_;
  size_t inputs_ = 0;
};

/// "SmoothQuant: 24 inputs are divided by what makes them (12 norms, 12 attention values); 6 quantized layers
/// read inputs that nothing can divide". quantized: all layers whose weights will be.
/// stored: of these, those with factors of their own.
std::string summary(const std::vector<calibrate::Fold>& folds, const std::vector<std::string>& quantized,
                    const StoredFactors& stored = {});

}  // namespace ctq::transform
