// The options of the command `migrate`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "What to do",
      {
          choice("--mode", "What to rewrite; also without --mode")
              .choose({"fp8-scaled", "int8-scaled", "add-input-scale", "cleanup-fp8", "hybrid-mxfp8", "u8log",
                       "comfy-to-legacy", "add-markers"})
              .built(),
      });
  add(table, Page::kStandard, "Files",
      {
          path("--input", "The quantized file").alias("-i").built(),
          path("--output", "File to write")
              .alias("-o")
              .otherwise("from the input's name and the mode")
              .built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "Of some modes",
      {
          pattern("--hp-filter", "fp8-scaled: fail if one of these layers is FP8").built(),
          toggle("--full-precision-mm",
                 "fp8-scaled, add-markers: mark all layers to be multiplied in high precision")
              .built(),
          toggle("--input_scale",
                 "fp8-scaled, int8-scaled, cleanup-fp8: add an input scale of 1.0 where none is")
              .built(),
          toggle("--save-quant-metadata",
                 "fp8-scaled, int8-scaled, add-markers: describe the layers in the header too")
              .built(),
          integer("--block_size", "int8-scaled: edge of blocks whose scales lie in one dimension")
              .at_least(1)
              .standard("128")
              .built(),
          choice("--scaled-fp8-marker", "cleanup-fp8: elements of `scaled_fp8`; 2 asks for full precision")
              .choose({"0", "2"})
              .standard("0")
              .built(),
          toggle("--comfy_quant", "u8log: write markers rather than the legacy layout").built(),
          choice(
              "--scale-order",
              "add-markers: of NVFP4 and MXFP8, where the file does not tell: ComfyUI's, or ModelOpt's rows")
              .choose({"swizzled", "rows"})
              .built(),
          path("--tensor-scales", "hybrid-mxfp8: FP8 model to take the scales of whole weights from").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant migrate MODE -i FILE [-o OUT] [options]\n\n"
    "A copy of a quantized file in another dialect. Codes keep their bytes.\n";

}  // namespace

const CommandOptions& migrate_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "mode", kUsage};
  return options;
}

}  // namespace ctq::cli
