#include "memory.h"

#include <chrono>
#include <fstream>
#include <string>

namespace ctq::pipeline {
namespace {

constexpr std::chrono::milliseconds kInterval{20};

}  // namespace

uint64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    uint64_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib * 1024;
  }
  return 0;
}

MemoryWatch::MemoryWatch()
    : thread_([this] {
        std::unique_lock lock(mutex_);
        while (!ended_) {
          look();
          end_.wait_for(lock, kInterval);
        }
      }) {}

MemoryWatch::~MemoryWatch() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_one();
  thread_.join();
}

uint64_t MemoryWatch::peak() {
  look();
  return peak_;
}

void MemoryWatch::look() {
  const uint64_t now = resident_bytes();
  uint64_t before = peak_;
  while (before < now && !peak_.compare_exchange_weak(before, now)) {
  }
}

}  // namespace ctq::pipeline
