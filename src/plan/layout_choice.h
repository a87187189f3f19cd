// Comfy layout or legacy one, and the marker tensors that belong to it.
#pragma once

#include <string>

#include "plan/plan.h"

namespace ctq::plan {

/// Whether a layer's marker asks for products in full precision: its own setting, or that of the whole file.
bool full_precision_products(const TensorPlan& tensor, const Options& options);
/// The bytes of <layer>.comfy_quant.
std::string marker_of(const TensorPlan& tensor, const Options& options);

/// Whether the weight is quantized and multiplied with an input, which a table is not.
bool multiplies(const TensorPlan& tensor);

/// Whether the weight's scale is stored in one byte (format/log_scale.h).
bool has_log_scale(const TensorPlan& tensor);

/// Sets plan.layout: what the user asked for; otherwise legacy, or comfy with a note where legacy readers
/// would misread the content.
/// throws  Error(kUsage) when legacy was asked for and cannot hold the content
void choose_layout(Plan& plan, const Options& options);

/// Adds the markers: one `comfy_quant` tensor per quantized layer, or the file's `scaled_fp8`.
void add_markers(Plan& plan, const Options& options);

/// Adds the input scales that are known of quantized layers: F32 scalars.
void add_input_scales(Plan& plan, const Options& options);

}  // namespace ctq::plan
