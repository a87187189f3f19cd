#include "format/marker.h"

#include <charconv>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "spaced_json.h"

namespace ctq::format {

using nlohmann::ordered_json;

namespace {

/// Of digits alone, with a sign or without one.
std::optional<int64_t> whole_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  return fault == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

}  // namespace

Marker::Marker() : value_(std::make_shared<const ordered_json>(ordered_json::object())) {}

Marker Marker::parse(std::string_view text) {
  // The parser would take a NUL for the end of the text; Python does not.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    fail(ErrorCode::kBadInput, "is not JSON: a NUL at byte {}", nul + 1);
  Marker marker;
  try {
    marker.value_ = std::make_shared<const ordered_json>(ordered_json::parse(text));
  } catch (const ordered_json::parse_error& error) {
    fail(ErrorCode::kBadInput, "is not JSON: no value at byte {}", error.byte);
  }
  if (!marker.value_->is_object()) fail(ErrorCode::kBadInput, "is not a JSON object");
  return marker;
}

std::string Marker::text() const { return spaced(*value_); }

std::string Marker::format() const {
  const auto found = value_->find("format");
  return found != value_->end() && found->is_string() ? found->get<std::string>() : "";
}

bool Marker::has(std::string_view key) const { return value_->contains(key); }

const ordered_json* Marker::parameter(std::string_view key) const {
  if (const auto found = value_->find(key); found != value_->end()) return &*found;
  const auto parameters = value_->find("params");
  if (parameters == value_->end() || !parameters->is_object()) return nullptr;
  const auto found = parameters->find(key);
  return found == parameters->end() ? nullptr : &*found;
}

bool Marker::flag(std::string_view key) const {
  const ordered_json* found = parameter(key);
  if (!found || found->is_null()) return false;
  if (found->is_boolean()) return found->get<bool>();
  if (found->is_number()) return found->get<double>() != 0;
  return found->is_string() ? !found->get_ref<const std::string&>().empty() : !found->empty();
}

bool Marker::is_boolean(std::string_view key) const {
  const auto found = value_->find(key);
  return found == value_->end() || found->is_boolean();
}

std::optional<int64_t> Marker::integer(std::string_view key, int64_t otherwise) const {
  const ordered_json* found = parameter(key);
  if (!found) return otherwise;
  if (found->is_string()) return whole_number(found->get_ref<const std::string&>());
  return found->is_number_integer() ? std::optional(found->get<int64_t>()) : std::nullopt;
}

bool Marker::is_number(std::string_view key) const {
  const ordered_json* found = parameter(key);
  return !found || found->is_number();
}

std::optional<std::string> Marker::word(std::string_view key, std::string_view otherwise) const {
  const ordered_json* found = parameter(key);
  if (!found) return std::string(otherwise);
  return found->is_string() ? std::optional(found->get<std::string>()) : std::nullopt;
}

std::vector<int64_t> Marker::original_shape() const {
  const auto found = value_->find("orig_shape");
  if (found == value_->end() || !found->is_array()) return {};
  std::vector<int64_t> shape;
  for (const ordered_json& size : *found) {
    if (!size.is_number_integer() || size.get<int64_t>() < 1) return {};
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

bool Marker::operator==(const Marker& other) const {
  return nlohmann::json(*value_) == nlohmann::json(*other.value_);
}

std::map<std::string, Marker> header_markers(std::string_view metadata) {
  constexpr const char* kFault = "is not JSON with an object of objects under \"layers\"";
  const ordered_json value = ordered_json::parse(metadata, nullptr, /*allow_exceptions=*/false);
  const auto layers = value.is_object() ? value.find("layers") : value.end();
  if (layers == value.end() || !layers->is_object()) fail(ErrorCode::kBadInput, kFault);
  std::map<std::string, Marker> markers;
  for (const auto& [layer, marker] : layers->items()) {
    if (!marker.is_object()) fail(ErrorCode::kBadInput, kFault);
    markers[layer] = Marker::parse(marker.dump());
  }
  return markers;
}

}  // namespace ctq::format
