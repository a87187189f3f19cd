// The JSON of a header, before its offsets are checked against each other and the file.
#pragma once

#include <string>
#include <string_view>

#include "safetensors/header.h"

namespace ctq::safetensors {

/// The name that holds the metadata and can therefore not be a tensor's.
inline constexpr std::string_view kMetadataName = "__metadata__";

/// Tensors in the order of the text, and the metadata; `data_start` is left 0.
/// throws  Error(kBadInput): not JSON, wrong types, missing fields, duplicate names, unknown dtypes
Header read_header_json(std::string_view json, const std::string& path);

}  // namespace ctq::safetensors
