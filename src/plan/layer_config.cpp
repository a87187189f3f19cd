#include "plan/layer_config.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "specificity.h"

namespace ctq::plan {
namespace {

using nlohmann::json;

constexpr size_t kMaxFileBytes = 64 << 20;  // far above any list of layers: what is larger is no such list

/// Known from other programs' files or from later versions, but not built.
constexpr std::array<std::string_view, 1> kUnbuiltKeys = {"output_dtype"};
constexpr std::array<std::string_view, 11> kKeys = {"format",
                                                    "block_size",
                                                    "scaling_mode",
                                                    "simple",
                                                    "optimizer",
                                                    "num_iter",
                                                    "full_precision_matrix_mult",
                                                    "convrot",
                                                    "convrot_groupsize",
                                                    "linear_dtype",
                                                    "skip"};

template <typename... Args>
[[noreturn]] void refuse(std::string_view entry, fmt::format_string<Args...> message, Args&&... args) {
  fail(ErrorCode::kUsage, "entry '{}': {}", printable(entry),
       fmt::format(message, std::forward<Args>(args)...));
}

/// The document, and its keys in the order of the file.
struct Document {
  json root;
  std::vector<std::string> keys;
};

/// Sees the keys of all objects while they are read: a parsed document has forgotten the second of a pair.
class KeyWatch {
 public:
  void on_event(json::parse_event_t event, const json& value) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event != json::parse_event_t::key) return;
    const auto& key = value.get_ref<const std::string&>();
    const bool fresh = open_.back().insert(key).second;
    if (open_.size() == 1) keys_.push_back(key);
    if (!fresh && open_.size() == 1) refuse(key, "stands twice in the file");
    if (!fresh) refuse(keys_.back(), "the key '{}' stands twice", printable(key));
  }
  std::vector<std::string> take_keys() { return std::move(keys_); }

 private:
  std::vector<std::set<std::string>> open_;  // one set per object that is not closed yet
  std::vector<std::string> keys_;
};

Document read_document(std::string_view text) {
  // The parser takes a NUL for the end of the text.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    fail(ErrorCode::kUsage, "not valid JSON: a NUL at byte {}", nul);
  KeyWatch watch;
  Document document;
  try {
    document.root = json::parse(text, [&](int, json::parse_event_t event, json& value) {
      watch.on_event(event, value);
      return true;
    });
  } catch (const json::exception& error) {
    // Without the library's own prefix, "[json.exception.parse_error.101] parse error at line ...".
    const std::string_view message = error.what();
    const size_t bracket = message.find("] ");
    fail(ErrorCode::kUsage, "not valid JSON: {}",
         printable(bracket == std::string_view::npos ? message : message.substr(bracket + 2)));
  }
  if (!document.root.is_object())
    fail(ErrorCode::kUsage, "must be an object of patterns, not {}", document.root.type_name());
  document.keys = watch.take_keys();
  return document;
}

/// A value for a message; containers, which may nest deeply, by their kind alone.
std::string shown(const json& value) {
  return value.is_structured() ? value.type_name() : printable(value.dump(), 60);
}

bool flag(std::string_view entry, const json& settings, const char* key) {
  const auto found = settings.find(key);
  if (found == settings.end()) return false;
  if (!found->is_boolean()) refuse(entry, "'{}' must be true or false, not {}", key, shown(*found));
  return found->get<bool>();
}

/// Empty when it is absent.
std::string text(std::string_view entry, const json& settings, const char* key) {
  const auto found = settings.find(key);
  if (found == settings.end()) return "";
  if (!found->is_string()) refuse(entry, "'{}' must be text, not {}", key, shown(*found));
  if (found->get_ref<const std::string&>().empty()) refuse(entry, "'{}' is empty", key);
  return found->get<std::string>();
}

