// The values of --add-keys.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "format/marker_json.h"

namespace ctq::format {
namespace {

using nlohmann::ordered_json;

/// Reads 'key': value, 'key2': value2 from left to right.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::vector<std::pair<std::string, std::string>> read() {
    std::vector<std::pair<std::string, std::string>> pairs;
    do {
      const std::string key = quoted("a key in quotes");
      expect(':');
      pairs.emplace_back(key, value());
    } while (skip(','));
    if (peek() != '\0') refuse("a comma");
    return pairs;
  }

 private:
  [[noreturn]] void refuse(std::string_view wanted) const {
    fail(ErrorCode::kUsage, "expected {} at character {} (got '{}')", wanted, at_ + 1, printable(text_));
  }
  /// The next character that is no blank; NUL at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool skip(char c) { return peek() == c && ++at_ > 0; }
  void expect(char c) {
    if (!skip(c)) refuse(std::string_view(&c, 1));
  }

  std::string quoted(std::string_view wanted) {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse(wanted);
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) refuse("a closing quote");
    std::string content(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return content;
  }

  std::string value() {
    if (const char c = peek(); c == '\'' || c == '"') return ordered_json(quoted("text")).dump();
    const size_t start = at_;
    for (int depth = 0; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        const size_t end = text_.find('"', at_ + 1);
        at_ = end == std::string_view::npos ? text_.size() - 1 : end;
      }
      if (c == '[' || c == '{') ++depth;
      if (c == ']' || c == '}') --depth;
      if (c == ',' && depth == 0) break;
    }
    const ordered_json parsed =
        ordered_json::parse(text_.substr(start, at_ - start), nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_discarded()) return parsed.dump();
    at_ = start;
    refuse("true, false, a number, a list or text in quotes");
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::vector<std::pair<std::string, std::string>> parse_key_values(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos || text[first] != '{') return Reader(text).read();
  const ordered_json object = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) fail(ErrorCode::kUsage, "not a JSON object (got '{}')", printable(text));
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [key, value] : object.items()) pairs.emplace_back(key, value.dump());
  return pairs;
}

}  // namespace ctq::format
