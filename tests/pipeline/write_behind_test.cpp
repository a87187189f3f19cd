#include "pipeline/write_behind.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace ctq::pipeline {
namespace {

using namespace std::chrono_literals;

/// A job that says when it runs and ends when it is told to.
class Gate {
 public:
  std::function<void()> job() {
    return [this] {
      running_.set_value();
      open_.get_future().wait();
    };
  }
  void wait_until_running() { running_.get_future().wait(); }
  void open() { open_.set_value(); }

 private:
  std::promise<void> running_, open_;
};

/// True when the call is still waiting after a while in which it would long have returned.
bool waits(const std::future<void>& call) { return call.wait_for(20ms) == std::future_status::timeout; }

}  // namespace

TEST_CASE("write_behind: jobs run in the order in which they were added, one at a time", "[pipeline]") {
  const uint64_t budget = GENERATE(uint64_t{0}, uint64_t{10}, uint64_t{1} << 40);
  std::vector<int> order, expected;
  std::atomic<int> running = 0;
  std::atomic<bool> overlapped = false;
  WriteBehind writes(budget);
  for (int i = 0; i < 200; ++i) {
    expected.push_back(i);
    writes.add(static_cast<uint64_t>(i % 7), [&, i] {
      if (running++ != 0) overlapped = true;
      order.push_back(i);
      --running;
    });
  }
  writes.drain();
  CHECK(order == expected);
  CHECK_FALSE(overlapped);
}

TEST_CASE("write_behind: drain without jobs returns, and jobs may follow it", "[pipeline]") {
  WriteBehind writes(100);
  writes.drain();
  int runs = 0;
  writes.add(10, [&] { ++runs; });
  writes.drain();
  CHECK(runs == 1);
  writes.add(10, [&] { ++runs; });
  writes.drain();
  CHECK(runs == 2);
}

TEST_CASE("write_behind: drain waits for the job that runs, also for one that holds no bytes", "[pipeline]") {
  const uint64_t bytes = GENERATE(uint64_t{0}, uint64_t{5});
  int unfinished = 0;
  for (int round = 0; round < 3000; ++round) {
    std::atomic<bool> done = false;
    WriteBehind writes(0);
    writes.add(bytes, [&] {
      std::this_thread::yield();
      done = true;
    });
    writes.drain();
    if (!done) ++unfinished;
  }
  CHECK(unfinished == 0);
}

TEST_CASE("write_behind: drain does not return while a job is held up", "[pipeline]") {
  const uint64_t bytes = GENERATE(uint64_t{0}, uint64_t{5});
  Gate gate;
  WriteBehind writes(100);
  writes.add(bytes, gate.job());
  gate.wait_until_running();
  std::future<void> drained = std::async(std::launch::async, [&] { writes.drain(); });
  CHECK(waits(drained));
  gate.open();
  drained.get();
}

TEST_CASE("write_behind: tensors that are held never exceed the budget", "[pipeline]") {
  constexpr uint64_t kBudget = 100;
  std::atomic<uint64_t> held = 0;
  uint64_t most = 0;
  WriteBehind writes(kBudget);
  for (uint64_t i = 0; i < 60; ++i) {
    const uint64_t bytes = 1 + i * 37 % 60;
    // A tensor that counts from add() on and for as long as it lives.
    writes.add(bytes, [tensor = std::shared_ptr<void>(nullptr, [&held, bytes](void*) { held -= bytes; })] {
      std::this_thread::sleep_for(1ms);  // adding is faster than writing
    });
    const uint64_t now = held += bytes;
    // Where the job was done before it was counted, the difference is below zero: nothing was held then.
    if (now <= uint64_t{1} << 32) most = std::max(most, now);
  }
  writes.drain();
  CHECK(held == 0);
  CHECK(most > 0);
  CHECK(most <= kBudget);
}

