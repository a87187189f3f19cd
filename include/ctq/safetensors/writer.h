// Writing a safetensors file whose tensors arrive in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctq/safetensors/header.h"
#include "ctq/safetensors/reader.h"

namespace ctq::safetensors {

/// Sorts tensors as the reference writer does (dtype order, then name in byte order) and assigns their
/// offsets. throws  Error(kFailure) on a duplicate name or an overflowing shape.
std::vector<TensorInfo> lay_out(std::vector<TensorInfo> tensors);

/// One output file: written beside its final name under a hidden temporary name, renamed by commit(). A
/// writer that is destroyed without commit() leaves nothing behind, and an older file of the final name as it
/// was.
class Writer {
 public:
  /// Creates the temporary file, reserves its space and writes the header. Missing parent folders are
  /// created. throws  Error(kFailure): folder not creatable or not writable, `path` is a directory, not
  /// enough space.
  Writer(const std::string& path, std::vector<TensorInfo> laid_out, const Metadata& metadata);
  ~Writer();
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;

  const std::string& path() const;
  const std::vector<TensorInfo>& tensors() const;
  uint64_t file_bytes() const;

  /// Writes a whole tensor. Any order, any thread, each tensor once.
  /// throws  Error(kFailure): unknown name, wrong size, written twice, disk full or another system error.
  void write(std::string_view name, std::span<const std::byte> bytes);

  /// Copies a tensor from another file without passing it through this process where the system can.
  /// `source_name` is its name there.
  void copy(std::string_view name, const Reader& source, const TensorInfo& source_tensor);

  /// First half of the end: checks that every tensor was written, gives the file its permissions and syncs it
  /// to the disk. throws  Error(kFailure) naming the first tensor that is missing.
  void finish();
  /// Second half: finish() if it was not called, then renames the file to its final name and syncs the
  /// folder.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes a small text file the same way (temporary name, sync, rename).
void write_text_file(const std::string& path, std::string_view text);

}  // namespace ctq::safetensors
