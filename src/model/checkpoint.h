// A checkpoint as a whole: one file, a sharded set or a folder, as one list of tensors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "safetensors/index.h"
#include "safetensors/reader.h"

namespace ctq::model {

/// A tensor that is computed from what the file holds.
class Computed {
 public:
  virtual ~Computed() = default;
  /// float32 on the CPU, in the shape of the entry's info.
  virtual at::Tensor load() const = 0;
};

/// Reads headers when opened and tensor bytes on demand. Safe to use from several threads.
class Checkpoint {
 public:
  /// One tensor: where it lies and what its header says.
  struct Entry {
    const safetensors::Reader* file = nullptr;
    const safetensors::TensorInfo* info = nullptr;
    const Computed* computed = nullptr;  ///< when not null: `info` has the offsets of what it is made from,
                                         ///< but its own type and shape

    const std::string& name() const { return info->name; }
    /// "blocks.0.to_q" for a name that ends in ".weight", otherwise empty.
    std::string_view layer() const;
    /// Whether it is the 2-D weight of a layer.
    bool is_matrix() const { return info->shape.size() == 2 && !layer().empty(); }
  };

  /// path: a .safetensors file, an index or a folder; safetensors::resolve_checkpoint says what it stands
  /// for, and what was chosen is logged where the path does not say it.
  /// throws  Error(kBadInput): see safetensors::Reader and safetensors::resolve_checkpoint; a tensor in two
  /// shards, a listed tensor
  ///         that its shard lacks. A tensor that the index does not list, or a wrong total size, is logged as
  ///         a warning.
  static Checkpoint open(const std::string& path);
  static Checkpoint open(const std::string& path, safetensors::Shard shard);

  /// The same files with other tensors and metadata. This checkpoint, and what the entries point to, must
  /// outlive it.
  Checkpoint view(std::vector<Entry> entries, safetensors::Metadata metadata) const;

  const std::string& path() const { return path_; }
  /// Sorted by name, in byte order.
  std::span<const Entry> entries() const { return entries_; }
  const Entry* find(std::string_view name) const;
  std::vector<std::string> names() const;
  /// Header metadata of all files; of keys that differ the first file's value.
  const safetensors::Metadata& metadata() const { return metadata_; }
  /// Files that hold the tensors, absolute or as given: nothing may be written over them.
  std::vector<std::string> files() const;
  /// Sum of the file sizes.
  uint64_t bytes() const { return bytes_; }

 private:
  std::string path_;
  std::vector<safetensors::Reader> readers_;
  std::vector<Entry> entries_;
  safetensors::Metadata metadata_;
  uint64_t bytes_ = 0;
};

/// XXH3 over names, element types and shapes, as 16 hexadecimal digits: the same for a file and its shards,
/// whatever the values. Tells whether data collected for one checkpoint belong to another.
std::string fingerprint(const Checkpoint& checkpoint);

/// The tensor's values on the CPU: a view of the mapped file where there is one and its bytes are aligned to
/// the element, else a copy. The view is read-only memory; it is valid as long as the checkpoint. throws
/// Error(kBadInput) for an element type without arithmetic here (F4, F6, E8M0 ...). A computed tensor is
/// float32, whatever type its info has.
at::Tensor load(const Checkpoint::Entry& entry);
/// The stored bytes of a tensor of one-byte elements, whatever its type: uint8, in its shape; a view as of
/// load().
/// throws  Error(kBadInput) naming the tensor where its elements are wider
at::Tensor load_bytes(const Checkpoint::Entry& entry);

/// LibTorch's type of an element type; throws Error(kBadInput) naming the tensor when there is none.
at::ScalarType scalar_type(const safetensors::TensorInfo& info);
/// The container's name of a LibTorch type that we write.
safetensors::Dtype container_dtype(at::ScalarType type);

}  // namespace ctq::model
