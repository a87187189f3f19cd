// The options of the command `verify`.
#include "cli/client_option.h"
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Input",
      {
          path("--input", "The quantized file; also without --input").alias("-i").built(),
          path("--original", "The unquantized file: also measure every layer against it").built(),
      });
  add(table, Page::kStandard, "What to check",
      {
          text("--client", "Whose rules apply: " + std::string(kClientHelp)).standard("comfyui").built(),
          toggle("--values",
                 "Read scales and codes too, for what is not finite; off: headers and markers alone")
              .standard("on")
              .built(),
          number("--min-sqnr", "With --original: a layer below so many dB is broken, not quantized")
              .standard("5")
              .built(),
          toggle("--json", "Print one JSON object instead").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant verify FILE [--client CLIENT] [--original FILE] [options]\n\n"
    "Whether a client would load a quantized file, and with the right meaning. Exit code 4 if not.\n";

}  // namespace

const CommandOptions& verify_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
