// Small safetensors files written out by hand.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "safetensors/header.h"

namespace ctq::safetensors::test {

/// The length field, little-endian.
inline std::string length_field(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes;
}

/// Length field, header text as it is given, data.
inline std::string container(std::string_view json, std::string_view data = {}) {
  return length_field(json.size()) + std::string(json) + std::string(data);
}

/// Parses a whole file named "x.safetensors".
inline Header parse(std::string_view file) { return parse_header(file, file.size(), "x.safetensors"); }

inline TensorInfo tensor(std::string name, Dtype dtype, std::vector<int64_t> shape) {
  TensorInfo info;
  info.name = std::move(name);
  info.dtype = dtype;
  info.shape = std::move(shape);
  return info;
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace ctq::safetensors::test
