// Which option is which setting.
#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "cli/conversion/conversion_options.h"
#include "cli/options/arguments.h"

namespace ctq::cli {
namespace {

/// What the words fill.
struct Filled {
  explicit Filled(const std::vector<std::string>& words) { Arguments::parse(words, table).fill(); }
  ConversionOptions options;
  const Table table = make_conversion_table(options);
};

}  // namespace

TEST_CASE("conversion options: every option fills something, but those for pages and other commands",
          "[cli]") {
  for (const Option& option : conversion_table().options) {
    CAPTURE(option.name);
    const bool for_a_page = option.group == "Help" || option.name.starts_with("--list-");
    CHECK((option.fill != nullptr) == (!for_a_page && option.page != Page::kModes));
  }
}

TEST_CASE("conversion options: no two fill one setting, and their settings go by their names", "[cli]") {
  const Filled filled({"-i", "model.safetensors"});
  std::map<std::string_view, std::string_view> settings;
  std::set<std::string_view> names;
  for (const Option& option : filled.table.options) names.insert(option.name);
  engine::for_each(filled.options.settings, [&](const engine::AnySetting& setting) {
    if (setting.label() == setting.name()) return;
    CAPTURE(setting.name(), setting.label());
    CHECK(settings.emplace(setting.label(), setting.name()).second);
    CHECK(names.contains(setting.label()));
  });
  CHECK(settings.size() > 120);
}

TEST_CASE("conversion options: nothing given leaves every setting at its default", "[cli]") {
  const Filled filled({});
  std::map<std::string_view, std::string> fresh;
  const engine::Settings untouched;
  engine::for_each(untouched, [&]<typename T>(const engine::Setting<T>& setting) {
    fresh[setting.name()] = setting.exact_text();
  });
  engine::for_each(filled.options.settings, [&]<typename T>(const engine::Setting<T>& setting) {
    CAPTURE(setting.name());
    CHECK(setting.exact_text() == fresh[setting.name()]);
    CHECK_FALSE(setting.given());
  });
}

TEST_CASE("conversion options: what a row shows as its default is the setting's own", "[cli]") {
  ConversionOptions options;
  const Table table = make_conversion_table(options);
  std::map<std::string_view, std::string> before;
  engine::for_each(options.settings, [&]<typename T>(const engine::Setting<T>& setting) {
    before[setting.label()] = setting.exact_text();
  });
  for (const Option& option : table.options) {
    if (!before.contains(option.name) || option.default_text.empty()) continue;
    option.fill({option.default_text}, engine::By::kDefault);
  }
  engine::for_each(options.settings, [&]<typename T>(const engine::Setting<T>& setting) {
    CAPTURE(setting.label());
    CHECK(setting.exact_text() == before[setting.label()]);
  });
}

TEST_CASE("conversion options: who chose a value", "[cli]") {
  const Filled filled({"-i", "model.safetensors", "--recipe", "comfy-int8", "--sweeps", "3"});
  const engine::Settings& settings = filled.options.settings;
  CHECK(settings.rounding.sweeps.by_user());
  CHECK(*settings.rounding.sweeps == 3);
  CHECK(settings.target.convrot.given());
  CHECK_FALSE(settings.target.convrot.by_user());
  CHECK(*settings.target.scaling == "row");
  CHECK_FALSE(settings.rounding.seed.given());
}

}  // namespace ctq::cli
