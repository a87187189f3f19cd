#include "write_behind.h"

#include <utility>

namespace ctq::pipeline {

WriteBehind::WriteBehind(uint64_t byte_budget) : byte_budget_(byte_budget), thread_([this] { work(); }) {}

WriteBehind::~WriteBehind() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

void WriteBehind::add(uint64_t bytes, std::function<void()> job) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || held_bytes_ == 0 || held_bytes_ + bytes <= byte_budget_; });
  rethrow_locked();
  held_bytes_ += bytes;
  jobs_.push_back({bytes, std::move(job)});
  changed_.notify_all();
}

void WriteBehind::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || (jobs_.empty() && !running_); });
  rethrow_locked();
}

void WriteBehind::rethrow_locked() {
  if (failure_) std::rethrow_exception(failure_);
}

void WriteBehind::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty() || failure_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    running_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      job.run();
    } catch (...) {
      failure = std::current_exception();
    }
    job.run = nullptr;  // frees the tensor before its bytes count as free
    lock.lock();
    held_bytes_ -= job.bytes;
    running_ = false;
    failure_ = failure;
    changed_.notify_all();
    if (failure_) return;
  }
}

}  // namespace ctq::pipeline
