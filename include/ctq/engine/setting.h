// One setting: its value, who chose it, and what messages call it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ctq/engine/words.h"
#include "ctq/error.h"

namespace ctq::engine {

/// Who chose a value. A recipe's choice gives way where a user's is an error.
enum class By : uint8_t { kDefault, kRecipe, kUser };

/// What does not depend on the value's type.
class AnySetting {
 public:
  /// "rounding.sweeps": group and field.
  std::string_view name() const { return name_; }
  /// What messages call it: what the front end does, "--sweeps"; else its name. Lives as long as the setting.
  std::string_view label() const { return label_.empty() ? name_ : std::string_view(label_); }
  void set_label(std::string_view label) { label_ = label; }

  /// By a user or a recipe.
  bool given() const { return by_ != By::kDefault; }
  bool by_user() const { return by_ == By::kUser; }

 protected:
  constexpr explicit AnySetting(std::string_view name) : name_(name) {}

  std::string_view name_;
  std::string label_;
  By by_ = By::kDefault;
  std::string written_;
};

template <typename T>
class Setting : public AnySetting {
 public:
  /// name: must outlive the setting
  explicit Setting(std::string_view name, T standard = {}) : AnySetting(name), value_(std::move(standard)) {}

  const T& operator*() const { return value_; }
  const T* operator->() const { return &value_; }
  Setting& operator=(T value) {
    set(std::move(value));
    return *this;
  }
  /// written: how messages show the value; empty: as text() has it
  void set(T value, By by = By::kUser, std::string written = {}) {
    value_ = std::move(value);
    by_ = by;
    written_ = std::move(written);
  }
  /// By its word, for types that have words. throws Error(kUsage) for another word
  void choose(std::string_view word);
  /// The value for people.
  std::string text() const { return written_.empty() ? to_text(value_) : written_; }
  /// The value itself: equal texts are equal values.
  std::string exact_text() const { return to_text(value_); }

 private:
  static std::string to_text(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      return fmt::format("{}", fmt::join(value, ", "));
    } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
      return value.string();
    } else if constexpr (std::is_same_v<T, std::vector<std::filesystem::path>>) {
      std::vector<std::string> paths;
      for (const std::filesystem::path& path : value) paths.push_back(path.string());
      return fmt::format("{}", fmt::join(paths, ", "));
    } else if constexpr (std::is_arithmetic_v<T>) {
      return fmt::format("{}", value);
    } else if constexpr (std::is_same_v<T, std::optional<int64_t>> ||
                         std::is_same_v<T, std::optional<double>>) {
      return value ? fmt::format("{}", *value) : "";
    } else {
      return std::string(word_of(value));
    }
  }

  T value_;
};

/// throws  Error(kUsage) "argument <setting>: <fact> (got '<value>')"
[[noreturn]] void refuse(const AnySetting& setting, std::string_view fact, std::string_view value);
template <typename T>
[[noreturn]] void refuse(const Setting<T>& setting, std::string_view fact) {
  refuse(setting, fact, setting.text());
}
/// Without the value, where it is not what is wrong.
[[noreturn]] void refuse_to_have(const AnySetting& setting, std::string_view fact);

template <typename T>
void Setting<T>::choose(std::string_view word) {
  using E = typename Chosen<T>::type;
  if (const std::optional<E> value = value_of<E>(word)) return set(*value);
  refuse(*this, fmt::format("must be one of {}", fmt::join(words_of_type<E>(), ", ")), word);
}

/// Calls run(); an Error that it throws names the setting, whose file it is about.
template <typename Run>
auto naming(const AnySetting& setting, const Run& run) {
  try {
    return run();
  } catch (const Error& error) {
    fail(error.code(), "argument {}: {}", setting.label(), error.what());
  }
}

}  // namespace ctq::engine

/// A setting in a message is its label.
template <typename T>
struct fmt::formatter<ctq::engine::Setting<T>> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const ctq::engine::Setting<T>& setting, Context& context) const {
    return fmt::formatter<std::string_view>::format(setting.label(), context);
  }
};
template <>
struct fmt::formatter<ctq::engine::AnySetting> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const ctq::engine::AnySetting& setting, Context& context) const {
    return fmt::formatter<std::string_view>::format(setting.label(), context);
  }
};
