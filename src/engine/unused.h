// Notes about settings that have no effect on a run.
#pragma once

#include <initializer_list>
#include <string_view>

#include <fmt/format.h>

#include "engine/parts.h"

namespace ctq::engine {

/// Notes for settings that are given although nothing reads them, once each.
class Unused {
 public:
  explicit Unused(Remarks remarks) : remarks_(remarks) {}

  void note(std::initializer_list<const AnySetting*> settings, std::string_view why) {
    for (const AnySetting* setting : settings) {
      if (setting->given() && remarks_.unused.emplace(setting->label()).second)
        remarks_.notes.push_back(fmt::format("{} has no effect {}", setting->label(), why));
    }
  }

 private:
  Remarks remarks_;
};

}  // namespace ctq::engine
