// Sharded checkpoints: the index file, and finding what a path stands for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
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

/// What an input path stands for.
struct CheckpointFiles {
  std::string index;               ///< empty for a single file
  std::vector<std::string> files;  ///< the safetensors files, in reading order
};

/// A file is itself; an index stands for its shards; a folder for its one index or its one *.safetensors
/// file. throws Error(kBadInput): missing path, missing shard, a folder with none or with several candidates
/// (named).
CheckpointFiles resolve_checkpoint(const std::string& path);

}  // namespace ctq::safetensors
