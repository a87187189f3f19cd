// A checkpoint as it is seen, written as one file.
#pragma once

#include <cstddef>
#include <string>

#include "model/checkpoint.h"

namespace ctq::rewrite {

struct Written {
  size_t computed = 0;  ///< tensors, rounded to the type that they had
  size_t copied = 0;    ///< byte by byte
};

/// Names, types, shapes and metadata stay.
/// throws  what computing a tensor throws; see model::in_stored_type(), safetensors::Writer
Written write_plain(const model::Checkpoint& checkpoint, const std::string& path);

}  // namespace ctq::rewrite
