// The header as a whole: length field, extents of the tensors, and the way back to bytes.
#include "safetensors/header.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "header_json.h"
#include "json_events.h"

namespace ctq::safetensors {
namespace {

constexpr uint64_t kLengthBytes = 8;

/// What the file seems to be instead, from its first bytes; empty when nothing is recognised. Asked only when
/// the length field makes no sense, since a good one may begin with any byte.
std::string_view other_kind(std::string_view start) {
  struct Magic {
    std::string_view bytes, kind;
  };
  static constexpr Magic kMagics[] = {
      {"PK", "; this is a PyTorch pickle (zip), not safetensors: convert it first"},
      {"\x80", "; this looks like a PyTorch pickle, not safetensors: convert it first"},
      {"GGUF", "; this is a GGUF file, not safetensors"},
      {"version https://git-lfs",
       "; this is a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"},
      {"<", "; this is an HTML or XML page, not safetensors: the download failed or needs a login"},
      {"{", "; this is a JSON text, not safetensors"},
  };
  if (start.size() > kLengthBytes && start[kLengthBytes] == '{') return {};
  for (const Magic& magic : kMagics) {
    if (start.starts_with(magic.bytes)) return magic.kind;
  }
  return {};
}

/// The length field, checked against the file.
uint64_t read_length(std::string_view start, uint64_t file_bytes, const std::string& path) {
  if (file_bytes == 0)
    fail(ErrorCode::kBadInput, "{}: not a safetensors file: it is empty; is the download complete?", path);
  if (file_bytes < kLengthBytes || start.size() < kLengthBytes) {
    fail(ErrorCode::kBadInput, "{}: not a safetensors file: {} bytes are too short for a header{}", path,
         file_bytes, other_kind(start));
  }
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(start[i]);

  if (length == 0) fail(ErrorCode::kBadInput, "{}: not a safetensors file: its header length is 0", path);
  if (length > kMaxHeaderBytes) {
    fail(ErrorCode::kBadInput,
         "{}: not a safetensors file: its header would have {} bytes, more than the {} allowed{}", path,
         length, kMaxHeaderBytes, other_kind(start));
  }
  if (kLengthBytes + length > std::min<uint64_t>(file_bytes, start.size())) {
    const std::string_view kind = other_kind(start);
    fail(
        ErrorCode::kBadInput,
        "{}: not a safetensors file: its header should end at byte {}, past the end of the file ({} bytes){}",
        path, kLengthBytes + length, file_bytes, kind.empty() ? "; is the download complete?" : kind);
  }
  return length;
}

void check_size(const TensorInfo& tensor, const std::string& path) {
  const std::string name = printable(tensor.name);
  if (tensor.begin > tensor.end) {
    fail(ErrorCode::kBadInput, "{}: tensor '{}' begins at byte {} of the data, after its end at byte {}",
         path, name, tensor.begin, tensor.end);
  }
  const std::string shape = printable(shape_text(tensor.shape));
  const std::string_view dtype = dtype_name(tensor.dtype);
  if (const auto bytes = tensor_bytes(tensor.dtype, tensor.shape)) {
    if (*bytes == tensor.bytes()) return;
    fail(ErrorCode::kBadInput,
         "{}: tensor '{}': shape {} of {} takes {} bytes, but its offsets span {} (bytes {} to {} of the "
         "data)",
         path, name, shape, dtype, *bytes, tensor.bytes(), tensor.begin, tensor.end);
  }
  if (dtype_bits(tensor.dtype) < 8 && tensor_bytes(Dtype::kU8, tensor.shape)) {
    fail(ErrorCode::kBadInput, "{}: tensor '{}': shape {} of {} ({} bits each) does not end on a whole byte",
         path, name, shape, dtype, dtype_bits(tensor.dtype));
  }
  fail(ErrorCode::kBadInput, "{}: tensor '{}': shape {} of {} is larger than any file", path, name, shape,
       dtype);
}

/// Tensors sorted by their bytes must follow each other without holes or overlaps.
void check_neighbours(const std::vector<TensorInfo>& tensors, const std::string& path) {
  const TensorInfo* before = nullptr;
  for (const TensorInfo& tensor : tensors) {
    const uint64_t expected = before == nullptr ? 0 : before->end;
    const std::string place = before == nullptr
                                  ? "the start of the data"
                                  : fmt::format("the end of tensor '{}'", printable(before->name));
    if (tensor.begin > expected) {
      fail(ErrorCode::kBadInput,
           "{}: tensor '{}' begins at byte {} of the data, leaving a hole of {} bytes after {}", path,
           printable(tensor.name), tensor.begin, tensor.begin - expected, place);
    }
    if (tensor.begin < expected) {
      fail(ErrorCode::kBadInput,
           "{}: tensor '{}' (bytes {} to {} of the data) overlaps tensor '{}' (bytes {} to {})", path,
           printable(tensor.name), tensor.begin, tensor.end, printable(before->name), before->begin,
           before->end);
    }
    before = &tensor;
  }
}

/// The last tensor must end where the file does.
void check_end(const Header& header, uint64_t file_bytes, const std::string& path) {
  const uint64_t data_bytes = file_bytes - header.data_start;
  const uint64_t end = header.tensors.empty() ? 0 : header.tensors.back().end;
  if (end > data_bytes) {
    const auto cut = std::find_if(header.tensors.begin(), header.tensors.end(),
                                  [&](const TensorInfo& tensor) { return tensor.end > data_bytes; });
    fail(ErrorCode::kBadInput,
         "{}: the file is truncated: tensor '{}' ends at byte {}, past the end of the file; the header "
         "promises {} bytes, the file "
         "has {}; is the download complete?",
         path, printable(cut->name), header.data_start + cut->end, header.data_start + end, file_bytes);
  }
  if (end < data_bytes) {
    fail(ErrorCode::kBadInput,
         "{}: {} bytes after the last tensor belong to none; the header promises {} bytes, the file has {}; "
         "is it two files in "
         "one?",
         path, data_bytes - end, header.data_start + end, file_bytes);
  }
}

std::string checked_json_string(const std::string& text, std::string_view what) {
  if (!is_utf8(text))
    fail(ErrorCode::kFailure, "the {} '{}' is not UTF-8 and cannot be written", what, printable(text));
  return json_string(text);
}

}  // namespace

int64_t TensorInfo::numel() const {
  int64_t elements = 1;
  for (const int64_t dimension : shape) elements *= dimension;
  return elements;
}

Header parse_header(std::string_view start, uint64_t file_bytes, const std::string& path) {
  const uint64_t length = read_length(start, file_bytes, path);
  const std::string_view json = start.substr(kLengthBytes, length);
  if (!is_utf8(json))
    fail(ErrorCode::kBadInput, "{}: not a safetensors file: the header is not UTF-8 text", path);

  Header header = read_header_json(json, path);
  header.data_start = kLengthBytes + length;
  for (const TensorInfo& tensor : header.tensors) check_size(tensor, path);
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_neighbours(header.tensors, path);
  check_end(header, file_bytes, path);
  return header;
}

std::string write_header(const std::vector<TensorInfo>& tensors, const Metadata& metadata) {
  std::string json = "{";
  auto separate = [&] { json += json.back() == '{' ? "" : ","; };
  if (!metadata.empty()) {
    json += fmt::format("\"{}\":{{", kMetadataName);
    for (const auto& [key, value] : metadata) {
      separate();
      json += checked_json_string(key, "metadata key") + ":" + checked_json_string(value, "metadata value");
    }
    json += "}";
  }
  for (const TensorInfo& tensor : tensors) {
    separate();
    std::string shape;
    for (const int64_t dimension : tensor.shape)
      shape += fmt::format("{}{}", shape.empty() ? "" : ",", dimension);
    json += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        checked_json_string(tensor.name, "tensor name"), dtype_name(tensor.dtype), shape,
                        tensor.begin, tensor.end);
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kMaxHeaderBytes) {
    fail(ErrorCode::kFailure, "the header would have {} bytes, more than the {} that readers accept",
         json.size(), kMaxHeaderBytes);
  }
  std::string bytes;
  for (size_t i = 0; i < kLengthBytes; ++i) bytes += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return bytes + json;
}

}  // namespace ctq::safetensors
