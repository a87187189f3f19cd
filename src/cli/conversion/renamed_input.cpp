#include "renamed_input.h"

#include "ctq/base/log.h"
#include "ctq/quantized/evidence.h"

namespace ctq::cli {

Names read_names(const Arguments& arguments, const std::optional<client::Client>& client) {
  if (arguments.given("names")) return arguments.text("names") == "keep" ? Names::kKept : Names::kComfyUi;
  return client && client->program == client::Program::kDiffusers ? Names::kKept : Names::kComfyUi;
}

RenamedInput::RenamedInput(const model::Checkpoint& checkpoint, Names names) {
  const auto foreign = names::find_foreign(checkpoint);
  if (!foreign || !quantized::find_quantized(checkpoint).empty()) return;  // the plan refuses the latter
  if (names == Names::kKept) {
    spdlog::info("note: {} under names of {}, which stay", foreign->naming->title, foreign->naming->source);
    return;
  }
  view_.emplace(checkpoint, *foreign);
  spdlog::info(
      "note: {} under names of {}: {} tensors are written under ComfyUI's, with q, k, v joined to {} tensors "
      "(--names keep "
      "leaves them)",
      foreign->naming->title, foreign->naming->source, view_->renamed(), view_->joined());
}

}  // namespace ctq::cli
