#include "analyze_options.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "cli/command_input.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"

namespace ctq::cli {
namespace {

plan::Target target_named(const std::string& word, const plan::Target& target, int64_t block_size) {
  const format::Codec* codec = plan::codec_of_format(word, "");
  static constexpr std::array<std::string_view, 4> kTypes{"int8", "fp8", "nvfp4", "mxfp8"};
  if (!codec && std::ranges::find(kTypes, word) != kTypes.end()) codec = plan::codec_of_type(word, "");
  if (!codec) {
    fail(ErrorCode::kUsage, "argument --formats: no such format; --list-formats prints them (got '{}')",
         printable(word));
  }
  if (codec == target.codec) return target;
  plan::Target named;
  named.codec = codec;
  if (codec->has_blocks()) named.block_size = block_size;
  if (codec->rotation == format::Rotation::kAlways) named.rotation_group = plan::kUsualRotation;
  return named;
}

std::vector<plan::Target> read_formats(const Arguments& arguments, const plan::Target& target, bool suggest) {
  if (!arguments.given("formats")) {
    if (!target.codec) fail(ErrorCode::kUsage, "argument --formats: is required where the target is float16");
    return suggest ? plan::formats_from(target) : std::vector{target};
  }
  std::vector<plan::Target> formats;
  for (const std::string& word : comma_list(arguments.text("formats")))
    formats.push_back(target_named(word, target, arguments.integer("block_size")));
  if (formats.empty())
    fail(ErrorCode::kUsage, "argument --formats: names no format (got '{}')", arguments.text("formats"));
  return formats;
}

}  // namespace

AnalyzeOptions read_analyze_options(const Arguments& arguments, const plan::Target& target) {
  AnalyzeOptions options{.blocks = arguments.flag("blocks"),
                         .errors = arguments.flag("error"),
                         .suggest = arguments.flag("suggest"),
                         .formats = {}};
  struct Asked {
    std::string_view option;
    bool given;
  };
  const std::array<Asked, 4> shown{{{"--template", arguments.given("template")},
                                    {"--blocks", options.blocks},
                                    {"--error", options.errors},
                                    {"--suggest", options.suggest}}};
  const Asked* chosen = nullptr;
  const bool analyze = arguments.given("dry_run") && arguments.text("dry_run") == "analyze";
  for (const Asked& asked : shown) {
    if (!asked.given) continue;
    if (!analyze) fail(ErrorCode::kUsage, "argument {}: goes with the command analyze", asked.option);
    if (chosen) fail(ErrorCode::kUsage, "argument {}: does not go with {}", asked.option, chosen->option);
    chosen = &asked;
  }
  if (arguments.given("formats") && !options.errors && !options.suggest)
    fail(ErrorCode::kUsage, "argument --formats: goes with --error or --suggest");
  if (options.suggest && arguments.flag("json"))
    fail(ErrorCode::kUsage, "argument --json: what --suggest prints is JSON already");
  if (options.errors || options.suggest) options.formats = read_formats(arguments, target, options.suggest);
  return options;
}

}  // namespace ctq::cli
