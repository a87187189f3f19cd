#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>

#include "cli/command_input.h"
#include "cli/options/spelling.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/cli/option_table.h"
#include "ctq/rewrite/migrate.h"

namespace ctq::cli {
namespace {

struct Mode {
  std::string_view name;
  rewrite::Migration run;
  std::string_view suffix;                ///< of the output's name
  std::vector<std::string_view> options;  ///< that go with it, beside the files
};

const Mode& mode_of(const Arguments& arguments) {
  static const std::vector<Mode> modes{
      {"fp8-scaled",
       rewrite::fp8_to_comfy,
       "_fp8mixed",
       {"hp_filter", "full_precision_mm", "input_scale", "save_quant_metadata"}},
      {"int8-scaled",
       rewrite::int8_to_comfy,
       "_int8_comfy",
       {"block_size", "input_scale", "save_quant_metadata"}},
      {"add-input-scale", rewrite::add_input_scales, "_with_input_scale", {}},
      {"cleanup-fp8", rewrite::clean_fp8, "_cleaned", {"scaled_fp8_marker", "input_scale"}},
      {"hybrid-mxfp8", rewrite::make_hybrid_mxfp8, "_hybrid", {"tensor_scales"}},
      {"u8log", rewrite::log_scales_to_f32, "_f32scale", {"comfy_quant"}},
      {"comfy-to-legacy", rewrite::comfy_to_fp8, "_scaled", {}},
      {"add-markers",
       rewrite::add_markers,
       "_marked",
       {"scale_order", "full_precision_mm", "save_quant_metadata"}},
  };
  const std::string& word = required(arguments, "mode");
  return *std::ranges::find(modes, word, &Mode::name);
}

void check_options(const Arguments& arguments, const Mode& mode) {
  constexpr std::array<std::string_view, 5> kForAll = {"mode", "input", "output", "no_clobber", "quiet"};
  for (const Option& option : command_options("migrate")->options) {
    const std::string key = option_key(option.name);
    if (!arguments.given(key) || std::ranges::count(kForAll, key) > 0 ||
        std::ranges::count(mode.options, key) > 0)
      continue;
    fail(ErrorCode::kUsage, "argument {}: does not go with {}", option.name, mode.name);
  }
}

}  // namespace

int run_migrate(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("migrate"));
  const Mode& mode = mode_of(arguments);
  check_options(arguments, mode);
  const std::string& path = required(arguments, "input");
  rewrite::MigrationOptions options;
  options.unit_input_scales = arguments.flag("input_scale");
  options.full_precision_matrix_mult = arguments.flag("full_precision_mm");
  options.high_precision = name_filter(arguments, "hp_filter");
  options.block_size = arguments.integer("block_size");
  options.save_metadata = arguments.flag("save_quant_metadata");
  options.marker_elements = arguments.text("scaled_fp8_marker") == "2" ? 2 : 0;
  options.comfy_layout = arguments.flag("comfy_quant");
  if (arguments.given("scale_order")) {
    using Order = quantized::QuantizedFile::ScaleOrder;
    options.scale_order = arguments.text("scale_order") == "rows" ? Order::kRows : Order::kSwizzled;
  }
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal, /*notes_to_stderr=*/false);
  install_signal_handlers();
  const engine::OpenedFile input(path);
  const std::string output = output_for(arguments, input, mode.suffix);
  std::unique_ptr<const engine::OpenedFile> scales;
  if (arguments.given("tensor_scales")) {
    scales = std::make_unique<const engine::OpenedFile>(arguments.text("tensor_scales"));
    options.tensor_scales = &scales->quantized;
  }
  const rewrite::Migrated done = mode.run(input.quantized, options, output);
  spdlog::info("{} layers, {} scales added, {} left out: {}", done.layers, done.added, done.dropped, output);
  if (done.map_left_out)
    spdlog::info(
        "the header does not repeat the markers: ComfyUI's loaders disagree about names with a prefix there");
  return 0;
}

}  // namespace ctq::cli
