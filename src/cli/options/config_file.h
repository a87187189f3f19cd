// Options in a file: --config and --print-config (docs/cli.md, "Configuration file").
#pragma once

#include <string>
#include <vector>

#include "arguments.h"

namespace ctq::cli {

struct ConfigEntry {
  std::string option;  ///< key
  std::vector<std::string> words;
  int line = 0;  ///< from 1
};

/// Lines `name = value`, of TOML or INI; sections are headings without meaning.
/// throws  Error(kBadInput): cannot be read. Error(kUsage) naming file and line: no such line, an option that
///         is unknown, stands twice, has a bad value, or is for the command line alone
std::vector<ConfigEntry> read_config(const std::string& path);

/// The options of a run in that form: those that were chosen as lines that read_config() takes, all others
/// with the values that they have as comments.
std::string config_text(const Arguments& arguments);

}  // namespace ctq::cli
