#include <memory>

#include <fmt/format.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/terminal.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "ctq/engine/job.h"
#include "report/file_report.h"
#include "verify/client.h"
#include "verify/values.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> input{"input"};
  Setting<engine::Path> original{"original"};
  Setting<std::string> client{"client", "comfyui"};
  Setting<bool> values{"values", true};
  Setting<double> min_sqnr{"min_sqnr", 5};
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
          path(asked.input, "--input", "The quantized file; also without --input").alias("-i"),
          path(asked.original, "--original", "The unquantized file: also measure every layer against it"),
      });
  add(table.options, Page::kStandard, "What to check",
      {
          text(asked.client, "--client", "Whose rules apply: " + std::string(kClientHelp)),
          toggle(asked.values, "--values",
                 "Read scales and codes too, for what is not finite; off: headers and markers alone"),
          number(asked.min_sqnr, "--min-sqnr",
                 "With --original: a layer below so many dB is broken, not quantized"),
          toggle(asked.json, "--json", "Print one JSON object instead"),
      });
  add_help(table.options);
  return table;
}

void append(std::vector<verify::Finding>& findings, std::vector<verify::Finding> more) {
  findings.insert(findings.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void measure(const quantized::QuantizedFile& original, const quantized::QuantizedFile& file, double least_db,
             std::vector<verify::Finding>& findings) {
  verify::Differences differences = verify::compare(original, file);
  for (const verify::LayerError& layer : differences.layers) {
    if (layer.error.non_finite == 0 && layer.error.sqnr_db >= least_db) continue;
    findings.push_back(
        {layer.name, fmt::format("SQNR {:.2f} dB, below {:g} dB", layer.error.sqnr_db, least_db)});
  }
  append(findings, std::move(differences.findings));
}

}  // namespace

const Table& verify_table() { return shown_table(make_table); }

int run_verify(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const std::string path = required(asked.input);
  if (asked.min_sqnr.given() && !asked.original.given())
    engine::refuse_to_have(asked.min_sqnr, fmt::format("needs {}", asked.original));
  if (asked.original.given() && !*asked.values)
    engine::refuse(asked.values, fmt::format("{} reads values", asked.original));
  start_log(Verbosity::kNormal, /*notes_to_stderr=*/true);
  install_signal_handlers();
  const engine::OpenedFile file(path);
  std::unique_ptr<const engine::OpenedFile> original;
  if (asked.original.given())
    original = std::make_unique<const engine::OpenedFile>(asked.original->string(), file.checkpoint);

  const client::Client client = engine::client_of(asked.client).value_or(client::Client{});
  std::vector<verify::Finding> findings =
      verify::check_structure(file.quantized, client, original ? &original->quantized : nullptr);
  if (*asked.values) append(findings, verify::check_values(file.quantized));
  if (original) measure(original->quantized, file.quantized, *asked.min_sqnr, findings);
  fmt::print("{}", *asked.json ? report::verdict_json(path, *asked.client, findings)
                               : report::verdict_text(path, *asked.client, findings, Paint(stdout)));
  return verify::is_refused(findings) ? static_cast<int>(ErrorCode::kBadInput) : 0;
}

}  // namespace ctq::cli
