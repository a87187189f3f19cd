#include "ctq/engine/words.h"

#include <array>

#include "families/preset.h"
#include "format/layout.h"
#include "optimize/optimizer.h"
#include "plan/plan.h"
#include "safetensors/dtype.h"

namespace ctq::engine {

template <>
std::span<const Word<Quality>> words_of() {
  static constexpr std::array<Word<Quality>, 3> kWords{
      {{"fast", Quality::kFast}, {"good", Quality::kGood}, {"best", Quality::kBest}}};
  return kWords;
}

template <>
std::span<const Word<Names>> words_of() {
  static constexpr std::array<Word<Names>, 2> kWords{{{"comfyui", Names::kComfyUi}, {"keep", Names::kKept}}};
  return kWords;
}

template <>
std::span<const Word<BiasWord>> words_of() {
  static constexpr std::array<Word<BiasWord>, 4> kWords{
      {{"auto", BiasWord::kAuto}, {"on", BiasWord::kOn}, {"off", BiasWord::kOff}, {"norm", BiasWord::kNorm}}};
  return kWords;
}

template <>
std::span<const Word<Bf16Word>> words_of() {
  static constexpr std::array<Word<Bf16Word>, 3> kWords{
      {{"auto", Bf16Word::kAuto}, {"on", Bf16Word::kOn}, {"off", Bf16Word::kOff}}};
  return kWords;
}

template <>
std::span<const Word<DryRun>> words_of() {
  static constexpr std::array<Word<DryRun>, 2> kWords{
      {{"analyze", DryRun::kAnalyze}, {"create-template", DryRun::kTemplate}}};
  return kWords;
}

template <>
std::span<const Word<plan::BlockFallback>> words_of() {
  static constexpr std::array<Word<plan::BlockFallback>, 3> kWords{{{"row", plan::BlockFallback::kRow},
                                                                    {"skip", plan::BlockFallback::kSkip},
                                                                    {"error", plan::BlockFallback::kError}}};
  return kWords;
}

template <>
std::span<const Word<families::FilterSet>> words_of() {
  static constexpr std::array<Word<families::FilterSet>, 3> kWords{{{"seed", families::FilterSet::kSeed},
                                                                    {"peer", families::FilterSet::kPeer},
                                                                    {"union", families::FilterSet::kUnion}}};
  return kWords;
}

template <>
std::span<const Word<format::LinearDtype>> words_of() {
  static constexpr std::array<Word<format::LinearDtype>, 2> kWords{
      {{"int4", format::LinearDtype::kInt4}, {"int8", format::LinearDtype::kInt8}}};
  return kWords;
}

template <>
std::span<const Word<optimize::Scales>> words_of() {
  static constexpr std::array<Word<optimize::Scales>, 3> kWords{{{"absmax", optimize::Scales::kAbsmax},
                                                                 {"search", optimize::Scales::kSearch},
                                                                 {"refit", optimize::Scales::kRefit}}};
  return kWords;
}

template <>
std::span<const Word<optimize::DirectObjective>> words_of() {
  static constexpr std::array<Word<optimize::DirectObjective>, 2> kWords{
      {{"subspace", optimize::DirectObjective::kSubspace}, {"mixed", optimize::DirectObjective::kMixed}}};
  return kWords;
}

template <>
std::span<const Word<optimize::Schedule>> words_of() {
  static constexpr std::array<Word<optimize::Schedule>, 4> kWords{
      {{"adaptive", optimize::Schedule::kAdaptive},
       {"adaptive-cosine", optimize::Schedule::kAdaptiveCosine},
       {"exponential", optimize::Schedule::kExponential},
       {"plateau", optimize::Schedule::kPlateau}}};
  return kWords;
}

template <>
std::span<const Word<optimize::ThresholdMode>> words_of() {
  static constexpr std::array<Word<optimize::ThresholdMode>, 2> kWords{
      {{"rel", optimize::ThresholdMode::kRelative}, {"abs", optimize::ThresholdMode::kAbsolute}}};
  return kWords;
}

template <>
std::span<const Word<optimize::StallReset>> words_of() {
  static constexpr std::array<Word<optimize::StallReset>, 2> kWords{
      {{"simple-reset", optimize::StallReset::kSimple}, {"no-reset", optimize::StallReset::kLate}}};
  return kWords;
}

template <>
std::span<const Word<optimize::AdaRoundSolver>> words_of() {
  static constexpr std::array<Word<optimize::AdaRoundSolver>, 5> kWords{
      {{"adamw", optimize::AdaRoundSolver::kAdamW},
       {"adagrad", optimize::AdaRoundSolver::kAdaGrad},
       {"rmsprop", optimize::AdaRoundSolver::kRmsProp},
       {"adam", optimize::AdaRoundSolver::kAdam},
       {"sgd", optimize::AdaRoundSolver::kSgd}}};
  return kWords;
}

/// Of an adapter's tensors, and of decoded weights.
template <>
std::span<const Word<safetensors::Dtype>> words_of() {
  static constexpr std::array<Word<safetensors::Dtype>, 3> kWords{{{"f16", safetensors::Dtype::kF16},
                                                                   {"bf16", safetensors::Dtype::kBF16},
                                                                   {"f32", safetensors::Dtype::kF32}}};
  return kWords;
}

template <>
std::span<const Word<const optimize::Optimizer*>> words_of() {
  static const std::vector<Word<const optimize::Optimizer*>> kWords = [] {
    std::vector<Word<const optimize::Optimizer*>> words;
    for (const optimize::Optimizer* optimizer : optimize::optimizers())
      words.push_back({optimizer->name, optimizer});
    return words;
  }();
  return kWords;
}

}  // namespace ctq::engine
