#include <fmt/format.h>

#include "cli/command_input.h"
#include "cli/output_path.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/cli/option_table.h"
#include "lora_extraction.h"

namespace ctq::cli {

lora::ExtractOptions read_extraction(const Arguments& arguments) {
  lora::ExtractOptions options;
  options.rank = arguments.integer("lora_rank");
  options.always = name_filter(arguments, "lora_target");
  options.depth = arguments.integer("lora_depth");
  options.aspect_threshold = arguments.number("lora_ar_threshold");
  const std::string& dtype = arguments.text("lora_dtype");
  options.dtype = dtype == "f16"    ? safetensors::Dtype::kF16
                  : dtype == "bf16" ? safetensors::Dtype::kBF16
                                    : safetensors::Dtype::kF32;
  return options;
}

std::string lora_output_name(const std::string& quantized) {
  return input_stem(quantized) + "_lora.safetensors";
}

void extract_lora(const std::string& original, const std::string& quantized,
                  const lora::ExtractOptions& options, const std::string& output) {
  const OpenedFile after(quantized), before(original, after.checkpoint);
  const auto layers = lora::extract(before.quantized, after.quantized, options, output);
  for (const lora::Extracted& layer : layers) {
    spdlog::info("{}: rank {}, weight_rel {:.6f} -> {:.6f}", printable(layer.layer), layer.rank,
                 layer.error_before, layer.error_after);
  }
  spdlog::info("LoRA of {} layers: {}", layers.size(), output);
}

int run_extract_lora(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("extract-lora"));
  const std::string &original = required(arguments, "input"), &quantized = required(arguments, "quantized");
  const lora::ExtractOptions options = read_extraction(arguments);
  const std::string output =
      arguments.given("lora_output") ? arguments.text("lora_output") : lora_output_name(quantized);
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal, /*notes_to_stderr=*/false);
  install_signal_handlers();
  for (const std::string& input : {original, quantized})
    check_output_path(output, input, arguments.flag("no_clobber"));
  extract_lora(original, quantized, options, output);
  return 0;
}

}  // namespace ctq::cli
