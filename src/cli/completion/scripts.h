// The texts of `completion`.
#pragma once

#include <string>

namespace ctq::cli::completion {

std::string bash_script();
std::string zsh_script();
std::string fish_script();
/// roff, section 1.
std::string man_page();

}  // namespace ctq::cli::completion
