#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "block_analysis.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "ctq/engine/session.h"
#include "engine/clip_g.h"
#include "report/clip_g_report.h"
#include "safetensors/writer.h"

namespace ctq::cli {
namespace {

struct Asked {
  engine::ClipGSettings encoder;
  Setting<bool> analyze{"analyze"};
  Setting<std::vector<engine::Path>> report{"report"};
  Setting<bool> verbose{"verbose"};
  Setting<bool> quiet{"quiet"};
};

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant clip-g FILE -o OUT [options]\n"
          "       convert_to_quant clip-g FILE --analyze [-k BLOCKS] [--json PATH] [--report PATH.html]\n\n"
          "Mixed float16 and FP8 for an OpenCLIP text encoder: transformer.resblocks.<N>.*, or\n"
          "text_model.encoder.layers.<N>.*.\n"};
  add(table.options, Page::kStandard, "Files",
      {
          path(asked.encoder.input, "--input", "The text encoder; also without --input").alias("-i"),
          path(asked.encoder.output, "--output", "File to write")
              .alias("-o")
              .otherwise("required but for --dry-run and --analyze"),
          toggle(asked.encoder.no_clobber, "--no-clobber", "Refuse to replace an existing output"),
      });
  add(table.options, Page::kStandard, "What becomes FP8, besides MLP weights",
      {
          text(asked.encoder.first_blocks_keep, "--first-blocks-keep",
               "Blocks that stay as they are: the first N, or a list of numbers and ranges, 0-3,9. The last "
               "block always stays")
              .alias("-k")
              .alias("--keep-first-blocks"),
          choice(
              asked.encoder.split, "--split-attn-qkv",
              "Split the fused attn.in_proj of other blocks into q, k and v, of these precisions; bare, or "
              "auto: q16,kv8 unless the next two switches say otherwise")
              .choose({"auto", "q16,kv8", "q8,kv8", "q8,kv16", "q16,kv16"})
              .value_optional(),
          toggle(asked.encoder.keep_kv, "--keep-attn-kv-fp16", "After the split, leave k and v as they are"),
          toggle(asked.encoder.q_fp8, "--attn-q-fp8", "After the split, q too"),
          choice(asked.encoder.split_names, "--split-names",
                 "Names of q, k and v after the split. comfyui: text_model.encoder.layers.<N>.self_attn.*, "
                 "which "
                 "ComfyUI reads; seed: transformer.resblocks.<N>.attn.*, which it does not")
              .choose({"comfyui", "seed"}),
          toggle(asked.encoder.attn_out_fp8, "--attn-out-fp8", "attn.out_proj too"),
          toggle(asked.encoder.in_proj_fp8, "--in-proj-fp8",
                 "The fused attn.in_proj too, or q, k and v where they are apart"),
      });
  add(table.options, Page::kStandard, "How",
      {
          choice(asked.encoder.fp8_scale, "--fp8-scale",
                 "none: a plain cast; tensor: one scale per weight and a marker, as ComfyUI's scaled FP8")
              .choose({"none", "tensor"}),
          choice(asked.encoder.clip, "--clip",
                 "Values beyond 448 in a plain cast: saturate, or keep the whole weight as it is")
              .choose({"saturate", "keep-fp16"}),
          toggle(asked.encoder.strict, "--strict", "Fail where a weight holds NaN or infinite values"),
      });
  add(table.options, Page::kStandard, "What to print",
      {
          toggle(asked.encoder.dry_run, "--dry-run", "Count and report, write nothing"),
          toggle(asked.analyze, "--analyze",
                 "Show what FP8 costs each block and weight, and recommend options; write no model"),
          path(asked.encoder.json, "--json", "Also write the summary, or the analysis, as JSON"),
          paths(asked.report, "--report",
                "With --analyze: also write it in the form of the suffix (.html, .json)"),
          toggle(asked.verbose, "--verbose", "Type of every tensor, and its largest value").alias("-v"),
          toggle(asked.quiet, "--quiet", "Print only warnings and errors").alias("-q"),
      });
  add_help(table.options);
  return table;
}

