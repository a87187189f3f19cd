// The page of layer filters (-hf): one switch per preset.
#include "cli/conversion/conversion_options.h"
#include "cli/options/rows.h"
#include "families/preset.h"

namespace ctq::cli {

void add_filter_options(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  for (const families::PresetCategory& category : families::preset_categories()) {
    for (const families::Preset* preset : families::presets()) {
      if (preset->category != category.key) continue;
      add(table, Page::kFilters, std::string(category.heading),
          {toggle("--" + std::string(preset->name), std::string(preset->help))
               .fills([&own, preset](const auto& words, engine::By) {
                 own.presets[preset->name] = words.back() == "true";
               })});
    }
  }
  add(table, Page::kFilters, "Choice of filters",
      {
          choice(settings.layers.filter_set, "--filter-set",
                 "Whose patterns to use where the two origins of a preset differ"),
          toggle("--list-filters", "Print the presets with their patterns and exit"),
      });
}

}  // namespace ctq::cli
