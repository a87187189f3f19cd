#include "plan/pattern.h"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "support/matchers.h"

namespace ctq::plan {
namespace {

using test::HasCode;

struct Example {
  std::string expression;
  std::string subject;
  bool found;
  bool whole;
};

TEST_CASE("Pattern: what Python's re.search and re.fullmatch find", "[plan]") {
  const auto example = GENERATE(values<Example>({
      {"attn", "blocks.0.attn.qkv.weight", true, false},
      {"^blocks", "model.blocks.0.weight", false, false},
      {"^blocks\\.\\d+\\.", "blocks.12.attn", true, false},
      {"blocks\\.(0|1)\\..*", "blocks.1.attn.weight", true, true},
      {"blocks.(0|1)", "blocks.10", true, false},
      {"a|ab", "ab", true, true},  // fullmatch tries the second branch
      {"\\.weight$", "a.weight", true, false},
      {"(?i)ATTN", "attn", true, true},
      {"(?:q|k)_proj", "k_proj", true, true},
      {"(?<!single_)blocks", "single_blocks", false, false},
      {"(?<=double_)blocks(?!\\.0\\.)", "double_blocks.1.x", true, false},
      {"(?s).*", "a\nb", true, true},
      {".*", "a\nb", true, false},
      {"(?m)^b$", "a\nb", true, false},
      {"(?x) a  # letter\n b", "ab", true, true},
      {"\\bnorm\\b", "q.norm.weight", true, false},
      {"x{2,3}?", "xxx", true, true},
      {"[\\w.]+", "a_b.c1", true, true},
      {"", "anything", true, false},
      {"", "", true, true},
      {".", "", false, false},
  }));
  CAPTURE(example.expression, example.subject);
  const Pattern pattern(example.expression);
  CHECK(pattern.search(example.subject) == example.found);
  CHECK(pattern.full_match(example.subject) == example.whole);
  CHECK(pattern.text() == example.expression);
}

TEST_CASE("Pattern: Python's named groups and their back-references", "[plan]") {
  const Pattern twice("(?P<part>\\w+)\\.(?P=part)");
  CHECK(twice.full_match("attn.attn"));
  CHECK_FALSE(twice.search("attn.mlp"));
}

TEST_CASE("Pattern: $ also stands before a final newline, an escaped Z only at the very end", "[plan]") {
  CHECK(Pattern("weight$").search("a.weight\n"));
  CHECK_FALSE(Pattern("weight$").search("a.weight\n\n"));
  CHECK(Pattern("weight\\Z").search("a.weight"));
  CHECK_FALSE(Pattern("weight\\Z").search("a.weight\n"));
  CHECK(Pattern("\\Aa.*weight\\Z").full_match("a.weight"));
}

TEST_CASE("Pattern: an escaped Z is Python's outside of a class alone", "[plan]") {
  CHECK(Pattern("Z").search("a.Z.b"));
  CHECK(Pattern("a\\\\Z").search("a\\Z"));   // an escaped backslash, then Z
  CHECK(Pattern("[]\\]]\\Z").search("a]"));  // brackets inside a class do not close it
  CHECK_FALSE(Pattern("[^]a]\\Z").search("b\n]"));
  CHECK(Pattern("\\[\\Z").search("["));
}

TEST_CASE("Pattern: a trailing newline is part of the name for full_match", "[plan]") {
  CHECK_FALSE(Pattern("a\\.weight").full_match("a.weight\n"));
  CHECK(Pattern("a\\.weight\\n").full_match("a.weight\n"));
  CHECK(Pattern("^b$").search("b\n"));
  CHECK(Pattern("a.b").search("a\rb"));  // only \n ends a line, as in Python
}

TEST_CASE("Pattern: bad expressions name PCRE2's reason, the position and themselves", "[plan]") {
  const auto rejects = [](const std::string& expression, const std::string& position) {
    CAPTURE(expression);
    CHECK_THROWS_MATCHES(
        Pattern(expression), Error,
        HasCode(ErrorCode::kUsage, "bad regular expression: ", position, "of '" + expression + "'"));
  };
  rejects("blocks.(", "missing closing parenthesis at position 8 ");
  rejects("[a-", "missing terminating ] for character class at position 3 ");
  rejects("*.weight", "quantifier does not follow a repeatable item at position 0 ");
  rejects("a)b", "unmatched closing parenthesis at position 1 ");
  rejects("(?P=nobody)", "reference to non-existent subpattern at position ");
  rejects("(?<=a+)b", "lookbehind assertion is not fixed length at position ");
  rejects("z[b-a]", "range out of order in character class at position 4 ");
}

TEST_CASE("Pattern: control characters of a bad expression are escaped in the message", "[plan]") {
  CHECK_THROWS_MATCHES(Pattern("(\n"), Error, HasCode(ErrorCode::kUsage, "'(\\n'"));
}

TEST_CASE("Pattern: catastrophic backtracking ends soon, as an error", "[plan]") {
  const auto expression = GENERATE(as<std::string>{}, "(a+)+$", "^(a|a)*$", "(?:a?){40}a{40}b", "(.*)*\\1x$",
                                   "^(([a-z])+.)+[A-Z]([a-z])+$");
  CAPTURE(expression);
  const Pattern pattern(expression);
  const std::string subject = std::string(60, 'a') + "!";
  const auto outcome = [&](auto&& match) {
    const auto begin = std::chrono::steady_clock::now();
    try {
      const bool found = match();
      CHECK_FALSE(found);  // some are decided without backtracking
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kUsage);
      CHECK_THAT(error.what(), Catch::Contains(expression) && Catch::Contains("takes too long"));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  // Generous for instrumented builds; without a limit these take years.
  CHECK(outcome([&] { return pattern.search(subject); }) < 5.0);
  CHECK(outcome([&] { return pattern.full_match(subject); }) < 5.0);
}

TEST_CASE("Pattern: (a+)+$ on a long run of letters is refused", "[plan]") {
  const std::string subject = std::string(60, 'a') + "!";
  CHECK_THROWS_MATCHES(Pattern("(a+)+$").search(subject), Error,
                       HasCode(ErrorCode::kUsage, "(a+)+$", "takes too long"));
}

TEST_CASE("Pattern: long names and deep groups that do not explode still match", "[plan]") {
  const std::string name(10'000, 'a');
  CHECK(Pattern("(?:a|b)*c?$").search(name));
  CHECK(Pattern("^a+$").full_match(name));
  CHECK_FALSE(Pattern("b$").search(name));
}

TEST_CASE("Pattern: names outside of ASCII are read as UTF-8", "[plan]") {
  CHECK(Pattern("^.$").search("é"));
  CHECK(Pattern("重み").search("層.0.重み"));
  CHECK(Pattern("^[éè]$").full_match("è"));
  CHECK(Pattern("(?i)É").search("é"));
  CHECK_FALSE(Pattern("^..$").search("é"));
}

TEST_CASE("Pattern: bytes that are not UTF-8 match nothing and do no harm", "[plan]") {
  CHECK(Pattern("weight").search("\xff\xfe.weight"));
  CHECK_FALSE(Pattern("^.*$").full_match("a\xff"));
  CHECK(Pattern("\xff").search("a\xff"));  // such an expression is compared byte by byte
  CHECK_FALSE(Pattern("\xff").search("a"));
}

TEST_CASE("Pattern: threads may share one, and copies too", "[plan]") {
  const Pattern pattern("blocks\\.(\\d+)\\.attn");
  std::vector<int> hits(4, 0);
  std::vector<std::thread> threads;
  for (int& count : hits) {
    threads.emplace_back([pattern, &count] {
      for (int i = 0; i < 2000; ++i) {
        count += pattern.search("model.blocks." + std::to_string(i) + ".attn.weight") ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(hits == std::vector<int>(4, 2000));
}

}  // namespace
}  // namespace ctq::plan
