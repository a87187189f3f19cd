// The conversion's options as the engine's settings.
#pragma once

#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/engine/settings.h"

namespace ctq::cli {

/// Settings, and sentences about options that are none.
struct BoundOptions {
  engine::Settings settings;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
};

/// What the options say; messages of the engine call settings by their options.
/// throws  Error(kUsage) for what only options can contradict: two targets, an option of another command
BoundOptions bind(const Arguments& arguments);

/// The options of lora_rows().
void bind_extraction(const Arguments& arguments, engine::Loras& loras);

/// The options of the conversion that a command has too (fp8), by name.
void bind_some(const Arguments& arguments, const std::vector<std::string_view>& options,
               engine::Settings& settings);

}  // namespace ctq::cli
