// --list-formats: the registry of formats as a table.
#include <fmt/format.h>

#include "ctq/format/codec.h"
#include "help_pages.h"

namespace ctq::cli {

std::string format_list() {
  std::string text = fmt::format("{:<26}{:<10}{}\n", "Format", "Scales", "Read by");
  for (const format::Codec& codec : format::registry()) {
    const std::string_view reader = codec.stock ? std::string_view("stock ComfyUI") : codec.reader;
    text += fmt::format("{:<26}{:<10}{}", codec.format, format::granularity_name(codec.granularity), reader);
    if (!codec.stock && !codec.stock_equivalent.empty()) {
      text += fmt::format("; for stock ComfyUI use {}", codec.stock_equivalent);
    }
    text += "\n";
  }
  return text;
}

}  // namespace ctq::cli
