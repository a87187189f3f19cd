// What a real ComfyUI makes of the layouts' weights, from tests/golden/clients.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "layout.h"

namespace ctq::test {

/// The layers of one layout, as ComfyUI has them.
struct Facts {
  std::set<std::string> plain, tables, columns, rows;
};

/// By layout.
inline std::map<std::string, Facts> read_facts() {
  std::map<std::string, Facts> facts;
  std::ifstream in(CTQ_TEST_GOLDEN "/clients/comfyui-0.33.txt");
  Facts* of = nullptr;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string kind, name;
    words >> kind >> name;
    if (kind == "#") continue;
    if (kind == "layout") {
      of = &facts[name];
      continue;
    }
    std::set<std::string>& layers = kind == "plain"   ? of->plain
                                    : kind == "table" ? of->tables
                                    : kind == "rows"  ? of->rows
                                                      : of->columns;
    for (std::string& layer : expand_ranges(name)) layers.insert(std::move(layer));
  }
  return facts;
}

inline int64_t rounded_up(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

/// The weight's shape in the file; written apart from the codecs of the program.
inline std::vector<int64_t> stored_as(std::string_view format, const std::vector<int64_t>& shape) {
  if (format == "nvfp4") return {rounded_up(shape[0], 16), rounded_up(shape[1], 16) / 2};
  if (format == "mxfp8") return {rounded_up(shape[0], 32), rounded_up(shape[1], 32)};
  if (format == "convrot_w4a4" || format == "asym_w4a8_int8") return {shape[0], shape[1] / 2};
  return shape;
}

/// Whether ComfyUI takes the layer for something else than it is.
inline bool is_misread(const Facts& facts, const LayoutTensor& tensor, std::string_view format) {
  const std::string layer = tensor.layer();
  const std::vector<int64_t> stored = stored_as(format, tensor.shape);
  const bool in_tables = format.starts_with("float8") || format == "int8_tensorwise";
  return facts.plain.contains(layer) || (facts.tables.contains(layer) && !in_tables) ||
         (facts.columns.contains(layer) && stored[1] != tensor.shape[1]) ||
         (facts.rows.contains(layer) && stored[0] != tensor.shape[0]);
}

}  // namespace ctq::test
