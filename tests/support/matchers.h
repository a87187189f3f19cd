// Matchers that all test programs share.
#pragma once

#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include "base/error.h"

namespace ctq::test {

/// Matches an Error of that code whose message contains every one of the given words.
class HasCode : public Catch::MatcherBase<Error> {
 public:
  template <typename... Words>
  explicit HasCode(ErrorCode code, Words... words) : code_(code), words_{std::string(words)...} {}

  bool match(const Error& error) const override {
    if (error.code() != code_) return false;
    const std::string message = error.what();
    for (const std::string& word : words_) {
      if (message.find(word) == std::string::npos) return false;
    }
    return true;
  }
  std::string describe() const override {
    std::string text = "has code " + std::to_string(static_cast<int>(code_));
    for (const std::string& word : words_) text += " and says '" + word + "'";
    return text;
  }

 private:
  ErrorCode code_;
  std::vector<std::string> words_;
};

/// A wrapped text on one line, with one space between words.
inline std::string words_of(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n';
    if (!space || (!line.empty() && line.back() != ' ')) line += space ? ' ' : c;
  }
  return line;
}

}  // namespace ctq::test
