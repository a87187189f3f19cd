#include "recipe_file.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "file_option.h"
#include "option_file.h"

namespace ctq::cli {
namespace {

constexpr std::array<std::string_view, 4> kOfOneRun = {"input", "output", "recipe", "profile"};

[[noreturn]] void refuse(std::string_view key, std::string_view fact) {
  fail(ErrorCode::kUsage, "'{}' {}", printable(key), fact);
}

std::string words_of(const std::string& key, const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  refuse(key, "must be a string, a number or a boolean");
}

}  // namespace

std::vector<std::pair<std::string, std::string>> read_recipe(const std::string& path) {
  const std::string text = read_option_file("--recipe", path);
  const nlohmann::json root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    fail(ErrorCode::kUsage, "argument --recipe: {}: is not a JSON object of options", path);
  std::vector<std::pair<std::string, std::string>> chosen;
  for (const auto& [key, value] : root.items()) {
    try {
      FileOption option = option_of_file(key, words_of(key, value));
      if (std::ranges::find(kOfOneRun, option.key) != kOfOneRun.end()) refuse(key, "belongs to a single run");
      chosen.emplace_back(std::move(option.key), std::move(option.value));
    } catch (const Error& error) {
      fail(error.code(), "argument --recipe: {}: {}", path, error.what());
    }
  }
  return chosen;
}

}  // namespace ctq::cli
