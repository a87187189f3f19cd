// The program as a library: a session converts, plans, looks into files, checks them and makes calibration
// files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "ctq/engine/calibration.h"
#include "ctq/engine/events.h"
#include "ctq/engine/results.h"
#include "ctq/engine/settings.h"
#include "ctq/engine/verification.h"
#include "ctq/error.h"

namespace ctq::engine {

struct Process;

/// What a line of the log is.
enum class LogLevel : uint8_t {
  kTrace,
  kDetail,  ///< parameters, shapes, device choices
  kNote,    ///< what a person keeps
  kWarning,
  kError,
};

/// Where the log goes, if not to a function.
enum class Console : uint8_t {
  kNone,           ///< nowhere
  kNotesToStdout,  ///< warnings and errors to standard error, all else to standard output
  kAllToStderr,
};

struct SessionOptions {
  /// Gets each line of the log, one at a time, from any thread; null: `console` does.
  std::function<void(LogLevel, std::string_view line)> log = nullptr;
  Console console = Console::kNone;
  LogLevel least = LogLevel::kNote;  ///< lines below it are not logged
  /// From now on SIGINT, SIGTERM and, unless it is ignored, SIGHUP cancel what is going on; a second one ends
  /// the process. They stay so when the session ends.
  bool handle_signals = false;
};

/// Owns what a process has once: the log (spdlog's default logger, given back in the end), the request to
/// cancel, and how LibTorch computes: its threads, its memory, BF16. The latter three are those of the last
/// conversion that began; memory is bounded for all of the process' life, or for none of it.
///
/// One call at a time; others wait. All that the calls throw is Error, whose messages name a setting by its
/// label. Where a call ends so, no output has its final name; an older one is as it was.
class Session {
 public:
  /// throws  Error(kFailure) while another session is there
  explicit Session(SessionOptions options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Converts, or, with loras.merged_only, merges. On return the output is whole under its final name.
  /// throws  Error(kUsage): settings that do not go together, or that the program alone heeds (files of
  ///         `report`, a dry run); Error(kBadInput): an input that cannot be read; Error(kQuality): a goal
  ///         that cannot be met; Error(kInterrupted): cancel(); Error(kFailure): all else
  ConversionResult convert(const Settings& settings);
  ConversionResult convert(const Settings& settings, Events& events);

  /// What convert() would do; nothing is written.
  /// throws  as convert()
  PlanResult plan(const Settings& settings);

  /// file: a file, an index of shards or a folder
  Inspection inspect(const Path& file);

  Verdict verify(const VerificationSettings& settings);

  /// Writes what mode_of() says, and logs it.
  /// throws  Error(kUsage) also for a list, which is not written
  void calibrate(const CalibrationSettings& settings);

  /// Ends the call that is going on, or the next one, with Error(kInterrupted) within a second or so. From
  /// any thread. What was done of a conversion is kept where output.resume says so, and the same call goes on
  /// from there.
  void cancel();

 private:
  friend class Conversion;
  /// Of all later arithmetic of the process.
  void set_up(const Process& process);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ctq::engine
