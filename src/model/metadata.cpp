#include "model/metadata.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ctq::model {
namespace {

/// Without a program's prefix, as some write them.
constexpr std::array<std::string_view, 7> kPlainKeys = {"hash",        "sha256", "hash_sha256", "model_hash",
                                                        "legacy_hash", "md5",    "blake3"};

bool is_content_hash(std::string_view key) {
  const bool of_modelspec = key.starts_with("modelspec.hash_");              // stability.ai's ModelSpec
  const bool of_kohya = key.starts_with("sshs_") && key.ends_with("_hash");  // sd-scripts and the web UIs
  return of_modelspec || of_kohya || std::ranges::count(kPlainKeys, key) > 0;
}

}  // namespace

std::vector<std::string> content_hashes(const safetensors::Metadata& metadata) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : metadata) {
    if (is_content_hash(key)) keys.push_back(key);
  }
  return keys;
}

safetensors::Metadata without_content_hashes(safetensors::Metadata metadata) {
  std::erase_if(metadata, [](const auto& entry) { return is_content_hash(entry.first); });
  return metadata;
}

std::string left_out_words(const safetensors::Metadata& metadata) {
  const std::vector<std::string> keys = content_hashes(metadata);
  if (keys.empty()) return "";
  return fmt::format("left out of the header: {} (hashes of tensors that are others now)",
                     fmt::join(keys, ", "));
}

}  // namespace ctq::model
