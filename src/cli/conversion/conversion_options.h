// What the options of a conversion fill: the engine's settings, and what the command line keeps for itself.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options/option.h"
#include "ctq/engine/settings.h"

namespace ctq::cli {

/// Options that are no setting by themselves.
struct OwnOptions {
  /// Which target type is meant, of which several can be given.
  engine::Setting<bool> int8{"int8", true}, fp8{"fp8"}, fp16{"fp16"}, nvfp4{"nvfp4"}, mxfp8{"mxfp8"};
  std::map<std::string_view, bool> presets;  ///< of those that are chosen, on or off again
  engine::Setting<std::string> recipe{"recipe"};
  engine::Setting<std::string> profile{"profile"};
  engine::Setting<engine::Path> config{"config"};
  engine::Setting<bool> print_config{"print_config"};
  engine::Setting<std::string> verbose{"verbose", "NORMAL"};
  engine::Setting<std::string> progress{"progress", "auto"};
  /// Of older programs; nothing here needs them.
  engine::Setting<bool> calib_cpu{"calib_cpu"}, verbose_pinned{"verbose_pinned"},
      normalize_scales{"normalize_scales", true};
  engine::Setting<std::string> scale_optimization{"scale_optimization", "fixed"};
  engine::Setting<int64_t> scale_refinement{"scale_refinement", 1};
  engine::Setting<bool> streaming{"streaming"}, streaming_aggressive{"streaming_aggressive"};
};

struct ConversionOptions {
  engine::Settings settings;
  OwnOptions own;
};

/// The conversion's table, bound to these. options: must outlive the table, at the same place
Table make_conversion_table(ConversionOptions& options);

/// Has what is the command line's own take effect in the settings, after options are filled in.
/// throws  Error(kUsage) for two targets
void take_own(ConversionOptions& options, std::vector<std::string>& notes,
              std::vector<std::string>& warnings);

/// Why a run rounds nothing as its options say; empty: it does.
std::string_view why_nothing_is_rounded(const engine::Settings& settings);

// One function per source file of the table; each appends its pages.
void add_standard_options(std::vector<Option>& table, ConversionOptions& options);
void add_filter_options(std::vector<Option>& table, ConversionOptions& options);
void add_experimental_options(std::vector<Option>& table, ConversionOptions& options);
void add_learned_options(std::vector<Option>& table, ConversionOptions& options);  ///< with the advanced page
void add_mode_options(std::vector<Option>& table,
                      ConversionOptions& options);  ///< with the LoRA extraction page

}  // namespace ctq::cli
