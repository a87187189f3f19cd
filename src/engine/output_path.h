// Where the output goes, and whether we may write there. Asked before any work.
#pragma once

#include <string>

#include "ctq/engine/setting.h"
#include "model/checkpoint.h"

namespace ctq::engine {

/// throws  Error(kUsage): the output is one of the inputs, also through a link.
///         Error(kFailure): it is a directory.
void check_output_path(const std::string& output, const std::string& input);
/// throws  Error(kFailure) naming the setting, too, where it is on and the output exists.
void check_output_path(const std::string& output, const std::string& input, const Setting<bool>& no_clobber);

/// The same for the files of a sharded input, which are known once it is open.
void check_output_is_no_input(const std::string& output, const model::Checkpoint& checkpoint);

/// The input's path without the suffix of a model, or of its slash where it is a folder.
std::string input_stem(const std::string& input);

/// "model_fp8_lora.safetensors" for "model_fp8.safetensors".
std::string lora_output_name(const std::string& quantized);

}  // namespace ctq::engine
