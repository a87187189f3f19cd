// An option as a recipe or a configuration file names it.
#pragma once

#include <string>
#include <string_view>

namespace ctq::cli {

struct Option;

struct FileOption {
  const Option* option = nullptr;
  std::string key;    ///< as Arguments knows it: "scaling_mode"
  std::string value;  ///< checked; of a switch "true" or "false"
};

/// name: without leading dashes, '-' and '_' in any mix.
/// throws  Error(kUsage) "'name' is no option", or what is wrong with the value
FileOption option_of_file(const std::string& name, const std::string& value);

}  // namespace ctq::cli
