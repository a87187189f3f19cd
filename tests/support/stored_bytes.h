// The bytes of a file's tensors.
#pragma once

#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "safetensors/reader.h"

namespace ctq::test {

/// The tensor must be there.
inline std::string bytes_of(const safetensors::Reader& file, std::string_view name) {
  const safetensors::TensorInfo* info = file.find(name);
  REQUIRE(info != nullptr);
  const auto bytes = file.bytes(*info);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace ctq::test
