#include "engine/inputs.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/output_path.h"
#include "model/file_kind.h"
#include "quantized/evidence.h"
#include "verify/client.h"

namespace ctq::engine {
namespace {

/// throws  Error(kUsage) naming what the file is, and the setting that takes it: a calibration file, or an
///         adapter without the preset for those. A VAE alone is a warning
void check_kind(const model::Checkpoint& checkpoint, const Settings& settings) {
  switch (model::kind_of(checkpoint)) {
    case model::FileKind::kModel: return;
    case model::FileKind::kAdapter:
      if (std::ranges::count(*settings.layers.presets, "lora") > 0) return;
      refuse_to_have(
          settings.input.path,
          fmt::format(
              "{} is an adapter (LoRA), not a model: {} merges it into one; the preset lora quantizes "
              "it, for programs that read such files",
              checkpoint.path(), settings.loras.last_file));
    case model::FileKind::kCalibration:
      refuse_to_have(settings.input.path,
                     fmt::format("{} is a calibration file, not a model: {} reads it beside one",
                                 checkpoint.path(), settings.calibration.data));
    case model::FileKind::kVae:
      warn("{} is a VAE alone: programs read no quantized VAE, and this one loses what it decodes",
           checkpoint.path());
  }
}

}  // namespace

DecodedInput::DecodedInput(const model::Checkpoint& checkpoint, const AnySetting& requantize)
    : file(quantized::find_layers(checkpoint)), view(file) {
  for (const verify::Finding& finding : verify::check_structure(file, {client::Program::kAny})) {
    if (!finding.refused || std::ranges::count(file.strays, finding.subject) > 0) continue;
    fail(ErrorCode::kBadInput, "{}: {}{}{}", checkpoint.path(), printable(finding.subject),
         finding.subject.empty() ? "" : ": ", finding.text);
  }
  if (!file.strays.empty())
    warn("{} tensors beside weights that are no codes are left out, such as '{}'", file.strays.size(),
         printable(file.strays.front()));
  if (view.decoded() > 0) {
    spdlog::info("note: {} quantized weights are decoded first; the error that they have already stays",
                 view.decoded());
  } else if (file.strays.empty()) {
    spdlog::info("note: {} has no effect: the input is not quantized", requantize);
  }
}

ConvertedInput::ConvertedInput(const Job& job) : stored_(model::Checkpoint::open(job.input)) {
  check_output_is_no_input(job.output, stored_);
  check_kind(stored_, job.settings);
  if (*job.settings.input.requantize) decoded_.emplace(stored_, job.settings.input.requantize);
  rename(job);
  if (!job.merging.files.empty()) merged_.emplace(unmerged(), job);
}

const model::Checkpoint& ConvertedInput::unmerged() const {
  if (renamed_) return renamed_->checkpoint();
  return decoded_ ? decoded_->view.checkpoint() : stored_;
}

/// Under ComfyUI's names, and says so; not where it has them or they are to be kept.
void ConvertedInput::rename(const Job& job) {
  const model::Checkpoint& checkpoint = unmerged();
  const auto foreign = names::find_foreign(checkpoint);
  if (!foreign && job.settings.input.names.by_user())
    spdlog::info("note: {} has no effect: the names are not those of another library",
                 job.settings.input.names);
  if (!foreign || !quantized::find_quantized(checkpoint).empty()) return;  // the plan refuses the latter
  if (job.names == Names::kKept) {
    spdlog::info("note: {} under names of {}, which stay", foreign->naming->title, foreign->naming->source);
    return;
  }
  renamed_.emplace(checkpoint, *foreign);
  spdlog::info(
      "note: {} under names of {}: {} tensors are written under ComfyUI's, with q, k, v joined to {} tensors "
      "({} keep leaves them)",
      foreign->naming->title, foreign->naming->source, renamed_->renamed(), renamed_->joined(),
      job.settings.input.names);
}

}  // namespace ctq::engine
