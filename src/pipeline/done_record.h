// What a run remembers of a tensor that it has written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "metrics/error_sum.h"
#include "pipeline/convert.h"

namespace ctq::pipeline {

struct DoneRecord {
  std::string tensor;
  std::vector<uint64_t> checksums;  ///< of the plan's outputs, in order
  std::optional<metrics::WeightError> error;
  metrics::Squares squares;  ///< of `error`, else sampled
  std::optional<Optimized> optimized;
  std::optional<metrics::WeightHistograms> histograms;
  at::Tensor
      bias_change;  ///< what the layer's bias gains, [out_features] float64 on the CPU; undefined: nothing
  double seconds = 0;
};

/// One line of JSON that read_record() reads back, every number to the last bit.
std::string write_record(const DoneRecord& record);
/// Nothing for a line that is no record.
std::optional<DoneRecord> read_record(const std::string& line);

}  // namespace ctq::pipeline
