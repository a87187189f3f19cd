// Weights that a format cannot hold, which only their values show.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "format/codec.h"
#include "plan/plan.h"

namespace ctq::pipeline {

/// Why codes are of no use for the weight that they were made of: they decode to values that are not finite,
/// or all to zero where the weight is not. Empty where they are.
/// encoded: of the weight, or of every expert of a bank
std::string encoding_fault(const at::Tensor& weight, std::span<const format::Encoded> encoded);

/// Why a weight could not be encoded at all.
std::string no_encoding_fault(const at::Tensor& weight);

/// Why a plain type cannot hold a tensor of that largest magnitude; empty when it can.
std::string cast_finding(float amax, safetensors::Dtype type);

/// Why a weight cannot be quantized, or cast, as planned; empty when it can. Reads the whole weight, and
/// encodes it where its magnitude is unusual. sign_seed: of incoherent codecs
std::string value_finding(const plan::TensorPlan& tensor, uint64_t sign_seed);

}  // namespace ctq::pipeline
