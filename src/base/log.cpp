#include "base/log.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "base/terminal.h"

namespace ctq {
namespace {

std::atomic<int> warnings{0};

/// Lines below `warn` only: the other sink has the rest.
class NotesSink final : public spdlog::sinks::stdout_sink_mt {
 public:
  void log(const spdlog::details::log_msg& message) override {
    if (message.level < spdlog::level::warn) spdlog::sinks::stdout_sink_mt::log(message);
  }
};

spdlog::level::level_enum level_of(Verbosity verbosity) {
  switch (verbosity) {
    case Verbosity::kMinimal: return spdlog::level::warn;
    case Verbosity::kNormal: return spdlog::level::info;
    case Verbosity::kVerbose: return spdlog::level::debug;
    case Verbosity::kDebug: return spdlog::level::trace;
  }
  return spdlog::level::info;
}

}  // namespace

void start_log(Verbosity verbosity, bool notes_to_stderr) {
  std::vector<spdlog::sink_ptr> sinks;
  // Its own choice, kept from it, does not know NO_COLOR.
  auto errors = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>(
      colours(stderr) ? spdlog::color_mode::always : spdlog::color_mode::never);
  errors->set_color(spdlog::level::warn, errors->yellow);
  errors->set_color(spdlog::level::err, errors->red);
  if (notes_to_stderr) {
    errors->set_pattern("%v");
  } else {
    auto notes = std::make_shared<NotesSink>();
    notes->set_pattern(verbosity == Verbosity::kDebug ? "[%H:%M:%S.%e] %v" : "%v");
    sinks.push_back(notes);
    errors->set_level(spdlog::level::warn);
    errors->set_pattern("convert_to_quant: %^%l%$: %v");
  }
  sinks.push_back(errors);
  auto logger = std::make_shared<spdlog::logger>("ctq", sinks.begin(), sinks.end());
  logger->set_level(level_of(verbosity));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

int warning_count() { return warnings.load(); }

void detail::log_warning(const std::string& message) {
  ++warnings;
  spdlog::warn(message);
}

}  // namespace ctq
