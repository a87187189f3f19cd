// A layer configuration made from a plan, to be edited and given back.
#pragma once

#include <string>

#include "plan/plan.h"

namespace ctq::plan {

/// The text of a file for LayerConfig::parse() that repeats the plan: `_default` with the target, and for
/// every candidate an anchored pattern of its whole name with the format that the plan gives it ("keep" where
/// it stays). Comments (`_shape`, `_reason`) say why; `_exclusions` lists the 2-D weights that are no
/// candidates.
std::string template_json(const Plan& plan, const Options& options);

/// The regular expression that matches this text and no other: "^a\.b$".
std::string anchored_pattern(std::string_view text);

}  // namespace ctq::plan
