#include <array>
#include <map>

#include "cli/commands/commands.h"
#include "cli/conversion/conversion_options.h"
#include "option.h"
#include "rows.h"

namespace ctq::cli {

void add(std::vector<Option>& table, Page page, const std::string& group, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Option& option = table.emplace_back(row.option());
    option.page = page;
    option.group = group;
  }
}

void add_help(std::vector<Option>& table) {
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h")});
}

Table make_conversion_table(ConversionOptions& options) {
  Table table{.options = {}, .words = "", .usage = ""};
  add_standard_options(table.options, options);
  add_filter_options(table.options, options);
  add_experimental_options(table.options, options);
  add_learned_options(table.options, options);
  add_mode_options(table.options, options);
  return table;
}

const Table& conversion_table() {
  static ConversionOptions options;
  static const Table table = make_conversion_table(options);
  return table;
}

const Table* command_table(std::string_view command) {
  static const std::map<std::string_view, const Table& (*)()> kTables{
      {"calibrate", calibrate_table},   {"inspect", inspect_table},
      {"verify", verify_table},         {"compare", compare_table},
      {"dequantize", dequantize_table}, {"edit", edit_table},
      {"migrate", migrate_table},       {"extract-lora", extract_lora_table},
      {"clip-g", clip_g_table},         {"fp8", fp8_table},
      {"batch", batch_table},           {"completion", completion_table},
      {"assemble", assemble_table},
  };
  const auto found = kTables.find(command);
  return found == kTables.end() ? nullptr : &found->second();
}

std::span<const Command> commands() {
  static constexpr std::array kCommands{
      Command{"convert", "Quantize a checkpoint; the command when no word is given"},
      Command{"clip-g", "Mixed FP16 and FP8 for a CLIP-G text encoder"},
      Command{"fp8", "Scaled FP8 with learned rounding"},
      Command{"calibrate", "Gather, join and inspect statistics of each layer's input"},
      Command{"batch", "Convert many files"},
      Command{"inspect", "List tensors, formats and metadata of a file"},
      Command{"analyze", "Show what would be quantized, and how well"},
      Command{"compare", "Measure the error of a quantized file against its original"},
      Command{"edit", "Edit the per-layer metadata of a quantized file"},
      Command{"migrate", "Rewrite legacy layouts"},
      Command{"extract-lora", "Make a LoRA from the quantization error"},
      Command{"verify", "Check that a client would load a file with the right meaning"},
      Command{"dequantize", "Write a quantized file back as plain weights"},
      Command{"assemble", "Join the parts that --partition wrote"},
      Command{"completion", "Print a shell's completion script, or the man page"},
  };
  return kCommands;
}

}  // namespace ctq::cli
