#include <fmt/format.h>

#include "cli/command_input.h"
#include "commands.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/cli/option_table.h"
#include "ctq/report/file_report.h"

namespace ctq::cli {

int run_inspect(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("inspect"));
  const std::string& path = required(arguments, "input");
  const report::InspectionParts parts{.tensors = arguments.flag("tensors"),
                                      .layers = arguments.flag("layers"),
                                      .metadata = arguments.flag("metadata"),
                                      .summary = arguments.flag("summary"),
                                      .wanted = name_filter(arguments, "filter")};
  start_log(Verbosity::kNormal, /*notes_to_stderr=*/true);
  const engine::OpenedFile file(path, safetensors::Shard::kAlone);
  std::vector<verify::Finding> findings;
  const bool check = arguments.flag("check");
  if (check) findings = verify::check_structure(file.quantized, {client::Program::kAny});
  const auto* checked = check ? &findings : nullptr;
  fmt::print("{}", arguments.flag("json") ? report::inspection_json(file.quantized, parts, checked)
                                          : report::inspection_text(file.quantized, parts, checked));
  return verify::is_refused(findings) ? static_cast<int>(ErrorCode::kBadInput) : 0;
}

}  // namespace ctq::cli
