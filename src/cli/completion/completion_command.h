// The command `completion`: scripts for shells and the man page, from the option table.
#pragma once

#include <string>
#include <vector>

namespace ctq::cli {

/// args: without the command's word. Prints to standard output and returns the exit code.
int run_completion(const std::vector<std::string>& args);

}  // namespace ctq::cli
