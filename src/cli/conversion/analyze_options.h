// What `analyze` shows instead of the plan.
#pragma once

#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/plan/target.h"

namespace ctq::cli {

struct AnalyzeOptions {
  bool blocks = false;                ///< errors of a plain FP8 cast by block
  bool errors = false;                ///< errors by layer and format
  bool suggest = false;               ///< a layer configuration
  std::vector<plan::Target> formats;  ///< for both
};

/// --blocks, --error, --formats and --suggest.
/// throws  Error(kUsage): one of them without `analyze`, two that print different things, an unknown format
AnalyzeOptions read_analyze_options(const Arguments& arguments, const plan::Target& target);

}  // namespace ctq::cli
