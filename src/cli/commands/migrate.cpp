#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "rewrite/migrate.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<std::string> mode{"mode"};
  Setting<engine::Path> input{"input"};
  OutputFile output;
  Setting<std::string> high_precision{"hp_filter"};
  Setting<bool> full_precision{"full_precision_mm"};
  Setting<bool> input_scale{"input_scale"};
  Setting<bool> save_quant_metadata{"save_quant_metadata"};
  Setting<int64_t> block_size{"block_size", 128};
  Setting<std::string> marker{"scaled_fp8_marker", "0"};
  Setting<bool> comfy_layout{"comfy_quant"};
  Setting<std::string> scale_order{"scale_order"};
  Setting<engine::Path> tensor_scales{"tensor_scales"};
};

struct Mode {
  std::string_view name;
  rewrite::Migration run;
  std::string_view suffix;                      ///< of the output's name
  std::vector<const engine::AnySetting*> uses;  ///< beside the files
};

std::vector<Mode> modes_of(const Asked& asked) {
  return {
      {"fp8-scaled",
       rewrite::fp8_to_comfy,
       "_fp8mixed",
       {&asked.high_precision, &asked.full_precision, &asked.input_scale, &asked.save_quant_metadata}},
      {"int8-scaled",
       rewrite::int8_to_comfy,
       "_int8_comfy",
       {&asked.block_size, &asked.input_scale, &asked.save_quant_metadata}},
      {"add-input-scale", rewrite::add_input_scales, "_with_input_scale", {}},
      {"cleanup-fp8", rewrite::clean_fp8, "_cleaned", {&asked.marker, &asked.input_scale}},
      {"hybrid-mxfp8", rewrite::make_hybrid_mxfp8, "_hybrid", {&asked.tensor_scales}},
      {"u8log", rewrite::log_scales_to_f32, "_f32scale", {&asked.comfy_layout}},
      {"comfy-to-legacy", rewrite::comfy_to_fp8, "_scaled", {}},
      {"add-markers",
       rewrite::add_markers,
       "_marked",
       {&asked.scale_order, &asked.full_precision, &asked.save_quant_metadata}},
  };
}

Table make_table(Asked& asked) {
  Table table{.options = {},
              .words = "mode",
              .usage =
                  "usage: convert_to_quant migrate MODE -i FILE [-o OUT] [options]\n\n"
                  "A copy of a quantized file in another dialect. Codes keep their bytes.\n"};
  std::vector<std::string> modes;
  for (const Mode& mode : modes_of(asked)) modes.emplace_back(mode.name);
  add(table.options, Page::kStandard, "What to do",
      {choice(asked.mode, "--mode", "What to rewrite; also without --mode").choose(std::move(modes))});
  add(table.options, Page::kStandard, "Files",
      {
          path(asked.input, "--input", "The quantized file").alias("-i"),
      });
  add_output(table.options, asked.output, "from the input's name and the mode");
  add(table.options, Page::kStandard, "Of some modes",
      {
          pattern(asked.high_precision, "--hp-filter", "fp8-scaled: fail if one of these layers is FP8"),
          toggle(asked.full_precision, "--full-precision-mm",
                 "fp8-scaled, add-markers: mark all layers to be multiplied in high precision"),
          toggle(asked.input_scale, "--input_scale",
                 "fp8-scaled, int8-scaled, cleanup-fp8: add an input scale of 1.0 where none is"),
          toggle(asked.save_quant_metadata, "--save-quant-metadata",
                 "fp8-scaled, int8-scaled, add-markers: describe the layers in the header too"),
          integer(asked.block_size, "--block_size",
                  "int8-scaled: edge of blocks whose scales lie in one dimension")
              .at_least(1),
          choice(asked.marker, "--scaled-fp8-marker",
                 "cleanup-fp8: elements of `scaled_fp8`; 2 asks for full precision")
              .choose({"0", "2"}),
          toggle(asked.comfy_layout, "--comfy_quant", "u8log: write markers rather than the legacy layout"),
          choice(
              asked.scale_order, "--scale-order",
              "add-markers: of NVFP4 and MXFP8, where the file does not tell: ComfyUI's, or ModelOpt's rows")
              .choose({"swizzled", "rows"}),
          path(asked.tensor_scales, "--tensor-scales",
               "hybrid-mxfp8: FP8 model to take the scales of whole weights from"),
      });
  add_help(table.options);
  return table;
}

/// throws  Error(kUsage) for what belongs to other modes
void check_settings(const Asked& asked, const Mode& mode) {
  for (const Mode& other : modes_of(asked)) {
    for (const engine::AnySetting* setting : other.uses) {
      if (setting->given() && std::ranges::count(mode.uses, setting) == 0)
        engine::refuse_to_have(*setting, fmt::format("does not go with {}", mode.name));
    }
  }
}

/// What no layer of the file was in question for.
void note_idle(const Asked& asked) {
  if (asked.block_size.given())
    spdlog::info("note: {} has no effect: no layer has as many scales in one dimension as such blocks",
                 asked.block_size);
  if (asked.scale_order.given())
    spdlog::info(
        "note: {} has no effect: the file tells the order of its scales, or has none of NVFP4 and MXFP8",
        asked.scale_order);
}

rewrite::MigrationOptions options_of(const Asked& asked) {
  rewrite::MigrationOptions options;
  options.unit_input_scales = *asked.input_scale;
  options.full_precision_matrix_mult = *asked.full_precision;
  options.high_precision = name_filter(asked.high_precision);
  options.block_size = *asked.block_size;
  options.save_metadata = *asked.save_quant_metadata;
  options.marker_elements = *asked.marker == "2" ? 2 : 0;
  options.comfy_layout = *asked.comfy_layout;
  if (asked.scale_order.given()) {
    using Order = quantized::QuantizedFile::ScaleOrder;
    options.scale_order = *asked.scale_order == "rows" ? Order::kRows : Order::kSwizzled;
  }
  return options;
}

}  // namespace

const Table& migrate_table() { return shown_table(make_table); }

int run_migrate(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  if (!asked.mode.given()) engine::refuse_to_have(asked.mode, "is required");
  const std::vector<Mode> modes = modes_of(asked);
  const Mode& mode = *std::ranges::find(modes, std::string_view(*asked.mode), &Mode::name);
  check_settings(asked, mode);
  const std::string path = required(asked.input);
  rewrite::MigrationOptions options = options_of(asked);
  engine::Session session(asked.output.session());
  const engine::OpenedFile input(path);
  const std::string output = output_for(asked.output, input, mode.suffix);
  std::unique_ptr<const engine::OpenedFile> scales;
  if (asked.tensor_scales.given()) {
    scales = std::make_unique<const engine::OpenedFile>(asked.tensor_scales->string());
    options.tensor_scales = &scales->quantized;
  }
  const rewrite::Migrated done = mode.run(input.quantized, options, output);
  spdlog::info("{} layers, {} scales added, {} left out: {}", done.layers, done.added, done.dropped, output);
  if (done.asked == 0) note_idle(asked);
  if (done.map_left_out)
    spdlog::info(
        "the header does not repeat the markers: ComfyUI's loaders disagree about names with a prefix there");
  return 0;
}

}  // namespace ctq::cli
