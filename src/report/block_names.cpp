#include "block_names.h"

#include <charconv>

#include <fmt/format.h>

namespace ctq::report {

std::string BlockName::label() const { return fmt::format("{} {}", stack, index); }

std::optional<BlockName> block_of(std::string_view name) {
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    const size_t end = name.find('.', dot + 1);
    if (end == std::string_view::npos) break;
    const std::string_view part = name.substr(dot + 1, end - dot - 1);
    int64_t index = 0;
    const auto [stop, fault] = std::from_chars(part.data(), part.data() + part.size(), index);
    if (fault == std::errc() && stop == part.data() + part.size() && index >= 0)
      return BlockName{std::string(name.substr(0, dot)), index};
  }
  return std::nullopt;
}

}  // namespace ctq::report
