// Text for people: sizes, durations, names that may hold anything, and sizes read back from an option.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ctq {

/// "1.50 GiB", "12 bytes": binary units, three significant digits.
std::string human_bytes(uint64_t bytes);

/// "0.42 s", "2 min 05 s", "1 h 02 min".
std::string human_duration(double seconds);

/// The text with control characters, quotes and invalid UTF-8 written as escapes (\n, \x1f), so that a tensor
/// name of any content stays on one line of a message. Valid non-ASCII UTF-8 is left as it is. Cut after
/// `max_bytes` with "...".
std::string printable(std::string_view text, size_t max_bytes = 200);

/// Reads "4GB", "500 MiB", "123": decimal units (kB, MB, GB, TB) are powers of 1000, binary ones (KiB ...)
/// powers of 1024, a bare letter (K, M, G, T) is binary. Nothing when the text is no such size or exceeds
/// 2^63.
std::optional<uint64_t> parse_bytes(std::string_view text);

/// True when the bytes are well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF).
bool is_utf8(std::string_view text);

/// ASCII letters in lower case, all else as it is.
std::string lower_case(std::string_view text);

/// "a, b" as {"a", "b"}; spaces around words and empty words are dropped.
std::vector<std::string> comma_list(const std::string& text);

/// The text with line breaks in place of spaces, so that lines that begin `indent` columns to the right end
/// before `columns`; lines after the first get that many spaces. A longer word stays whole.
std::string wrapped(std::string_view text, size_t indent, size_t columns);

/// "[3, 4]", "[]" for a scalar.
std::string shape_text(std::span<const int64_t> shape);

/// The word of `words` nearest to `text` (edit distance at most a third of its length), for "did you mean";
/// empty when none is near.
std::string_view nearest_word(std::string_view text, std::span<const std::string_view> words);

}  // namespace ctq
