#include "plan/blocks.h"

#include <catch2/catch.hpp>

namespace ctq::plan {

TEST_CASE("block_of: the first number between dots", "[plan]") {
  CHECK(block_of("blocks.3.attn.2.weight") == BlockName{"blocks", 3});
  CHECK(block_of("model.layers.12.w")->label() == "model.layers 12");
  for (const char* name : {"blocks.3", "3.weight", "a.b.weight", "a.-1.weight", "a..weight", "",
                           "a.99999999999999999999999.weight"}) {
    INFO(name);
    CHECK_FALSE(block_of(name).has_value());
  }
  CHECK(BlockName{"a", 2} < BlockName{"a", 10});
  CHECK(BlockName{"a", 10} < BlockName{"b", 1});
}

}  // namespace ctq::plan
