#include "command_input.h"

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/engine/output_path.h"
#include "ctq/linalg/device.h"
#include "ctq/plan/pattern.h"

namespace ctq::cli {

const std::string& required(const Arguments& arguments, std::string_view option) {
  if (!arguments.given(option)) fail(ErrorCode::kUsage, "argument --{}: is required", option);
  return arguments.text(option);
}

at::Device device_of(const Arguments& arguments) {
  const std::string& name = arguments.text("device");
  return linalg::open_device(name == "auto" ? "cpu" : name);
}

std::function<bool(const std::string&)> name_filter(const Arguments& arguments, std::string_view option) {
  if (!arguments.given(option)) return nullptr;
  try {
    return [pattern = plan::Pattern(arguments.text(option))](const std::string& name) {
      return pattern.search(name);
    };
  } catch (const Error& error) {
    fail(error.code(), "argument --{}: {}", option, error.what());
  }
}

std::string output_for(const Arguments& arguments, const engine::OpenedFile& input, std::string_view suffix) {
  std::string output =
      arguments.given("output")
          ? arguments.text("output")
          : fmt::format("{}{}.safetensors", engine::input_stem(input.checkpoint.path()), suffix);
  engine::check_output_path(output, input.checkpoint.path(), arguments.flag("no_clobber"));
  engine::check_output_is_no_input(output, input.checkpoint);
  return output;
}

}  // namespace ctq::cli
