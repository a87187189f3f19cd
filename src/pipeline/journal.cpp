#include "journal.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/shell.h"
#include "output_set.h"
#include "safetensors/writer.h"

namespace ctq::pipeline {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr int kLayout = 1;  // of the journal's lines
constexpr int kShareOfTime = 50;
constexpr milliseconds kShortestWait{100};
constexpr milliseconds kLongestWait{30'000};

std::string_view difference(const ResumeKey& a, const ResumeKey& b) {
  if (b.version.empty()) return "(--no-resume)";
  if (a.version != b.version) return "by another version of this program";
  if (a.input != b.input) return "of another input";
  return "with other options, or other files that they name";
}

}  // namespace

Journal::Journal(const std::string& output, ResumeKey key)
    : output_(output), key_(std::move(key)), log_(output) {
  const std::vector<std::string>& lines = log_.found();
  if (lines.empty() || !read_header(lines.front())) return;
  for (const std::string& line : std::span(lines).subspan(1)) {
    if (auto record = read_record(line)) found_[record->tensor] = std::move(*record);
  }
  records_ = found_.size();
  begun_ = true;
}

Journal::~Journal() {
  if (!kept_) remove_partials();
}

void Journal::remove_left(const std::string& output) {
  if (safetensors::RecordLog::exists(output))
    const Journal none(output, {.version = "", .input = "", .options = ""});
}

bool Journal::read_header(const std::string& line) {
  ResumeKey key;
  plan::ValueFindings findings;
  try {
    const json header = json::parse(line);
    if (header.at("journal") != kLayout) return false;
    files_ = header.at("files").get<std::vector<std::string>>();
    key = {.version = header.at("version"), .input = header.at("input"), .options = header.at("options")};
    findings = header.at("findings").get<plan::ValueFindings>();
  } catch (const json::exception&) {  // not written by this program, or not whole
    spdlog::info("not resuming: {} is no journal; it is removed", log_.file());
    return false;
  }
  if (key.version == key_.version && key.input == key_.input && key.options == key_.options) {
    findings_ = std::move(findings);
    return true;
  }
  spdlog::info("not resuming: {} is of an interrupted run {}; it is removed", log_.file(),
               difference(key, key_));
  remove_partials();
  return false;
}

void Journal::remove_partials() {
  const std::filesystem::path folder = std::filesystem::path(output_).parent_path();
  for (const std::string& file : files_)
    ::unlink(safetensors::partial_path((folder / file).string()).c_str());
  files_.clear();
}

const DoneRecord* Journal::find(const std::string& tensor) const {
  const auto found = found_.find(tensor);
  return found == found_.end() ? nullptr : &found->second;
}

void Journal::begin(const plan::Plan& plan, const plan::ValueFindings& findings) {
  if (begun_ && findings == findings_) return;
  remove_partials();
  for (const plan::OutputFile& file : plan.files) files_.push_back(file.name);
  if (plan.files.size() > 1) files_.push_back(index_name(std::filesystem::path(output_).filename().string()));
  findings_ = findings;
  found_.clear();
  waiting_.clear();
  records_ = 0;
  begun_ = true;
  const json header = {{"journal", kLayout},      {"version", key_.version}, {"input", key_.input},
                       {"options", key_.options}, {"files", files_},         {"findings", findings_}};
  log_.clear();
  log_.append(std::array{header.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace)});
}

void Journal::add(const DoneRecord& record, const std::function<void()>& sync_data) {
  waiting_.push_back(write_record(record));
  if (Clock::now() >= next_flush_) flush(sync_data);
}

void Journal::flush(const std::function<void()>& sync_data) {
  if (waiting_.empty()) return;
  const Clock::time_point start = Clock::now();
  sync_data();
  log_.append(waiting_);
  records_ += waiting_.size();
  waiting_.clear();
  const Clock::time_point end = Clock::now();
  next_flush_ = end + std::clamp<Clock::duration>((end - start) * kShareOfTime, kShortestWait, kLongestWait);
}

bool Journal::keep() {
  if (records_ == 0) return false;
  log_.keep();
  return kept_ = true;
}

std::string Journal::removal() const {
  const std::filesystem::path folder = std::filesystem::path(output_).parent_path();
  std::string command = "rm -f " + shell_quoted(log_.file());
  for (const std::string& file : files_)
    command += " " + shell_quoted(safetensors::partial_path((folder / file).string()));
  return command;
}

}  // namespace ctq::pipeline