std::optional<int64_t> whole_number(std::string_view entry, const json& settings, const char* key,
                                    int64_t least) {
  const auto found = settings.find(key);
  if (found == settings.end()) return std::nullopt;
  // A number above 2^63 is unsigned and would come out negative.
  if (!found->is_number_integer() || found->get<int64_t>() < least)
    refuse(entry, "'{}' must be a whole number of at least {}, not {}", key, least, shown(*found));
  return found->get<int64_t>();
}

const optimize::Optimizer* read_optimizer(std::string_view entry, const json& settings) {
  const bool simple = flag(entry, settings, "simple");
  const std::string name = text(entry, settings, "optimizer");
  const optimize::Optimizer* optimizer = optimize::find_optimizer(name);
  if (!name.empty() && !optimizer) refuse(entry, "unknown optimizer '{}'", printable(name));
  if (simple && optimizer && optimizer != &optimize::kNearest)
    refuse(entry, "\"simple\": true contradicts optimizer '{}'", name);
  return simple ? &optimize::kNearest : optimizer;
}

void check_keys(std::string_view entry, const json& settings) {
  for (const auto& [key, value] : settings.items()) {
    if (key.starts_with('_') || std::ranges::count(kKeys, key) > 0) continue;
    if (std::ranges::count(kUnbuiltKeys, key) > 0)
      refuse(entry, "'{}' is not available in this version", key);
    const std::string_view near = nearest_word(key, kKeys);
    refuse(entry, "unknown key '{}'; {}", printable(key),
           near.empty() ? fmt::format("the keys are {}", fmt::join(kKeys, ", "))
                        : fmt::format("did you mean '{}'?", near));
  }
}

[[noreturn]] void refuse_format(std::string_view entry, const std::string& name) {
  std::vector<std::string_view> names;
  for (const format::Codec& codec : format::registry()) {
    if (std::ranges::count(names, codec.format) == 0) names.push_back(codec.format);
  }
  refuse(entry, "unknown format '{}'; must be one of {}, fp16, keep", printable(name),
         fmt::join(names, ", "));
}

/// What the entry's format and scaling mode name together; a null codec for fp16 and keep.
const format::Codec* read_codec(std::string_view entry, const json& settings, const std::string& format) {
  const std::string mode = text(entry, settings, "scaling_mode");
  if (!mode.empty() && !is_scaling_mode(mode)) refuse(entry, "unknown scaling_mode '{}'", printable(mode));
  const bool plain = format == "fp16" || format == "keep" || format.empty();
  if (!plain && !codec_of_format(format, "")) refuse_format(entry, format);
  const format::Codec* codec = plain ? nullptr : codec_of_format(format, mode);
  if (!codec && !mode.empty() && !format.empty()) {
    refuse(entry, "scaling_mode '{}' contradicts format '{}', which fixes it; leave it out", mode, format);
  }
  return codec;
}

/// 0: not rotated.
int64_t read_rotation(std::string_view entry, const json& settings, const format::Codec* codec) {
  const auto group = whole_number(entry, settings, "convrot_groupsize", kSmallestRotation);
  const bool on = flag(entry, settings, "convrot");
  if (group && !is_rotation_group(*group))
    refuse(entry, "'convrot_groupsize' must be a power of 4 (4, 16, 64, 256, 1024, 4096), not {}", *group);
  const bool always = codec && codec->rotation == format::Rotation::kAlways;
  if (!on && !always) return 0;
  if (always && !on && settings.contains("convrot")) refuse(entry, "'{}' is always rotated", codec->format);
  if (!codec || !takes_rotation(*codec))
    refuse(entry, "'convrot' goes with int8_tensorwise and a scale per row alone");
  return group.value_or(kUsualRotation);
}

format::LinearDtype read_linear_dtype(std::string_view entry, const json& settings,
                                      const format::Codec* codec) {
  const std::string word = text(entry, settings, "linear_dtype");
  if (word.empty()) return format::LinearDtype::kInt4;
  if (word != "int4" && word != "int8")
    refuse(entry, "'linear_dtype' must be int4 or int8, not {}", printable(word));
  if (!codec || !takes_linear_dtype(*codec)) refuse(entry, "'linear_dtype' goes with convrot_w4a4 alone");
  return word == "int8" ? format::LinearDtype::kInt8 : format::LinearDtype::kInt4;
}

