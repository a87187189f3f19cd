// The callbacks of the JSON parser, folded into four.
#include "json_events.h"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/text.h"

namespace ctq::safetensors {

std::string JsonScalar::described() const {
  switch (kind) {
    case Kind::kNull: return "null";
    case Kind::kBoolean: return "a boolean";
    case Kind::kNumber: return fmt::format("the number {}", printable(text, 40));
    case Kind::kString: return fmt::format("the string '{}'", printable(text, 40));
  }
  return {};
}

std::string_view described(JsonEvents::Container container) {
  return container == JsonEvents::Container::kObject ? "an object" : "an array";
}

std::string json_string(const std::string& utf8) { return nlohmann::json(utf8).dump(); }

void JsonEvents::read(std::string_view text) {
  // The parser takes a NUL for the end of the text and skips a byte order mark; JSON allows neither.
  if (text.starts_with("\xEF\xBB\xBF")) on_syntax_error(0, "\xEF\xBB\xBF");
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    on_syntax_error(nul, std::string(1, '\0'));
  nlohmann::json_sax<nlohmann::json>& events = *this;
  nlohmann::json::sax_parse(text.begin(), text.end(), &events);
}

bool JsonEvents::null() { return on_scalar({JsonScalar::Kind::kNull, "null", {}}), true; }

bool JsonEvents::boolean(bool value) {
  return on_scalar({JsonScalar::Kind::kBoolean, value ? "true" : "false", {}}), true;
}

// Only for numbers with a minus sign, "-0" among them.
bool JsonEvents::number_integer(int64_t value) {
  return on_scalar({JsonScalar::Kind::kNumber, value == 0 ? "-0" : std::to_string(value), {}}), true;
}

bool JsonEvents::number_unsigned(uint64_t value) {
  JsonScalar scalar{JsonScalar::Kind::kNumber, std::to_string(value), value};
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) scalar.whole.reset();
  return on_scalar(std::move(scalar)), true;
}

bool JsonEvents::number_float(double, const std::string& text) {
  return on_scalar({JsonScalar::Kind::kNumber, text, {}}), true;
}

bool JsonEvents::string(std::string& value) {
  return on_scalar({JsonScalar::Kind::kString, std::move(value), {}}), true;
}

bool JsonEvents::binary(nlohmann::json::binary_t&) { return false; }

bool JsonEvents::start_object(size_t) { return on_open(Container::kObject), true; }
bool JsonEvents::start_array(size_t) { return on_open(Container::kArray), true; }
bool JsonEvents::end_object() { return on_close(), true; }
bool JsonEvents::end_array() { return on_close(), true; }
bool JsonEvents::key(std::string& value) { return on_key(std::move(value)), true; }

bool JsonEvents::parse_error(size_t position, const std::string& last_token,
                             const nlohmann::json::exception&) {
  on_syntax_error(position == 0 ? 0 : position - 1, last_token);  // the parser counts bytes read
  return false;
}

}  // namespace ctq::safetensors
