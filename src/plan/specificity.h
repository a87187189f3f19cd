// Which of several matching patterns of a layer configuration decides.
#pragma once

#include <string_view>

namespace ctq::plan {

struct Specificity {
  int tier = 1;      ///< 0 for a pattern with a digit or \d and at least 8 literals, which comes before 1
  int literals = 0;  ///< characters that stand for themselves, escaped ones too; what is inside classes and
                     ///< groups does not count

  /// Of the same tier the pattern with more literals is the more specific one.
  bool operator>(const Specificity& other) const {
    return tier != other.tier ? tier < other.tier : literals > other.literals;
  }
  bool operator==(const Specificity&) const = default;
};

/// pattern: a regular expression that compiles
Specificity specificity(std::string_view pattern);

}  // namespace ctq::plan
