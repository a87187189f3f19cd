// Which words of the command line are the batch's own, and which belong to the conversion of every file.
#pragma once

#include <string>
#include <vector>

namespace ctq::cli::batch {

struct Words {
  std::vector<std::string> own;
  std::vector<std::string> conversion;
};

/// An option that both know is the batch's. Words outside options are the batch's: its inputs.
/// throws  Error(kUsage): an option that neither knows, with the nearest of both; a mode switch
Words split_words(const std::vector<std::string>& args);

}  // namespace ctq::cli::batch
