#include "engine/log.h"

#include <memory>
#include <mutex>
#include <utility>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>

#include "base/log.h"

namespace ctq::engine {
namespace {

struct Level {
  LogLevel level;
  spdlog::level::level_enum in_spdlog;
  Verbosity least;  ///< of a log from there on
};
constexpr Level kLevels[] = {{LogLevel::kTrace, spdlog::level::trace, Verbosity::kDebug},
                             {LogLevel::kDetail, spdlog::level::debug, Verbosity::kVerbose},
                             {LogLevel::kNote, spdlog::level::info, Verbosity::kNormal},
                             {LogLevel::kWarning, spdlog::level::warn, Verbosity::kMinimal},
                             {LogLevel::kError, spdlog::level::err, Verbosity::kMinimal}};

const Level& row_of(LogLevel level) {
  for (const Level& row : kLevels)
    if (row.level == level) return row;
  return kLevels[0];
}

/// Hands lines on.
class FunctionSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FunctionSink(std::function<void(LogLevel, std::string_view)> take) : take_(std::move(take)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    LogLevel level = LogLevel::kError;
    for (const Level& row : kLevels)
      if (row.in_spdlog == message.level) level = row.level;
    take_(level, {message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

 private:
  const std::function<void(LogLevel, std::string_view)> take_;
};

}  // namespace

void log_as(const SessionOptions& options) {
  const Level& least = row_of(options.least);
  if (!options.log && options.console != Console::kNone)
    return start_log(least.least, /*notes_to_stderr=*/options.console == Console::kAllToStderr);
  spdlog::sink_ptr sink;
  if (options.log) {
    sink = std::make_shared<FunctionSink>(options.log);
  } else {
    sink = std::make_shared<spdlog::sinks::null_sink_mt>();
  }
  auto logger = std::make_shared<spdlog::logger>("ctq", std::move(sink));
  logger->set_level(least.in_spdlog);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace ctq::engine
