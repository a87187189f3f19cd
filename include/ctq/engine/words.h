// The values that a setting can have, as words.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

// Choices of the rooms below, which name their values; here they are known by their words.
namespace ctq::families {
enum class FilterSet : uint8_t;  ///< "seed", "peer", "union": which variant of a preset
}
namespace ctq::format {
enum class LinearDtype : uint8_t;  ///< "int4", "int8": what readers of convrot_w4a4 multiply in
}
namespace ctq::plan {
enum class BlockFallback : uint8_t;  ///< "row", "skip", "error": for a layer that blocks do not divide
}
namespace ctq::safetensors {
enum class Dtype : uint8_t;  ///< "f16", "bf16", "f32"
}
namespace ctq::optimize {
struct Optimizer;                      ///< "auto", "rtn", "gptq" ... (docs/optimizers/)
enum class Scales : uint8_t;           ///< "absmax", "search", "refit"
enum class DirectObjective : uint8_t;  ///< "subspace", "mixed"
enum class Schedule : uint8_t;         ///< "adaptive", "adaptive-cosine", "exponential", "plateau"
enum class ThresholdMode : uint8_t;    ///< "rel", "abs"
enum class StallReset : uint8_t;       ///< "simple-reset", "no-reset"
enum class AdaRoundSolver : uint8_t;   ///< "adamw", "adagrad", "rmsprop", "adam", "sgd"
}  // namespace ctq::optimize

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

/// What an optional choice is of.
template <typename T>
struct Chosen {
  using type = T;
};
template <typename T>
struct Chosen<std::optional<T>> {
  using type = T;
};

template <typename E>
struct Word {
  std::string_view word;
  E value;
};

/// All of a type's, in the order in which people are shown them. The types are those of the settings.
template <typename E>
std::span<const Word<E>> words_of();
template <>
std::span<const Word<Quality>> words_of();
template <>
std::span<const Word<Names>> words_of();
template <>
std::span<const Word<BiasWord>> words_of();
template <>
std::span<const Word<Bf16Word>> words_of();
template <>
std::span<const Word<DryRun>> words_of();
template <>
std::span<const Word<plan::BlockFallback>> words_of();
template <>
std::span<const Word<families::FilterSet>> words_of();
template <>
std::span<const Word<format::LinearDtype>> words_of();
template <>
std::span<const Word<safetensors::Dtype>> words_of();
template <>
std::span<const Word<optimize::Scales>> words_of();
template <>
std::span<const Word<optimize::DirectObjective>> words_of();
template <>
std::span<const Word<optimize::Schedule>> words_of();
template <>
std::span<const Word<optimize::ThresholdMode>> words_of();
template <>
std::span<const Word<optimize::StallReset>> words_of();
template <>
std::span<const Word<optimize::AdaRoundSolver>> words_of();
template <>
std::span<const Word<const optimize::Optimizer*>> words_of();

/// Empty where the value has none.
template <typename E>
std::string_view word_of(const E& value) {
  for (const Word<E>& each : words_of<E>()) {
    if (each.value == value) return each.word;
  }
  return {};
}
template <typename E>
std::string_view word_of(const std::optional<E>& value) {
  return value ? word_of(*value) : std::string_view();
}

/// Whether a type's values are known by words.
template <typename T>
inline constexpr bool kHasWords = std::is_enum_v<T> || std::is_same_v<T, const optimize::Optimizer*>;

/// The words alone; none for types without.
template <typename T>
std::vector<std::string_view> words_of_type() {
  std::vector<std::string_view> words;
  if constexpr (IsOptional<T>::value) {
    return words_of_type<typename T::value_type>();
  } else if constexpr (kHasWords<T>) {
    for (const Word<T>& each : words_of<T>()) words.push_back(each.word);
  }
  return words;
}

/// Nothing for another word.
template <typename E>
std::optional<E> value_of(std::string_view word) {
  for (const Word<E>& each : words_of<E>()) {
    if (each.word == word) return each.value;
  }
  return std::nullopt;
}

}  // namespace ctq::engine
