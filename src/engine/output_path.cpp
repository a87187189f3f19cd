#include "engine/output_path.h"

#include <filesystem>

#include "base/error.h"
#include "safetensors/index.h"

namespace ctq::engine {
namespace {

namespace fs = std::filesystem;

/// The same file, after links, by device and inode; also where the output does not exist but its name
/// resolves to the input's.
bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const fs::path left = fs::weakly_canonical(a, error), right = fs::weakly_canonical(b, error);
  return !error && left == right;
}

[[noreturn]] void refuse_same(const std::string& output, const std::string& input) {
  fail(ErrorCode::kUsage, "{}: the output is the input file '{}'; choose another name", output, input);
}

}  // namespace

void check_output_path(const std::string& output, const std::string& input) {
  if (is_same_file(output, input)) refuse_same(output, input);
  std::error_code error;
  if (fs::is_directory(output, error)) {
    fail(ErrorCode::kFailure, "{}: is a directory; name the file to write", output);
  }
}

void check_output_path(const std::string& output, const std::string& input, const Setting<bool>& no_clobber) {
  check_output_path(output, input);
  std::error_code error;
  if (*no_clobber && fs::exists(fs::symlink_status(output, error)))
    fail(ErrorCode::kFailure, "{}: exists already, and is not to be replaced ({})", output, no_clobber);
}

void check_output_is_no_input(const std::string& output, const model::Checkpoint& checkpoint) {
  for (const std::string& file : checkpoint.files()) {
    if (is_same_file(output, file)) refuse_same(output, file);
  }
}

std::string lora_output_name(const std::string& quantized) {
  return input_stem(quantized) + "_lora.safetensors";
}

std::string input_stem(const std::string& input) {
  std::filesystem::path path(input);
  std::string name = path.filename().string();
  if (name.empty()) path = path.parent_path(), name = path.filename().string();  // "folder/"
  if (const auto shard = safetensors::parse_shard_name(name)) {
    name = shard->stem;
  } else if (const size_t index = name.find(".safetensors.index."); index != std::string::npos) {
    name.resize(index);
  } else if (name.ends_with(".safetensors")) {
    name.resize(name.size() - std::string_view(".safetensors").size());
  }
  return (path.parent_path() / name).string();
}

}  // namespace ctq::engine
