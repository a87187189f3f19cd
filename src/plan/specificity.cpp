#include "specificity.h"

#include <algorithm>

namespace ctq::plan {
namespace {

constexpr int kLiteralsOfTier0 = 8;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// The end of a class that begins at `at`: behind its bracket. A bracket that comes first stands for itself.
size_t end_of_class(std::string_view pattern, size_t at) {
  ++at;
  if (at < pattern.size() && pattern[at] == '^') ++at;
  for (size_t i = at; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern[i] == ']' && i > at) {
      return i + 1;
    }
  }
  return pattern.size();
}

/// The end of {2} or {2,3} that begins at `at`; `at` itself where the brace is a plain character.
size_t end_of_repeat(std::string_view pattern, size_t at) {
  const size_t end = std::min(pattern.find('}', at), pattern.size());
  const std::string_view inside = pattern.substr(at + 1, end - at - 1);
  const bool repeat = end < pattern.size() && !inside.empty() && is_digit(inside.front()) &&
                      inside.find_first_not_of("0123456789,") == std::string_view::npos;
  return repeat ? end + 1 : at;
}

/// Letters and digits behind a backslash are classes, assertions and references, but for control characters.
bool escape_is_literal(char escaped) {
  return std::string_view("nrtfva").find(escaped) != std::string_view::npos ||
         (!is_letter(escaped) && !is_digit(escaped));
}

}  // namespace

Specificity specificity(std::string_view pattern) {
  constexpr std::string_view kOperators = ".*+?^$|";
  Specificity found;
  bool number = false;
  int depth = 0;  // of groups
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '[') {
      const size_t end = end_of_class(pattern, i);
      const std::string_view inside = pattern.substr(i, end - i);
      number |= std::ranges::any_of(inside, is_digit) || inside.find("\\d") != std::string_view::npos;
      i = end - 1;
      continue;
    }
    if (const size_t end = c == '{' ? end_of_repeat(pattern, i) : i; end > i) {
      i = end - 1;
      continue;
    }
    const bool escape = c == '\\' && i + 1 < pattern.size();
    if (escape) ++i;
    number |= is_digit(pattern[i]) || (escape && pattern[i] == 'd');
    if (!escape && (c == '(' || c == ')')) {
      depth += c == '(' ? 1 : -1;
      continue;
    }
    const bool literal =
        escape ? escape_is_literal(pattern[i]) : kOperators.find(c) == std::string_view::npos;
    // UTF-8's continuation bytes belong to the character before.
    const bool whole = (static_cast<unsigned char>(pattern[i]) & 0xC0u) != 0x80u;
    if (literal && whole && depth == 0) ++found.literals;
  }
  if (number && found.literals >= kLiteralsOfTier0) found.tier = 0;
  return found;
}

}  // namespace ctq::plan
