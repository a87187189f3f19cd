// Names of whole models, as they are published.
#include "support/layout.h"

#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "families/parts.h"

namespace ctq::families {
namespace {

using test::Layout;

TEST_CASE("layouts: ranges of numbers stand for names", "[families]") {
  CHECK(test::expand_ranges("a.b") == std::vector<std::string>{"a.b"});
  CHECK(test::expand_ranges("a.{9-10}.b") == std::vector<std::string>{"a.9.b", "a.10.b"});
  CHECK(test::expand_ranges("{0-1}.{2-3}") == std::vector<std::string>{"0.2", "1.2", "0.3", "1.3"});
}

TEST_CASE("layouts: each is recognised as its family, and all of it is one part", "[families]") {
  const std::vector<Layout> layouts = test::read_layouts();
  REQUIRE(layouts.size() > 100);
  for (const Layout& layout : layouts) {
    const std::string prefix = GENERATE("", "model.diffusion_model.");
    CAPTURE(layout.name, prefix);
    REQUIRE_FALSE(layout.tensors.empty());
    const std::vector<std::string> names = layout.names(prefix);
    const Parts parts(names);
    const Part* main = parts.main();
    REQUIRE(main);
    CHECK(main->family->name == layout.family);
    CHECK(main->numbered);
    CHECK_FALSE(parts.adapter());
    for (const Part& part : parts.all()) CHECK((part.family == nullptr || part.family == main->family));
  }
}

/// Families of other programs' names, and others that no layout shows.
const std::set<std::string_view> kWithoutLayout = {
    "ltx2_other",       "ltx2_projection", "control_model",      "style_model",
    "gligen",           "ip_adapter",      "auraflow_diffusers", "pixart_diffusers",
    "zimage_diffusers", "flux_diffusers",  "sd3_diffusers",      "unet_diffusers"};

TEST_CASE("layouts: there is one of every family of diffusion models and text encoders", "[families]") {
  std::set<std::string_view> shown;
  const std::vector<Layout> layouts = test::read_layouts();
  const std::vector<Layout> encoders = test::read_layouts("encoders");
  for (const Layout& layout : layouts) shown.insert(layout.family);
  for (const Layout& layout : encoders) shown.insert(layout.family);
  for (const Family* family : families()) {
    if (family->kind == Kind::kVision || family->kind == Kind::kVae) continue;
    CAPTURE(family->name);
    CHECK(shown.contains(family->name) != kWithoutLayout.contains(family->name));
  }
}

/// The layers of a layout that have a matrix.
std::vector<std::string> matrices(const Layout& layout) {
  std::vector<std::string> names;
  for (const test::LayoutTensor& tensor : layout.tensors) {
    if (tensor.is_matrix() && std::ranges::min(tensor.shape) > 1) names.push_back(tensor.name);
  }
  return names;
}

TEST_CASE("layouts: a family's preset keeps some weights and leaves most", "[families]") {
  for (const Layout& layout : test::read_layouts()) {
    const Family* family = find_family(layout.family);
    REQUIRE(family);
    if (!family->preset) continue;
    CAPTURE(layout.name);
    const std::vector<std::string> names = matrices(layout);
    ActivePresets presets(std::vector{std::string(family->preset->name)}, FilterSet::kSeed, names);
    const auto kept = std::ranges::count_if(
        names, [&](const std::string& name) { return presets.protects(name).has_value(); });
    CHECK(kept > 0);
    CHECK(kept * 2 < std::ssize(names));
  }
}

}  // namespace
}  // namespace ctq::families
