#include "model/metadata.h"

#include <catch2/catch.hpp>

namespace ctq::model {

TEST_CASE("metadata: hashes of the content go, those of other files and all else stay", "[model]") {
  const safetensors::Metadata metadata = {
      {"modelspec.hash_sha256", "1"}, {"sshs_legacy_hash", "2"}, {"sshs_model_hash", "3"}, {"sha256", "4"}};
  const safetensors::Metadata others = {{"modelspec.title", "5"},  {"modelspec.merged_from", "6"},
                                        {"ss_sd_model_hash", "7"}, {"ss_new_vae_hash", "8"},
                                        {"hashes", "9"},           {"format", "pt"}};
  safetensors::Metadata both = metadata;
  both.insert(others.begin(), others.end());
  CHECK(without_content_hashes(both) == others);
  CHECK(content_hashes(others).empty());
  CHECK(left_out_words(others).empty());
  CHECK(left_out_words(both) ==
        "left out of the header: modelspec.hash_sha256, sha256, sshs_legacy_hash, sshs_model_hash (hashes of "
        "tensors "
        "that are others now)");
}

}  // namespace ctq::model
