// The conversion, for the commands that are one: runs it and prints what came of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "ctq/engine/session.h"
#include "engine/job.h"
#include "progress.h"

namespace ctq::cli {

/// How much is said on the way.
struct Telling {
  engine::LogLevel least = engine::LogLevel::kNote;
  ProgressMode progress = ProgressMode::kNone;
};

/// Of a word of --progress; "auto" looks whether standard error is a terminal.
ProgressMode progress_mode(std::string_view word);

/// returns  the exit code
int run_conversion(engine::Job job, const Telling& telling);

/// The command. args: with its word, if there is one
int run_convert(const std::vector<std::string>& args);

/// What the words ask for.
/// throws  as Arguments::parse() and engine::prepare(); Error(kUsage) for what only options can contradict:
///         two targets, an option of another command
engine::Job make_job(const std::vector<std::string>& args);

}  // namespace ctq::cli
