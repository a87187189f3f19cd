// The options of the command `fp8`.
#include <algorithm>

#include "cli/commands/fp8.h"
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          path("--input", "The model, a file, an index of shards or a folder; also without --input")
              .alias("-i")
              .built(),
          path("--output", "File to write").alias("-o").otherwise("named after the method").built(),
      });
  add(table, Page::kStandard, "What is quantized",
      {
          toggle("--t5xxl",
                 "Text encoder: keep norm, bias, embed_tokens and shared, write input scales; tpec also "
                 "leaves decoder and lm_head out")
              .built(),
          toggle("--keep_distillation", "Keep distilled_guidance_layer, final_layer, img_in and txt_in")
              .built(),
          integer("--min_tensor_size", "Keep weights with fewer elements")
              .at_least(0)
              .otherwise("adaround 1024, and no side below 32; else 0")
              .built(),
      });
  add(table, Page::kStandard, "How codes are chosen",
      {
          choice("--method",
                 "tpec: line searches along leading directions; adaround: gradients; rtn: nearest; or "
                 "any other optimizer of the conversion")
              .choose({"tpec", "adaround", "rtn", "auto", "gptq", "quip", "implied", "direct", "original",
                       "adamw", "radam", "prodigy"})
              .otherwise("tpec; adaround where an option of its own is given")
              .built(),
          integer("--num_iter", "Most iterations per weight")
              .at_least(0)
              .otherwise("tpec 500, adaround 200")
              .built(),
          integer("--top_k", "tpec: principal directions").at_least(1).standard("1").built(),
          integer("--calib_samples", "adaround without --calibration-data: rows of random input")
              .at_least(1)
              .otherwise("96")
              .built(),
          number("--lr", "adaround: learning rate").above(0).standard("0.03").built(),
          choice("--optimizer", "adaround: how a gradient becomes a step")
              .choose({"adamw", "adagrad", "rmsprop", "adam", "sgd"})
              .standard("adamw")
              .built(),
          number("--reg_lambda", "adaround: weight of what presses decisions to 0 and 1")
              .at_least(0)
              .standard("0.015")
              .built(),
          number("--beta_start", "adaround: exponent of that at the start")
              .at_least(1)
              .standard("20")
              .built(),
          number("--beta_end", "adaround: and at the end").at_least(1).standard("2").built(),
          number("--early_stop_threshold", "adaround: 30 iterations that gain less per weight end it")
              .at_least(0)
              .standard("5e-6")
              .built(),
          integer("--batch_size", "adaround: rows of random input in memory at a time")
              .at_least(1)
              .otherwise("all")
              .built(),
          toggle("--use_amp", "adaround on a GPU: products in bfloat16").standard("on").built(),
          toggle("--parallel", "Use all cores; off: one").standard("on").built(),
      });
  add(table, Page::kStandard, "How it is stored",
      {
          choice("--scale_format", "u8log: one byte per scale, which no known loader reads; f32")
              .choose({"f32", "u8log"})
              .otherwise("adaround u8log, else f32")
              .built(),
          toggle("--use_shared_scales",
                 "One scale for all weights of a module; with adaround on unless it is said to be off")
              .built(),
          toggle("--legacy",
                 "scale_weight, scale_input and scaled_fp8; off: markers, as stock ComfyUI has them now")
              .standard("on")
              .built(),
      });
  std::vector<Row> shared;
  for (const std::string_view name : kSharedWithConversion) {
    const auto found = std::ranges::find(option_table(), name, &Option::name);
    shared.emplace_back(*found);
  }
  shared.push_back(toggle("--verbose", "Log more").alias("-v").built());
  add(table, Page::kStandard, "As in the conversion", shared);
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant fp8 MODEL [-o OUT] [--method METHOD] [options]\n\n"
    "Scaled FP8 E4M3 with learned rounding, under the names and defaults of two older programs.\n";

}  // namespace

const CommandOptions& fp8_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
