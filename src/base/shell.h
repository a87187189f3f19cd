// Words of command lines that people paste into a shell.
#pragma once

#include <string>
#include <string_view>

namespace ctq {

/// In single quotes.
std::string shell_quoted(std::string_view word);

/// As it is where no shell would take it for anything else, else shell_quoted().
std::string shell_word(std::string_view word);

}  // namespace ctq
