// What the loader says against what a real ComfyUI does: tests/golden/clients.
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "client/loader.h"
#include "support/comfyui_facts.h"
#include "support/layout.h"

namespace ctq::client {
namespace {

using test::Facts;
using test::Layout;
using test::LayoutTensor;

TEST_CASE("facts: no layer that ComfyUI misreads is said to be read, in no format", "[client]") {
  const std::map<std::string, Facts> all = test::read_facts();
  const Client client{.program = Program::kComfyUi, .version = Version{0, 33, 0}};
  size_t misread = 0;
  for (const Layout& layout : test::read_layouts()) {
    const std::vector<std::string> names = layout.names();
    const families::Parts parts(names);
    const Loader loader(client, parts);
    const Facts& facts = all.at(layout.name);
    size_t without_need = 0;
    for (const LayoutTensor& tensor : layout.tensors) {
      if (!tensor.is_matrix()) continue;
      for (const char* format :
           {"float8_e4m3fn", "int8_tensorwise", "nvfp4", "mxfp8", "convrot_w4a4", "asym_w4a8_int8"}) {
        const bool reads = loader.reads(tensor.layer(), tensor.shape, format) == Obstacle::kNone;
        CAPTURE(layout.name, tensor.name, format);
        if (test::is_misread(facts, tensor, format)) {
          ++misread;
          CHECK_FALSE(reads);
        } else if (!reads) {
          // Where a format leaves the shape alone there is nothing to be careful about.
          CHECK(test::stored_as(format, tensor.shape) != tensor.shape);
          ++without_need;
        }
      }
    }
    CAPTURE(layout.name);
    CHECK(without_need <= 4);
  }
  CHECK(misread > 500);
}

TEST_CASE("facts: they are about layers that the layouts have", "[client]") {
  const std::map<std::string, Facts> all = test::read_facts();
  CHECK(all.size() == test::read_layouts().size());
  for (const Layout& layout : test::read_layouts()) {
    CAPTURE(layout.name);
    REQUIRE(all.contains(layout.name));
    std::set<std::string> layers;
    for (const LayoutTensor& tensor : layout.tensors) {
      if (tensor.is_matrix()) layers.insert(tensor.layer());
    }
    const Facts& facts = all.at(layout.name);
    for (const auto* some : {&facts.plain, &facts.tables, &facts.columns, &facts.rows}) {
      for (const std::string& layer : *some) {
        CAPTURE(layer);
        CHECK(layers.contains(layer));
      }
    }
  }
}

TEST_CASE("facts: names of diffusers are read in no format", "[client]") {
  const std::vector<std::string> names = {"context_embedder.weight",
                                          "single_transformer_blocks.0.attn.to_q.weight",
                                          "transformer_blocks.0.attn.add_q_proj.weight", "x_embedder.weight"};
  const families::Parts parts(names);
  const Client client;
  for (const char* format : {"float8_e4m3fn", "int8_tensorwise", "nvfp4"})
    CHECK(Loader(client, parts).reads("x_embedder", std::vector<int64_t>{64, 64}, format) ==
          Obstacle::kRenamed);
}

}  // namespace
}  // namespace ctq::client
