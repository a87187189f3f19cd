// The program.
#pragma once

#include <string>
#include <vector>

namespace ctq::cli {

/// Runs the program. args: without its name. Prints results to standard output; returns the exit code.
/// throws  Error for everything that went wrong
int run(const std::vector<std::string>& args);

}  // namespace ctq::cli
