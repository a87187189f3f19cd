// The values that a setting can have, as words.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "families/preset.h"
#include "format/layout.h"
#include "optimize/optimizer.h"
#include "plan/plan.h"
#include "safetensors/dtype.h"

namespace ctq::engine {

/// How much effort is spent on codes and scales.
enum class Quality : uint8_t {
  kFast,  ///< rounded to nearest
  kGood,  ///< optimize::kAuto
  kBest,  ///< with more sweeps and fitted scales
};

/// Whose names the output has.
enum class Names : uint8_t {
  kComfyUi,  ///< those of ComfyUI's modules, where the input has another library's
  kKept,     ///< the input's
};

/// When the bias of a quantized layer takes up the mean of what the codes change.
enum class BiasWord : uint8_t { kAuto, kOn, kOff, kNorm };

/// When a GPU computes with BF16 operands.
enum class Bf16Word : uint8_t { kAuto, kOn, kOff };

/// What is done instead of a conversion.
enum class DryRun : uint8_t {
  kNo,
  kAnalyze,   ///< the plan is shown
  kTemplate,  ///< it is written as a layer configuration
};

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename E>
struct Word {
  std::string_view word;
  E value;
};

/// All of a type's, in the order in which people are shown them.
template <typename E>
inline constexpr std::array<Word<E>, 0> kWords{};
template <>
inline constexpr std::array<Word<Quality>, 3> kWords<Quality>{
    {{"fast", Quality::kFast}, {"good", Quality::kGood}, {"best", Quality::kBest}}};
template <>
inline constexpr std::array<Word<Names>, 2> kWords<Names>{
    {{"comfyui", Names::kComfyUi}, {"keep", Names::kKept}}};
template <>
inline constexpr std::array<Word<BiasWord>, 4> kWords<BiasWord>{
    {{"auto", BiasWord::kAuto}, {"on", BiasWord::kOn}, {"off", BiasWord::kOff}, {"norm", BiasWord::kNorm}}};
template <>
inline constexpr std::array<Word<Bf16Word>, 3> kWords<Bf16Word>{
    {{"auto", Bf16Word::kAuto}, {"on", Bf16Word::kOn}, {"off", Bf16Word::kOff}}};
template <>
inline constexpr std::array<Word<DryRun>, 2> kWords<DryRun>{
    {{"analyze", DryRun::kAnalyze}, {"create-template", DryRun::kTemplate}}};
template <>
inline constexpr std::array<Word<plan::BlockFallback>, 3> kWords<plan::BlockFallback>{
    {{"row", plan::BlockFallback::kRow},
     {"skip", plan::BlockFallback::kSkip},
     {"error", plan::BlockFallback::kError}}};
template <>
inline constexpr std::array<Word<families::FilterSet>, 3> kWords<families::FilterSet>{
    {{"seed", families::FilterSet::kSeed},
     {"peer", families::FilterSet::kPeer},
     {"union", families::FilterSet::kUnion}}};
template <>
inline constexpr std::array<Word<format::LinearDtype>, 2> kWords<format::LinearDtype>{
    {{"int4", format::LinearDtype::kInt4}, {"int8", format::LinearDtype::kInt8}}};
template <>
inline constexpr std::array<Word<optimize::Scales>, 3> kWords<optimize::Scales>{
    {{"absmax", optimize::Scales::kAbsmax},
     {"search", optimize::Scales::kSearch},
     {"refit", optimize::Scales::kRefit}}};
template <>
inline constexpr std::array<Word<optimize::DirectObjective>, 2> kWords<optimize::DirectObjective>{
    {{"subspace", optimize::DirectObjective::kSubspace}, {"mixed", optimize::DirectObjective::kMixed}}};
template <>
inline constexpr std::array<Word<optimize::Schedule>, 4> kWords<optimize::Schedule>{
    {{"adaptive", optimize::Schedule::kAdaptive},
     {"adaptive-cosine", optimize::Schedule::kAdaptiveCosine},
     {"exponential", optimize::Schedule::kExponential},
     {"plateau", optimize::Schedule::kPlateau}}};
template <>
inline constexpr std::array<Word<optimize::ThresholdMode>, 2> kWords<optimize::ThresholdMode>{
    {{"rel", optimize::ThresholdMode::kRelative}, {"abs", optimize::ThresholdMode::kAbsolute}}};
template <>
inline constexpr std::array<Word<optimize::StallReset>, 2> kWords<optimize::StallReset>{
    {{"simple-reset", optimize::StallReset::kSimple}, {"no-reset", optimize::StallReset::kLate}}};
template <>
inline constexpr std::array<Word<optimize::AdaRoundSolver>, 5> kWords<optimize::AdaRoundSolver>{
    {{"adamw", optimize::AdaRoundSolver::kAdamW},
     {"adagrad", optimize::AdaRoundSolver::kAdaGrad},
     {"rmsprop", optimize::AdaRoundSolver::kRmsProp},
     {"adam", optimize::AdaRoundSolver::kAdam},
     {"sgd", optimize::AdaRoundSolver::kSgd}}};
/// Of an adapter's tensors.
template <>
inline constexpr std::array<Word<safetensors::Dtype>, 3> kWords<safetensors::Dtype>{
    {{"f16", safetensors::Dtype::kF16},
     {"bf16", safetensors::Dtype::kBF16},
     {"f32", safetensors::Dtype::kF32}}};

/// Empty where the value has none.
template <typename E>
std::string_view word_of(E value) {
  const auto found = std::ranges::find(kWords<E>, value, &Word<E>::value);
  return found == kWords<E>.end() ? std::string_view() : found->word;
}
inline std::string_view word_of(const optimize::Optimizer* optimizer) { return optimizer->name; }
template <typename E>
std::string_view word_of(const std::optional<E>& value) {
  return value ? word_of(*value) : std::string_view();
}

/// Of an enumeration, in the order in which people are shown them; of other types none.
template <typename T>
std::vector<std::string_view> words_of_type() {
  std::vector<std::string_view> words;
  if constexpr (std::is_same_v<T, const optimize::Optimizer*>) {
    for (const optimize::Optimizer* optimizer : optimize::optimizers()) words.push_back(optimizer->name);
  } else if constexpr (IsOptional<T>::value) {
    return words_of_type<typename T::value_type>();
  } else if constexpr (std::is_enum_v<T>) {
    for (const Word<T>& each : kWords<T>) words.push_back(each.word);
  }
  return words;
}

/// Nothing for another word.
template <typename E>
std::optional<E> value_of(std::string_view word) {
  const auto found = std::ranges::find(kWords<E>, word, &Word<E>::word);
  return found == kWords<E>.end() ? std::nullopt : std::optional(found->value);
}

}  // namespace ctq::engine
