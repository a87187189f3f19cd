#include <optional>

#include "cli/command_input.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/cli/option_table.h"
#include "ctq/rewrite/dequantize.h"

namespace ctq::cli {
namespace {

std::optional<safetensors::Dtype> dtype_of(const Arguments& arguments) {
  if (!arguments.given("dtype")) return std::nullopt;
  const std::string& word = arguments.text("dtype");
  return word == "f32"   ? safetensors::Dtype::kF32
         : word == "f16" ? safetensors::Dtype::kF16
                         : safetensors::Dtype::kBF16;
}

}  // namespace

int run_dequantize(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("dequantize"));
  const std::string& path = required(arguments, "input");
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal, /*notes_to_stderr=*/false);
  install_signal_handlers();
  const engine::OpenedFile input(path);
  const std::string output = output_for(arguments, input, "_dequantized");
  const rewrite::Dequantized done = rewrite::dequantize(input.quantized, dtype_of(arguments), output);
  spdlog::info("{} weights decoded, {} tensors copied, {} scales and markers left out: {}", done.decoded,
               done.copied, done.dropped, output);
  return 0;
}

}  // namespace ctq::cli
