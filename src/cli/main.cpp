// The program: everything that is thrown ends here, as one message and an exit code.
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/cli/convert_command.h"
#include "ctq/cli/option_table.h"

namespace {

int complain(ctq::ErrorCode code, const char* message) {
  fmt::print(stderr, "convert_to_quant: error: {}\n", message);
  return static_cast<int>(code);
}

/// Names the page that tells what a command line may be.
void point_to_help(const std::vector<std::string>& args) {
  const bool own_page = !args.empty() && ctq::cli::command_options(args[0]) != nullptr;
  fmt::print(stderr, "Try 'convert_to_quant {}{}--help'.\n", own_page ? args[0] : "", own_page ? " " : "");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    const int code = ctq::cli::run(args);
    if (std::fflush(stdout) != 0)
      return complain(ctq::ErrorCode::kFailure, "standard output cannot be written");
    return code;
  } catch (const ctq::Error& error) {
    const int code = complain(error.code(), error.what());
    if (error.code() == ctq::ErrorCode::kUsage) point_to_help(args);
    return code;
  } catch (const std::bad_alloc&) {
    return complain(ctq::ErrorCode::kFailure, "out of memory; try --low-memory or fewer --threads");
  } catch (const c10::Error& error) {
    return complain(ctq::ErrorCode::kFailure, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return complain(ctq::ErrorCode::kFailure, error.what());
  }
}
