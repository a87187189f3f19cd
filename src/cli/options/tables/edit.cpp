// The options of the command `edit`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          path("--input", "The quantized file; also without --input").alias("-i").built(),
          path("--output", "File to write").alias("-o").otherwise("<input stem>_edited.safetensors").built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "What to change",
      {
          text("--remove-keys", "Comma list of JSON keys to delete from the markers").built(),
          text("--add-keys", "Keys to set, as 'key': value pairs or a JSON object").built(),
          pattern("--quant-filter", "Layers whose markers change").otherwise("all").built(),
          toggle("--save-quant-metadata",
                 "Make the header's map anew from the markers, and markers that only the header has")
              .built(),
          pattern("--remove-tensors", "Leave out tensors whose name matches").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant edit FILE [-o OUT] [--remove-keys LIST] [--add-keys KEYS] [options]\n\n"
    "A copy of a quantized file whose markers say something else. Weights keep their bytes.\n";

}  // namespace

const CommandOptions& edit_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
