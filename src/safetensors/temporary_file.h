// A file that has its final name only when it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "descriptor.h"
#include "output_place.h"
#include "safetensors/writer.h"

namespace ctq::safetensors {

/// Written under a hidden name in the folder of its final name, then renamed. Destroyed without commit(), it
/// takes with it the hidden file and the folders that it made, unless they are kept; an older file of the
/// final name is as it was. All faults are Error(kFailure).
class TemporaryFile {
 public:
  /// Checks that `path` can become a file, makes missing folders and creates the hidden file, or opens a kept
  /// one. Where `path` is a symbolic link, the file that it points to is replaced, not the link.
  explicit TemporaryFile(const std::string& path, Unfinished unfinished = Unfinished::kRemoved);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return place_.path(); }

  /// Gives the file its size and takes that much space on the disk.
  void reserve(uint64_t bytes);
  /// Any thread; ranges must not overlap.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  void read_at(uint64_t offset, std::span<std::byte> bytes) const;
  /// What was written outlasts a loss of power.
  void sync_data();
  /// Copies from another descriptor within the kernel.
  /// returns  the bytes copied: fewer than asked where the system cannot do it, or where the source ended
  uint64_t copy_at(uint64_t offset, int source, uint64_t source_offset, uint64_t bytes);

  /// Gives the file the permissions of an older file of its final name, and syncs it.
  void finish();
  /// Renames the file and syncs the folder.
  void commit();

 private:
  void create();
  [[noreturn]] void fail_full(uint64_t bytes, int error) const;
  void discard() noexcept;

  OutputPlace place_;
  const Unfinished unfinished_;
  std::filesystem::path temporary_;
  Descriptor descriptor_;
  uint64_t reserved_bytes_ = 0;
  bool committed_ = false;
};

}  // namespace ctq::safetensors
