// A file's bytes as memory, without a signal where they cannot be read.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ctq::safetensors {

/// A file mapped for reading. Where its pages cannot be read any more (it was truncated, the disk or the
/// network failed) the system sends SIGBUS; then the rest of the mapping, from that page on, becomes zeros
/// and is_lost() is true. So who reads learns of it afterwards, and must ask before the result is used.
class Mapping {
 public:
  /// Shared pages, or private ones where the file system has no others. Where it has neither, start() is
  /// null.
  Mapping(int descriptor, uint64_t bytes);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* start() const { return start_; }
  bool is_lost() const;

 private:
  std::byte* start_ = nullptr;
  uint64_t bytes_;
  struct Guarded* guarded_ = nullptr;
};

}  // namespace ctq::safetensors
