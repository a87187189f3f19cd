// What a header's metadata says of a file's content.
#pragma once

#include <string>
#include <vector>

#include "safetensors/header.h"

namespace ctq::model {

/// Keys that hold a hash of the file's own tensors: "modelspec.hash_sha256", "sshs_model_hash" ... Programs
/// know a model by them, so that a file with other tensors must not have them. Not of other files that went
/// into it.
std::vector<std::string> content_hashes(const safetensors::Metadata& metadata);

/// The metadata without them: what a file with other tensors takes over.
safetensors::Metadata without_content_hashes(safetensors::Metadata metadata);

/// "left out of the header: a, b (hashes of tensors that are others now)"; empty where there are none.
std::string left_out_words(const safetensors::Metadata& metadata);

}  // namespace ctq::model
