#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "engine/output_path.h"
#include "rewrite/part.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<std::vector<engine::Path>> parts{"input"};
  OutputFile output;
};

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant assemble PART... -o OUT\n\n"
          "Joins the parts of one plan that --partition wrote: the bytes that a single run writes.\n"};
  add(table.options, Page::kStandard, "Files",
      {paths(asked.parts, "--input", "The parts, in any order; also without --input").alias("-i")});
  add_output(table.options, asked.output, /*otherwise=*/"");
  add_help(table.options);
  return table;
}

}  // namespace

const Table& assemble_table() { return shown_table(make_table); }

int run_assemble(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const std::vector<std::string> parts = paths_of(asked.parts);
  if (parts.empty()) engine::refuse_to_have(asked.parts, "is required");
  const std::string output = required(asked.output.path);
  engine::Session session(asked.output.session());
  for (const std::string& part : parts) engine::check_output_path(output, part, asked.output.no_clobber);
  const rewrite::Assembled done = rewrite::assemble(parts, output);
  spdlog::info("{} parts with {} tensors joined: {}", done.parts, done.tensors, output);
  return 0;
}

}  // namespace ctq::cli
