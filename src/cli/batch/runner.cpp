#include "runner.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <list>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/cancel.h"
#include "base/error.h"
#include "child.h"
#include "output_relay.h"

namespace ctq::cli::batch {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

constexpr int kPollMs = 200;

/// A child at work on a job.
struct Running {
  Running(size_t at, const Job& what, Relay out, Relay err)
      : index(at),
        job(what),
        child(what.words),
        relays{OutputRelay(what, out, stdout), OutputRelay(what, err, stderr)} {}

  size_t index;
  const Job& job;
  Child child;
  std::array<OutputRelay, 2> relays;
  std::array<bool, 2> open{true, true};
  Clock::time_point started = Clock::now();
};

void print_json_line(const ordered_json& json) {
  fmt::print(stderr, "{}\n", json.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

class Runner {
 public:
  Runner(std::span<const Job> jobs, const RunnerOptions& options)
      : jobs_(jobs), options_(options), results_(jobs.size()) {}

  std::vector<Result> run() {
    start_more();
    while (!running_.empty()) {
      pass_signal_on();
      listen();
      std::erase_if(running_, [&](Running& job) { return has_ended(job); });
      start_more();
    }
    for (; next_ < jobs_.size(); ++next_) {
      if (jobs_[next_].finished) results_[next_].state = Result::State::kFinishedBefore;
    }
    return std::move(results_);
  }

 private:
  void start_more() {
    while (next_ < jobs_.size() && running_.size() < options_.jobs && !stopped_ && !cancelled()) {
      const size_t index = next_++;
      if (jobs_[index].finished) {
        results_[index].state = Result::State::kFinishedBefore;
      } else {
        start(index);
      }
    }
  }

  void start(size_t index) {
    const Job& job = jobs_[index];
    const Relay lines = options_.jobs > 1 ? Relay::kLines : Relay::kBytes;
    fmt::print("[{}/{}] {}\n", index + 1, jobs_.size(), job.label());
    std::fflush(stdout);
    running_.emplace_back(index, job, lines, options_.json_progress ? Relay::kJson : lines);
  }

  /// Passes on what the children said since the last time, or waits a moment.
  void listen() {
    std::vector<pollfd> streams;
    for (const Running& job : running_) {
      for (size_t i = 0; i < 2; ++i) {
        if (job.open[i]) streams.push_back({job.child.streams()[i], POLLIN, 0});
      }
    }
    if (::poll(streams.data(), streams.size(), kPollMs) <= 0) return;
    for (Running& job : running_) {
      // Standard error first: it takes a progress line off the screen before the closing lines are printed.
      for (const size_t i : {size_t{1}, size_t{0}}) {
        if (job.open[i]) job.open[i] = read_some(job.child.streams()[i], job.relays[i]);
      }
    }
    std::fflush(stdout);
  }

  /// False at the end of the stream.
  static bool read_some(int stream, OutputRelay& relay) {
    std::array<char, 65536> buffer;
    const ssize_t bytes = ::read(stream, buffer.data(), buffer.size());
    if (bytes > 0) relay.take({buffer.data(), static_cast<size_t>(bytes)});
    if (bytes == 0) relay.finish();
    return bytes != 0;
  }

  bool has_ended(Running& job) {
    if (job.open[0] || job.open[1]) return false;
    Result& result = results_[job.index];
    const int end = job.child.wait();
    result.code = end >= 0 ? end : static_cast<int>(ErrorCode::kFailure);
    result.error = end >= 0          ? job.relays[1].error()
                   : end == -SIGKILL ? "killed by the system; out of memory?"
                                     : fmt::format("ended by signal {}", -end);
    result.state = result.code == 0 ? Result::State::kDone : Result::State::kFailed;
    result.seconds = std::chrono::duration<double>(Clock::now() - job.started).count();
    stopped_ = stopped_ || (result.code != 0 && !options_.keep_going);
    if (options_.json_progress) {
      print_json_line({{"event", "file"},
                       {"file", job.job.input},
                       {"recipe", job.job.recipe},
                       {"code", result.code},
                       {"error", result.error},
                       {"seconds", result.seconds}});
    }
    return true;
  }

  void pass_signal_on() {
    if (!cancelled() || signalled_) return;
    signalled_ = true;
    for (const Running& job : running_) job.child.signal(SIGTERM);
  }

  const std::span<const Job> jobs_;
  const RunnerOptions options_;
  std::vector<Result> results_;
  std::list<Running> running_;
  size_t next_ = 0;
  bool stopped_ = false, signalled_ = false;
};

}  // namespace

std::vector<Result> run_jobs(std::span<const Job> jobs, const RunnerOptions& options) {
  return Runner(jobs, options).run();
}

}  // namespace ctq::cli::batch
