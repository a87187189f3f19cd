#include "base/text.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

namespace ctq {

TEST_CASE("human_bytes: three significant digits, the unit changes before a fourth is needed", "[base]") {
  struct Row {
    uint64_t bytes;
    std::string text;
  };
  constexpr uint64_t kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024;
  const auto row = GENERATE(values<Row>({
      {0, "0 bytes"},
      {1023, "1023 bytes"},
      {1024, "1.00 KiB"},
      {10234, "9.99 KiB"},  // 9.9941
      {10236, "10.0 KiB"},  // 9.9961: not "10.00"
      {102348, "99.9 KiB"},
      {102350, "100 KiB"},
      {999 * kKiB, "999 KiB"},
      {999 * kKiB + 511, "999 KiB"},
      {999 * kKiB + 512, "0.98 MiB"},  // not "1000 KiB"
      {kMiB, "1.00 MiB"},
      {kGiB + kGiB / 2, "1.50 GiB"},
      {UINT64_MAX, "16.0 EiB"},
  }));
  CAPTURE(row.bytes);
  CHECK(human_bytes(row.bytes) == row.text);
}

TEST_CASE("human_duration: no minute of 60 seconds, no hour of 60 minutes", "[base]") {
  struct Row {
    double seconds;
    std::string text;
  };
  const auto row = GENERATE(values<Row>({
      {0, "0.00 s"},
      {0.424, "0.42 s"},
      {9.994, "9.99 s"},
      {9.996, "10.0 s"},
      {59.94, "59.9 s"},
      {59.96, "1 min 00 s"},
      {60, "1 min 00 s"},
      {125.4, "2 min 05 s"},
      {3599.4, "59 min 59 s"},
      {3599.6, "1 h 00 min"},
      {3720, "1 h 02 min"},
      {100 * 3600.0, "100 h 00 min"},
  }));
  CAPTURE(row.seconds);
  CHECK(human_duration(row.seconds) == row.text);
}

TEST_CASE("printable: what would break a line or a quotation is escaped", "[base]") {
  CHECK(printable("blocks.0.to_q.weight") == "blocks.0.to_q.weight");
  CHECK(printable("") == "");
  CHECK(printable("a\nb\tc\rd") == R"(a\nb\tc\rd)");
  CHECK(printable("it's a \\") == R"(it\'s a \\)");
  CHECK(printable(std::string_view("\0\x1b[31m\x7f", 7)) == R"(\x00\x1b[31m\x7f)");
}

TEST_CASE("printable: UTF-8 stays, what is none is escaped byte by byte", "[base]") {
  CHECK(printable("gr\xc3\xb6\xc3\x9f"
                  "e \xe6\xa8\xa1 \xf0\x9f\x98\x80") ==
        "gr\xc3\xb6\xc3\x9f"
        "e \xe6\xa8\xa1 \xf0\x9f\x98\x80");
  CHECK(printable("\xff") == R"(\xff)");
  CHECK(printable("a\xc3") == R"(a\xc3)");        // cut short
  CHECK(printable("\xc3(") == R"(\xc3()");        // a tail is missing
  CHECK(printable("\xc0\xaf") == R"(\xc0\xaf)");  // overlong '/'
  CHECK(printable("\xed\xa0\x80"
                  "z") == R"(\xed\xa0\x80z)");  // a surrogate
  CHECK(printable("\xe6\xa8"
                  "\xe6\xa8\xa1") == "\\xe6\\xa8\xe6\xa8\xa1");  // resumes at the next lead byte
}

TEST_CASE("printable: the second set of control characters is escaped too", "[base]") {
  CHECK(printable("\xc2\x9b"
                  "31m") == R"(\xc2\x9b31m)");    // CSI, with which a terminal starts a command
  CHECK(printable("\xc2\x85") == R"(\xc2\x85)");  // next line
  CHECK(printable("\xc2\xa0") == "\xc2\xa0");     // the first that is no control character
}

TEST_CASE("printable: a long text is cut between characters", "[base]") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abcdef...");
  CHECK(printable("\xe6\xa8\xa1\xe6\xa8\xa1\xe6\xa8\xa1", 4) == "\xe6\xa8\xa1\xe6\xa8\xa1...");
  CHECK(printable(std::string(200, 'x')).size() == 200);
  CHECK(printable(std::string(201, 'x')) == std::string(200, 'x') + "...");
}

