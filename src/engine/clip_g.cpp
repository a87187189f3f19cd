#include "engine/clip_g.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/job.h"
#include "engine/output_path.h"
#include "safetensors/reader.h"

namespace ctq::engine {
namespace {

std::optional<plan::QkvPrecision> read_split(const ClipGSettings& asked) {
  const bool keep_kv = *asked.keep_kv, q_fp8 = *asked.q_fp8;
  const AnySetting& refining = keep_kv ? asked.keep_kv : asked.q_fp8;
  if (!asked.split.given()) {
    if (keep_kv || q_fp8) refuse_to_have(refining, fmt::format("goes with {}", asked.split));
    return std::nullopt;
  }
  if (*asked.in_proj_fp8) refuse_to_have(asked.in_proj_fp8, fmt::format("does not go with {}", asked.split));
  const std::string& mode = *asked.split;
  if (mode == "auto") return plan::QkvPrecision{.query_fp8 = q_fp8, .key_value_fp8 = !keep_kv};
  if (keep_kv || q_fp8)
    refuse_to_have(refining, fmt::format("{} {} says so already, or otherwise", asked.split, mode));
  return plan::QkvPrecision{.query_fp8 = mode.starts_with("q8,"), .key_value_fp8 = mode.ends_with(",kv8")};
}

/// Values that a cast without a scale loses, where they are many.
void warn_of_below(const std::string& name, const pipeline::ClipGValues& values) {
  constexpr double kMany = 0.1;
  const double share =
      static_cast<double>(values.below) / static_cast<double>(std::max<int64_t>(values.numel, 1));
  if (share < kMany) return;
  warn("{}: {} values ({:.1f}%) are below FP8's smallest and become 0; --fp8-scale tensor, or -k, keeps them",
       printable(name), values.below, 100 * share);
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
void warn_of_values(const pipeline::ClipGSurvey& survey, const plan::ClipGFindings& found) {
  const auto& findings = found.no_fp8;
  for (const auto& [name, values] : survey.fp8) {
    if (values.non_finite > 0 || values.vanishes) {
      warn("{}: {}; kept as it is", printable(name), findings.at(name));
    } else {
      warn_of_beyond(name, values, findings.contains(name));
      if (!findings.contains(name)) warn_of_below(name, values);
    }
  }
  for (const auto& [name, max_abs] : survey.no_float16) {
    if (!survey.fp8.contains(name) || findings.contains(name))
      warn("{}: values up to {:.6g}, which float16 does not hold; it keeps its type", printable(name),
           max_abs);
  }
  if (survey.non_finite_kept.empty()) return;
  constexpr size_t kNamed = 5;
  const std::vector<std::string> first(
      survey.non_finite_kept.begin(),
      survey.non_finite_kept.begin() + static_cast<int64_t>(std::min(kNamed, survey.non_finite_kept.size())));
  warn("{} tensors that do not become FP8 hold NaN or infinite values: {}", survey.non_finite_kept.size(),
       fmt::join(first, ", "));
}

void refuse_non_finite(const pipeline::ClipGSurvey& survey, const AnySetting& strict) {
  const auto non_finite =
      std::ranges::find_if(survey.fp8, [](const auto& row) { return row.second.non_finite > 0; });
  const bool kept = !survey.non_finite_kept.empty();
  if (non_finite == survey.fp8.end() && !kept) return;
  fail(ErrorCode::kFailure, "{}: NaN or infinite values ({})",
       printable(non_finite != survey.fp8.end() ? non_finite->first : survey.non_finite_kept.front()),
       strict);
}

void check_count(const plan::ClipGPlan& plan, const std::string& output) {
  const size_t expected = plan.expected_tensors(),
               written = safetensors::Reader(output).header().tensors.size();
  if (written != expected) {
    warn("{}: {} tensors, but {} were expected", output, written, expected);
  } else {
    spdlog::info("Tensor count OK: {}", written);
  }
}

/// throws  what planning throws, naming the setting where it is about the blocks to keep
plan::ClipGPlan plan_of(const model::Checkpoint& checkpoint, const plan::ClipGOptions& options,
                        const AnySetting& blocks) {
  try {
    return plan::plan_clip_g(checkpoint, options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) throw;
    fail(ErrorCode::kUsage, "argument {}: {}", blocks.label(), error.what());
  }
}

}  // namespace

plan::ClipGOptions clip_g_options(const ClipGSettings& asked) {
  plan::ClipGOptions options;
  options.keep =
      naming(asked.first_blocks_keep, [&] { return plan::BlockList::parse(*asked.first_blocks_keep); });
  options.split = read_split(asked);
  if (asked.split_names.given() && !options.split)
    refuse_to_have(asked.split_names, fmt::format("goes with {}", asked.split));
  if (*asked.split_names == "seed") options.split_names = plan::SplitNames::kOpenClip;
  options.fused_fp8 = *asked.in_proj_fp8;
  options.attention_out_fp8 = *asked.attn_out_fp8;
  options.scaled = *asked.fp8_scale == "tensor";
  if (options.scaled && asked.clip.given())
    refuse_to_have(asked.clip, fmt::format("with {} tensor no value is beyond the range", asked.fp8_scale));
  return options;
}

ClipGConversion::ClipGConversion(const ClipGSettings& asked, const plan::ClipGOptions& options)
    : asked_(asked), options_(options), checkpoint_(model::Checkpoint::open(asked.input->string())) {
  for (const Setting<Path>* path : {&asked.output, &asked.json}) {
    if (!(*path)->empty()) check_output_is_no_input((*path)->string(), checkpoint_);
  }
  plan_ = plan_of(checkpoint_, options_, asked.first_blocks_keep);
  if (plan_.fp8_count() == 0)
    fail(ErrorCode::kFailure, "{}: nothing becomes FP8: all {} blocks are kept; keep fewer with {}",
         checkpoint_.path(), plan_.last_block + 1, asked.first_blocks_keep);
}

void ClipGConversion::look_at_values() {
  survey_ = pipeline::survey_clip_g(plan_);
  const plan::ClipGFindings findings =
      pipeline::findings_of(survey_, /*keep_beyond=*/*asked_.clip == "keep-fp16");
  warn_of_values(survey_, findings);
  if (asked_.clip.given() &&
      std::ranges::all_of(survey_.fp8, [](const auto& row) { return row.second.beyond == 0; }))
    spdlog::info("note: {} has no effect: no value that becomes FP8 is beyond 448", asked_.clip);
  if (*asked_.strict) refuse_non_finite(survey_, asked_.strict);
  plan_ = plan::plan_clip_g(checkpoint_, options_, findings);
}

void ClipGConversion::write() const {
  const std::string output = asked_.output->string();
  pipeline::write_clip_g(plan_, survey_, checkpoint_, output);
  check_count(plan_, output);
}

void check_outputs(const ClipGSettings& asked) {
  const std::string input = asked.input->string(), output = asked.output->string(),
                    json = asked.json->string();
  if (!*asked.dry_run) required(asked.output);
  if (!output.empty()) check_output_path(output, input, asked.no_clobber);
  if (!json.empty()) check_output_path(json, input);
  if (!json.empty() && json == output) refuse(asked.json, "is the output file");
}

}  // namespace ctq::engine
