#include "base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace ctq {
namespace {

/// Of SGR: the sixteen colours that a terminal's user has chosen, so that they can be read on any ground.
std::string_view code_of(Tone tone) {
  switch (tone) {
    case Tone::kGood: return "32";
    case Tone::kCaution: return "33";
    case Tone::kBad: return "31";
    case Tone::kQuiet: return "2";
  }
  return "0";
}

}  // namespace

bool colours(std::FILE* stream) {
  const char* unwanted = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return (!unwanted || *unwanted == '\0') && (!terminal || std::string_view(terminal) != "dumb") &&
         ::isatty(::fileno(stream)) == 1;
}

size_t columns(std::FILE* stream) {
  constexpr size_t kUsual = 80, kFewest = 40;
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return std::max<size_t>(size.ws_col, kFewest);
}

std::string Paint::operator()(Tone tone, std::string_view text) const {
  return on_ ? fmt::format("\x1b[{}m{}\x1b[0m", code_of(tone), text) : std::string(text);
}

}  // namespace ctq
