// Runs the jobs of a batch, each in a child process: one that runs out of memory takes no other with it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "jobs.h"

namespace ctq::cli::batch {

struct RunnerOptions {
  size_t jobs = 1;  ///< at a time
  bool keep_going = true;
  bool json_progress = false;
};

struct Result {
  enum class State : unsigned char { kDone, kFailed, kFinishedBefore, kNotStarted };
  State state = State::kNotStarted;
  int code = 0;       ///< the child's exit code; 1 where a signal ended it
  std::string error;  ///< its message
  double seconds = 0;
};

/// One result per job, in their order. Finished jobs are not started. After a signal to this process the
/// running children get it too, and no other is started.
std::vector<Result> run_jobs(std::span<const Job> jobs, const RunnerOptions& options);

}  // namespace ctq::cli::batch
