#include "output_relay.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ctq::cli::batch {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kErrorMark = "convert_to_quant: error: ";

/// The line with the job in it; empty where it is no JSON object.
std::string with_job(const std::string& line, const Job& job) {
  if (!line.starts_with('{')) return {};
  const ordered_json said = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!said.is_object()) return {};
  ordered_json json{{"file", job.input}};
  if (!job.recipe.empty()) json["recipe"] = job.recipe;
  for (const auto& [key, value] : said.items()) json[key] = value;
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

void OutputRelay::take(std::string_view bytes) {
  if (relay_ == Relay::kBytes) std::fwrite(bytes.data(), 1, bytes.size(), to_);
  for (size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
    unfinished_ += bytes.substr(0, end);
    take_line(unfinished_);
    unfinished_.clear();
    bytes.remove_prefix(end + 1);
  }
  unfinished_ += bytes;
}

void OutputRelay::finish() {
  if (!unfinished_.empty()) take_line(unfinished_);
  unfinished_.clear();
  std::fflush(to_);
}

void OutputRelay::take_line(const std::string& line) {
  if (const size_t mark = line.find(kErrorMark); mark != std::string::npos)
    error_ = line.substr(mark + kErrorMark.size());
  if (relay_ == Relay::kBytes) return;
  if (relay_ == Relay::kJson) {
    const std::string json = with_job(line, job_);
    fmt::print(to_, "{}\n", json.empty() ? line : json);
  } else {
    fmt::print(to_, "{}: {}\n", job_.label(), line);
  }
}

}  // namespace ctq::cli::batch
