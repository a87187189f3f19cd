// The JSON of a header, event by event.
#include "header_json.h"

#include <algorithm>
#include <cctype>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "json_events.h"

namespace ctq::safetensors {
namespace {

// Of a value under an unknown key. The reference reader's limit is 128 in all.
constexpr int kMaxDepth = 125;

class HeaderEvents : public JsonEvents {
 public:
  HeaderEvents(std::string_view json, const std::string& path) : json_(json), path_(path) {}
  Header take() { return std::move(header_); }

 private:
  /// Which container the next value stands in.
  enum class Inside { kNothing, kHeader, kMetadata, kEntry, kShape, kOffsets, kUnknown };

  void on_scalar(JsonScalar scalar) override;
  void on_open(Container container) override;
  void on_close() override;
  void on_key(std::string key) override;
  void on_syntax_error(size_t offset, const std::string& near) override;

  void open_in_header(Container container);
  void open_in_entry(Container container);
  void add_metadata(JsonScalar scalar);
  void set_field(const JsonScalar& scalar);
  void set_dtype(const std::string& dtype);
  void add_number(const JsonScalar& scalar);
  void end_entry();

  template <typename... Args>
  [[noreturn]] void reject(fmt::format_string<Args...> message, Args&&... args) const {
    fail(ErrorCode::kBadInput, "{}: {}", path_, fmt::format(message, std::forward<Args>(args)...));
  }
  /// As reject(), about the tensor whose entry is being read.
  template <typename... Args>
  [[noreturn]] void reject_tensor(fmt::format_string<Args...> message, Args&&... args) const {
    fail(ErrorCode::kBadInput, "{}: tensor '{}': {}", path_, printable(name_),
         fmt::format(message, std::forward<Args>(args)...));
  }

  std::string_view json_;
  const std::string& path_;
  Header header_;
  Inside inside_ = Inside::kNothing;
  int unknown_depth_ = 0;
  std::unordered_set<std::string> names_;

