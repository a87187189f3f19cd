// Writing a safetensors file whose tensors arrive in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "safetensors/header.h"
#include "safetensors/reader.h"

namespace ctq::safetensors {

/// Sorts tensors as the reference writer does (dtype order, then name in byte order) and assigns their
/// offsets.
/// throws  Error(kFailure) on a duplicate name or an overflowing shape.
std::vector<TensorInfo> lay_out(std::vector<TensorInfo> tensors);

/// What a writer that is destroyed without commit() leaves.
enum class Unfinished : uint8_t {
  kRemoved,  ///< nothing
  kKept,     ///< the hidden file (partial_path()): the next such writer of that path finds in it what was
             ///< written
};

/// XXH3 of a tensor's bytes.
uint64_t checksum(std::span<const std::byte> bytes);

/// Where a writer with Unfinished::kKept writes before commit().
std::string partial_path(const std::string& path);

/// One output file: written beside its final name under a hidden temporary name, renamed by commit(). A
/// writer that is destroyed without commit() leaves nothing behind, unless it is to be kept, and an older
/// file of the final name as it was.
class Writer {
 public:
  /// Creates the temporary file, reserves its space and writes the header. Missing parent folders are
  /// created.
  /// throws  Error(kFailure): folder not creatable or not writable, `path` is a directory, not enough space;
  ///         with kKept: another writer is at work on it.
  Writer(const std::string& path, std::vector<TensorInfo> laid_out, const Metadata& metadata,
         Unfinished unfinished = Unfinished::kRemoved);
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

  /// Takes a tensor over from the kept file of an earlier writer. It may still be written, in place of that.
  /// returns  false when its bytes there have another checksum
  bool adopt(std::string_view name, uint64_t expected_checksum);
  /// What was written so far outlasts a loss of power.
  void sync_data();

  /// First half of the end: checks that every tensor was written, gives the file its permissions and syncs it
  /// to the disk.
  /// throws  Error(kFailure) naming the first tensor that is missing; what check_inputs() throws.
  void finish();
  /// Second half: finish() if it was not called, then renames the file to its final name and syncs the
  /// folder.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes a small text file the same way (temporary name, sync, rename).
void write_text_file(const std::string& path, std::string_view text,
                     Unfinished unfinished = Unfinished::kRemoved);

}  // namespace ctq::safetensors
