// The options of the command `batch`; all others are the conversion's.
#pragma once

#include <string>
#include <vector>

#include "cli/options/option.h"
#include "ctq/engine/settings.h"

namespace ctq::cli::batch {

struct BatchOptions {
  engine::Setting<std::vector<engine::Path>> inputs{"inputs"};
  engine::Setting<engine::Path> directory{"directory"};
  engine::Setting<std::string> pattern{"pattern", "*.safetensors"};
  engine::Setting<bool> include_quantized{"include_quantized"};
  engine::Setting<engine::Path> output_dir{"output_dir"};
  engine::Setting<bool> skip_finished{"skip_finished", true};
  engine::Setting<std::vector<engine::Path>> recipes{"recipes"};  ///< names, comma lists and files
  engine::Setting<int64_t> jobs{"jobs", 1};
  engine::Setting<bool> keep_going{"keep_going", true};
  engine::Setting<bool> dry_run{"dry_run"};
  engine::Setting<bool> yes{"yes"};
  engine::Setting<engine::Path> lora{"lora"};
  engine::Setting<engine::Path> lora_mapping{"lora_mapping"};
  engine::Setting<engine::Path> lora_dir{"lora_dir"};
  engine::Setting<std::string> lora_scale{"lora_scale", "1.0"};
  engine::Setting<engine::Path> expect{"expect"};
  engine::Setting<engine::Path> write_expect{"write_expect"};
};

/// Bound to these. options: must outlive the table, at the same place
Table make_batch_table(BatchOptions& options);

}  // namespace ctq::cli::batch
