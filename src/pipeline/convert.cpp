#include "pipeline/convert.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "journal.h"
#include "layer_memory.h"
#include "memory.h"
#include "partition.h"
#include "pass.h"
#include "value_findings.h"

namespace ctq::pipeline {
namespace {

using plan::Decision;
using plan::TensorPlan;
using Clock = std::chrono::steady_clock;

/// Values are only seen while reading, after the header is written: the first surprise has all weights looked
/// at, once.
plan::ValueFindings look_at_values(const plan::Plan& plan, uint64_t sign_seed) {
  plan::ValueFindings findings;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize && tensor.decision != Decision::kCast) continue;
    throw_if_cancelled();
    if (std::string finding = value_finding(tensor, sign_seed); !finding.empty())
      findings[tensor.source->name()] = std::move(finding);
    tensor.source->file->release(*tensor.source->info);
  }
  return findings;
}

[[noreturn]] void refuse_layer(const TensorPlan& tensor, const LayerWork& work, const std::string& method,
                               const RunOptions& run) {
  const MemoryShares least = shares_for_layer(smallest_steps(work).bytes);
  fail(ErrorCode::kUsage,
       "argument --max-memory: tensor '{}' [{}, {}] takes up to {} by {}, and the rest of the program {}: "
       "give {} MiB or more, or another --optimizer (got '{}')",
       printable(tensor.source->name()), work.rows, work.columns, human_bytes(least.layer), method,
       human_bytes(least.whole() - least.layer), (least.whole() >> 20) + 1,
       human_bytes(shares_for_layer(run.memory.layer_bytes).whole()));
}

/// What the bound on memory makes of layers that do not fit.
struct MemoryCuts {
  size_t layers = 0;
  uint64_t bytes = 0;  ///< that the last of them may take
  std::string text;    ///< of each the steps which change codes, or that it is but rounded to nearest
};

/// Where the layer is worked on, if nothing comes between.
uint64_t bytes_for(const LayerWork& work, const RunOptions& run) {
  const MemoryLimits& memory = run.memory;
  const bool on_gpu =
      !run.device.is_cpu() && is_within(work, memory.offload) && steps_within(work, memory.gpu_bytes);
  return on_gpu ? memory.gpu_bytes : memory.layer_bytes;
}

/// throws  Error(kUsage) for the first layer that cannot be done within a binding limit
MemoryCuts cuts_for_memory(const plan::Plan& plan, const LayerMethods& methods, const RunOptions& run) {
  MemoryCuts cuts;
  if (run.device.is_cpu() && run.memory.layer_bytes == MemoryLimits::kUnlimited) return cuts;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    const LayerMethods::Choice choice = methods.choice(tensor);
    const LayerWork work = layer_work(tensor, choice, run, run.device);
    const uint64_t bytes = bytes_for(work, run);
    const auto steps = steps_within(work, bytes);
    if (!steps && run.memory.binding) refuse_layer(tensor, work, choice.label(), run);
    const std::string words = steps ? steps->words() : "rounded to nearest";
    if (words.empty()) continue;
    ++cuts.layers;
    cuts.bytes = bytes;
    cuts.text += fmt::format("; {}: {}", tensor.source->name(), words);
  }
  return cuts;
}

/// The plan, and the part of it that is carried out.
class Work {
 public:
  Work(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
       Events& events)
      : checkpoint_(checkpoint), options_(options), run_(run), events_(events) {
    make_plan();
  }

  const MemoryCuts& cuts() const { return cuts_; }

  /// journal: null where nothing is kept of an interrupted run
  Result carry_out(Journal* journal) {
    journal_ = journal;
    if (journal_ && !journal_->findings().empty()) {
      result_.findings = journal_->findings();
      make_plan();
    }
    // All parts must know of the weights that change the plan.
    if (run_.partition && result_.findings.empty()) {
      add_findings(look_at_values(whole_, run_.optimizer.quip_seed));
      if (!result_.findings.empty()) make_plan();
    }
    events_.started(whole_, run_);
    if (!result_.findings.empty()) events_.restarted(result_.findings);
    for (auto refused = convert_once(); !refused.empty(); refused = convert_once()) {
      // The first surprise has all weights looked at; later ones are of values that smoothing or sharing
      // made.
      if (result_.findings.empty()) refused.merge(look_at_values(whole_, run_.optimizer.quip_seed));
      refuse_in_part(refused);
      add_findings(refused);
      events_.restarted(refused);
      result_.quality.clear();
      result_.optimized = result_.guarded = 0;
      make_plan();
    }
    return std::move(result_);
  }

  /// Whether what was thrown ended the conversion of tensors, not a decision about them.
  bool in_pass() const { return in_pass_; }

