// A field of a table that RFC 4180 describes.
#pragma once

#include <string>

namespace ctq::report {

/// In quotes where commas, quotes or line ends ask for it.
inline std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace ctq::report
