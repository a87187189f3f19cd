// Notes about settings that have no effect on a run.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "ctq/engine/setting.h"

namespace ctq::engine {

/// Notes for settings that are given although nothing reads them, once each.
class Unused {
 public:
  explicit Unused(std::vector<std::string>& notes) : notes_(notes) {}

  void note(std::initializer_list<const AnySetting*> settings, std::string_view why) {
    for (const AnySetting* setting : settings) {
      if (setting->given() && noted_.insert(setting).second)
        notes_.push_back(fmt::format("{} has no effect {}", setting->label(), why));
    }
  }

 private:
  std::vector<std::string>& notes_;
  std::set<const AnySetting*> noted_;
};

}  // namespace ctq::engine
