#include "plan/specificity.h"

#include <string>

#include <catch2/catch.hpp>

namespace ctq::plan {
namespace {

struct Example {
  std::string pattern;
  int literals;
  int tier;
};

TEST_CASE("specificity: counts what stands for itself", "[plan]") {
  const auto example = GENERATE(values<Example>({
      {"", 0, 1},
      {".*", 0, 1},
      {"attn", 4, 1},
      {"attn\\.proj$", 9, 1},
      {"^attn\\.proj$", 9, 1},
      {"mlp\\.[02]$", 4, 1},
      {"double_blocks\\.0\\.", 16, 0},
      {"double_blocks\\.\\d+\\.", 15, 0},
      {"double_blocks\\.[0-9]\\.", 15, 0},
      {"double_blocks\\.[^\\d]\\.", 15, 0},
      {"double_blocks\\.[a-c]\\.", 15, 1},
      {"blocks\\.0", 8, 0},
      {"block\\.0", 7, 1},       // one literal short
      {"x{2,3}y{4}", 2, 1},      // repeats
      {"a{b}c", 5, 1},           // braces that repeat nothing
      {"(attn|mlp)\\.w", 2, 1},  // what is inside a group may be absent
      {"a(b(c)d)e", 2, 1},
      {"[]x]y[^]x]z", 2, 1},  // a bracket that comes first does not close the class
      {"[\\]x]y", 1, 1},
      {"\\w\\s\\bx\\(\\)\\\\", 4, 1},
      {"\\t\\n", 2, 1},
      {"層\\.重み", 4, 1},
      {"a|b", 2, 1},
      {"a\\", 2, 1},  // does not compile, but must not be read past its end
      {"[a", 0, 1},
      {"a{2", 3, 1},
  }));
  CAPTURE(example.pattern);
  CHECK(specificity(example.pattern).literals == example.literals);
  CHECK(specificity(example.pattern).tier == example.tier);
}

TEST_CASE("specificity: tiers first, then literals", "[plan]") {
  CHECK(specificity("blocks\\.0\\.") > specificity("a_much_longer_pattern_without_numbers"));
  CHECK(specificity("attn\\.proj") > specificity("attn"));
  CHECK_FALSE(specificity("attn") > specificity("proj"));
  CHECK(specificity("attn") == specificity("proj"));
}

}  // namespace
}  // namespace ctq::plan
