// The header of a safetensors file: what it says, checked (docs/formats/safetensors.md).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "safetensors/dtype.h"

namespace ctq::safetensors {

/// Largest header that the reference reader and ComfyUI accept.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

using Metadata = std::map<std::string, std::string>;

struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::kU8;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  ///< first byte, counted from the start of the data section
  uint64_t end = 0;    ///< one past the last byte

  uint64_t bytes() const { return end - begin; }
  int64_t numel() const;
};

struct Header {
  std::vector<TensorInfo> tensors;  ///< in the order of their bytes; zero-sized ones by name among equals
  Metadata metadata;
  uint64_t data_start = 0;  ///< offset of the data section in the file
};

/// Reads and checks the header of a file of `file_bytes` bytes. `start` is the beginning of the file: all of
/// it, or at least 8 + the header's length bytes. `path` is for messages.
/// throws  Error(kBadInput) naming file, tensor, fact and remedy, on every fault of the container: see the
///         table in docs/formats/safetensors.md. A pickle, GGUF or HTML file is recognised and named.
Header parse_header(std::string_view start, uint64_t file_bytes, const std::string& path);

/// The bytes before the data section: length field, compact JSON, padding with spaces so that the data start
/// at a multiple of 8. Entries are written in the order given; their offsets are taken as they are. Metadata
/// are sorted by key.
/// throws  Error(kFailure) when it would exceed kMaxHeaderBytes.
std::string write_header(const std::vector<TensorInfo>& tensors, const Metadata& metadata);

}  // namespace ctq::safetensors
