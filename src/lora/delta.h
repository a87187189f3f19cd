// What an adapter's layer adds to a weight.
#pragma once

#include <ATen/core/Tensor.h>

#include "lora/adapter.h"

namespace ctq::lora {

/// The change of the weight at strength 1, with the layer's factor. [rows, per_row] float32 on the CPU.
///
/// layer   one that changes_weight()
/// throws  Error(kBadInput): a part with NaN or infinite values
at::Tensor weight_delta(const AdapterLayer& layer);

/// The weight with a share of the change: W + s D.
///
/// With magnitudes m (DoRA, Liu et al., arXiv:2402.09353) the changed weight is brought to these norms:
/// W' = m (W + D) / ||W + D||, and the result is W + s (W' - W), as ComfyUI takes a strength other than 1.
/// D has its factor alpha / r already. The norm runs over all dimensions but the output's, where m has one
/// element for each output (LyCORIS with wd_on_out, PEFT), and over all but the input's where m is
/// [1, in, 1...].
///
/// weight    [rows, ...] float32, per_row elements a row
/// returns   the same shape
/// throws    as weight_delta(); Error(kBadInput): magnitudes of another length
at::Tensor merged_weight(const at::Tensor& weight, const AdapterLayer& layer, double strength);

/// The bias with a share of its change. bias: [rows] float32.
at::Tensor merged_bias(const at::Tensor& bias, const AdapterLayer& layer, double strength);

}  // namespace ctq::lora
