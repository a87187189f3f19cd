// Index files of sharded checkpoints.
#include "safetensors/index.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "descriptor.h"
#include "json_events.h"
#include "safetensors/header.h"

namespace ctq::safetensors {
namespace {

namespace fs = std::filesystem;

class IndexEvents : public JsonEvents {
 public:
  explicit IndexEvents(const std::string& path) { index_.path = path; }
  ShardIndex take() {
    if (!has_map_) reject("not an index of shards: it has no 'weight_map'");
    return std::move(index_);
  }

 private:
  /// Which container the next value stands in.
  enum class Inside { kNothing, kIndex, kMetadata, kWeightMap, kOther };

  void on_scalar(JsonScalar scalar) override;
  void on_open(Container container) override;
  void on_close() override;
  void on_key(std::string key) override;
  void on_syntax_error(size_t offset, const std::string& near) override {
    reject("not valid JSON (byte {}, near '{}')", offset, printable(near, 40));
  }
  void add_tensor(JsonScalar scalar);

  template <typename... Args>
  [[noreturn]] void reject(fmt::format_string<Args...> message, Args&&... args) const {
    fail(ErrorCode::kBadInput, "{}: {}", index_.path, fmt::format(message, std::forward<Args>(args)...));
  }

  ShardIndex index_;
  Inside inside_ = Inside::kNothing;
  Inside outside_other_ = Inside::kNothing;  // what the outermost kOther stands in
  size_t other_depth_ = 0;
  std::set<std::string> keys_;
  std::string section_, key_;
  bool has_map_ = false;
};

void IndexEvents::on_key(std::string key) {
  if (inside_ == Inside::kOther) return;
  if (inside_ == Inside::kIndex) {
    if (!keys_.insert(key).second) reject("the key '{}' is given twice", printable(key));
    section_ = std::move(key);
    return;
  }
  if (inside_ == Inside::kWeightMap && index_.weight_map.contains(key)) {
    reject("weight_map names the tensor '{}' twice", printable(key));
  }
  key_ = std::move(key);
}

void IndexEvents::on_scalar(JsonScalar scalar) {
  if (inside_ == Inside::kNothing) {
    reject("not an index of shards: it is {}, not a JSON object", scalar.described());
  }
  if (inside_ == Inside::kIndex && section_ == "weight_map") {
    reject("weight_map is {}, not an object", scalar.described());
  }
  if (inside_ == Inside::kWeightMap) add_tensor(std::move(scalar));
  if (inside_ == Inside::kMetadata && key_ == "total_size") index_.total_size = scalar.whole.value_or(0);
}

void IndexEvents::on_open(Container container) {
  const bool object = container == Container::kObject;
  if (inside_ == Inside::kNothing && object) {
    inside_ = Inside::kIndex;
  } else if (inside_ == Inside::kNothing) {
    reject("not an index of shards: it is an array, not a JSON object");
  } else if (inside_ == Inside::kIndex && section_ == "weight_map") {
    if (!object) reject("weight_map is an array, not an object");
    has_map_ = true;
    inside_ = Inside::kWeightMap;
  } else if (inside_ == Inside::kWeightMap) {
    reject("weight_map: the shard of tensor '{}' is {}, not a file name", printable(key_),
           described(container));
  } else if (inside_ == Inside::kIndex && section_ == "metadata" && object) {
    inside_ = Inside::kMetadata;
  } else {
    if (other_depth_++ == 0) outside_other_ = std::exchange(inside_, Inside::kOther);
  }
}

void IndexEvents::on_close() {
  if (inside_ == Inside::kOther) {
    if (--other_depth_ == 0) inside_ = outside_other_;
  } else {
    inside_ = inside_ == Inside::kIndex ? Inside::kNothing : Inside::kIndex;
  }
}

/// True for a relative name without "..": it stays in the folder it is relative to.
bool stays_inside(const std::string& shard) {
  const fs::path name(shard);
  return !shard.empty() && shard.find('\0') == std::string::npos && name.is_relative() &&
         std::find(name.begin(), name.end(), "..") == name.end();
}

void IndexEvents::add_tensor(JsonScalar scalar) {
  if (scalar.kind != JsonScalar::Kind::kString) {
    reject("weight_map: the shard of tensor '{}' is {}, not a file name", printable(key_),
           scalar.described());
  }
  if (!stays_inside(scalar.text)) {
    reject("weight_map: the shard '{}' of tensor '{}' leaves the folder of the index", printable(scalar.text),
           printable(key_));
  }
  index_.weight_map.emplace(key_, std::move(scalar.text));
}

std::string read_text(const std::string& path) {
  const InputFile file = open_input(path);
  if (file.bytes > kMaxHeaderBytes) {
    fail(ErrorCode::kBadInput, "{}: not an index of shards: {} are too many for one", path,
         human_bytes(file.bytes));
  }
  std::string text(file.bytes, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.descriptor.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorCode::kBadInput, "{}: cannot be read: {}", path, system_reason(errno));
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

}  // namespace

std::vector<std::string> ShardIndex::shards() const {
  std::set<std::string> names;
  for (const auto& [tensor, shard] : weight_map) names.insert(shard);
  return {names.begin(), names.end()};
}

ShardIndex read_index(const std::string& path) {
  const std::string text = read_text(path);
  if (!is_utf8(text)) fail(ErrorCode::kBadInput, "{}: not an index of shards: it is not UTF-8 text", path);
  IndexEvents events(path);
  events.read(text);
  return events.take();
}

std::string write_index(const std::map<std::string, std::string>& weight_map, uint64_t total_size) {
  const nlohmann::json index = {{"metadata", {{"total_size", total_size}}}, {"weight_map", weight_map}};
  return index.dump(2) + "\n";
}

}  // namespace ctq::safetensors
