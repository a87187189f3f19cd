// Small files that options name.
#pragma once

#include <string>
#include <string_view>

namespace ctq::cli {

/// All of it. option: with its dashes.
/// throws  Error(kBadInput) "argument --x: PATH: cannot be read"
std::string read_option_file(std::string_view option, const std::string& path);

}  // namespace ctq::cli
