// --recipe FILE.json: somebody's own recipe.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ctq::cli {

/// What a recipe file chooses: {"format": "nvfp4", "quality": "best", "exclude_layers": "norm"}. Keys are
/// options of the conversion without their dashes; values are strings, numbers and booleans.
///
/// returns  option key -> value, as on the command line, checked by the option
/// throws   Error(kBadInput): unreadable; Error(kUsage): no JSON object, an unknown option, one that belongs
/// to a
///          single run (input, output, recipe, profile), a value that the option does not take. Each names
///          the key
std::vector<std::pair<std::string, std::string>> read_recipe(const std::string& path);

}  // namespace ctq::cli
