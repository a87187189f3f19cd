// A user's regular expression: PCRE2, so that what people paste from Python's `re` works.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace ctq::plan {

/// Compiled once, matched many times. Cheap to copy.
class Pattern {
 public:
  /// throws  Error(kUsage) with the position and PCRE2's own words when the expression does not compile
  explicit Pattern(const std::string& expression);

  const std::string& text() const { return expression_; }
  /// Python's re.search: true when the expression matches anywhere in the subject.
  /// throws  Error(kUsage) when matching exceeds PCRE2's limits (catastrophic backtracking), naming the
  /// expression
  bool search(std::string_view subject) const;
  /// Python's re.fullmatch.
  bool full_match(std::string_view subject) const;

 private:
  bool matches(std::string_view subject, unsigned options) const;
  std::string expression_;
  std::shared_ptr<void> code_;
};

}  // namespace ctq::plan
