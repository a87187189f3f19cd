// Reading a layer's marker, whoever wrote it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ctq::format {

/// The JSON object of `<layer>.comfy_quant`, or of a layer in the header. Parameters of a format stand at its
/// top level or in an object "params", which readers look at second; so does this class.
class Marker {
 public:
  Marker();  ///< an empty object

  /// throws  Error(kBadInput) "is not JSON: ..." or "is not a JSON object", for a sentence that begins with
  /// what the text is
  static Marker parse(std::string_view text);

  /// Spaced as Python's json.dumps does.
  std::string text() const;
  /// The value of "format"; empty where it is absent or no string.
  std::string format() const;
  /// Whether the key stands at the top level.
  bool has(std::string_view key) const;
  /// Whether the parameter is there and not false, 0, null or empty: what Python takes for true.
  bool flag(std::string_view key) const;
  /// True when the key is absent or a JSON boolean.
  bool is_boolean(std::string_view key) const;
  /// True when the parameter is absent or a JSON number.
  bool is_number(std::string_view key) const;
  /// The parameter, or `otherwise` where it is absent; nothing where it is no integer. Text is read as
  /// Python's int() reads it, as far as digits go.
  std::optional<int64_t> integer(std::string_view key, int64_t otherwise) const;
  /// The parameter, or `otherwise` where it is absent; nothing where it is no string.
  std::optional<std::string> word(std::string_view key, std::string_view otherwise) const;
  /// "orig_shape"; empty where it is absent or no list of integers above 0.
  std::vector<int64_t> original_shape() const;

  /// The same keys and values, in any order.
  bool operator==(const Marker& other) const;

 private:
  const nlohmann::ordered_json* parameter(std::string_view key) const;
  std::shared_ptr<const nlohmann::ordered_json> value_;
};

/// The markers of the header's `_quantization_metadata`, by layer.
/// throws  Error(kBadInput) "is not JSON with an object of objects under \"layers\""
std::map<std::string, Marker> header_markers(std::string_view metadata);

}  // namespace ctq::format
