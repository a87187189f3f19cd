#include "ctq/cli/option_table.h"

#include <array>
#include <map>

#include "rows.h"

namespace ctq::cli {

const std::vector<Option>& option_table() {
  static const std::vector<Option> table = [] {
    std::vector<Option> rows;
    add_standard_options(rows);
    add_filter_options(rows);
    add_experimental_options(rows);
    add_learned_options(rows);
    add_mode_options(rows);
    return rows;
  }();
  return table;
}

const CommandOptions* command_options(std::string_view command) {
  static const std::map<std::string_view, const CommandOptions& (*)()> kTables{
      {"calibrate", calibrate_options},   {"inspect", inspect_options},
      {"verify", verify_options},         {"compare", compare_options},
      {"dequantize", dequantize_options}, {"edit", edit_options},
      {"migrate", migrate_options},       {"extract-lora", extract_lora_options},
      {"clip-g", clip_g_options},         {"fp8", fp8_options},
      {"batch", batch_options},           {"completion", completion_options},
      {"assemble", assemble_options},
  };
  const auto found = kTables.find(command);
  return found == kTables.end() ? nullptr : &found->second();
}

std::span<const Command> commands() {
  static constexpr std::array kCommands{
      Command{"convert", "Quantize a checkpoint; the command when no word is given", true},
      Command{"clip-g", "Mixed FP16 and FP8 for a CLIP-G text encoder", true},
      Command{"fp8", "Scaled FP8 with learned rounding", true},
      Command{"calibrate", "Gather, join and inspect statistics of each layer's input", true},
      Command{"batch", "Convert many files", true},
      Command{"inspect", "List tensors, formats and metadata of a file", true},
      Command{"analyze", "Show what would be quantized, and how well", true},
      Command{"compare", "Measure the error of a quantized file against its original", true},
      Command{"edit", "Edit the per-layer metadata of a quantized file", true},
      Command{"migrate", "Rewrite legacy layouts", true},
      Command{"extract-lora", "Make a LoRA from the quantization error", true},
      Command{"gui", "Open the graphical front end", false},
      Command{"verify", "Check that a client would load a file with the right meaning", true},
      Command{"dequantize", "Write a quantized file back as plain weights", true},
      Command{"assemble", "Join the parts that --partition wrote", true},
      Command{"completion", "Print a shell's completion script, or the man page", true},
  };
  return kCommands;
}

}  // namespace ctq::cli
