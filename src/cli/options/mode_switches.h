// Switches of the conversion that stand for a command: --edit-quant, --convert-fp8-scaled ...
#pragma once

#include <string>
#include <vector>

namespace ctq::cli {

/// The command line that the switch stands for, its command's word first; the arguments as they are when none
/// is on. args: of the conversion.
/// throws  Error(kUsage) for two such switches
std::vector<std::string> without_mode_switch(const std::vector<std::string>& args);

}  // namespace ctq::cli
