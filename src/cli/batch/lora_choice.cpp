#include "lora_choice.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/job.h"
#include "engine/output_path.h"

namespace ctq::cli::batch {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

using Mapping = engine::Setting<engine::Path>;

[[noreturn]] void refuse(const Mapping& mapping, const std::string& fact) {
  fail(ErrorCode::kBadInput, "argument {}: {}: {}", mapping, mapping->string(), fact);
}

ordered_json parse_mapping(const Mapping& mapping) {
  std::set<std::string> keys;
  const auto watch = [&](int depth, ordered_json::parse_event_t event, ordered_json& value) {
    if (event == ordered_json::parse_event_t::key && depth == 1 &&
        !keys.insert(value.get<std::string>()).second)
      refuse(mapping, "the key '" + printable(value.get<std::string>()) + "' stands twice");
    return true;
  };
  const std::string text = engine::text_of_file(mapping, mapping->string());
  ordered_json root = ordered_json::parse(text, watch, /*allow_exceptions=*/false);
  if (!root.is_object()) refuse(mapping, "is not a JSON object of LoRAs");
  return root;
}

std::vector<std::string> paths_of(const Mapping& mapping, const std::string& key, const ordered_json& value) {
  const auto is_path = [](const ordered_json& path) { return path.is_string() && path != ""; };
  if (is_path(value)) return {value.get<std::string>()};
  if (!value.is_array() || value.empty() || !std::ranges::all_of(value, is_path))
    refuse(mapping, "'" + printable(key) + "' is neither a path nor a list of paths");
  return value.get<std::vector<std::string>>();
}

bool is_delimiter(char c) { return c == '.' || c == '_' || c == '-'; }

/// "model_1" in "my_model_1", not in "model_10".
bool has_part(const std::string& stem, const std::string& part) {
  for (size_t at = stem.find(part); at != std::string::npos; at = stem.find(part, at + 1)) {
    const size_t end = at + part.size();
    if ((at == 0 || is_delimiter(stem[at - 1])) && (end == stem.size() || is_delimiter(stem[end])))
      return true;
  }
  return false;
}

}  // namespace

LoraChoice::LoraChoice(const BatchOptions& options)
    : single_(options.lora->string()), folder_(options.lora_dir->string()) {
  if (!single_.empty() && !fs::exists(single_))
    fail(ErrorCode::kBadInput, "argument {}: {}: there is no such file", options.lora, single_);
  if (!folder_.empty() && !fs::is_directory(folder_))
    fail(ErrorCode::kBadInput, "argument {}: {}: there is no such folder", options.lora_dir, folder_);
  for (const engine::AnySetting* other :
       std::initializer_list<const engine::AnySetting*>{&options.lora_dir, &options.lora_mapping}) {
    if (!single_.empty() && other->given())
      spdlog::info("note: {} has no effect with {}, which serves every file", *other, options.lora);
  }
  if (!options.lora_mapping.given()) return;
  const ordered_json mapping = parse_mapping(options.lora_mapping);
  for (const auto& [key, value] : mapping.items()) {
    if (!key.empty() && key[0] != '_') mapping_.emplace_back(key, paths_of(options.lora_mapping, key, value));
  }
  if (mapping_.empty()) refuse(options.lora_mapping, "names no LoRA");
}

std::vector<std::string> LoraChoice::of(const std::string& input) const {
  if (!single_.empty()) return {single_};
  if (const Rule* rule = rule_for(input)) {
    std::vector<std::string> paths;
    for (const std::string& path : rule->second) paths.push_back(located(path));
    return paths;
  }
  if (folder_.empty()) return {};
  const std::string stem = fs::path(engine::input_stem(input)).filename().string();
  for (const std::string_view ending : {".safetensors", "_lora.safetensors"}) {
    const fs::path path = fs::path(folder_) / (stem + std::string(ending));
    std::error_code different;
    if (fs::exists(path) && !fs::equivalent(path, input, different)) return {path.string()};
  }
  return {};
}

const LoraChoice::Rule* LoraChoice::rule_for(const std::string& input) const {
  const std::string name = fs::path(input).filename().string();
  const std::string stem = fs::path(engine::input_stem(input)).filename().string();
  for (const std::string& wanted : {name, stem}) {
    const auto rule = std::ranges::find(mapping_, wanted, &Rule::first);
    if (rule != mapping_.end()) return &*rule;
  }
  const auto rule =
      std::ranges::find_if(mapping_, [&](const Rule& row) { return has_part(stem, row.first); });
  return rule == mapping_.end() ? nullptr : &*rule;
}

/// A relative path that is not here is looked up in --lora-dir.
std::string LoraChoice::located(const std::string& path) const {
  return folder_.empty() || fs::exists(path) ? path : (fs::path(folder_) / path).string();
}

}  // namespace ctq::cli::batch