/// What is going to happen, and what it means for a loader.
void say_intention(const plan::ClipGPlan& plan, const plan::ClipGOptions& options, bool bare_split) {
  if (bare_split)
    spdlog::info("note: --split-attn-qkv is q{},kv{}", options.split->query_fp8 ? 8 : 16,
                 options.split->key_value_fp8 ? 8 : 16);
  if (plan.split_blocks() > 0 && options.split_names == plan::SplitNames::kOpenClip)
    spdlog::info("note: stock ComfyUI maps no split q, k and v under these names; --split-names comfyui");
  if (options.scaled)
    spdlog::info(
        "note: stock ComfyUI reads no scales in a CLIP text encoder; --fp8-scale none is what it loads");
  spdlog::info("{}", report::clip_g_intention(plan, options));
}

void note_unread(std::initializer_list<const engine::AnySetting*> settings, const engine::AnySetting& mode) {
  for (const engine::AnySetting* setting : settings) {
    if (setting->given()) spdlog::info("note: {} does nothing with {}", *setting, mode);
  }
}

int convert(const Asked& asked, const plan::ClipGOptions& options) {
  const engine::ClipGSettings& encoder = asked.encoder;
  engine::check_outputs(encoder);
  if (*encoder.dry_run) note_unread({&encoder.output, &encoder.no_clobber}, encoder.dry_run);
  spdlog::info("Loading: {}", encoder.input->string());
  engine::ClipGConversion conversion(encoder, options);
  say_intention(conversion.plan(), options, /*bare_split=*/*encoder.split == "auto");
  conversion.look_at_values();
  spdlog::debug("--- tensors ---\n{}--- end of tensors ---", report::clip_g_mapping(conversion.plan()));
  if (!*encoder.dry_run) conversion.write();
  if (!encoder.json->empty())
    safetensors::write_text_file(encoder.json->string(),
                                 report::clip_g_json(conversion.plan(), conversion.survey()));
  if (!*asked.quiet) {
    fmt::print(
        "{}{}\n", report::clip_g_summary(conversion.plan()),
        *encoder.dry_run ? "Dry run — no file written." : fmt::format("Saved: {}", encoder.output->string()));
  }
  return 0;
}

int analyze(const Asked& asked, const plan::ClipGOptions& options) {
  const AnalysisFiles files{
      .reports = report_paths(asked.report), .json = asked.encoder.json->string(), .quiet = *asked.quiet};
  if (files.quiet && files.reports.empty() && files.json.empty())
    engine::refuse_to_have(asked.quiet, fmt::format("leaves nothing of {}; add {} or {}", asked.analyze,
                                                    asked.encoder.json, asked.report));
  const engine::ClipGSettings& encoder = asked.encoder;
  note_unread({&encoder.output, &encoder.no_clobber, &encoder.split, &encoder.keep_kv, &encoder.q_fp8,
               &encoder.split_names, &encoder.attn_out_fp8, &encoder.in_proj_fp8, &encoder.fp8_scale,
               &encoder.clip, &encoder.strict, &encoder.dry_run, &asked.verbose},
              asked.analyze);
  const model::Checkpoint checkpoint = model::Checkpoint::open(asked.encoder.input->string());
  report_blocks(checkpoint, plan::clip_g_blocks(checkpoint),
                asked.encoder.first_blocks_keep.given() ? std::optional(options.keep) : std::nullopt, files);
  return 0;
}

}  // namespace

const Table& clip_g_table() { return shown_table(make_table); }

int run_clip_g(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  required(asked.encoder.input);
  const plan::ClipGOptions options = engine::clip_g_options(asked.encoder);
  if (asked.report.given() && !*asked.analyze)
    engine::refuse_to_have(asked.report, fmt::format("goes with {}", asked.analyze));
  engine::Session session({.console = engine::Console::kNotesToStdout,
                           .least = *asked.quiet     ? engine::LogLevel::kWarning
                                    : *asked.verbose ? engine::LogLevel::kDetail
                                                     : engine::LogLevel::kNote,
                           .handle_signals = true});
  return *asked.analyze ? analyze(asked, options) : convert(asked, options);
}

}  // namespace ctq::cli
