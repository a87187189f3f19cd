#include "adapter_scale.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace ctq::lora {
namespace {

using nlohmann::json;

/// Whether a key of PEFT's patterns names a layer: it is the layer's name, or its last components.
bool names(std::string_view key, std::string_view layer) {
  if (!layer.ends_with(key)) return false;
  return layer.size() == key.size() || layer[layer.size() - key.size() - 1] == '.';
}

double of_pattern(const std::map<std::string, double>& pattern, std::string_view layer, double otherwise) {
  for (const auto& [key, value] : pattern) {
    if (names(key, layer)) return value;
  }
  return otherwise;
}

std::map<std::string, double> read_pattern(const std::string& source, const std::string& key,
                                           const json& value) {
  std::map<std::string, double> pattern;
  for (const auto& [name, number] : value.items()) {
    if (!number.is_number() || name.find_first_of("^$*+?()[]{}|\\") != std::string::npos)
      fail(ErrorCode::kBadInput, "{}: {} '{}' is not a layer's name with a number", source, key,
           printable(name));
    pattern[name] = number.get<double>();
  }
  return pattern;
}

}  // namespace

AdapterScale::AdapterScale(const model::Checkpoint& file) : file_(file) {
  if (const auto found = file.metadata().find("lora_adapter_metadata"); found != file.metadata().end())
    read_peft(file.path() + ": lora_adapter_metadata", found->second);
  const std::filesystem::path path(file.path());
  const std::filesystem::path beside = path.parent_path() / "adapter_config.json";
  std::error_code absent;
  if (peft_.empty() && path.filename() == "adapter_model.safetensors" &&
      std::filesystem::exists(beside, absent)) {
    std::ifstream stream(beside, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(stream), {}};
    if (!stream.is_open()) fail(ErrorCode::kBadInput, "{}: cannot be read", beside.string());
    read_peft(beside.string(), content);
  }
}

void AdapterScale::read_peft(const std::string& source, const std::string& text) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) fail(ErrorCode::kBadInput, "{}: is not a JSON object", source);
  std::map<std::string, Peft> by_prefix;
  for (const auto& [key, value] : root.items()) {
    const size_t dot = key.rfind('.');
    const std::string prefix = dot == std::string::npos ? "" : key.substr(0, dot + 1);
    const std::string word = key.substr(prefix.size());
    if (word == "fan_in_fan_out" && value == true)
      fail(ErrorCode::kBadInput, "{}: {} is on, and the factors are transposed; that is not supported",
           source, key);
    if ((word == "lora_alpha" || word == "alpha") && value.is_number())
      by_prefix[prefix].alpha = value.get<double>();
    if (word == "r" && value.is_number_integer()) by_prefix[prefix].rank = value.get<int64_t>();
    if (word == "use_rslora") by_prefix[prefix].root = value == true;
    if (word == "alpha_pattern" && value.is_object())
      by_prefix[prefix].alpha_pattern = read_pattern(source, key, value);
    if (word == "rank_pattern" && value.is_object())
      by_prefix[prefix].rank_pattern = read_pattern(source, key, value);
  }
  for (auto& [prefix, peft] : by_prefix) {
    if (peft.alpha == 0) continue;  // says nothing of the scale
    peft.prefix = prefix;
    peft_.push_back(std::move(peft));
  }
}

double AdapterScale::header_number(const std::string& key) const {
  const std::string& text = file_.metadata().at(key);
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    fail(ErrorCode::kBadInput, "{}: the header's '{}' is '{}', not a number", file_.path(), printable(key),
         printable(text));
  return value;
}

double AdapterScale::factor(std::string_view layer, int64_t rank) const {
  std::string key(layer);
  for (char& letter : key) letter = letter == '.' ? '_' : letter;
  key += "_alpha";
  if (rank > 0 && file_.metadata().contains(key)) return header_number(key) / static_cast<double>(rank);
  for (const Peft& peft : peft_) {
    if (!layer.starts_with(peft.prefix)) continue;
    const double alpha = of_pattern(peft.alpha_pattern, layer, peft.alpha);
    const auto told =
        static_cast<int64_t>(of_pattern(peft.rank_pattern, layer, static_cast<double>(peft.rank)));
    const auto r = static_cast<double>(rank > 0 ? rank : told);
    if (r > 0) return alpha / (peft.root ? std::sqrt(r) : r);
  }
  if (rank > 0 && file_.metadata().contains("network_alpha"))
    return header_number("network_alpha") / static_cast<double>(rank);
  return 1;
}

}  // namespace ctq::lora
