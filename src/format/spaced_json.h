// JSON as Python's json.dumps writes it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace ctq::format {

/// Separators ", " and ": ", keys in their order, non-ASCII characters as UTF-8.
std::string spaced(const nlohmann::ordered_json& value);

}  // namespace ctq::format
