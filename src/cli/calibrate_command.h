// The command `calibrate`.
#pragma once

#include <string>
#include <vector>

namespace ctq::cli {

/// args: without the command's word. Prints results to standard output; returns the exit code.
/// throws  Error for everything that went wrong
int run_calibrate(const std::vector<std::string>& args);

}  // namespace ctq::cli
