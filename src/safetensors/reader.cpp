// A mapped file and its tensors.
#include "ctq/safetensors/reader.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>
#include <utility>

#include "ctq/base/error.h"
#include "descriptor.h"

namespace ctq::safetensors {
namespace {

uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

struct Reader::Mapping {
  explicit Mapping(const std::string& file_path) : path(file_path), file(open_input(path)) {
    if (file.bytes == 0) parse_header({}, 0, path);  // says what is wrong; an empty file cannot be mapped
    void* const mapped = ::mmap(nullptr, file.bytes, PROT_READ, MAP_SHARED, file.descriptor.get(), 0);
    if (mapped == MAP_FAILED) {
      fail(ErrorCode::kBadInput, "{}: cannot be mapped: {}", path, system_reason(errno));
    }
    start = static_cast<std::byte*>(mapped);
  }
  ~Mapping() {
    if (start != nullptr) ::munmap(start, file.bytes);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void parse() {
    header = parse_header({reinterpret_cast<const char*>(start), file.bytes}, file.bytes, path);
    by_name.reserve(header.tensors.size());
    for (const TensorInfo& tensor : header.tensors) by_name.emplace(tensor.name, &tensor);
  }

  std::string path;
  InputFile file;
  std::byte* start = nullptr;
  Header header;
  std::unordered_map<std::string_view, const TensorInfo*> by_name;
};

Reader::Reader(const std::string& path) : mapping_(std::make_unique<Mapping>(path)) { mapping_->parse(); }
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

const std::string& Reader::path() const { return mapping_->path; }
const Header& Reader::header() const { return mapping_->header; }
uint64_t Reader::file_bytes() const { return mapping_->file.bytes; }
int Reader::descriptor() const { return mapping_->file.descriptor.get(); }

const TensorInfo* Reader::find(std::string_view name) const {
  const auto found = mapping_->by_name.find(name);
  return found == mapping_->by_name.end() ? nullptr : found->second;
}

std::span<const std::byte> Reader::bytes(const TensorInfo& tensor) const {
  return {mapping_->start + mapping_->header.data_start + tensor.begin, tensor.bytes()};
}

// Advice may be ignored or fail; reading works all the same, so the results of madvise are not looked at.

void Reader::prefetch(const TensorInfo& tensor) const {
  const uint64_t begin = (mapping_->header.data_start + tensor.begin) / page_bytes() * page_bytes();
  const uint64_t end = mapping_->header.data_start + tensor.end;
  if (tensor.bytes() > 0) ::madvise(mapping_->start + begin, end - begin, MADV_WILLNEED);
}

void Reader::release(const TensorInfo& tensor) const {
  // Only pages that lie wholly inside: the neighbours' pages may be in use.
  const uint64_t begin =
      (mapping_->header.data_start + tensor.begin + page_bytes() - 1) / page_bytes() * page_bytes();
  const uint64_t end = (mapping_->header.data_start + tensor.end) / page_bytes() * page_bytes();
  if (begin < end) ::madvise(mapping_->start + begin, end - begin, MADV_DONTNEED);
}

}  // namespace ctq::safetensors
