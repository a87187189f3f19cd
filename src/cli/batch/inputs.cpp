#include "inputs.h"

#include <fnmatch.h>
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "model/checkpoint.h"
#include "model/file_kind.h"
#include "quantized/evidence.h"

namespace ctq::cli::batch {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kQuantized = "are quantized already";

/// Shards of one model are one input.
std::set<std::string> one_of_each_set(const std::set<std::string>& paths) {
  std::set<std::string> models;
  std::set<std::vector<std::string>> seen;
  for (const std::string& path : paths) {
    std::vector<std::string> files{path};
    try {
      files = safetensors::resolve_checkpoint(path).files;
    } catch (const Error&) {
      // The conversion says what is wrong with it.
    }
    if (seen.insert(std::move(files)).second) models.insert(path);
  }
  return models;
}

/// Why a file that was not named is left out: "are quantized already"; empty: it is not.
std::string_view unasked_for(const std::string& path, bool adapters) {
  try {
    const model::Checkpoint checkpoint = model::Checkpoint::open(path);
    switch (model::kind_of(checkpoint)) {
      case model::FileKind::kAdapter: return adapters ? "" : "are adapters (LoRA)";
      case model::FileKind::kCalibration: return "are calibration files";
      case model::FileKind::kModel:
      case model::FileKind::kVae: break;
    }
    return quantized::find_quantized(checkpoint).empty() ? "" : kQuantized;
  } catch (const Error&) {
    return "";
  }
}

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (paths.empty()) fail(ErrorCode::kBadInput, "{}: no file matches", pattern);
  return paths;
}

std::vector<std::string> files_of(const BatchOptions& options) {
  const std::string directory = options.directory->string(), &pattern = *options.pattern;
  std::error_code error;
  std::vector<std::string> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file(error) && ::fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0)
      paths.push_back(entry.path().string());
  }
  if (error) fail(ErrorCode::kBadInput, "argument {}: {}: {}", options.directory, directory, error.message());
  if (paths.empty()) fail(ErrorCode::kBadInput, "{}: no file matches '{}'", directory, pattern);
  return paths;
}

}  // namespace

std::vector<std::string> find_inputs(const BatchOptions& options, bool adapters) {
  if (options.inputs.given() == options.directory.given())
    engine::refuse_to_have(options.inputs, fmt::format("exactly one of {} and {} names the files",
                                                       options.inputs, options.directory));
  if (options.pattern.given() && !options.directory.given())
    engine::refuse_to_have(options.pattern, fmt::format("goes with {}", options.directory));
  const auto is_glob = [](const engine::Path& path) {
    return !fs::exists(path) && path.string().find_first_of("*?[") != std::string::npos;
  };
  if (options.include_quantized.given() && !options.directory.given() &&
      std::ranges::none_of(*options.inputs, is_glob))
    engine::refuse_to_have(
        options.include_quantized,
        fmt::format("goes with {} or a glob: a file that is named is never left out", options.directory));
  std::set<std::string> paths, found;
  if (options.directory.given()) {
    for (std::string& path : files_of(options)) found.insert(std::move(path));
  }
  for (const engine::Path& path : *options.inputs) {
    const std::string input = path.string();
    if (!is_glob(path)) {
      paths.insert(input);
    } else {
      for (std::string& match : matches(input)) found.insert(std::move(match));
    }
  }
  std::map<std::string_view, size_t> left_out;
  for (const std::string& path : one_of_each_set(found)) {
    const std::string_view reason = unasked_for(path, adapters);
    if (reason.empty() || (reason == kQuantized && *options.include_quantized)) {
      paths.insert(path);
    } else {
      ++left_out[reason];
    }
  }
  for (const auto& [reason, count] : left_out)
    spdlog::info("note: {} files {} and left out{}", count, reason,
                 reason == kQuantized ? fmt::format(" ({})", options.include_quantized) : "");
  const std::set<std::string> models = one_of_each_set(paths);
  return {models.begin(), models.end()};
}

}  // namespace ctq::cli::batch
