#include "spaced_json.h"

#include <fmt/format.h>

namespace ctq::format {

using nlohmann::ordered_json;

std::string spaced(const ordered_json& value) {
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& item : value.items()) {
    if (!text.empty()) text += ", ";
    if (value.is_object()) text += ordered_json(item.key()).dump() + ": ";
    text += spaced(item.value());
  }
  return value.is_object() ? fmt::format("{{{}}}", text) : fmt::format("[{}]", text);
}

}  // namespace ctq::format
