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

namespace {

int complain(ctq::ErrorCode code, const char* message) {
  fmt::print(stderr, "convert_to_quant: error: {}\n", message);
  if (code == ctq::ErrorCode::kUsage) fmt::print(stderr, "Try 'convert_to_quant --help'.\n");
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int code = ctq::cli::run(std::vector<std::string>(argv + 1, argv + argc));
    if (std::fflush(stdout) != 0)
      return complain(ctq::ErrorCode::kFailure, "standard output cannot be written");
    return code;
  } catch (const ctq::Error& error) {
    return complain(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return complain(ctq::ErrorCode::kFailure, "out of memory; try --low-memory or fewer --threads");
  } catch (const c10::Error& error) {
    return complain(ctq::ErrorCode::kFailure, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return complain(ctq::ErrorCode::kFailure, error.what());
  }
}
