// The value of one option: is it of the option's kind, in its bounds, one of its words? And what is it?
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/text.h"
#include "ctq/engine/words.h"
#include "option.h"

namespace ctq::cli {

/// In place of a number: let the program choose.
inline constexpr std::string_view kAuto = "auto";

/// What is wrong with the value ("must be at least 1"); nothing when it is good.
std::optional<std::string> value_fault(const Option& option, std::string_view value);

/// true, 1, yes, on and their opposites, case ignored.
std::optional<bool> parse_switch(std::string_view text);
/// Decimal, or scientific when the value is whole ("1e3").
std::optional<int64_t> parse_integer(std::string_view text);
/// Decimal or scientific; infinity and NaN are no numbers here.
std::optional<double> parse_number(std::string_view text);
/// Seconds of "30s", "1.5h", "1h30m": decimal numbers, each with one of h, m, s, in this order. Nothing for a
/// number alone, which leaves open what it counts.
std::optional<double> parse_duration(std::string_view text);

/// The value of a setting, of words that value_fault() found nothing wrong with. Paths take all words, all
/// else the last.
template <typename T>
T value_of(const std::vector<std::string>& words) {
  if constexpr (std::is_same_v<T, std::vector<std::filesystem::path>>) {
    return {words.begin(), words.end()};
  } else {
    const std::string text = words.empty() ? "" : words.back();
    if constexpr (std::is_same_v<T, bool>) {
      return parse_switch(text).value_or(false);
    } else if constexpr (std::is_same_v<T, int64_t>) {
      return parse_integer(text).value_or(0);
    } else if constexpr (std::is_same_v<T, double>) {
      return parse_number(text).value_or(0);
    } else if constexpr (std::is_same_v<T, uint64_t>) {
      return parse_bytes(text).value_or(0);
    } else if constexpr (std::is_same_v<T, const optimize::Optimizer*>) {
      return engine::value_of<T>(text).value_or(nullptr);
    } else if constexpr (engine::IsOptional<T>::value) {
      if (text.empty()) return std::nullopt;
      if constexpr (std::is_arithmetic_v<typename T::value_type>) {
        if (text == kAuto) return std::nullopt;
      }
      return value_of<typename T::value_type>(words);
    } else if constexpr (std::is_enum_v<T>) {
      return engine::value_of<T>(text).value_or(T{});
    } else {
      return T(text);
    }
  }
}

}  // namespace ctq::cli
