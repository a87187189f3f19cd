// The error of a weight that is decoded part by part.
#pragma once

#include <cstdint>

#include "metrics/error.h"

namespace ctq::metrics {

/// Mean and sum of squared deviations from it, part by part: Chan, Golub and LeVeque, "Updating formulae and
/// a pairwise algorithm for computing sample variances", 1979.
struct Moments {
  double n = 0;
  double mean = 0;
  double squares = 0;

  void add(double part_n, double sum, double sum_of_squares);
};

/// ||E||_F^2 and ||W||_F^2.
struct Squares {
  double error = 0;
  double weight = 0;

  Squares& operator+=(const Squares& other) {
    error += other.error, weight += other.weight;
    return *this;
  }
  friend Squares operator*(const Squares& squares, double factor) {
    return {squares.error * factor, squares.weight * factor};
  }
};

class WeightErrorSum {
 public:
  /// As of weight_error(). Only matrices have rows.
  void add(const at::Tensor& original, const at::Tensor& decoded);
  /// Of all parts together.
  WeightError error() const;
  Squares squares() const { return {error_squares_, weight_squares_}; }

 private:
  int64_t numel_ = 0, non_finite_ = 0, to_zero_ = 0, rows_to_zero_ = 0;
  double error_squares_ = 0, weight_squares_ = 0, max_error_ = 0;
  Moments error_, weight_;
};

}  // namespace ctq::metrics
