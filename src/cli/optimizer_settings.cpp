#include "optimizer_settings.h"

#include <algorithm>
#include <array>
#include <random>
#include <string_view>

#include "ctq/base/error.h"

namespace ctq::cli {
namespace {

using optimize::DirectObjective;
using optimize::Method;

Method method_of(const std::string& word) {
  if (word == "direct") return Method::kDirect;
  if (word == "implied" || word == "auto") return Method::kImplied;
  return Method::kNearest;
}

/// Notes each of the options that is given although nothing reads it.
void note_unused(const Arguments& arguments, std::initializer_list<std::string_view> options,
                 std::string_view why, std::vector<std::string>& notes) {
  for (const std::string_view option : options) {
    if (arguments.given(option)) notes.push_back(fmt::format("--{} has no effect {}", option, why));
  }
}

uint64_t read_seed(const Arguments& arguments, std::vector<std::string>& notes) {
  const int64_t given = arguments.integer("manual_seed");
  if (given >= 0) return static_cast<uint64_t>(given);
  const uint64_t picked = std::random_device{}();
  notes.push_back(
      fmt::format("seed {} was picked; --manual_seed {} gives the same file again", picked, picked));
  return picked;
}

}  // namespace

optimize::Settings read_optimizer(const Arguments& arguments, std::vector<std::string>& notes) {
  optimize::Settings settings;
  settings.method = method_of(arguments.text("optimizer"));
  if (arguments.flag("simple") && settings.method != Method::kNearest) {
    notes.push_back(fmt::format("--optimizer {} has no effect with --simple", arguments.text("optimizer")));
    settings.method = Method::kNearest;
  }
  if (settings.method == Method::kNearest) {
    note_unused(
        arguments,
        {"objective", "direct_damping", "sweeps", "manual_seed", "top_p", "min_k", "max_k", "full_matrix"},
        "when rounding to nearest", notes);
    return settings;
  }
  settings.sweeps = arguments.integer("sweeps");
  settings.direct.damping = arguments.number("direct_damping");
  settings.direct.objective =
      arguments.text("objective") == "subspace" ? DirectObjective::kSubspace : DirectObjective::kMixed;
  const bool subspace = settings.direct.objective == DirectObjective::kSubspace;
  if (subspace) note_unused(arguments, {"direct_damping"}, "with --objective subspace", notes);
  if (!subspace)
    note_unused(arguments, {"top_p", "min_k", "max_k", "full_matrix"}, "without --objective subspace", notes);
  settings.direct.top_p = arguments.number("top_p");
  settings.direct.min_k = arguments.integer("min_k");
  settings.direct.max_k = arguments.integer("max_k");
  settings.direct.full_svd = arguments.flag("full_matrix");
  if (settings.direct.min_k > settings.direct.max_k) {
    fail(ErrorCode::kUsage, "argument --min_k: is above --max_k {} (got '{}')", settings.direct.max_k,
         settings.direct.min_k);
  }
  if (settings.method == Method::kImplied || (subspace && !settings.direct.full_svd)) {
    settings.seed = settings.direct.seed = read_seed(arguments, notes);
  } else {
    note_unused(arguments, {"manual_seed"}, "here: nothing random is used", notes);
  }
  return settings;
}

}  // namespace ctq::cli