 private:
  void make_plan() {
    const std::string name = std::filesystem::path(run_.output).filename().string();
    whole_ = plan::make_plan(checkpoint_, options_, name, result_.findings);
    refuse_inputs_as_outputs();
    const LayerMethods methods(checkpoint_, run_.optimizer, run_.recording, run_.lora);
    cuts_ = cuts_for_memory(whole_, methods, run_);
    if (!run_.partition) {
      result_.plan = whole_;
      return;
    }
    result_.plan = part_of(whole_, *run_.partition, methods);
  }

  /// Shards have names that --output does not show.
  void refuse_inputs_as_outputs() const {
    const std::filesystem::path folder = std::filesystem::path(run_.output).parent_path();
    for (const plan::OutputFile& file : whole_.files) {
      for (const std::string& input : checkpoint_.files()) {
        std::error_code error;
        if (std::filesystem::equivalent(folder / file.name, input, error))
          fail(ErrorCode::kUsage,
               "argument --output: its file '{}' is the input file '{}'; choose another name (got '{}')",
               printable(file.name), input, run_.output);
      }
    }
  }

  void add_findings(const plan::ValueFindings& findings) {
    if (run_.strict && !findings.empty()) {
      const auto& [tensor, finding] = *findings.begin();
      fail(ErrorCode::kFailure, "tensor '{}' has {} (--strict); without --strict it is copied unquantized",
           printable(tensor), finding);
    }
    for (const auto& [tensor, finding] : findings) {
      const bool is_new = result_.findings.emplace(tensor, finding).second;
      TORCH_INTERNAL_ASSERT(is_new, "a weight that is kept was quantized: ", tensor);
    }
  }

  /// The other parts made their plan without what shows here alone.
  void refuse_in_part(const plan::ValueFindings& findings) const {
    if (!run_.partition) return;
    const auto& [tensor, finding] = *findings.begin();
    fail(ErrorCode::kFailure,
         "tensor '{}' has {}, which the other parts do not know; leave it out (--exclude-layers)",
         printable(tensor), finding);
  }

  /// Weights that turned out not to be quantizable, which makes the pass worthless; none: it is done.
  plan::ValueFindings convert_once() {
    if (journal_) journal_->begin(result_.plan, result_.findings);
    in_pass_ = true;
    plan::ValueFindings refused =
        Pass(checkpoint_, whole_, result_.plan, run_, journal_, events_).carry_out(result_);
    in_pass_ = false;
    return refused;
  }

  const model::Checkpoint& checkpoint_;
  const plan::Options& options_;
  const RunOptions& run_;
  Events& events_;
  Journal* journal_ = nullptr;
  plan::Plan whole_;
  MemoryCuts cuts_;
  Result result_;
  bool in_pass_ = false;
};

/// Whether the same command can succeed later: not with this input, or these options.
bool may_pass(const Error& error) {
  return error.code() != ErrorCode::kBadInput && error.code() != ErrorCode::kUsage;
}

std::string kept_words(const Journal& journal) {
  return fmt::format(
      "{} layers are done and kept: the same command goes on from there. To discard them instead: {}",
      journal.records(), journal.removal());
}

/// With a journal that outlasts what ends a pass.
Result convert_resumably(Work& work, const RunOptions& run) {
  ResumeKey key = *run.resume;
  key.options += work.cuts().text;
  Journal journal(run.output, std::move(key));
  try {
    return work.carry_out(&journal);
  } catch (const Error& error) {
    if (!work.in_pass() || !may_pass(error) || !journal.keep()) throw;
    fail(error.code(), "{}; {}", error.what(), kept_words(journal));
  } catch (const std::exception&) {  // out of memory, or LibTorch's own
    if (work.in_pass() && journal.keep()) warn("{}", kept_words(journal));
    throw;
  }
}

}  // namespace

Result convert(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
               Events& events) {
  const Clock::time_point start = Clock::now();
  MemoryWatch memory;
  if (!run.resume) Journal::remove_left(run.output);
  Work work(checkpoint, options, run, events);
  if (const MemoryCuts& cuts = work.cuts(); cuts.layers > 0 && !run.memory.binding)
    warn(
        "{} layers do not fit in the memory that is free ({} for a layer) and are worked on in parts, which "
        "changes their codes; --max-memory makes the bound the same in every run",
        cuts.layers, human_bytes(cuts.bytes));
  Result result = run.resume ? convert_resumably(work, run) : work.carry_out(/*journal=*/nullptr);
  std::ranges::sort(result.quality, {}, &LayerError::name);
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  result.peak_memory_bytes = memory.peak();
  return result;
}

}  // namespace ctq::pipeline
