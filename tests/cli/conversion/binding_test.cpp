#include "cli/conversion/binding.h"

#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "cli/options/spelling.h"
#include "ctq/cli/option_table.h"
#include "ctq/families/preset.h"

namespace ctq::cli {
namespace {

/// What the command line keeps for itself.
const std::set<std::string_view> kOwn = {
    "--recipe",       "--profile",     "--config", "--print-config", "--verbose",
    "--progress",     "--int8",        "--fp8",    "--fp16",         "--nvfp4",
    "--mxfp8",        "--streaming",   "--time",   "--calib_cpu",    "--streaming-aggressive",
    "--list-formats", "--list-filters"};

}  // namespace

TEST_CASE("binding: every option is a setting, or the command line's own", "[cli]") {
  const BoundOptions bound = bind(Arguments::parse({"-i", "model.safetensors"}));
  std::map<std::string_view, std::string_view> settings;
  engine::for_each(bound.settings, [&](const engine::AnySetting& setting) {
    if (setting.label() == setting.name()) return;
    CAPTURE(setting.name(), setting.label());
    CHECK(settings.emplace(setting.label(), setting.name()).second);
  });
  for (const Option& option : option_table()) {
    if (!option.available || option.page == Page::kModes || option.group == "Help") continue;
    const bool preset = families::find_preset(option.name.substr(2)) != nullptr;
    CAPTURE(option.name);
    CHECK((settings.contains(option.name) || preset || kOwn.contains(option.name)));
  }
}

TEST_CASE("binding: an option's default is the setting's own", "[cli]") {
  const BoundOptions bound = bind(Arguments::parse({"-i", "model.safetensors"}));
  std::map<std::string_view, std::string> own;
  const engine::Settings fresh;
  engine::for_each(fresh, [&]<typename T>(const engine::Setting<T>& setting) {
    own[setting.name()] = setting.exact_text();
  });
  engine::for_each(bound.settings, [&]<typename T>(const engine::Setting<T>& setting) {
    if (setting.name() == "input.path") return;
    CAPTURE(setting.name(), setting.label());
    CHECK(setting.exact_text() == own[setting.name()]);
  });
}

TEST_CASE("binding: who chose a value", "[cli]") {
  const BoundOptions bound =
      bind(Arguments::parse({"-i", "model.safetensors", "--recipe", "comfy-int8", "--sweeps", "3"}));
  const engine::Settings& settings = bound.settings;
  CHECK(settings.rounding.sweeps.by_user());
  CHECK(*settings.rounding.sweeps == 3);
  CHECK(settings.target.convrot.given());
  CHECK_FALSE(settings.target.convrot.by_user());
  CHECK(*settings.target.scaling == "row");
  CHECK_FALSE(settings.rounding.seed.given());
}

}  // namespace ctq::cli
