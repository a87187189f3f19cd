// Mixed float16 and FP8 in an OpenCLIP text encoder.
#pragma once

#include <string>

#include "ctq/engine/settings.h"
#include "model/checkpoint.h"
#include "pipeline/clip_g.h"
#include "plan/clip_g.h"

namespace ctq::engine {

struct ClipGSettings {
  Setting<Path> input{"clip_g.input"};
  Setting<Path> output{"clip_g.output"};
  Setting<bool> no_clobber{"clip_g.no_clobber"};
  Setting<std::string> first_blocks_keep{"clip_g.first_blocks_keep",
                                         "7"};  ///< a number, or a list with ranges
  Setting<std::string> split{"clip_g.split"};   ///< "auto" or two precisions, "q16,kv8"; empty: fused
  Setting<bool> keep_kv{"clip_g.keep_kv"};
  Setting<bool> q_fp8{"clip_g.q_fp8"};
  Setting<std::string> split_names{"clip_g.split_names", "comfyui"};  ///< or "seed"
  Setting<bool> attn_out_fp8{"clip_g.attn_out_fp8"};
  Setting<bool> in_proj_fp8{"clip_g.in_proj_fp8"};
  Setting<std::string> fp8_scale{"clip_g.fp8_scale", "none"};  ///< or "tensor"
  Setting<std::string> clip{"clip_g.clip", "saturate"};        ///< or "keep-fp16"
  Setting<bool> strict{"clip_g.strict"};
  Setting<bool> dry_run{"clip_g.dry_run"};
  Setting<Path> json{"clip_g.json"};
};

/// throws  Error(kUsage) for a list of blocks that is none, and for settings that do not go together
plan::ClipGOptions clip_g_options(const ClipGSettings& asked);

/// throws  Error(kUsage): no output where something is to be written, or one that is an input or the other
///         output. Error(kFailure): one that may not be replaced
void check_outputs(const ClipGSettings& asked);

/// Opens, plans, looks at the values, writes.
class ClipGConversion {
 public:
  /// asked: must outlive this
  /// throws  Error(kUsage): an output that is one of the input's files. Error(kFailure): nothing becomes FP8.
  ///         What opening and planning throw
  ClipGConversion(const ClipGSettings& asked, const plan::ClipGOptions& options);

  /// By names and shapes; after look_at_values() by values too.
  const plan::ClipGPlan& plan() const { return plan_; }
  const pipeline::ClipGSurvey& survey() const { return survey_; }

  /// Reads the weights that become FP8, and plans again: those that FP8 cannot hold are kept, with a warning.
  /// throws  Error(kFailure) for values that are no numbers, if strict
  void look_at_values();

  /// Writes the output and counts what is in it.
  void write() const;

 private:
  const ClipGSettings& asked_;
  const plan::ClipGOptions options_;
  const model::Checkpoint checkpoint_;
  plan::ClipGPlan plan_;
  pipeline::ClipGSurvey survey_;
};

}  // namespace ctq::engine