TEST_CASE("parse_bytes: decimal and binary units, a bare letter is binary", "[base]") {
  CHECK(parse_bytes("0") == 0u);
  CHECK(parse_bytes("123") == 123u);
  CHECK(parse_bytes("123B") == 123u);
  CHECK(parse_bytes("123 bytes") == 123u);
  CHECK(parse_bytes("1kB") == 1000u);
  CHECK(parse_bytes("1KiB") == 1024u);
  CHECK(parse_bytes("1K") == 1024u);
  CHECK(parse_bytes("500 MiB") == 524'288'000u);
  CHECK(parse_bytes("500mb") == 500'000'000u);
  CHECK(parse_bytes("4GB") == 4'000'000'000u);
  CHECK(parse_bytes("4GiB") == uint64_t{4} << 30);
  CHECK(parse_bytes("4G") == uint64_t{4} << 30);
  CHECK(parse_bytes("2T") == uint64_t{2} << 40);
  CHECK(parse_bytes("2TB") == 2'000'000'000'000u);
  CHECK(parse_bytes("1.5KiB") == 1536u);
  CHECK(parse_bytes("1e3") == 1000u);
}

TEST_CASE("parse_bytes: what is no size is refused", "[base]") {
  const std::string text =
      GENERATE(as<std::string>(), "", " ", "GB", "-1", "-4GB", "nan", "inf", "infGB", "-inf", "1e400", "4XB",
               "4GBx", "4GBB", "4 4", "0x10", "4,5GB", "+4", "4Gibi", "1e30");
  CAPTURE(text);
  CHECK_FALSE(parse_bytes(text).has_value());
}

TEST_CASE("parse_bytes: fractions of a byte are dropped, 2^63 and more is refused", "[base]") {
  CHECK(parse_bytes("1.9") == 1u);
  CHECK(parse_bytes("8000P") == 8000 * (uint64_t{1} << 50));
  CHECK_FALSE(parse_bytes("8192P").has_value());
  CHECK_FALSE(parse_bytes("9300PB").has_value());
}

TEST_CASE("is_utf8: the shortest and longest of each length", "[base]") {
  const std::string text =
      GENERATE(as<std::string>(), "", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
               "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xb6z");
  CAPTURE(printable(text));
  CHECK(is_utf8(text));
}

TEST_CASE("is_utf8: overlong forms, surrogates, lone bytes and what is beyond U+10FFFF are refused",
          "[base]") {
  const std::string text =
      GENERATE(as<std::string>(), "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2z", "\xe0\x9f\xbf",
               "\xe1\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80",
               "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff", "ok\xff");
  CAPTURE(printable(text));
  CHECK_FALSE(is_utf8(text));
}

TEST_CASE("shape_text: a scalar has empty brackets", "[base]") {
  CHECK(shape_text({}) == "[]");
  CHECK(shape_text(std::vector<int64_t>{7}) == "[7]");
  CHECK(shape_text(std::vector<int64_t>{3, 0, 4}) == "[3, 0, 4]");
}

TEST_CASE("nearest_word: the nearest within a third of the length", "[base]") {
  constexpr std::array<std::string_view, 4> kWords = {"flux2", "hunyuan", "block_size", "qwen"};
  CHECK(nearest_word("flux3", kWords) == "flux2");            // replaced
  CHECK(nearest_word("hunyan", kWords) == "hunyuan");         // left out
  CHECK(nearest_word("qwenn", kWords) == "qwen");             // one too many
  CHECK(nearest_word("blcok_size", kWords) == "block_size");  // two letters swapped: two steps of ten
  CHECK(nearest_word("hnyuann", kWords) == "hunyuan");
  CHECK(nearest_word("fl", kWords) == "");
  CHECK(nearest_word("zimage", kWords) == "");
  CHECK(nearest_word("flux2", {}) == "");
  constexpr std::array<std::string_view, 2> kTied = {"wan", "man"};
  CHECK(nearest_word("fan", kTied) == "wan");  // the first of equals
}

TEST_CASE("wrapped: lines end before the last column, at spaces", "[base]") {
  CHECK(wrapped("one two three", 0, 8) == "one two\nthree");
  CHECK(wrapped("one two three", 4, 12) == "one two\n    three");
  CHECK(wrapped("a-word-that-is-longer no", 2, 10) == "a-word-that-is-longer\n  no");
  CHECK(wrapped("", 4, 10).empty());
}

}  // namespace ctq
