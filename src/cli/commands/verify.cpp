#include <fmt/format.h>

#include "base/error.h"
#include "base/terminal.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "ctq/engine/session.h"
#include "engine/verification.h"
#include "report/file_report.h"

namespace ctq::cli {
namespace {

struct Asked {
  engine::VerificationSettings file;
  Setting<bool> json{"json"};
};

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant verify FILE [--client CLIENT] [--original FILE] [options]\n\n"
          "Whether a client would load a quantized file, and with the right meaning. Exit code 4 if not.\n"};
  add(table.options, Page::kStandard, "Input",
      {
          path(asked.file.input, "--input", "The quantized file; also without --input").alias("-i"),
          path(asked.file.original, "--original",
               "The unquantized file: also measure every layer against it"),
      });
  add(table.options, Page::kStandard, "What to check",
      {
          text(asked.file.client, "--client", "Whose rules apply: " + std::string(kClientHelp)),
          toggle(asked.file.values, "--values",
                 "Read scales and codes too, for what is not finite; off: headers and markers alone"),
          number(asked.file.min_sqnr, "--min-sqnr",
                 "With --original: a layer below so many dB is broken, not quantized"),
          toggle(asked.json, "--json", "Print one JSON object instead"),
      });
  add_help(table.options);
  return table;
}

}  // namespace

const Table& verify_table() { return shown_table(make_table); }

int run_verify(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  engine::Session session({.console = engine::Console::kAllToStderr, .handle_signals = true});
  engine::Verification found = engine::verify_file(asked.file);
  const report::Checked checked{.path = asked.file.input->string(),
                                .client = *asked.file.client,
                                .original = asked.file.original->string(),
                                .findings = std::move(found.findings),
                                .measured = std::move(found.measured)};
  fmt::print("{}",
             *asked.json ? report::verdict_json(checked) : report::verdict_text(checked, Paint(stdout)));
  return verify::is_refused(checked.findings) ? static_cast<int>(ErrorCode::kBadInput) : 0;
}

}  // namespace ctq::cli
