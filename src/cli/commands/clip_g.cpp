#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "block_analysis.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "ctq/engine/output_path.h"
#include "pipeline/clip_g.h"
#include "plan/clip_g.h"
#include "report/clip_g_report.h"
#include "safetensors/writer.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<engine::Path> input{"input"};
  OutputFile output;
  Setting<std::string> first_blocks_keep{"first_blocks_keep", "7"};
  Setting<std::string> split{"split_attn_qkv"};
  Setting<bool> keep_kv{"keep_attn_kv_fp16"};
  Setting<bool> q_fp8{"attn_q_fp8"};
  Setting<std::string> split_names{"split_names", "comfyui"};
  Setting<bool> attn_out_fp8{"attn_out_fp8"};
  Setting<bool> in_proj_fp8{"in_proj_fp8"};
  Setting<std::string> fp8_scale{"fp8_scale", "none"};
  Setting<std::string> clip{"clip", "saturate"};
  Setting<bool> strict{"strict"};
  Setting<bool> dry_run{"dry_run"};
  Setting<bool> analyze{"analyze"};
  Setting<engine::Path> json{"json"};
  Setting<std::vector<engine::Path>> report{"report"};
  Setting<bool> verbose{"verbose"};
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
          path(asked.input, "--input", "The text encoder; also without --input").alias("-i"),
          path(asked.output.path, "--output", "File to write")
              .alias("-o")
              .otherwise("required but for --dry-run and --analyze"),
          toggle(asked.output.no_clobber, "--no-clobber", "Refuse to replace an existing output"),
      });
  add(table.options, Page::kStandard, "What becomes FP8, besides MLP weights",
      {
          text(asked.first_blocks_keep, "--first-blocks-keep",
               "Blocks that stay as they are: the first N, or a list of numbers and ranges, 0-3,9. The last "
               "block always stays")
              .alias("-k")
              .alias("--keep-first-blocks"),
          choice(
              asked.split, "--split-attn-qkv",
              "Split the fused attn.in_proj of other blocks into q, k and v, of these precisions; bare, or "
              "auto: q16,kv8 unless the next two switches say otherwise")
              .choose({"auto", "q16,kv8", "q8,kv8", "q8,kv16", "q16,kv16"})
              .value_optional(),
          toggle(asked.keep_kv, "--keep-attn-kv-fp16", "After the split, leave k and v as they are"),
          toggle(asked.q_fp8, "--attn-q-fp8", "After the split, q too"),
          choice(asked.split_names, "--split-names",
                 "Names of q, k and v after the split. comfyui: text_model.encoder.layers.<N>.self_attn.*, "
                 "which "
                 "ComfyUI reads; seed: transformer.resblocks.<N>.attn.*, which it does not")
              .choose({"comfyui", "seed"}),
          toggle(asked.attn_out_fp8, "--attn-out-fp8", "attn.out_proj too"),
          toggle(asked.in_proj_fp8, "--in-proj-fp8",
                 "The fused attn.in_proj too, or q, k and v where they are apart"),
      });
  add(table.options, Page::kStandard, "How",
      {
          choice(asked.fp8_scale, "--fp8-scale",
                 "none: a plain cast; tensor: one scale per weight and a marker, as ComfyUI's scaled FP8")
              .choose({"none", "tensor"}),
          choice(asked.clip, "--clip",
                 "Values beyond 448 in a plain cast: saturate, or keep the whole weight as it is")
              .choose({"saturate", "keep-fp16"}),
          toggle(asked.strict, "--strict", "Fail where a weight holds NaN or infinite values"),
      });
  add(table.options, Page::kStandard, "What to print",
      {
          toggle(asked.dry_run, "--dry-run", "Count and report, write nothing"),
          toggle(asked.analyze, "--analyze",
                 "Show what FP8 costs each block and weight, and recommend options; write no model"),
          path(asked.json, "--json", "Also write the summary, or the analysis, as JSON"),
          paths(asked.report, "--report",
                "With --analyze: also write it in the form of the suffix (.html, .json)"),
          toggle(asked.verbose, "--verbose", "Type of every tensor, and its largest value").alias("-v"),
          toggle(asked.output.quiet, "--quiet", "Print only warnings and errors").alias("-q"),
      });
  add_help(table.options);
  return table;
}

