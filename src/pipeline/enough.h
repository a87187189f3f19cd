// Whether enough pictures were recorded: what layers gain by more of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "calibrate/recorded.h"
#include "model/checkpoint.h"

namespace ctq::pipeline {

struct Enough {
  /// What is learned of so many pictures, judged by others.
  struct Point {
    int64_t pictures = 0;
    double ratio = 0;  ///< of the error of a layer's output to that of round to nearest, geometric mean
    size_t worse = 0;  ///< layers above it
  };
  std::vector<Point> points;  ///< by rising numbers
  int64_t judges = 0;         ///< pictures that are judged by
  size_t layers = 0;          ///< that were measured
  size_t left_out = 0;        ///< without rows of enough pictures, or wider than is tried
};

/// In FP8 with one scale, on some rows of at most 64 layers spread over the model; the last quarter of the
/// pictures judges, and the first 1, 2, 4 .. of the others are learned from.
/// throws  Error(kInterrupted)
Enough measure_enough(const model::Checkpoint& checkpoint, const calibrate::Recording& recording);

}  // namespace ctq::pipeline