TEST_CASE("write_behind: add waits until there is room", "[pipeline]") {
  Gate gate;
  WriteBehind writes(100);
  writes.add(60, gate.job());
  gate.wait_until_running();
  writes.add(40, [] {});  // fits beside the job that runs
  std::future<void> added = std::async(std::launch::async, [&] { writes.add(1, [] {}); });
  CHECK(waits(added));
  gate.open();
  added.get();
  writes.drain();
}

TEST_CASE("write_behind: a job larger than the budget is let in alone", "[pipeline]") {
  Gate gate;
  WriteBehind writes(100);
  writes.add(1000, gate.job());
  gate.wait_until_running();
  std::future<void> added = std::async(std::launch::async, [&] { writes.add(1, [] {}); });
  CHECK(waits(added));
  gate.open();
  added.get();
  writes.drain();
}

TEST_CASE("write_behind: a job is freed before its bytes count as free", "[pipeline]") {
  int alive_at_add = 0;
  WriteBehind writes(0);
  for (int round = 0; round < 500; ++round) {
    auto tensor = std::make_shared<int>(round);
    const std::weak_ptr<int> watched = tensor;
    writes.add(1, [tensor = std::move(tensor)] {});
    writes.add(1, [] {});  // waits for the first
    if (!watched.expired()) ++alive_at_add;
  }
  CHECK(alive_at_add == 0);
}

TEST_CASE("write_behind: what a job throws is thrown by drain", "[pipeline]") {
  WriteBehind writes(100);
  bool ran_after = false;
  writes.add(10, [] { throw std::runtime_error("disk full"); });
  CHECK_THROWS_WITH(
      [&] {
        writes.add(10, [&] { ran_after = true; });
        writes.drain();
      }(),
      "disk full");
  CHECK_THROWS_WITH(writes.drain(), "disk full");  // and again, not once
  CHECK_FALSE(ran_after);
}

TEST_CASE("write_behind: what a job throws is thrown by the next add, also by one that waits", "[pipeline]") {
  WriteBehind writes(10);
  std::promise<void> open;
  writes.add(5, [&] {
    open.get_future().wait();
    throw std::runtime_error("disk full");
  });
  writes.add(5, [] {});  // never runs, so its bytes are never given back
  std::future<void> added = std::async(std::launch::async, [&] { writes.add(10, [] {}); });
  CHECK(waits(added));
  open.set_value();
  CHECK_THROWS_WITH(added.get(), "disk full");
  CHECK_THROWS_WITH(writes.add(0, [] {}), "disk full");
}

TEST_CASE("write_behind: destroyed, it ends the job that runs and drops those that wait", "[pipeline]") {
  Gate gate;
  std::atomic<bool> first_ended = false;
  std::atomic<int> others = 0;
  const auto waiting = std::make_shared<int>(0);
  std::future<void> opener;
  {
    WriteBehind writes(1000);
    writes.add(1, [&, job = gate.job()] {
      job();
      first_ended = true;
    });
    gate.wait_until_running();
    for (int i = 0; i < 5; ++i) writes.add(1, [&, waiting] { ++others; });
    CHECK(waiting.use_count() == 6);
    // Opened once the destructor has dropped the jobs that wait, or evidently does not.
    opener = std::async(std::launch::async, [&] {
      const auto patience = std::chrono::steady_clock::now() + 5s;
      while (waiting.use_count() > 1 && std::chrono::steady_clock::now() < patience)
        std::this_thread::yield();
      gate.open();
    });
  }
  opener.get();
  CHECK(first_ended);
  CHECK(others == 0);
  CHECK(waiting.use_count() == 1);
}

TEST_CASE("write_behind: destroyed after a failure, with jobs waiting", "[pipeline]") {
  for (int round = 0; round < 200; ++round) {
    WriteBehind writes(1000);
    try {
      for (int i = 0; i < 5; ++i) writes.add(1, [] { throw std::runtime_error("disk full"); });
    } catch (const std::runtime_error&) {
      continue;
    }
  }
  SUCCEED("no round hung");
}

}  // namespace ctq::pipeline
