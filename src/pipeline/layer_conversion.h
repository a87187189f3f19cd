// What becomes of one tensor: values, codes, figures, and what is stored.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include "budgeted_layers.h"
#include "done_record.h"
#include "layer_rounding.h"
#include "pipeline/convert.h"
#include "placement.h"
#include "transform/smoothing.h"

namespace ctq::pipeline {

/// A tensor that is done but for its writing.
struct Converted {
  std::vector<at::Tensor> stored;  ///< on the CPU, in the order of the plan's outputs
  DoneRecord record;
};
/// Why a format cannot hold the tensor's values.
struct Unfit {
  std::string finding;
};
using LayerOutcome = std::variant<Converted, Unfit>;

/// The tensors of a plan, one after another.
class LayerConversion {
 public:
  /// part: what of the whole plan is converted. All arguments must outlive this
  LayerConversion(const model::Checkpoint& checkpoint, const plan::Plan& whole, const plan::Plan& part,
                  const RunOptions& options);

  /// Codes in room, judged and packed. has_bias: a bias may take up what the codes change, which the record
  /// then says
  LayerOutcome quantize(const plan::TensorPlan& tensor, bool has_bias);
  /// As the plain type of its target.
  LayerOutcome cast(const plan::TensorPlan& tensor);
  /// Of a tensor that stays unquantized: its values where they are not its bytes: smoothed, decoded, merged.
  std::optional<at::Tensor> kept(const plan::TensorPlan& tensor) const;
  /// A bias with that change; as it was, where the sum is not finite. usable: whether it is
  at::Tensor corrected_bias(const plan::TensorPlan& tensor, const at::Tensor& change, bool& usable) const;

  /// LayerRounding::error() of round to nearest.
  std::variant<double, Unfit> nearest_error(const plan::TensorPlan& tensor);

  /// Null without a budget of time.
  BudgetedLayers* budget() { return budget_ ? &*budget_ : nullptr; }
  size_t smoothed_inputs() const { return smoothing_ ? smoothing_->inputs() : 0; }
  /// Layers that a GPU had no room for.
  size_t moved_to_cpu() const { return placement_.moved(); }

 private:
  /// A layer on its way.
  struct Job {
    const plan::TensorPlan& tensor;
    bool has_bias;
    Place place;
  };
  LayerOutcome run(const Job& job);
  DoneRecord judged(const Job& job, const at::Tensor& weight, const std::vector<format::Encoded>& encoded);
  std::vector<at::Tensor> packed(const plan::TensorPlan& tensor,
                                 const std::vector<format::Encoded>& encoded) const;

  bool is_smoothed(const plan::TensorPlan& tensor) const;
  at::Tensor values_of(const plan::TensorPlan& tensor, at::Device device) const;
  at::Tensor values_on_cpu(const plan::TensorPlan& tensor) const;
  float shared_largest(const plan::TensorPlan& tensor) const;
  const at::Tensor& input_factors(const plan::TensorPlan& tensor) const;

  const RunOptions& options_;
  std::optional<transform::Smoothing> smoothing_;
  LayerRounding rounding_;
  Placement placement_;
  std::optional<BudgetedLayers> budget_;
  std::map<std::string_view, float> shared_largest_;  ///< by weights that share a scale
};

}  // namespace ctq::pipeline
