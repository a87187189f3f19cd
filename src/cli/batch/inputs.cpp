#include "inputs.h"

#include <fnmatch.h>
#include <glob.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "model/checkpoint.h"
#include "quantized/evidence.h"

namespace ctq::cli::batch {
namespace {

namespace fs = std::filesystem;

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

bool looks_quantized(const std::string& path) {
  try {
    return !quantized::find_quantized(model::Checkpoint::open(path)).empty();
  } catch (const Error&) {
    return false;
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

std::vector<std::string> find_inputs(const BatchOptions& options) {
  if (options.inputs.given() == options.directory.given())
    engine::refuse_to_have(options.inputs, fmt::format("exactly one of {} and {} names the files",
                                                       options.inputs, options.directory));
  if (options.pattern.given() && !options.directory.given())
    engine::refuse_to_have(options.pattern, fmt::format("goes with {}", options.directory));
  std::set<std::string> paths, found;
  if (options.directory.given()) {
    for (std::string& path : files_of(options)) found.insert(std::move(path));
  }
  for (const engine::Path& path : *options.inputs) {
    const std::string input = path.string();
    if (fs::exists(input) || input.find_first_of("*?[") == std::string::npos) {
      paths.insert(input);
    } else {
      for (std::string& match : matches(input)) found.insert(std::move(match));
    }
  }
  size_t left_out = 0;
  for (const std::string& path : one_of_each_set(found)) {
    if (!*options.include_quantized && looks_quantized(path)) {
      ++left_out;
    } else {
      paths.insert(path);
    }
  }
  if (left_out > 0)
    spdlog::info("note: {} files are quantized already and left out ({})", left_out,
                 options.include_quantized);
  const std::set<std::string> models = one_of_each_set(paths);
  return {models.begin(), models.end()};
}

}  // namespace ctq::cli::batch
