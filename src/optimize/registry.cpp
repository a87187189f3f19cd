// The optimizers, in the order in which the command line lists them.
#include <algorithm>

#include <ATen/core/Tensor.h>

#include "optimize/optimizer.h"

namespace ctq::optimize {
namespace {

constexpr const Optimizer* kOptimizers[] = {
    &kOriginal, &kAdamW,   &kRAdam,   &kGptq,   &kQuip,     &kProdigy,
    &kAuto,     &kNearest, &kImplied, &kDirect, &kAdaRound, &kTpec,
};

}  // namespace

std::span<const Optimizer* const> optimizers() { return kOptimizers; }

const Optimizer* find_optimizer(std::string_view name) {
  const auto* found = std::ranges::find(kOptimizers, name, &Optimizer::name);
  return found == std::end(kOptimizers) ? nullptr : *found;
}

bool searches_scales(const Settings& settings, const format::Codec& codec) {
  if (settings.scales == Scales::kUsual) return codec.grid().bits() == 4 && settings.optimizer != &kNearest;
  return settings.scales != Scales::kAbsmax;
}

void set_deadline(Settings& settings, std::chrono::steady_clock::time_point deadline) {
  settings.learned.deadline = settings.adaround.deadline = deadline;
}

Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<KnownMoment>& known) {
  const Optimizer& optimizer = *settings.optimizer;
  if (!optimizer.needs.moment) return optimizer.round(layer, settings, nullptr);
  const SecondMoment moment = second_moment(layer.weight, settings, known);
  return optimizer.round(layer, settings, &moment);
}

}  // namespace ctq::optimize
