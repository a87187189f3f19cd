// The callbacks of the JSON parser, folded into four. Parsing by events is what lets us see duplicate keys
// and name the place of a wrong type; it also needs no stack, however deep the text nests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace ctq::safetensors {

struct JsonScalar {
  enum class Kind { kNull, kBoolean, kNumber, kString };
  Kind kind;
  std::string text;               ///< the string; a number as it is written
  std::optional<uint64_t> whole;  ///< a number that is whole, not negative (nor "-0") and below 2^63

  /// "a string", "the number 1.5": for messages.
  std::string described() const;
};

class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  enum class Container { kObject, kArray };

  virtual void on_scalar(JsonScalar scalar) = 0;
  virtual void on_open(Container container) = 0;
  virtual void on_close() = 0;
  virtual void on_key(std::string key) = 0;
  /// The text is not JSON. `offset` is the byte at which that shows, `near` the last piece read. Must throw.
  virtual void on_syntax_error(size_t offset, const std::string& near) = 0;

  /// Runs the events over a text that must be one JSON value.
  void read(std::string_view text);

 private:
  bool null() final;
  bool boolean(bool value) final;
  bool number_integer(int64_t value) final;
  bool number_unsigned(uint64_t value) final;
  bool number_float(double value, const std::string& text) final;
  bool string(std::string& value) final;
  bool binary(nlohmann::json::binary_t& value) final;
  bool start_object(size_t elements) final;
  bool key(std::string& value) final;
  bool end_object() final;
  bool start_array(size_t elements) final;
  bool end_array() final;
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::json::exception& error) final;
};

/// "an object", "an array".
std::string_view described(JsonEvents::Container container);

/// The text as a JSON string with its quotes: quotes, backslashes and control characters escaped, the rest as
/// it is.
std::string json_string(const std::string& utf8);

}  // namespace ctq::safetensors
