#include <fmt/format.h>

#include "cli/command_input.h"
#include "cli/conversion/binding.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/cli/option_table.h"
#include "ctq/engine/job.h"
#include "ctq/engine/output_path.h"
#include "lora_extraction.h"

namespace ctq::cli {

void print_extracted(const std::vector<lora::Extracted>& layers, const std::string& output) {
  for (const lora::Extracted& layer : layers) {
    spdlog::info("{}: rank {}, weight_rel {:.6f} -> {:.6f}", printable(layer.layer), layer.rank,
                 layer.error_before, layer.error_after);
  }
  spdlog::info("LoRA of {} layers: {}", layers.size(), output);
}

int run_extract_lora(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("extract-lora"));
  const std::string &original = required(arguments, "input"), &quantized = required(arguments, "quantized");
  engine::Loras loras;
  bind_extraction(arguments, loras);
  const lora::ExtractOptions options = engine::extraction_of(loras);
  const std::string output =
      arguments.given("lora_output") ? arguments.text("lora_output") : engine::lora_output_name(quantized);
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal, /*notes_to_stderr=*/false);
  install_signal_handlers();
  for (const std::string& input : {original, quantized})
    engine::check_output_path(output, input, arguments.flag("no_clobber"));
  const engine::OpenedFile after(quantized), before(original, after.checkpoint);
  print_extracted(lora::extract(before.quantized, after.quantized, options, output), output);
  return 0;
}

}  // namespace ctq::cli
