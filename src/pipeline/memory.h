// This process's memory, as the kernel counts it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace ctq::pipeline {

/// Resident memory that is not backed by a file: neither the mapped input nor program code. 0 where /proc
/// does not tell.
uint64_t resident_bytes();

/// Looks at it many times a second while it lives.
class MemoryWatch {
 public:
  MemoryWatch();
  MemoryWatch(const MemoryWatch&) = delete;
  MemoryWatch& operator=(const MemoryWatch&) = delete;
  ~MemoryWatch();

  /// The most seen so far, now included.
  uint64_t peak();

 private:
  void look();

  std::atomic<uint64_t> peak_ = 0;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace ctq::pipeline
