// The command `batch`: one conversion after another, or several at a time (docs/batch.md).
#pragma once

#include <string>
#include <vector>

namespace ctq::cli {

/// args: without the command's word. Returns the highest exit code of any file; with --expect 3 for a
/// deviation.
/// throws  Error for what is wrong before the first file, and for an interrupt
int run_batch(const std::vector<std::string>& args);

}  // namespace ctq::cli
