#include <memory>

#include <fmt/format.h>

#include "cli/client_option.h"
#include "cli/command_input.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/terminal.h"
#include "ctq/cli/option_table.h"
#include "ctq/report/file_report.h"
#include "ctq/verify/client.h"
#include "ctq/verify/values.h"

namespace ctq::cli {
namespace {

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

int run_verify(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("verify"));
  const std::string& path = required(arguments, "input");
  if (arguments.given("min_sqnr") && !arguments.given("original"))
    fail(ErrorCode::kUsage, "argument --min-sqnr: needs --original");
  if (arguments.given("original") && !arguments.flag("values"))
    fail(ErrorCode::kUsage, "argument --values: --original reads values (got 'false')");
  start_log(Verbosity::kNormal, /*notes_to_stderr=*/true);
  install_signal_handlers();
  const engine::OpenedFile file(path);
  std::unique_ptr<const engine::OpenedFile> original;
  if (arguments.given("original"))
    original = std::make_unique<const engine::OpenedFile>(arguments.text("original"), file.checkpoint);

  std::vector<verify::Finding> findings = verify::check_structure(file.quantized, read_client(arguments),
                                                                  original ? &original->quantized : nullptr);
  if (arguments.flag("values")) append(findings, verify::check_values(file.quantized));
  if (original) measure(original->quantized, file.quantized, arguments.number("min_sqnr"), findings);
  fmt::print("{}", arguments.flag("json")
                       ? report::verdict_json(path, arguments.text("client"), findings)
                       : report::verdict_text(path, arguments.text("client"), findings, Paint(stdout)));
  return verify::is_refused(findings) ? static_cast<int>(ErrorCode::kBadInput) : 0;
}

}  // namespace ctq::cli
