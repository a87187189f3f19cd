#include "rewrite/dequantize.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> input{"input"};
  OutputFile output;
  Setting<std::optional<safetensors::Dtype>> dtype{"dtype"};
};

Table make_table(Asked& asked) {
  Table table{.options = {},
              .words = "input",
              .usage =
                  "usage: convert_to_quant dequantize FILE [-o OUT] [--dtype f32|f16|bf16]\n\n"
                  "Plain weights from a quantized file, decoded with its own scales.\n"};
  add(table.options, Page::kStandard, "Files",
      {
          path(asked.input, "--input", "The quantized file; also without --input").alias("-i"),
          choice(asked.dtype, "--dtype", "Type of the decoded weights")
              .otherwise("what the layer's marker says it had, else bf16"),
      });
  add_output(table.options, asked.output, "<input stem>_dequantized.safetensors");
  add_help(table.options);
  return table;
}

}  // namespace

const Table& dequantize_table() { return shown_table(make_table); }

int run_dequantize(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const std::string path = required(asked.input);
  engine::Session session(asked.output.session());
  const engine::OpenedFile input(path);
  const std::string output = output_for(asked.output, input, "_dequantized");
  const rewrite::Dequantized done = rewrite::dequantize(input.quantized, *asked.dtype, output);
  spdlog::info("{} weights decoded, {} tensors copied, {} scales and markers left out: {}", done.decoded,
               done.copied, done.dropped, output);
  return 0;
}

}  // namespace ctq::cli
