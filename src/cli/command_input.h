// What commands share: their input, the device, and a name filter.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

#include "base/log.h"
#include "cli/options/option.h"
#include "client/client.h"
#include "ctq/engine/session.h"
#include "ctq/engine/settings.h"
#include "engine/job.h"
#include "engine/opened_file.h"

namespace ctq::cli {

using engine::device_of;
using engine::paths_of;
using engine::required;

/// True for names that the setting's pattern is found in; null where it was not given.
/// throws  Error(kUsage) naming the setting when the pattern does not compile
std::function<bool(const std::string&)> name_filter(const engine::Setting<std::string>& setting);

/// Where a command writes, and whether it may replace what is there.
struct OutputFile {
  engine::Setting<engine::Path> path{"output"};
  engine::Setting<bool> no_clobber{"no_clobber"};
  engine::Setting<bool> quiet{"quiet"};

  /// Of a command that prints notes alone.
  engine::SessionOptions session() const {
    return {.console = engine::Console::kNotesToStdout,
            .least = *quiet ? engine::LogLevel::kWarning : engine::LogLevel::kNote,
            .handle_signals = true};
  }
};

/// Its rows, of the group "Files". otherwise: what happens without a path; empty: nothing is said of it
void add_output(std::vector<Option>& table, OutputFile& output, const std::string& otherwise);

/// The output's path, or the input's stem with that suffix, checked against the inputs.
std::string output_for(const OutputFile& output, const engine::OpenedFile& input, std::string_view suffix);

/// What the help pages say that --client takes.
inline constexpr std::string_view kClientHelp =
    "comfyui[@VERSION], custom (ComfyUI with nodes for more formats), sd.cpp, forge, diffusers or any";

}  // namespace ctq::cli
