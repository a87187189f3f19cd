// The conversions of a batch, decided before the first one starts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "lora_choice.h"
#include "options.h"

namespace ctq::cli::batch {

/// One conversion.
struct Job {
  std::string input;
  std::string recipe;  ///< empty where none is named
  std::string output;
  std::vector<std::string> words;  ///< its command line, without the program's name
  bool finished = false;           ///< its output is whole and not older than any file that it is made from

  /// "model.safetensors" or "model.safetensors [comfy-fp8]".
  std::string label() const;
};

/// Every input with every recipe. Inputs that are outputs of others are left out: they are of a run before.
/// batch: the batch's own options; conversion: the words for every file.
/// throws  what the conversion says to its options; Error(kUsage) for two jobs with one output
std::vector<Job> make_jobs(std::span<const std::string> inputs, const BatchOptions& batch,
                           const std::vector<std::string>& conversion, const LoraChoice& loras);

}  // namespace ctq::cli::batch
