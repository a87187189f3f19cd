// A file and its tensors, mapped or read.
#include "safetensors/reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "descriptor.h"
#include "mapping.h"

namespace ctq::safetensors {
namespace {

constexpr uint64_t kMaxReadBytes = uint64_t{1} << 30;  // Linux moves at most 2 GiB - 4 KiB per call

uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

struct timespec modified_at(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? status.st_mtim : timespec{};
}

std::string tensor_words(const TensorInfo& tensor) {
  return fmt::format("tensor '{}'", printable(tensor.name));
}

/// What is wrong with inputs that are closed already, until somebody asks.
std::mutex inputs_mutex;
std::string fault_of_closed;

}  // namespace

struct Reader::Source {
  explicit Source(const std::string& file_path)
      : path(file_path),
        file(opened(path)),
        modified(modified_at(file.descriptor.get())),
        map(file.descriptor.get(), file.bytes) {
    const std::lock_guard lock(inputs_mutex);
    open_sources().insert(this);
  }
  ~Source() {
    const std::string what = told ? "" : fault();
    const std::lock_guard lock(inputs_mutex);
    open_sources().erase(this);
    if (fault_of_closed.empty()) fault_of_closed = what;
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  static std::set<const Source*>& open_sources() {
    static std::set<const Source*> sources;
    return sources;
  }
  static InputFile opened(const std::string& path) {
    InputFile file = open_input(path);
    if (file.bytes == 0) parse_header({}, 0, path);  // says what is wrong; an empty file cannot be mapped
    return file;
  }

  void parse();
  /// Why what was read is not to be used; empty where it is.
  std::string fault() const;
  void check_read() const {
    if (map.is_lost()) complain(fault());
  }
  /// of: for the message
  void read_at(uint64_t offset, std::span<std::byte> bytes, std::string_view of) const;
  [[noreturn]] void complain(const std::string& what) const {
    told = true;
    fail(ErrorCode::kBadInput, "{}", what);
  }

  std::string path;
  InputFile file;
  struct timespec modified;
  Mapping map;
  Header header;
  std::unordered_map<std::string_view, const TensorInfo*> by_name;
  mutable std::atomic<bool> told = false;  ///< somebody knows what is wrong
};

void Reader::Source::parse() {
  std::string start;
  std::string_view text(reinterpret_cast<const char*>(map.start()), file.bytes);
  if (map.start() == nullptr) {
    // Enough to recognise what is no safetensors file; then as much as the length field says.
    constexpr uint64_t kFirstBytes = 4096;
    start.resize(std::min(file.bytes, kFirstBytes));
    read_at(0, std::as_writable_bytes(std::span(start)), "the header");
    uint64_t length = 0;
    for (size_t i = std::min<size_t>(8, start.size()); i-- > 0;)
      length = length << 8 | static_cast<unsigned char>(start[i]);
    start.resize(std::min(file.bytes, std::max(start.size(), 8 + std::min(length, kMaxHeaderBytes))));
    read_at(0, std::as_writable_bytes(std::span(start)), "the header");
    text = start;
  }
  try {
    header = parse_header(text, file.bytes, path);
  } catch (const Error&) {
    check_read();
    throw;
  }
  check_read();
  by_name.reserve(header.tensors.size());
  for (const TensorInfo& tensor : header.tensors) by_name.emplace(tensor.name, &tensor);
}

std::string Reader::Source::fault() const {
  struct stat status {};
  if (::fstat(file.descriptor.get(), &status) == 0) {
    if (static_cast<uint64_t>(status.st_size) < file.bytes)
      return fmt::format("{}: the file was truncated while it was read, from {} bytes to {}", path,
                         file.bytes, status.st_size);
    if (status.st_mtim.tv_sec != modified.tv_sec || status.st_mtim.tv_nsec != modified.tv_nsec)
      return fmt::format("{}: the file was written to while it was read; run again when that is done", path);
  }
  return map.is_lost() ? fmt::format("{}: cannot be read: {}", path, system_reason(EIO)) : "";
}

void Reader::Source::read_at(uint64_t offset, std::span<std::byte> bytes, std::string_view of) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(file.descriptor.get(), bytes.data(),
                                  std::min<size_t>(bytes.size(), kMaxReadBytes), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) complain(fmt::format("{}: {} cannot be read: {}", path, of, system_reason(errno)));
    if (count == 0)
      complain(fmt::format("{}: the file was truncated while it was read, from {} bytes to {}, at {}", path,
                           file.bytes, offset, of));
    offset += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

Reader::Reader(const std::string& path) : source_(std::make_unique<Source>(path)) { source_->parse(); }
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

const std::string& Reader::path() const { return source_->path; }
const Header& Reader::header() const { return source_->header; }
uint64_t Reader::file_bytes() const { return source_->file.bytes; }
int Reader::descriptor() const { return source_->file.descriptor.get(); }

const TensorInfo* Reader::find(std::string_view name) const {
  const auto found = source_->by_name.find(name);
  return found == source_->by_name.end() ? nullptr : found->second;
}

TensorBytes Reader::bytes(const TensorInfo& tensor) const {
  source_->check_read();
  const uint64_t offset = source_->header.data_start + tensor.begin, bytes = tensor.bytes();
  if (source_->map.start() != nullptr) return {{source_->map.start() + offset, bytes}, nullptr};
  const std::shared_ptr<std::byte[]> copy(new std::byte[bytes]);
  source_->read_at(offset, {copy.get(), bytes}, tensor_words(tensor));
  return {{copy.get(), bytes}, copy};
}

void Reader::read(const TensorInfo& tensor, uint64_t from, std::span<std::byte> bytes) const {
  source_->read_at(source_->header.data_start + tensor.begin + from, bytes, tensor_words(tensor));
}

// Advice may be ignored or fail; reading works all the same, so the results of madvise are not looked at.

void Reader::prefetch(const TensorInfo& tensor) const {
  source_->check_read();
  if (tensor.bytes() == 0) return;
  const uint64_t begin = (source_->header.data_start + tensor.begin) / page_bytes() * page_bytes();
  const uint64_t end = source_->header.data_start + tensor.end;
  if (source_->map.start() != nullptr)
    ::madvise(source_->map.start() + begin, end - begin, MADV_WILLNEED);
  else
    ::posix_fadvise(descriptor(), static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                    POSIX_FADV_WILLNEED);
}

void Reader::release(const TensorInfo& tensor) const {
  source_->check_read();
  if (source_->map.start() == nullptr) return;
  // Only pages that lie wholly inside: the neighbours' pages may be in use.
  const uint64_t begin =
      (source_->header.data_start + tensor.begin + page_bytes() - 1) / page_bytes() * page_bytes();
  const uint64_t end = (source_->header.data_start + tensor.end) / page_bytes() * page_bytes();
  if (begin < end) ::madvise(source_->map.start() + begin, end - begin, MADV_DONTNEED);
}

void check_inputs() {
  const std::lock_guard lock(inputs_mutex);
  std::string fault = std::exchange(fault_of_closed, "");
  for (const Reader::Source* source : Reader::Source::open_sources()) {
    if (fault.empty() && !(fault = source->fault()).empty()) source->told = true;
  }
  if (!fault.empty()) fail(ErrorCode::kBadInput, "{}", fault);
}

}  // namespace ctq::safetensors
