#include "value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.h"
#include "linalg/device.h"

namespace ctq::cli {
namespace {

template <typename T>
std::optional<T> parse_whole(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::string bounds_text(const Option& option) {
  std::string text = "must be";
  if (option.low)
    text += fmt::format(" {} {}", option.low->inclusive ? "at least" : "greater than", option.low->value);
  if (option.low && option.high) text += " and";
  if (option.high)
    text += fmt::format(" {} {}", option.high->inclusive ? "at most" : "less than", option.high->value);
  return text;
}

std::optional<std::string> bounds_fault(const Option& option, double value) {
  const bool low =
      option.low && (option.low->inclusive ? value < option.low->value : value <= option.low->value);
  const bool high =
      option.high && (option.high->inclusive ? value > option.high->value : value >= option.high->value);
  if (low || high) return bounds_text(option);
  return std::nullopt;
}

bool is_device(std::string_view text) {
  if (text == "auto" || text == "cpu" || text == "cuda" || linalg::is_loaded_back_end(std::string(text)))
    return true;
  if (!text.starts_with("cuda:")) return false;
  const std::string_view index = text.substr(5);
  return !index.empty() && index.size() <= 3 &&
         index.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<std::string> choice_fault(const Option& option, std::string_view value) {
  if (option.or_json_file && value.ends_with(".json")) return std::nullopt;
  if (std::ranges::find(option.choices, value) == option.choices.end())
    return fmt::format("must be one of {}", fmt::join(option.choices, ", "));
  return std::nullopt;
}

}  // namespace

std::optional<std::string> value_fault(const Option& option, std::string_view value) {
  if (value.empty()) return "the value is empty";
  switch (option.kind) {
    case Kind::kSwitch:
      if (!parse_switch(value)) return "must be true or false (also 1, 0, yes, no, on, off)";
      break;
    case Kind::kInteger: {
      const std::optional<int64_t> parsed = parse_integer(value);
      if (!parsed) return "not an integer";
      return bounds_fault(option, static_cast<double>(*parsed));
    }
    case Kind::kNumber: {
      if (option.or_auto && value == kAuto) break;
      const std::optional<double> parsed = parse_number(value);
      if (!parsed) return option.or_auto ? "neither auto nor a finite number" : "not a finite number";
      return bounds_fault(option, *parsed);
    }
    case Kind::kBytes: {
      const std::optional<uint64_t> parsed = parse_bytes(value);
      if (!parsed) return "not a size such as 4GB or 500MiB";
      return bounds_fault(option, static_cast<double>(*parsed));
    }
    case Kind::kDuration: {
      const std::optional<double> parsed = parse_duration(value);
      if (!parsed) return "not a duration such as 30s, 10m or 1h30m";
      const auto fault = bounds_fault(option, *parsed);
      return fault ? *fault + " seconds" : fault;
    }
    case Kind::kChoice: return choice_fault(option, value);
    case Kind::kDevice:
      if (!is_device(value)) return "must be auto, cpu, cuda or cuda:N";
      break;
    case Kind::kPath:
    case Kind::kPathList:
      if (value == "-") return "not a path; standard input and output are not supported";
      break;
    case Kind::kText:
    case Kind::kPattern: break;
  }
  return std::nullopt;
}

std::optional<bool> parse_switch(std::string_view text) {
  const std::string word = lower_case(text);
  static constexpr std::array<std::string_view, 4> kOn{"true", "1", "yes", "on"},
      kOff{"false", "0", "no", "off"};
  if (std::find(kOn.begin(), kOn.end(), word) != kOn.end()) return true;
  if (std::find(kOff.begin(), kOff.end(), word) != kOff.end()) return false;
  return std::nullopt;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  if (const std::optional<int64_t> value = parse_whole<int64_t>(text)) return value;
  if (text.find_first_of("eE") == std::string_view::npos) return std::nullopt;
  const std::optional<double> value = parse_number(text);
  constexpr double kExact = 9007199254740992.0;  // 2^53: up to here a double holds every integer
  if (!value || std::trunc(*value) != *value || std::abs(*value) > kExact) return std::nullopt;
  return static_cast<int64_t>(*value);
}

std::optional<double> parse_number(std::string_view text) {
  const std::optional<double> value = parse_whole<double>(text);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return value;
}

std::optional<double> parse_duration(std::string_view text) {
  constexpr std::array<std::pair<char, double>, 3> kUnits{{{'h', 3600}, {'m', 60}, {'s', 1}}};
  constexpr double kLongest = 1e9;  // some thirty years: far from the ends of every clock
  double seconds = 0;
  size_t unit = 0;
  while (!text.empty()) {
    const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const std::optional<double> value = parse_number(text.substr(0, digits));
    if (!value || digits == text.size()) return std::nullopt;
    while (unit < kUnits.size() && kUnits[unit].first != text[digits]) ++unit;
    if (unit == kUnits.size()) return std::nullopt;
    seconds += *value * kUnits[unit++].second;
    text.remove_prefix(digits + 1);
  }
  if (unit == 0 || seconds > kLongest) return std::nullopt;
  return seconds;
}

}  // namespace ctq::cli