/// The blocks of -k, with the option's name in front of what is wrong.
template <typename Read>
auto named(const Asked& asked, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) throw;
    engine::refuse_to_have(asked.first_blocks_keep, error.what());
  }
}

std::optional<plan::QkvPrecision> read_split(const Asked& asked) {
  const bool keep_kv = *asked.keep_kv, q_fp8 = *asked.q_fp8;
  const engine::AnySetting& refining = keep_kv ? asked.keep_kv : asked.q_fp8;
  if (!asked.split.given()) {
    if (keep_kv || q_fp8) engine::refuse_to_have(refining, fmt::format("goes with {}", asked.split));
    return std::nullopt;
  }
  if (*asked.in_proj_fp8)
    engine::refuse_to_have(asked.in_proj_fp8, fmt::format("does not go with {}", asked.split));
  const std::string& mode = *asked.split;
  if (mode == "auto") return plan::QkvPrecision{.query_fp8 = q_fp8, .key_value_fp8 = !keep_kv};
  if (keep_kv || q_fp8)
    engine::refuse_to_have(refining, fmt::format("{} {} says so already, or otherwise", asked.split, mode));
  return plan::QkvPrecision{.query_fp8 = mode.starts_with("q8,"), .key_value_fp8 = mode.ends_with(",kv8")};
}

plan::ClipGOptions read_options(const Asked& asked) {
  plan::ClipGOptions options;
  options.keep = named(asked, [&] { return plan::BlockList::parse(*asked.first_blocks_keep); });
  options.split = read_split(asked);
  if (asked.split_names.given() && !options.split)
    engine::refuse_to_have(asked.split_names, fmt::format("goes with {}", asked.split));
  if (*asked.split_names == "seed") options.split_names = plan::SplitNames::kOpenClip;
  options.fused_fp8 = *asked.in_proj_fp8;
  options.attention_out_fp8 = *asked.attn_out_fp8;
  options.scaled = *asked.fp8_scale == "tensor";
  if (options.scaled && asked.clip.given())
    engine::refuse_to_have(asked.clip,
                           fmt::format("with {} tensor no value is beyond the range", asked.fp8_scale));
  return options;
}

void warn_of_beyond(const std::string& name, const pipeline::ClipGValues& values, bool kept) {
  if (values.beyond == 0) {
    spdlog::debug("  {}: outlier check OK, largest {:.4f}", printable(name), values.max_abs);
    return;
  }
  const double share = 100 * static_cast<double>(values.beyond) / static_cast<double>(values.numel);
  warn("{}: largest value {:.4f}, {} values ({:.4f}%) beyond 448: {}", printable(name), values.max_abs,
       values.beyond, share, kept ? "kept as it is" : "they become 448");
}

/// Says what the values did to the plan.
void warn_of_values(const pipeline::ClipGSurvey& survey, const plan::ValueFindings& findings) {
  for (const auto& [name, values] : survey.fp8) {
    if (values.non_finite > 0 || values.vanishes) {
      warn("{}: {}; kept as it is", printable(name), findings.at(name));
    } else {
      warn_of_beyond(name, values, findings.contains(name));
    }
  }
  if (survey.non_finite_kept.empty()) return;
  constexpr size_t kNamed = 5;
  const std::vector<std::string> first(
      survey.non_finite_kept.begin(),
      survey.non_finite_kept.begin() + static_cast<int64_t>(std::min(kNamed, survey.non_finite_kept.size())));
  warn("{} tensors that stay as they are hold NaN or infinite values: {}", survey.non_finite_kept.size(),
       fmt::join(first, ", "));
}

