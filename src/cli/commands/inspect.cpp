#include <fmt/format.h>

#include "base/error.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "report/file_report.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> input{"input"};
  Setting<std::string> filter{"filter"};
  Setting<bool> tensors{"tensors", true};
  Setting<bool> layers{"layers"};
  Setting<bool> metadata{"metadata"};
  Setting<bool> summary{"summary", true};
  Setting<bool> check{"check"};
  Setting<bool> json{"json"};
};

Table make_table(Asked& asked) {
  Table table{.options = {},
              .words = "input",
              .usage =
                  "usage: convert_to_quant inspect FILE [options]\n\n"
                  "What is in a checkpoint, from its headers and markers.\n"};
  add(table.options, Page::kStandard, "Input",
      {
          path(asked.input, "--input", "A file, an index of shards or a folder; also without --input")
              .alias("-i"),
          pattern(asked.filter, "--filter", "Print only tensors and layers whose name matches")
              .otherwise("all"),
      });
  add(table.options, Page::kStandard, "What to print",
      {
          toggle(asked.tensors, "--tensors", "One line per tensor: name, type, shape, bytes"),
          toggle(asked.layers, "--layers", "One line per quantized layer: format, scales, flags"),
          toggle(asked.metadata, "--metadata", "The header's metadata, long values cut"),
          toggle(asked.summary, "--summary", "Totals by type and format, and the model family"),
          toggle(asked.check, "--check",
                 "Also look for missing scales, wrong shapes and broken markers; exit code 4 if any"),
          toggle(asked.json, "--json", "Print one JSON object instead"),
      });
  add_help(table.options);
  return table;
}

}  // namespace

const Table& inspect_table() { return shown_table(make_table); }

int run_inspect(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const std::string path = required(asked.input);
  const report::InspectionParts parts{.tensors = *asked.tensors,
                                      .layers = *asked.layers,
                                      .metadata = *asked.metadata,
                                      .summary = *asked.summary,
                                      .wanted = name_filter(asked.filter)};
  engine::Session session({.console = engine::Console::kAllToStderr});
  const engine::OpenedFile file(path, safetensors::Shard::kAlone);
  std::vector<verify::Finding> findings;
  if (*asked.check) findings = verify::check_structure(file.quantized, {client::Program::kAny});
  const auto* checked = *asked.check ? &findings : nullptr;
  fmt::print("{}", *asked.json ? report::inspection_json(file.quantized, parts, checked)
                               : report::inspection_text(file.quantized, parts, checked));
  return verify::is_refused(findings) ? static_cast<int>(ErrorCode::kBadInput) : 0;
}

}  // namespace ctq::cli
