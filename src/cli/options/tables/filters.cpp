// The page of layer filters (-hf): one switch per preset.
#include "cli/options/rows.h"
#include "ctq/families/preset.h"

namespace ctq::cli {

void add_filter_options(std::vector<Option>& table) {
  for (const families::PresetCategory& category : families::preset_categories()) {
    for (const families::Preset* preset : families::presets()) {
      if (preset->category != category.key) continue;
      add(table, Page::kFilters, std::string(category.heading),
          {toggle("--" + std::string(preset->name), std::string(preset->help)).built()});
    }
  }
  add(table, Page::kFilters, "Choice of filters",
      {
          choice("--filter-set", "Whose patterns to use where the two origins of a preset differ")
              .choose({"seed", "peer", "union"})
              .standard("seed")
              .built(),
          path("--filters-file", "Read presets from a JSON file; each becomes a switch"),
          toggle("--list-filters", "Print the presets with their patterns and exit").built(),
      });
}

}  // namespace ctq::cli
