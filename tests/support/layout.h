// Names, types and shapes of the tensors of a published model, from tests/golden/layouts and encoders:
// `{0-3}` in a name stands for each of the numbers, and several for every combination.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ctq::test {

/// One of the text file, before its ranges are written out.
struct LayoutTensor {
  std::string dtype;  ///< "BF16"
  std::vector<int64_t> shape;
  std::string name;

  bool is_matrix() const { return shape.size() == 2 && name.ends_with(".weight"); }
  /// Without ".weight".
  std::string layer() const { return name.substr(0, name.size() - 7); }
};

struct Layout {
  std::string name;                   ///< "flux_dev_full"
  std::string family;                 ///< as it is to be recognised
  std::vector<LayoutTensor> tensors;  ///< sorted by name

  /// Of all tensors, each behind `prefix`.
  std::vector<std::string> names(std::string_view prefix = "") const {
    std::vector<std::string> names;
    for (const LayoutTensor& tensor : tensors) names.push_back(std::string(prefix) + tensor.name);
    return names;
  }
};

/// "a.{0-1}.b" -> "a.0.b", "a.1.b".
inline std::vector<std::string> expand_ranges(const std::string& text) {
  const size_t open = text.find('{'), dash = text.find('-', open), close = text.find('}', open);
  if (open == std::string::npos) return {text};
  int64_t first = 0, last = 0;
  std::from_chars(text.data() + open + 1, text.data() + dash, first);
  std::from_chars(text.data() + dash + 1, text.data() + close, last);
  std::vector<std::string> names;
  for (const std::string& rest : expand_ranges(text.substr(close + 1))) {
    for (int64_t i = first; i <= last; ++i) names.push_back(text.substr(0, open) + std::to_string(i) + rest);
  }
  return names;
}

inline Layout read_layout(const std::filesystem::path& path) {
  Layout layout{.name = path.stem().string(), .family = {}, .tensors = {}};
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string dtype, shape, name;
    words >> dtype >> shape >> name;
    if (dtype == "family") {
      layout.family = shape;
      continue;
    }
    LayoutTensor tensor{.dtype = dtype, .shape = {}, .name = {}};
    std::istringstream sizes(shape.substr(1, shape.size() - 2));
    for (std::string size; std::getline(sizes, size, ',');) tensor.shape.push_back(std::stoll(size));
    for (std::string& expanded : expand_ranges(name)) {
      layout.tensors.push_back(tensor);
      layout.tensors.back().name = std::move(expanded);
    }
  }
  std::ranges::sort(layout.tensors, {}, &LayoutTensor::name);
  return layout;
}

/// All of a folder, by name.
inline std::vector<Layout> read_layouts(const std::string& folder = "layouts") {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(CTQ_TEST_GOLDEN) / folder))
    paths.push_back(entry.path());
  std::ranges::sort(paths);
  std::vector<Layout> layouts;
  for (const auto& path : paths) layouts.push_back(read_layout(path));
  return layouts;
}

}  // namespace ctq::test