  std::string name_;          // key in the header
  std::string metadata_key_;  // key in __metadata__
  std::string field_;         // key in an entry
  TensorInfo tensor_;
  std::vector<uint64_t> offsets_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

void HeaderEvents::on_syntax_error(size_t offset, const std::string& near) {
  if (near == std::string(1, '\0')) {
    reject(
        "not a safetensors file: a NUL byte in the header (byte {} of it); the header is padded with spaces "
        "only",
        offset);
  }
  reject("not a safetensors file: the header is not valid JSON (byte {} of {}, near '{}')", offset,
         json_.size(), printable(near, 40));
}

void HeaderEvents::on_key(std::string key) {
  if (inside_ == Inside::kHeader) {
    name_ = std::move(key);
    if (!names_.insert(name_).second) reject("the header names '{}' twice", printable(name_));
  } else if (inside_ == Inside::kMetadata) {
    if (header_.metadata.contains(key)) reject("{} has the key '{}' twice", kMetadataName, printable(key));
    metadata_key_ = std::move(key);
  } else if (inside_ == Inside::kEntry) {
    field_ = std::move(key);
    bool* const seen = field_ == "dtype"          ? &has_dtype_
                       : field_ == "shape"        ? &has_shape_
                       : field_ == "data_offsets" ? &has_offsets_
                                                  : nullptr;
    if (seen != nullptr && std::exchange(*seen, true)) reject_tensor("'{}' is given twice", field_);
  }
}

void HeaderEvents::on_scalar(JsonScalar scalar) {
  switch (inside_) {
    case Inside::kNothing:
      reject("not a safetensors file: the header is {}, not a JSON object", scalar.described());
    case Inside::kHeader:
      if (name_ != kMetadataName) reject_tensor("its entry is {}, not an object", scalar.described());
      if (scalar.kind != JsonScalar::Kind::kNull) {
        reject("{} is {}, not an object of strings", kMetadataName, scalar.described());
      }
      break;
    case Inside::kMetadata: add_metadata(std::move(scalar)); break;
    case Inside::kEntry: set_field(scalar); break;
    case Inside::kShape:
    case Inside::kOffsets: add_number(scalar); break;
    case Inside::kUnknown: break;
  }
}

void HeaderEvents::on_open(Container container) {
  switch (inside_) {
    case Inside::kNothing:
      if (container == Container::kArray)
        reject("not a safetensors file: the header is an array, not a JSON object");
      inside_ = Inside::kHeader;
      break;
    case Inside::kHeader: open_in_header(container); break;
    case Inside::kMetadata:
      reject("{}: the value of '{}' is {}, not a string", kMetadataName, printable(metadata_key_),
             described(container));
    case Inside::kEntry: open_in_entry(container); break;
    case Inside::kShape:
    case Inside::kOffsets: reject_tensor("'{}' holds {}, not only numbers", field_, described(container));
    case Inside::kUnknown:
      if (++unknown_depth_ > kMaxDepth)
        reject_tensor("'{}' nests more than {} deep", printable(field_), kMaxDepth);
      break;
  }
}

void HeaderEvents::open_in_header(Container container) {
  const bool object = container == Container::kObject;
  if (name_ == kMetadataName) {
    if (!object) reject("{} is an array, not an object of strings", kMetadataName);
    inside_ = Inside::kMetadata;
    return;
  }
  if (!object) reject_tensor("its entry is an array, not an object");
  tensor_ = {};
  tensor_.name = name_;
  offsets_.clear();
  has_dtype_ = has_shape_ = has_offsets_ = false;
  inside_ = Inside::kEntry;
}

void HeaderEvents::open_in_entry(Container container) {
  if (field_ == "dtype") reject_tensor("'dtype' is {}, not a string", described(container));
  if (field_ == "shape" || field_ == "data_offsets") {
    if (container != Container::kArray) reject_tensor("'{}' is an object, not an array of numbers", field_);
    inside_ = field_ == "shape" ? Inside::kShape : Inside::kOffsets;
    return;
  }
  unknown_depth_ = 1;
  inside_ = Inside::kUnknown;
}

void HeaderEvents::on_close() {
  switch (inside_) {
    case Inside::kNothing: break;
    case Inside::kHeader: inside_ = Inside::kNothing; break;
    case Inside::kMetadata: inside_ = Inside::kHeader; break;
    case Inside::kEntry:
      end_entry();
      inside_ = Inside::kHeader;
      break;
    case Inside::kShape:
    case Inside::kOffsets: inside_ = Inside::kEntry; break;
    case Inside::kUnknown:
      if (--unknown_depth_ == 0) inside_ = Inside::kEntry;
      break;
  }
}

void HeaderEvents::add_metadata(JsonScalar scalar) {
  if (scalar.kind != JsonScalar::Kind::kString) {
    reject("{}: the value of '{}' is {}, not a string", kMetadataName, printable(metadata_key_),
           scalar.described());
  }
  header_.metadata.emplace(std::move(metadata_key_), std::move(scalar.text));
}

void HeaderEvents::set_field(const JsonScalar& scalar) {
  if (field_ == "dtype") {
    if (scalar.kind != JsonScalar::Kind::kString)
      reject_tensor("'dtype' is {}, not a string", scalar.described());
    set_dtype(scalar.text);
  } else if (field_ == "shape" || field_ == "data_offsets") {
    reject_tensor("'{}' is {}, not an array of numbers", field_, scalar.described());
  }
}

void HeaderEvents::set_dtype(const std::string& dtype) {
  if (const auto known = parse_dtype(dtype)) {
    tensor_.dtype = *known;
    return;
  }
  std::string upper = dtype;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (parse_dtype(upper)) {
    reject_tensor("the container defines no dtype '{}'; names are in upper case: '{}'", printable(dtype, 40),
                  upper);
  }
  reject_tensor("the container defines no dtype '{}'", printable(dtype, 40));
}

void HeaderEvents::add_number(const JsonScalar& scalar) {
  if (!scalar.whole)
    reject_tensor("'{}' holds {}, not a whole number from 0 to 2^63 - 1", field_, scalar.described());
  if (inside_ == Inside::kShape) {
    tensor_.shape.push_back(static_cast<int64_t>(*scalar.whole));
  } else {
    if (offsets_.size() == 2) reject_tensor("'data_offsets' holds more than two numbers");
    offsets_.push_back(*scalar.whole);
  }
}

void HeaderEvents::end_entry() {
  if (!has_dtype_) reject_tensor("its entry has no 'dtype'");
  if (!has_shape_) reject_tensor("its entry has no 'shape'");
  if (!has_offsets_) reject_tensor("its entry has no 'data_offsets'");
  if (offsets_.size() != 2) reject_tensor("'data_offsets' holds {} of its two numbers", offsets_.size());
  tensor_.begin = offsets_[0];
  tensor_.end = offsets_[1];
  header_.tensors.push_back(std::move(tensor_));
}

}  // namespace

Header read_header_json(std::string_view json, const std::string& path) {
  HeaderEvents events(json, path);
  events.read(json);
  return events.take();
}

}  // namespace ctq::safetensors