LayerRule read_rule(const std::string& entry, const json& settings, int64_t standard_block_size,
                    std::vector<std::string>& notes) {
  if (!settings.is_object()) refuse(entry, "must be an object of settings, not {}", settings.type_name());
  check_keys(entry, settings);
  const bool skip = flag(entry, settings, "skip");
  const bool empty = settings.contains("format") && settings["format"] == "";
  const std::string format = skip && empty ? "" : text(entry, settings, "format");
  if (format.empty() && !skip)
    refuse(entry, "'format' is missing; a layer that is to stay has \"skip\": true");
  const format::Codec* codec = read_codec(entry, settings, format);
  const std::optional<int64_t> size = whole_number(entry, settings, "block_size", 1);
  const auto optimizer = read_optimizer(entry, settings);
  const auto num_iter = whole_number(entry, settings, "num_iter", 0);
  const int64_t rotation = read_rotation(entry, settings, codec);
  const format::LinearDtype linear_dtype = read_linear_dtype(entry, settings, codec);
  const bool full_precision = flag(entry, settings, "full_precision_matrix_mult");

  LayerRule rule;
  rule.name = entry;
  if (skip || format == "keep") return rule;
  rule.target = Target{.codec = codec,
                       .block_size = codec && codec->has_blocks() ? size.value_or(standard_block_size) : 0,
                       .rotation_group = rotation,
                       .dynamic_rotation = false,
                       .optimizer = optimizer,
                       .num_iter = num_iter,
                       .linear_dtype = linear_dtype};
  const auto note = [&](std::string_view key, std::string_view why) {
    notes.push_back(fmt::format("--layer-config entry '{}': {} has no effect: {} {}", printable(entry), key,
                                rule.target->label(), why));
  };
  if (size && rule.target->block_size == 0) note("block_size", "has no blocks");
  if (optimizer && !codec) note("optimizer", "is a plain cast");
  if (num_iter && !codec) note("num_iter", "is a plain cast");
  if (!settings.contains("full_precision_matrix_mult")) return rule;
  if (codec) rule.full_precision_matrix_mult = full_precision;
  if (!codec) note("full_precision_matrix_mult", "has no marker");
  return rule;
}

}  // namespace

LayerConfig LayerConfig::parse(std::string_view json_text, const Options& options) {
  const Document document = read_document(json_text);
  LayerConfig config;
  config.full_match_ = options.full_match;
  for (const std::string& key : document.keys) {
    const bool is_default = key == "_default";
    if (key.starts_with('_') && !is_default) continue;
    LayerRule rule = read_rule(key, document.root[key], options.block_size, config.notes_);
    if (is_default) {
      config.default_rule_ = std::move(rule);
      continue;
    }
    try {
      config.entries_.push_back({std::move(rule), Pattern(key)});
    } catch (const Error& error) {
      refuse(key, "{}", error.what());
    }
  }
  std::ranges::stable_sort(config.entries_, [](const Entry& a, const Entry& b) {
    return specificity(a.rule.name) > specificity(b.rule.name);
  });
  return config;
}

LayerConfig LayerConfig::load(const std::string& path, const Options& options) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string content;
  std::array<char, 1 << 16> chunk;
  while (file.is_open() && !file.bad() && !file.eof() && content.size() <= kMaxFileBytes) {
    file.read(chunk.data(), chunk.size());
    content.append(chunk.data(), static_cast<size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad())
    fail(ErrorCode::kBadInput, "{}", std::generic_category().message(errno ? errno : EIO));
  if (content.size() > kMaxFileBytes) fail(ErrorCode::kUsage, "too large for a list of layers");
  return parse(content, options);
}

}  // namespace ctq::plan
