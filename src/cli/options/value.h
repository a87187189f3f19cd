// The value of one option: is it of the option's kind, in its bounds, one of its words?
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ctq/cli/option_table.h"

namespace ctq::cli {

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

}  // namespace ctq::cli
