// Sharded checkpoints: the index file, and finding what a path stands for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::safetensors {

/// The content of a *.safetensors.index.json.
struct ShardIndex {
  std::string path;
  std::map<std::string, std::string> weight_map;  ///< tensor name -> shard file name, relative to the index
  uint64_t total_size = 0;                        ///< 0 when the index does not say
  std::vector<std::string> shards() const;        ///< distinct shard names, sorted
};

/// throws Error(kBadInput): unreadable, not JSON, a key twice, no weight_map, or a shard name that leaves the
/// index's folder.
ShardIndex read_index(const std::string& path);

/// The text of an index file, indented by 2, keys sorted.
std::string write_index(const std::map<std::string, std::string>& weight_map, uint64_t total_size);

/// A file of a set: "model-00001-of-00002.safetensors", or diffusers'
/// "model-00001-of-00002.fp16.safetensors".
struct ShardName {
  std::string stem;    ///< "model"
  std::string ending;  ///< ".safetensors", ".fp16.safetensors"
  int64_t number = 0;  ///< from 1
  int64_t count = 0;
  int digits = 5;

  /// The name of another shard of the set.
  std::string of(int64_t other) const;
};

/// Nothing where the file name is not that of a shard.
std::optional<ShardName> parse_shard_name(std::string_view name);

/// What an input path stands for.
struct CheckpointFiles {
  std::string index = {};               ///< empty where there is none
  std::vector<std::string> files = {};  ///< the safetensors files, in reading order
  std::string note = {};  ///< what was chosen where the path alone does not say it, as a sentence
};

/// Whether a shard that is named stands for the model, or for itself.
enum class Shard : uint8_t { kIsItsSet, kAlone };

/// A file is itself, but a shard of several is its set: what the index beside it lists, or the files that the
/// name counts. An index stands for its shards. A folder stands for its one index, its one *.safetensors file
/// or its one set of shards; a pipeline of diffusers for its one denoiser (transformer/, unet/).
/// throws Error(kBadInput): missing path, missing shard (named), a folder with none or with several
/// candidates (named).
CheckpointFiles resolve_checkpoint(const std::string& path, Shard shard = Shard::kIsItsSet);

}  // namespace ctq::safetensors
