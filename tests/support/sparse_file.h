// Safetensors files of full size that hold a header and no more: holes take no room on the disk.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "safetensors/header.h"

namespace ctq::test {

/// tensors: laid out; those of which no bytes are given are zeros
/// given: bytes by name
inline void write_sparse_file(const std::string& path, const std::vector<safetensors::TensorInfo>& tensors,
                              const safetensors::Metadata& metadata = {},
                              const std::map<std::string, std::string>& given = {}) {
  const std::string header = safetensors::write_header(tensors, metadata);
  uint64_t end = 0;
  std::ofstream out(path, std::ios::binary);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const safetensors::TensorInfo& tensor : tensors) {
    end = std::max(end, tensor.end);
    const auto some = given.find(tensor.name);
    if (some == given.end()) continue;
    out.seekp(static_cast<std::streamoff>(header.size() + tensor.begin));
    out.write(some->second.data(), static_cast<std::streamsize>(some->second.size()));
  }
  out.close();
  std::filesystem::resize_file(path, header.size() + end);
}

}  // namespace ctq::test
