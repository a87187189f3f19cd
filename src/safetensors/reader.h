// A safetensors file: header parsed once, tensor bytes straight from the page cache where files can be
// mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "safetensors/header.h"

namespace ctq::safetensors {

/// The bytes of a tensor: in the mapped file, valid as long as its reader, or a copy that is theirs.
struct TensorBytes : std::span<const std::byte> {
  TensorBytes(std::span<const std::byte> bytes, std::shared_ptr<const std::byte[]> copy)
      : std::span<const std::byte>(bytes), owned(std::move(copy)) {}
  std::shared_ptr<const std::byte[]> owned;  ///< null: mapped
};

/// One file, mapped; where the file system cannot do that, tensors are read one by one when they are asked
/// for. Cheap to move. Safe to use from several threads.
///
/// What another program does to the file meanwhile never ends this one by a signal. bytes(), prefetch() and
/// release() throw Error(kBadInput) once a page of it could not be read; what was read in between is zeros. A
/// Writer asks check_inputs() before its file is whole.
class Reader {
 public:
  /// throws Error(kBadInput): missing, unreadable, a directory, not a safetensors file, or inconsistent.
  explicit Reader(const std::string& path);
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  const std::string& path() const;
  const Header& header() const;
  uint64_t file_bytes() const;
  int descriptor() const;  ///< for copies that stay in the kernel; owned by the reader

  /// The tensor of that name, or null.
  const TensorInfo* find(std::string_view name) const;
  /// The bytes of a tensor of this file's header. Not necessarily aligned to the element.
  TensorBytes bytes(const TensorInfo& tensor) const;
  /// Reads some of a tensor's bytes, from the byte `from` of it, without the mapping.
  void read(const TensorInfo& tensor, uint64_t from, std::span<std::byte> bytes) const;

  /// Starts reading the tensor's pages in the background.
  void prefetch(const TensorInfo& tensor) const;
  /// Tells the kernel that the tensor's pages are not needed in this process any more; they may stay in the
  /// page cache.
  void release(const TensorInfo& tensor) const;

 private:
  friend void check_inputs();
  struct Source;
  std::unique_ptr<Source> source_;
};

/// Throws Error(kBadInput) when a file that a reader has or had open was truncated, written to, or could not
/// be read: what was made of it is not to be used. A reader that is gone is complained of once.
void check_inputs();

}  // namespace ctq::safetensors
