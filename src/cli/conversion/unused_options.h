// Notes about options that have no effect on a run.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/options/spelling.h"
#include "ctq/cli/arguments.h"

namespace ctq::cli {

/// Notes for options that are given although nothing reads them.
class Unused {
 public:
  Unused(const Arguments& arguments, std::vector<std::string>& notes)
      : arguments_(arguments), notes_(notes) {}

  void note(std::initializer_list<std::string_view> options, std::string_view why) {
    for (const std::string_view option : options) {
      if (arguments_.given(option) && noted_.insert(option).second)
        notes_.push_back(fmt::format("{} has no effect {}", option_name(option), why));
    }
  }

 private:
  const Arguments& arguments_;
  std::vector<std::string>& notes_;
  std::set<std::string_view> noted_;
};

}  // namespace ctq::cli
