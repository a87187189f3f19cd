// One pass over a plan: reads in order, converts, writes behind, and keeps a journal.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "journal.h"
#include "layer_conversion.h"
#include "output_set.h"
#include "pipeline/convert.h"
#include "write_behind.h"

namespace ctq::pipeline {

class Pass {
 public:
  /// whole    all of the plan, where `plan` is a part of it
  /// journal  null where nothing is to be kept of an interrupted run
  Pass(const model::Checkpoint& checkpoint, const plan::Plan& whole, const plan::Plan& plan,
       const RunOptions& options, Journal* journal, Events& events);

  /// On return the output is whole under its final name, unless a weight turned out not to be quantizable:
  /// then the pass is worthless.
  /// returns  these weights, with why
  plan::ValueFindings carry_out(Result& result);

 private:
  using Order = std::vector<const plan::TensorPlan*>;

  void save_work() noexcept;
  bool convert_tensors(Result& result);
  bool rank(Order& order);
  Resumed take_over(Order& order, Result& result);
  bool is_written(const plan::TensorPlan& tensor, const DoneRecord& record);
  void add_to(Result& result, const plan::TensorPlan& tensor, const DoneRecord& record, double seconds);

  /// What came of a tensor, whose bytes are on their way to the file; nothing where it was refused.
  std::optional<DoneRecord> convert(const plan::TensorPlan& tensor);
  std::optional<DoneRecord> take(const plan::TensorPlan& tensor, LayerOutcome outcome);
  void keep(const plan::TensorPlan& tensor);
  void write(const plan::TensorPlan& tensor, const at::Tensor& values);
  void store(const plan::TensorPlan& tensor, std::vector<at::Tensor> tensors, DoneRecord record);
  void refuse(const plan::TensorPlan& tensor, std::string finding);

  const plan::Plan& plan_;
  const RunOptions& options_;
  Journal* const journal_;
  Events& events_;
  LayerConversion layers_;
  std::map<const plan::TensorPlan*, at::Tensor> bias_changes_;  ///< by the bias, [out_features] float64
  size_t biases_corrected_ = 0;
  plan::ValueFindings refused_;
  OutputSet outputs_;
  WriteBehind writes_;
};

}  // namespace ctq::pipeline
