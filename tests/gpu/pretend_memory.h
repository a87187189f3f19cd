// The memory of the pretend device (pretend_device.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include <c10/core/CachingDeviceAllocator.h>

namespace pretend {

inline constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
inline c10::Device device() { return {kType, 0}; }

/// What happened on the device, written to CTQ_PRETEND_COUNTS as JSON when the process ends.
class Counts {
 public:
  /// A kernel; operations of LibTorch by their names.
  void launched(const std::string& name);
  /// "up", "down", or "waits": one number read.
  void moved(const char* way);
  void write() const;

  uint64_t peak = 0;  ///< bytes
  uint64_t allocations = 0;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> launches_, transfers_;
};
Counts& counts();

/// Mapped twice: tensors hold addresses of a mapping without any access right, so that a host which follows
/// them crashes, as with a GPU; kernels work on the other one. Fresh memory is NaN. CTQ_PRETEND_MEMORY: bytes
/// that there are; CTQ_PRETEND_FAIL=n: the n-th allocation finds none.
class Arena {
 public:
  Arena();
  void* allocate(size_t bytes);
  void release(void* pointer);
  bool holds(const void* pointer) const;
  /// Where kernels find it; null stays null.
  void* host(const void* pointer) const;
  std::pair<size_t, size_t> free_and_all() const { return {limit_ > used_ ? limit_ - used_ : 0, limit_}; }

 private:
  char *host_ = nullptr, *device_ = nullptr;
  int file_ = -1;
  std::mutex mutex_;
  std::map<size_t, size_t> free_;  // offset -> bytes
  std::unordered_map<size_t, size_t> sizes_;
  size_t used_ = 0, limit_ = 0;
  uint64_t fail_at_ = 0;
};
Arena& arena();

c10::DeviceAllocator& allocator();

}  // namespace pretend
