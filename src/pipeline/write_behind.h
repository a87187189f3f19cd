// A thread that writes finished tensors while the next ones are computed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace ctq::pipeline {

/// Runs jobs in order on a thread of its own. The bytes that waiting jobs hold are bounded.
class WriteBehind {
 public:
  explicit WriteBehind(uint64_t byte_budget);
  /// Drops jobs that have not begun.
  ~WriteBehind();

  /// Waits until the waiting jobs leave room for `bytes` more (or none is left), then adds the job. Rethrows
  /// what an earlier job threw.
  void add(uint64_t bytes, std::function<void()> job);
  /// Waits for all jobs; rethrows what one of them threw.
  void drain();

 private:
  struct Job {
    uint64_t bytes;
    std::function<void()> run;
  };
  void work();
  void rethrow_locked();

  const uint64_t byte_budget_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  uint64_t held_bytes_ = 0;  ///< of waiting jobs and of the one that runs
  bool running_ = false;     ///< a job has left the queue and is not done
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace ctq::pipeline
