#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command_input.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/cli/option_table.h"
#include "ctq/rewrite/edit.h"

namespace ctq::cli {
namespace {

rewrite::Edits read_edits(const Arguments& arguments) {
  rewrite::Edits edits;
  edits.keys.remove = comma_list(arguments.text("remove_keys"));
  edits.layers = name_filter(arguments, "quant_filter");
  edits.drop_tensors = name_filter(arguments, "remove_tensors");
  edits.save_metadata = arguments.flag("save_quant_metadata");
  if (arguments.given("add_keys")) {
    try {
      edits.keys.set = format::parse_key_values(arguments.text("add_keys"));
    } catch (const Error& error) {
      fail(ErrorCode::kUsage, "argument --add-keys: {}", error.what());
    }
  }
  if (edits.keys.remove.empty() && edits.keys.set.empty() && !edits.drop_tensors && !edits.save_metadata) {
    fail(ErrorCode::kUsage,
         "nothing to edit; give --remove-keys, --add-keys, --remove-tensors or --save-quant-metadata");
  }
  return edits;
}

void log_keys(std::string_view what, const std::map<std::string, size_t>& keys) {
  for (const auto& [key, count] : keys) spdlog::info("  {} '{}' in {} layers", what, printable(key), count);
}

}  // namespace

int run_edit(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("edit"));
  const std::string& path = required(arguments, "input");
  const rewrite::Edits edits = read_edits(arguments);
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal, /*notes_to_stderr=*/false);
  install_signal_handlers();
  const engine::OpenedFile input(path);
  const std::string output = output_for(arguments, input, "_edited");
  const rewrite::Edited done = rewrite::edit(input.quantized, edits, output);
  spdlog::info(
      "{} of {} marked layers edited, {} outside the filter, {} markers created, {} tensors left out: {}",
      done.changed, done.layers, done.skipped, done.created, done.dropped, output);
  log_keys("removed", done.removed);
  log_keys("set", done.set);
  if (done.map_left_out)
    spdlog::info(
        "the header does not repeat the markers: ComfyUI's loaders disagree about names with a prefix there");
  if (edits.drop_tensors && done.dropped == 0) warn("--remove-tensors matches no tensor");
  if (edits.layers && done.skipped == done.layers) warn("--quant-filter matches no layer");
  return 0;
}

}  // namespace ctq::cli
