// An owned file descriptor, and opening a file for reading.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace ctq::safetensors {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// The system's words for an errno: "Permission denied".
std::string system_reason(int error);

struct InputFile {
  Descriptor descriptor;
  uint64_t bytes = 0;
};

/// Opens a regular file for reading.
/// throws  Error(kBadInput) with the path and the system's reason; a directory, pipe or device is named as
/// such
InputFile open_input(const std::string& path);

}  // namespace ctq::safetensors
