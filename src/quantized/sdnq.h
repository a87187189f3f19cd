// SDNQ (SD.Next): what its configuration says of a layer, and how it rotates columns.
//
// Formulas: github.com/Disty0/sdnq, versions 0.2.1 to 0.2.8 (quant_utils.py, dequantizer.py, utils.py).
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "quantized/layers.h"

namespace ctq::quantized::sdnq {

/// What is done to a layer that no tensor of it shows.
struct Settings {
  bool use_codebook = false;
  int64_t rotated_run = 0;  ///< columns that are rotated together; 0: none
  std::string fault;        ///< why it cannot be told
};

/// configuration  as Search::configuration(); of a module that `modules_quant_config` names, its own entry
///                goes before the rest
Settings settings_of(const nlohmann::json& configuration, const Layer& layer);

/// The weight whose runs of columns were rotated: W = W' blockdiag(H, .., H), H = H^T = H^-1, the Kronecker
/// power of the regular 4 x 4 matrix where the run is a power of 4, else Sylvester's. Of a convolution
/// [out, in, ..] the runs go over all dimensions but the first.
at::Tensor rotated_back(const at::Tensor& weight, int64_t run);

/// Columns that it would rotate together of so many; 0 where it would not.
int64_t run_of(int64_t channels, int64_t group_size);

/// How much more neighbouring columns of a matrix differ in size than those of the same matrix with every
/// four columns rotated: the logarithm of the quotient of both variances, relative and within the fours. A
/// trained weight has columns of their own sizes, and a rotation evens them out: this is above 0 for one,
/// about 0 for one whose columns were alike to begin with, or rotated in runs of 16 or more, and below it
/// for one that was rotated in runs of 4.
///
/// weight  [out_features, in_features] float32, in_features a multiple of 4
double column_contrast(const at::Tensor& weight);

}  // namespace ctq::quantized::sdnq
