#include "cli/command_input.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/cli/option_table.h"
#include "ctq/engine/output_path.h"
#include "ctq/rewrite/part.h"

namespace ctq::cli {

int run_assemble(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("assemble"));
  const std::vector<std::string>& parts = arguments.list("input");
  if (parts.empty()) fail(ErrorCode::kUsage, "argument --input: is required");
  const std::string& output = required(arguments, "output");
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal, /*notes_to_stderr=*/false);
  install_signal_handlers();
  for (const std::string& part : parts) engine::check_output_path(output, part, arguments.flag("no_clobber"));
  const rewrite::Assembled done = rewrite::assemble(parts, output);
  spdlog::info("{} parts with {} tensors joined: {}", done.parts, done.tensors, output);
  return 0;
}

}  // namespace ctq::cli
