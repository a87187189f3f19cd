// The analysis by block, of `clip-g --analyze` and `analyze --blocks`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctq/engine/settings.h"
#include "model/checkpoint.h"
#include "plan/blocks.h"
#include "plan/clip_g.h"

namespace ctq::cli {

/// Where the analysis goes besides standard output; empty: not there.
struct AnalysisFiles {
  std::vector<std::string> reports;  ///< in the form of their suffix
  std::string json;
  bool print_json = false;  ///< JSON on standard output instead of tables
  bool quiet = false;       ///< nothing on standard output
};

/// throws  Error(kUsage) naming the setting: another suffix than .html and .json
std::vector<std::string> report_paths(const engine::Setting<std::vector<engine::Path>>& setting);

/// Measures, prints and writes; for a text encoder of OpenCLIP with advice. keep: the blocks of its -k;
/// nothing: the usual first seven.
/// throws  Error(kUsage): a file that is the input, a block that is not there
void report_blocks(const model::Checkpoint& checkpoint, const std::vector<plan::Block>& blocks,
                   const std::optional<plan::BlockList>& keep, const AnalysisFiles& files);

}  // namespace ctq::cli
