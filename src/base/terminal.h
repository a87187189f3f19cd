// Colours on a terminal.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace ctq {

/// Whether what is printed there may be coloured: a terminal other than TERM=dumb, and NO_COLOR is unset or
/// empty (no-color.org).
bool colours(std::FILE* stream);

/// Columns of the terminal that is printed to; 80 where it is none.
size_t columns(std::FILE* stream);

/// What a word says.
enum class Tone : uint8_t { kGood, kCaution, kBad, kQuiet };

/// Colours words, or leaves them as they are.
class Paint {
 public:
  /// Leaves them.
  Paint() = default;
  /// As the stream allows, now.
  explicit Paint(std::FILE* stream) : on_(colours(stream)) {}

  /// The text itself, or with escape sequences around it.
  std::string operator()(Tone tone, std::string_view text) const;
  bool on() const { return on_; }

 private:
  bool on_ = false;
};

}  // namespace ctq