void refuse_non_finite(const pipeline::ClipGSurvey& survey) {
  const auto non_finite =
      std::ranges::find_if(survey.fp8, [](const auto& row) { return row.second.non_finite > 0; });
  const bool kept = !survey.non_finite_kept.empty();
  if (non_finite == survey.fp8.end() && !kept) return;
  fail(ErrorCode::kFailure, "{}: NaN or infinite values (--strict)",
       printable(non_finite != survey.fp8.end() ? non_finite->first : survey.non_finite_kept.front()));
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

void check_count(const plan::ClipGPlan& plan, const std::string& output) {
  const size_t expected = plan.expected_tensors(),
               written = safetensors::Reader(output).header().tensors.size();
  if (written != expected) {
    warn("{}: {} tensors, but {} were expected", output, written, expected);
  } else {
    spdlog::debug("Tensor count OK: {}", written);
  }
}

int convert(const Asked& asked, const plan::ClipGOptions& options) {
  const std::string input = asked.input->string(), json = asked.json->string(),
                    output = *asked.dry_run ? asked.output.path->string() : required(asked.output.path);
  if (!output.empty()) engine::check_output_path(output, input, *asked.output.no_clobber);
  if (!json.empty()) engine::check_output_path(json, input, /*no_clobber=*/false);
  if (!json.empty() && json == output) engine::refuse(asked.json, "is the output file");
  spdlog::info("Loading: {}", input);
  const model::Checkpoint checkpoint = model::Checkpoint::open(input);
  for (const std::string& path : {output, json}) {
    if (!path.empty()) engine::check_output_is_no_input(path, checkpoint);
  }

  const plan::ClipGPlan wanted = plan::plan_clip_g(checkpoint, options);
  if (wanted.fp8_count() == 0) {
    fail(ErrorCode::kFailure, "{}: nothing becomes FP8: all {} blocks are kept; keep fewer with -k", input,
         wanted.last_block + 1);
  }
  say_intention(wanted, options, /*bare_split=*/*asked.split == "auto");
  const pipeline::ClipGSurvey survey = pipeline::survey_clip_g(wanted);
  const plan::ValueFindings findings =
      pipeline::findings_of(survey, /*keep_beyond=*/*asked.clip == "keep-fp16");
  warn_of_values(survey, findings);
  if (*asked.strict) refuse_non_finite(survey);
  const plan::ClipGPlan plan = plan::plan_clip_g(checkpoint, options, findings);
  spdlog::debug("--- tensors ---\n{}--- end of tensors ---", report::clip_g_mapping(plan));

  if (!*asked.dry_run) {
    pipeline::write_clip_g(plan, survey, checkpoint, output);
    check_count(plan, output);
  }
  if (!json.empty()) safetensors::write_text_file(json, report::clip_g_json(plan, survey));
  if (!*asked.output.quiet) {
    fmt::print("{}{}\n", report::clip_g_summary(plan),
               *asked.dry_run ? "Dry run — no file written." : fmt::format("Saved: {}", output));
  }
  return 0;
}

/// Settings that a conversion reads and the analysis does not.
void note_unused(const Asked& asked) {
  for (const engine::AnySetting* setting : std::initializer_list<const engine::AnySetting*>{
           &asked.output.path, &asked.output.no_clobber, &asked.split, &asked.keep_kv, &asked.q_fp8,
           &asked.split_names, &asked.attn_out_fp8, &asked.in_proj_fp8, &asked.fp8_scale, &asked.clip,
           &asked.strict, &asked.dry_run}) {
    if (setting->given()) spdlog::info("note: {} does nothing with {}", *setting, asked.analyze);
  }
}

int analyze(const Asked& asked, const plan::ClipGOptions& options) {
  const AnalysisFiles files{.reports = report_paths(asked.report), .json = asked.json->string()};
  note_unused(asked);
  const model::Checkpoint checkpoint = model::Checkpoint::open(asked.input->string());
  report_blocks(checkpoint, plan::clip_g_blocks(checkpoint),
                asked.first_blocks_keep.given() ? std::optional(options.keep) : std::nullopt, files);
  return 0;
}

}  // namespace

const Table& clip_g_table() { return shown_table(make_table); }

int run_clip_g(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  required(asked.input);
  const plan::ClipGOptions options = read_options(asked);
  if (asked.report.given() && !*asked.analyze)
    engine::refuse_to_have(asked.report, fmt::format("goes with {}", asked.analyze));
  start_log(*asked.output.quiet ? Verbosity::kMinimal
            : *asked.verbose    ? Verbosity::kVerbose
                                : Verbosity::kNormal,
            /*notes_to_stderr=*/false);
  install_signal_handlers();
  return *asked.analyze ? analyze(asked, options) : convert(asked, options);
}

}  // namespace ctq::cli
