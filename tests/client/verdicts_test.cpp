// What became of small models in a real ComfyUI when every weight was written in a format, against the rule:
// tests/golden/clients/verdicts-0.33.txt, which bench/clients/check.py wrote.
#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "client/loader.h"
#include "support/layout.h"

namespace ctq::client {
namespace {

using test::Layout;
using test::LayoutTensor;

struct Verdict {
  std::string family, format, client;
  bool loads = false;
};

std::vector<Verdict> verdicts() {
  std::vector<Verdict> all;
  std::ifstream in(CTQ_TEST_GOLDEN "/clients/verdicts-0.33.txt");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    Verdict verdict;
    std::string word;
    words >> verdict.family >> verdict.format >> verdict.client >> word;
    verdict.loads = word == "loads";
    if (verdict.family != "#") all.push_back(verdict);
  }
  return all;
}

/// The layout that has the names of a small model.
const std::map<std::string, std::string, std::less<>> kLayouts = {
    {"flux", "flux_dev_full"},        {"flux2", "flux2_dev_full"}, {"cogvideox", "cogvideox_5b"},
    {"hunyuan15", "hunyuan_video15"}, {"sd3", "sd3_medium"},       {"wan_t2v", "wan_t2v_14b"}};

/// Formats without a preset: every weight is written.
const std::map<std::string, std::string, std::less<>> kFormats = {{"fp8-legacy", "float8_e4m3fn"},
                                                                  {"int8-convrot", "int8_tensorwise"},
                                                                  {"nvfp4", "nvfp4"},
                                                                  {"mxfp8", "mxfp8"},
                                                                  {"w4a8", "asym_w4a8_int8"}};

bool reads_all(const Layout& layout, std::string_view format) {
  const std::vector<std::string> names = layout.names();
  const families::Parts parts(names);
  const Client client{.program = Program::kComfyUi, .version = Version{0, 33, 0}};
  const Loader loader(client, parts);
  return std::ranges::all_of(layout.tensors, [&](const LayoutTensor& tensor) {
    return !tensor.is_matrix() || std::ranges::min(tensor.shape) < 2 ||
           loader.reads(tensor.layer(), tensor.shape, format) == Obstacle::kNone;
  });
}

}  // namespace

TEST_CASE("verdicts: a model with every weight in a format loads where the rule reads every weight",
          "[client]") {
  const std::vector<Layout> layouts = test::read_layouts();
  size_t compared = 0;
  for (const Verdict& verdict : verdicts()) {
    const auto layout = kLayouts.find(verdict.family);
    const auto format = kFormats.find(verdict.format);
    if (verdict.client != "any" || layout == kLayouts.end() || format == kFormats.end()) continue;
    CAPTURE(verdict.family, verdict.format);
    const auto found = std::ranges::find(layouts, layout->second, &Layout::name);
    REQUIRE(found != layouts.end());
    CHECK(reads_all(*found, format->second) == verdict.loads);
    ++compared;
  }
  CHECK(compared > 20);
}

}  // namespace ctq::client
