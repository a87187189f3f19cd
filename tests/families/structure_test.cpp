#include "families/structure.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "families/family.h"

namespace ctq::families {
namespace {

bool has_one_number(std::string_view pattern) { return std::ranges::count(pattern, '#') == 1; }

TEST_CASE("structures: those of all families, each once", "[families]") {
  const auto all = structures();
  for (const Structure* structure : all) CHECK(std::ranges::count(all, structure) == 1);
  for (const Family* family : families()) {
    CAPTURE(family->name);
    for (const Structure* structure : family->structures)
      CHECK((structure == nullptr || std::ranges::count(all, structure) == 1));
  }
}

TEST_CASE("structures: every row says what its layers read", "[families]") {
  for (const Structure* structure : structures()) {
    CHECK_FALSE(structure->inputs.empty());
    for (const Input& input : structure->inputs) {
      CAPTURE(input.layers.front());
      for (const std::string_view layer : input.layers) CHECK((layer.empty() || has_one_number(layer)));
      CHECK_FALSE(input.layers.front().empty());
      // A norm without parameters says something only through a linear layer behind it.
      CHECK((!input.norm.name.empty() || !input.gate.name.empty()));
      CHECK((input.values.name.empty() || input.gate.name.empty()));
      CHECK((input.up.name.empty() || !input.gate.name.empty()));
      CHECK((input.activation != Activation::kNone) == !input.gate.name.empty());
    }
  }
}

TEST_CASE("head_size: by the widths of a model that some family knows", "[families]") {
  CHECK(head_size(3584, 512) == 128);   // Qwen 2.5 7B
  CHECK(head_size(2304, 1024) == 256);  // Gemma 2 2B
  CHECK(head_size(2304, 512) == 0);
}

}  // namespace
}  // namespace ctq::families
