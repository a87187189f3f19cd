#include "recipe_file.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <nlohmann/json.hpp>

#include "cli/option_spelling.h"
#include "cli/option_value.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "option_file.h"

namespace ctq::cli {
namespace {

constexpr std::array<std::string_view, 4> kOfOneRun = {"input", "output", "recipe", "profile"};

[[noreturn]] void refuse(const std::string& path, std::string_view key, std::string_view fact) {
  fail(ErrorCode::kUsage, "argument --recipe: {}: '{}' {}", path, printable(key), fact);
}

std::string words_of(const std::string& path, const std::string& key, const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  refuse(path, key, "must be a string, a number or a boolean");
}

}  // namespace

std::vector<std::pair<std::string, std::string>> read_recipe(const std::string& path) {
  const std::string text = read_option_file("--recipe", path);
  const nlohmann::json root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    fail(ErrorCode::kUsage, "argument --recipe: {}: is not a JSON object of options", path);
  std::vector<std::pair<std::string, std::string>> chosen;
  for (const auto& [key, value] : root.items()) {
    const Spelling* spelling = find_spelling("--" + key);
    if (!spelling || spelling->negated || !spelling->implied.empty()) refuse(path, key, "is no option");
    const std::string name = option_key(spelling->option->name);
    if (!spelling->option->available) refuse(path, key, "is not available in this version");
    if (std::ranges::find(kOfOneRun, name) != kOfOneRun.end()) refuse(path, key, "belongs to a single run");
    std::string words = words_of(path, key, value);
    if (const auto fault = value_fault(*spelling->option, words)) refuse(path, key, *fault);
    if (spelling->option->kind == Kind::kSwitch) words = *parse_switch(words) ? "true" : "false";
    chosen.emplace_back(name, std::move(words));
  }
  return chosen;
}

}  // namespace ctq::cli
