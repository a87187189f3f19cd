// The options of the command `clip-g`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          path("--input", "The text encoder; also without --input").alias("-i").built(),
          path("--output", "File to write")
              .alias("-o")
              .otherwise("required but for --dry-run and --analyze")
              .built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
      });
  add(table, Page::kStandard, "What becomes FP8, besides MLP weights",
      {
          text("--first-blocks-keep",
               "Blocks that stay as they are: the first N, or a list of numbers and ranges, 0-3,9. The last "
               "block always stays")
              .alias("-k")
              .alias("--keep-first-blocks")
              .standard("7")
              .built(),
          choice(
              "--split-attn-qkv",
              "Split the fused attn.in_proj of other blocks into q, k and v, of these precisions; bare, or "
              "auto: q16,kv8 unless the next two switches say otherwise")
              .choose({"auto", "q16,kv8", "q8,kv8", "q8,kv16", "q16,kv16"})
              .value_optional()
              .built(),
          toggle("--keep-attn-kv-fp16", "After the split, leave k and v as they are").built(),
          toggle("--attn-q-fp8", "After the split, q too").built(),
          choice("--split-names",
                 "Names of q, k and v after the split. comfyui: text_model.encoder.layers.<N>.self_attn.*, "
                 "which "
                 "ComfyUI reads; seed: transformer.resblocks.<N>.attn.*, which it does not")
              .choose({"comfyui", "seed"})
              .standard("comfyui")
              .built(),
          toggle("--attn-out-fp8", "attn.out_proj too").built(),
          toggle("--in-proj-fp8", "The fused attn.in_proj too, or q, k and v where they are apart").built(),
      });
  add(table, Page::kStandard, "How",
      {
          choice("--fp8-scale",
                 "none: a plain cast; tensor: one scale per weight and a marker, as ComfyUI's scaled FP8")
              .choose({"none", "tensor"})
              .standard("none")
              .built(),
          choice("--clip", "Values beyond 448 in a plain cast: saturate, or keep the whole weight as it is")
              .choose({"saturate", "keep-fp16"})
              .standard("saturate")
              .built(),
          toggle("--strict", "Fail where a weight holds NaN or infinite values").built(),
      });
  add(table, Page::kStandard, "What to print",
      {
          toggle("--dry-run", "Count and report, write nothing").built(),
          toggle("--analyze",
                 "Show what FP8 costs each block and weight, and recommend options; write no model")
              .built(),
          path("--json", "Also write the summary, or the analysis, as JSON").built(),
          paths("--report", "With --analyze: also write it in the form of the suffix (.html, .json)").built(),
          toggle("--verbose", "Type of every tensor, and its largest value").alias("-v").built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant clip-g FILE -o OUT [options]\n"
    "       convert_to_quant clip-g FILE --analyze [-k BLOCKS] [--json PATH] [--report PATH.html]\n\n"
    "Mixed float16 and FP8 for an OpenCLIP text encoder: transformer.resblocks.<N>.*, or\n"
    "text_model.encoder.layers.<N>.*.\n";

}  // namespace

const CommandOptions& clip_g_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
