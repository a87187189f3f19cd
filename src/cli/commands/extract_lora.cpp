#include "base/text.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "engine/job.h"
#include "engine/output_path.h"
#include "lora_extraction.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> input{"input"};
  Setting<engine::Path> quantized{"quantized"};
  OutputFile output;
  engine::Loras loras;
};

Table make_table(Asked& asked) {
  Table table{.options = {},
              .words = "input",
              .usage =
                  "usage: convert_to_quant extract-lora ORIGINAL --quantized FILE [-o OUT] [options]\n\n"
                  "A LoRA of the difference between a model and its quantized file.\n"};
  add(table.options, Page::kStandard, "Files",
      {
          path(asked.input, "--input", "The original, unquantized model; also without --input").alias("-i"),
          path(asked.quantized, "--quantized", "The quantized file whose error is made up for"),
          path(asked.output.path, "--lora-output", "Adapter to write")
              .alias("-o")
              .alias("--output")
              .otherwise("<quantized stem>_lora.safetensors"),
          toggle(asked.output.no_clobber, "--no-clobber", "Refuse to replace an existing output"),
          toggle(asked.output.quiet, "--quiet", "Print only warnings and errors").alias("-q"),
      });
  add(table.options, Page::kStandard, "The adapter", lora_rows(asked.loras));
  add_help(table.options);
  return table;
}

}  // namespace

const Table& extract_lora_table() { return shown_table(make_table); }

void print_extracted(const std::vector<lora::Extracted>& layers, const std::string& output) {
  for (const lora::Extracted& layer : layers) {
    spdlog::info("{}: rank {}, weight_rel {:.6f} -> {:.6f}", printable(layer.layer), layer.rank,
                 layer.error_before, layer.error_after);
  }
  spdlog::info("LoRA of {} layers: {}", layers.size(), output);
}

int run_extract_lora(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const std::string original = required(asked.input), quantized = required(asked.quantized);
  const lora::ExtractOptions options = engine::extraction_of(asked.loras);
  const std::string output =
      asked.output.path.given() ? asked.output.path->string() : engine::lora_output_name(quantized);
  engine::Session session(asked.output.session());
  for (const std::string& input : {original, quantized})
    engine::check_output_path(output, input, asked.output.no_clobber);
  const engine::OpenedFile after(quantized), before(original, after.checkpoint);
  print_extracted(lora::extract(before.quantized, after.quantized, options, output), output);
  return 0;
}

}  // namespace ctq::cli
