// The conversion, for the commands that are one: runs it and prints what came of it.
#pragma once

#include "ctq/base/log.h"
#include "ctq/cli/arguments.h"
#include "ctq/engine/job.h"
#include "progress.h"

namespace ctq::cli {

/// How much is said on the way.
struct Telling {
  Verbosity verbosity = Verbosity::kNormal;
  ProgressMode progress = ProgressMode::kNone;
};
/// --progress.
ProgressMode read_progress(const Arguments& arguments);

/// returns  the exit code
int run_conversion(engine::Job job, const Telling& telling);

/// The command.
int run_convert(const Arguments& arguments);

/// Of what the options say.
/// throws  as bind() and engine::prepare()
engine::Job make_job(const Arguments& arguments);

}  // namespace ctq::cli
