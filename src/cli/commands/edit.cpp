#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "rewrite/edit.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> input{"input"};
  OutputFile output;
  Setting<std::string> remove_keys{"remove_keys"};
  Setting<std::string> add_keys{"add_keys"};
  Setting<std::string> layers{"quant_filter"};
  Setting<bool> save_quant_metadata{"save_quant_metadata"};
  Setting<std::string> remove_tensors{"remove_tensors"};
};

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant edit FILE [-o OUT] [--remove-keys LIST] [--add-keys KEYS] [options]\n\n"
          "A copy of a quantized file whose markers say something else. Weights keep their bytes.\n"};
  add(table.options, Page::kStandard, "Files",
      {
          path(asked.input, "--input", "The quantized file; also without --input").alias("-i"),
      });
  add_output(table.options, asked.output, "<input stem>_edited.safetensors");
  add(table.options, Page::kStandard, "What to change",
      {
          text(asked.remove_keys, "--remove-keys", "Comma list of JSON keys to delete from the markers"),
          text(asked.add_keys, "--add-keys", "Keys to set, as 'key': value pairs or a JSON object"),
          pattern(asked.layers, "--quant-filter", "Layers whose markers change").otherwise("all"),
          toggle(asked.save_quant_metadata, "--save-quant-metadata",
                 "Make the header's map anew from the markers, and markers that only the header has"),
          pattern(asked.remove_tensors, "--remove-tensors", "Leave out tensors whose name matches"),
      });
  add_help(table.options);
  return table;
}

rewrite::Edits read_edits(const Asked& asked) {
  rewrite::Edits edits;
  edits.keys.remove = comma_list(*asked.remove_keys);
  edits.layers = name_filter(asked.layers);
  edits.drop_tensors = name_filter(asked.remove_tensors);
  edits.save_metadata = *asked.save_quant_metadata;
  if (asked.add_keys.given())
    edits.keys.set =
        engine::naming(asked.add_keys, [&] { return format::parse_key_values(*asked.add_keys); });
  if (edits.keys.remove.empty() && edits.keys.set.empty() && !edits.drop_tensors && !edits.save_metadata)
    fail(ErrorCode::kUsage, "nothing to edit; give {}, {}, {} or {}", asked.remove_keys, asked.add_keys,
         asked.remove_tensors, asked.save_quant_metadata);
  return edits;
}

void log_keys(std::string_view what, const std::map<std::string, size_t>& keys) {
  for (const auto& [key, count] : keys) spdlog::info("  {} '{}' in {} layers", what, printable(key), count);
}

}  // namespace

const Table& edit_table() { return shown_table(make_table); }

int run_edit(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const std::string path = required(asked.input);
  const rewrite::Edits edits = read_edits(asked);
  engine::Session session(asked.output.session());
  const engine::OpenedFile input(path);
  const std::string output = output_for(asked.output, input, "_edited");
  const rewrite::Edited done = rewrite::edit(input.quantized, edits, output);
  spdlog::info(
      "{} of {} marked layers edited, {} outside the filter, {} markers created, {} tensors left out: {}",
      done.changed, done.layers, done.skipped, done.created, done.dropped, output);
  log_keys("removed", done.removed);
  log_keys("set", done.set);
  if (done.map_left_out)
    spdlog::info(
        "the header does not repeat the markers: ComfyUI's loaders disagree about names with a prefix there");
  if (edits.drop_tensors && done.dropped == 0) warn("{} matches no tensor", asked.remove_tensors);
  if (edits.layers && done.skipped == done.layers) warn("{} matches no layer", asked.layers);
  return 0;
}

}  // namespace ctq::cli
