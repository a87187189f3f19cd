#include "safetensors/record_log.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.h"
#include "descriptor.h"
#include "output_place.h"

namespace ctq::safetensors {
namespace {

constexpr size_t kChecksumDigits = 16;
constexpr std::string_view kEnding = ".journal";

std::string stored_line(std::string_view text) {
  return fmt::format("{:016x} {}\n", XXH3_64bits(text.data(), text.size()), text);
}

/// The file's lines up to the first that is not whole, and the bytes that they take.
std::pair<std::vector<std::string>, size_t> whole_lines(std::string_view content) {
  std::vector<std::string> lines;
  size_t at = 0;
  for (size_t end = 0; (end = content.find('\n', at)) != std::string_view::npos; at = end + 1) {
    if (end - at <= kChecksumDigits) break;
    const std::string_view text = content.substr(at + kChecksumDigits + 1, end - at - kChecksumDigits - 1);
    if (content.substr(at, end + 1 - at) != stored_line(text)) break;
    lines.emplace_back(text);
  }
  return {std::move(lines), at};
}

}  // namespace

struct RecordLog::Impl {
  explicit Impl(const std::string& path) : place(path), name(place.hidden(kEnding).string()) {
    try {
      place.make_folders();
      Descriptor opened(OutputPlace::open_locked(name));
      if (!opened && errno == EWOULDBLOCK) place.fail_in_use(name);
      if (!opened) place.fail_create(errno);
      descriptor = std::move(opened);
      read();
    } catch (...) {
      place.remove_made_folders();
      throw;
    }
  }
  ~Impl() {
    if (kept) return;
    ::unlink(name.c_str());
    place.remove_made_folders();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void read() {
    std::string content;
    std::string piece(size_t{1} << 20, '\0');
    for (ssize_t count = 0; (count = ::pread(descriptor.get(), piece.data(), piece.size(),
                                             static_cast<off_t>(content.size()))) > 0;)
      content.append(piece, 0, static_cast<size_t>(count));
    auto [lines, whole_bytes] = whole_lines(content);
    found = std::move(lines);
    cut(whole_bytes);
  }
  void cut(size_t size) {
    if (::ftruncate(descriptor.get(), static_cast<off_t>(size)) != 0) fail_write(errno);
    bytes = size;
  }
  [[noreturn]] void fail_write(int error) const {
    fail(ErrorCode::kFailure, "{}: cannot be written: {}", name, system_reason(error));
  }

  OutputPlace place;
  const std::string name;
  Descriptor descriptor;
  std::vector<std::string> found;
  size_t bytes = 0;
  bool kept = false;
};

RecordLog::RecordLog(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}
RecordLog::~RecordLog() = default;

bool RecordLog::exists(const std::string& path) {
  return ::access(OutputPlace(path).hidden(kEnding).c_str(), F_OK) == 0;
}

const std::string& RecordLog::file() const { return impl_->name; }
const std::vector<std::string>& RecordLog::found() const { return impl_->found; }
void RecordLog::keep() { impl_->kept = true; }

void RecordLog::clear() {
  impl_->found.clear();
  impl_->cut(0);
}

void RecordLog::append(std::span<const std::string> lines) {
  std::string text;
  for (const std::string& line : lines) text += stored_line(line);
  const bool first = impl_->bytes == 0;
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t count =
        ::pwrite(impl_->descriptor.get(), rest.data(), rest.size(), static_cast<off_t>(impl_->bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) impl_->fail_write(count < 0 ? errno : EIO);
    impl_->bytes += static_cast<size_t>(count);
    rest.remove_prefix(static_cast<size_t>(count));
  }
  if (::fdatasync(impl_->descriptor.get()) != 0 && errno != EINVAL && errno != EINTR)
    impl_->fail_write(errno);
  if (first) impl_->place.sync_folder();
}

}  // namespace ctq::safetensors
