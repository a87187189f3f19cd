#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "block_analysis.h"
#include "cli/command_input.h"
#include "cli/options/spelling.h"
#include "commands.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/cli/option_table.h"
#include "ctq/engine/output_path.h"
#include "ctq/pipeline/clip_g.h"
#include "ctq/plan/clip_g.h"
#include "ctq/report/clip_g_report.h"
#include "ctq/safetensors/writer.h"

namespace ctq::cli {
namespace {

/// The blocks of -k, with the option's name in front of what is wrong.
template <typename Read>
auto named(const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) throw;
    fail(ErrorCode::kUsage, "argument --first-blocks-keep: {}", error.what());
  }
}

std::optional<plan::QkvPrecision> read_split(const Arguments& arguments) {
  const bool keep_kv = arguments.flag("keep_attn_kv_fp16"), q_fp8 = arguments.flag("attn_q_fp8");
  const std::string_view refining = keep_kv ? "--keep-attn-kv-fp16" : "--attn-q-fp8";
  if (!arguments.given("split_attn_qkv")) {
    if (keep_kv || q_fp8) fail(ErrorCode::kUsage, "argument {}: goes with --split-attn-qkv", refining);
    return std::nullopt;
  }
  if (arguments.flag("in_proj_fp8"))
    fail(ErrorCode::kUsage, "argument --in-proj-fp8: does not go with --split-attn-qkv");
  const std::string& mode = arguments.text("split_attn_qkv");
  if (mode == "auto") return plan::QkvPrecision{.query_fp8 = q_fp8, .key_value_fp8 = !keep_kv};
  if (keep_kv || q_fp8)
    fail(ErrorCode::kUsage, "argument {}: --split-attn-qkv {} says so already, or otherwise", refining, mode);
  return plan::QkvPrecision{.query_fp8 = mode.starts_with("q8,"), .key_value_fp8 = mode.ends_with(",kv8")};
}

plan::ClipGOptions read_options(const Arguments& arguments) {
  plan::ClipGOptions options;
  options.keep = named([&] { return plan::BlockList::parse(arguments.text("first_blocks_keep")); });
  options.split = read_split(arguments);
  if (arguments.given("split_names") && !options.split)
    fail(ErrorCode::kUsage, "argument --split-names: goes with --split-attn-qkv");
  if (arguments.text("split_names") == "seed") options.split_names = plan::SplitNames::kOpenClip;
  options.fused_fp8 = arguments.flag("in_proj_fp8");
  options.attention_out_fp8 = arguments.flag("attn_out_fp8");
  options.scaled = arguments.text("fp8_scale") == "tensor";
  if (options.scaled && arguments.given("clip"))
    fail(ErrorCode::kUsage, "argument --clip: with --fp8-scale tensor no value is beyond the range");
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

int convert(const Arguments& arguments, const plan::ClipGOptions& options) {
  const bool dry_run = arguments.flag("dry_run");
  if (!dry_run) required(arguments, "output");
  const std::string &input = arguments.text("input"), &output = arguments.text("output"),
                    &json = arguments.text("json");
  if (!output.empty()) engine::check_output_path(output, input, arguments.flag("no_clobber"));
  if (!json.empty()) engine::check_output_path(json, input, /*no_clobber=*/false);
  if (!json.empty() && json == output)
    fail(ErrorCode::kUsage, "argument --json: is the output file (got '{}')", printable(json));
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
  say_intention(wanted, options, /*bare_split=*/arguments.text("split_attn_qkv") == "auto");
  const pipeline::ClipGSurvey survey = pipeline::survey_clip_g(wanted);
  const plan::ValueFindings findings =
      pipeline::findings_of(survey, /*keep_beyond=*/arguments.text("clip") == "keep-fp16");
  warn_of_values(survey, findings);
  if (arguments.flag("strict")) refuse_non_finite(survey);
  const plan::ClipGPlan plan = plan::plan_clip_g(checkpoint, options, findings);
  spdlog::debug("--- tensors ---\n{}--- end of tensors ---", report::clip_g_mapping(plan));

  if (!dry_run) {
    pipeline::write_clip_g(plan, survey, checkpoint, output);
    check_count(plan, output);
  }
  if (!json.empty()) safetensors::write_text_file(json, report::clip_g_json(plan, survey));
  if (!arguments.flag("quiet")) {
    fmt::print("{}{}\n", report::clip_g_summary(plan),
               dry_run ? "Dry run — no file written." : fmt::format("Saved: {}", output));
  }
  return 0;
}

int analyze(const Arguments& arguments, const plan::ClipGOptions& options) {
  const AnalysisFiles files{.reports = read_reports(arguments), .json = arguments.text("json")};
  for (const Option& option : command_options("clip-g")->options) {
    static const std::set<std::string_view> kUsed{"input",  "first_blocks_keep", "analyze", "json",
                                                  "report", "verbose",           "quiet"};
    const std::string key = option_key(option.name);
    if (!kUsed.contains(key) && arguments.given(key))
      spdlog::info("note: {} does nothing with --analyze", option.name);
  }
  const model::Checkpoint checkpoint = model::Checkpoint::open(arguments.text("input"));
  report_blocks(checkpoint, plan::clip_g_blocks(checkpoint),
                arguments.given("first_blocks_keep") ? std::optional(options.keep) : std::nullopt, files);
  return 0;
}

}  // namespace

int run_clip_g(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("clip-g"));
  required(arguments, "input");
  const plan::ClipGOptions options = read_options(arguments);
  if (arguments.given("report") && !arguments.flag("analyze"))
    fail(ErrorCode::kUsage, "argument --report: goes with --analyze");
  start_log(arguments.flag("quiet")     ? Verbosity::kMinimal
            : arguments.flag("verbose") ? Verbosity::kVerbose
                                        : Verbosity::kNormal,
            /*notes_to_stderr=*/false);
  install_signal_handlers();
  return arguments.flag("analyze") ? analyze(arguments, options) : convert(arguments, options);
}

}  // namespace ctq::cli
