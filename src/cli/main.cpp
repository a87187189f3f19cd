// The program: everything that is thrown ends here, as one message and an exit code.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/terminal.h"
#include "cli/options/option.h"
#include "cli/run.h"
#include "linalg/device.h"

namespace {

int complain(ctq::ErrorCode code, const char* message) {
  fmt::print(stderr, "convert_to_quant: {}: {}\n", ctq::Paint(stderr)(ctq::Tone::kBad, "error"), message);
  return static_cast<int>(code);
}

/// Names the page that tells what a command line may be.
void point_to_help(const std::vector<std::string>& args) {
  const bool own_page = !args.empty() && ctq::cli::command_table(args[0]) != nullptr;
  fmt::print(stderr, "Try 'convert_to_quant {}{}--help'.\n", own_page ? args[0] : "", own_page ? " " : "");
}

/// Links to the program under the names of older programs start from their defaults, or are one command.
std::vector<std::string> with_profile_of(std::string_view called, std::vector<std::string> args) {
  called.remove_prefix(called.rfind('/') + 1);
  if (called == "calibrate_activation_scales") {
    args.insert(args.begin(), "calibrate");
    return args;
  }
  const bool peer = called == "ctq" || called == "convert-to-quant";
  const bool other_command = !args.empty() && args[0] != "convert" &&
                             std::ranges::count(ctq::cli::commands(), args[0], &ctq::cli::Command::name) > 0;
  if (peer && !other_command)
    args.insert(args.begin() + (!args.empty() && args[0] == "convert" ? 1 : 0), "--profile=peer");
  return args;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args =
      with_profile_of(argc > 0 ? argv[0] : "", {argv + std::min(argc, 1), argv + argc});
  try {
    const int code = ctq::cli::run(args);
    if (std::fflush(stdout) != 0)
      return complain(ctq::ErrorCode::kFailure, "standard output cannot be written");
    return code;
  } catch (const ctq::Error& error) {
    const int code = complain(error.code(), error.what());
    if (error.code() == ctq::ErrorCode::kUsage) point_to_help(args);
    return code;
  } catch (const std::exception& error) {
    if (ctq::linalg::is_out_of_memory(error))
      return complain(ctq::ErrorCode::kFailure, "out of memory; try --max-memory, or fewer --threads");
    const auto* torch = dynamic_cast<const c10::Error*>(&error);
    return complain(ctq::ErrorCode::kFailure, torch ? torch->what_without_backtrace() : error.what());
  }
}
