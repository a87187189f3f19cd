// Writing an adapter, as a command and at the end of a conversion.
#pragma once

#include <string>

#include "ctq/cli/arguments.h"
#include "ctq/lora/extract.h"

namespace ctq::cli {

/// The options of lora_rows().
lora::ExtractOptions read_extraction(const Arguments& arguments);

/// "model_fp8_lora.safetensors" for "model_fp8.safetensors".
std::string lora_output_name(const std::string& quantized);

/// Extracts and says per layer what is left of the error.
void extract_lora(const std::string& original, const std::string& quantized,
                  const lora::ExtractOptions& options, const std::string& output);

}  // namespace ctq::cli
