// --list-formats: the registry of formats as a table.
#include <fmt/format.h>

#include "client/client.h"
#include "format/codec.h"
#include "help_pages.h"

namespace ctq::cli {

std::string format_list() {
  std::string text = fmt::format("{:<26}{:<10}{}\n", "Format", "Scales", "Read by");
  for (const format::Codec& codec : format::registry()) {
    const bool stock = client::is_stock(codec);
    const client::OtherReader other = client::other_reader(codec.format);
    const std::string_view reader = stock ? std::string_view("stock ComfyUI") : other.name;
    text += fmt::format("{:<26}{:<10}{}", codec.format, format::granularity_name(codec.granularity), reader);
    if (!stock) text += fmt::format("; for stock ComfyUI use {}", other.instead);
    text += "\n";
  }
  const format::Codec& quip = format::quip_codec();
  text += fmt::format("{:<26}{:<10}{}; written by --optimizer quip --quip-store-transformed\n", quip.format,
                      format::granularity_name(quip.granularity), client::other_reader(quip.format).name);
  return text;
}

}  // namespace ctq::cli
