// A safetensors file, mapped: header parsed once, tensor bytes straight from the page cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ctq/safetensors/header.h"

namespace ctq::safetensors {

/// One mapped file. Cheap to move; spans stay valid while it lives. Safe to use from several threads.
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
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;

  /// Starts reading the tensor's pages in the background.
  void prefetch(const TensorInfo& tensor) const;
  /// Tells the kernel that the tensor's pages are not needed in this process any more; they may stay in the
  /// page cache.
  void release(const TensorInfo& tensor) const;

 private:
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
};

}  // namespace ctq::safetensors
