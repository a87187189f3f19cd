// A file that has its final name only when it is whole.
#include "temporary_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"

namespace ctq::safetensors {
namespace {

constexpr uint64_t kMaxTransferBytes = uint64_t{1} << 30;  // Linux moves at most 2 GiB - 4 KiB per call

constexpr std::string_view kPartialEnding = ".partial";

uint64_t free_bytes(int fd) {
  struct statvfs status {};
  if (::fstatvfs(fd, &status) != 0) return 0;
  return static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
}

/// What a file takes of the disk already.
uint64_t allocated_bytes(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
}

bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

}  // namespace

TemporaryFile::TemporaryFile(const std::string& path, Unfinished unfinished)
    : place_(path), unfinished_(unfinished) {
  try {
    place_.make_folders();
    create();
  } catch (...) {
    discard();
    throw;
  }
}

TemporaryFile::~TemporaryFile() {
  if (!committed_ && unfinished_ == Unfinished::kRemoved) discard();
}

void TemporaryFile::discard() noexcept {
  if (descriptor_) ::unlink(temporary_.c_str());
  place_.remove_made_folders();
}

void TemporaryFile::create() {
  const bool own = unfinished_ == Unfinished::kRemoved;
  if (own) place_.remove_abandoned(kPartialEnding);
  temporary_ =
      place_.hidden(own ? fmt::format(".{}{}", ::getpid(), kPartialEnding) : std::string(kPartialEnding));
  Descriptor opened(OutputPlace::open_locked(temporary_));
  if (!opened && errno == EWOULDBLOCK) place_.fail_in_use(temporary_);
  if (!opened) place_.fail_create(errno);
  descriptor_ = std::move(opened);
  // A killed run with our process id (usual in containers) may have left it.
  if (own && ::ftruncate(descriptor_.get(), 0) != 0) place_.fail_create(errno);
}

void TemporaryFile::fail_full(uint64_t bytes, int error) const {
  if (error == EFBIG) {
    fail(ErrorCode::kFailure, "{}: the file system cannot hold a file of {}: {}", path(), human_bytes(bytes),
         system_reason(error));
  }
  fail(ErrorCode::kFailure, "{}: not enough space: needs {}, {} are free in '{}': {}", path(),
       human_bytes(bytes), human_bytes(free_bytes(descriptor_.get())), place_.folder().string(),
       system_reason(error));
}

void TemporaryFile::reserve(uint64_t bytes) {
  reserved_bytes_ = bytes;
  struct stat status {};
  const bool known = ::fstat(descriptor_.get(), &status) == 0;
  const bool longer = known && static_cast<uint64_t>(status.st_size) > bytes;
  int error = longer && ::ftruncate(descriptor_.get(), static_cast<off_t>(bytes)) != 0 ? errno : 0;
  if (bytes == 0) return;
  do {
    // Not posix_fallocate: where the file system has no such call, that writes the whole file once over.
    error = ::fallocate(descriptor_.get(), 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == 0) return;
  if (is_full(error)) {
    // A partial reservation would make the disk look fuller than it is; what an earlier run left stays.
    if (::ftruncate(descriptor_.get(), known ? status.st_size : 0) != 0) error = errno;
    fail_full(bytes, error);
  }
  if (free_bytes(descriptor_.get()) + allocated_bytes(descriptor_.get()) < bytes) fail_full(bytes, ENOSPC);
  if (::ftruncate(descriptor_.get(), static_cast<off_t>(bytes)) != 0) {
    if (is_full(errno)) fail_full(bytes, errno);
    fail(ErrorCode::kFailure, "{}: cannot be given {} bytes: {}", path(), bytes, system_reason(errno));
  }
}

void TemporaryFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t wanted = std::min<size_t>(bytes.size(), kMaxTransferBytes);
    const ssize_t written = ::pwrite(descriptor_.get(), bytes.data(), wanted, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && is_full(errno)) fail_full(std::max(reserved_bytes_, offset + bytes.size()), errno);
    if (written < 0 && errno == EFAULT) check_inputs();  // `bytes` are of a mapped input
    if (written <= 0) {
      fail(ErrorCode::kFailure, "{}: writing failed: {}", path(), system_reason(written < 0 ? errno : EIO));
    }
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void TemporaryFile::read_at(uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pread(descriptor_.get(), bytes.data(), std::min<size_t>(bytes.size(), kMaxTransferBytes),
                static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      fail(ErrorCode::kFailure, "{}: reading back failed: {}", path(),
           system_reason(count < 0 ? errno : EIO));
    }
    offset += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void TemporaryFile::sync_data() {
  if (::fdatasync(descriptor_.get()) == 0 || errno == EINVAL || errno == EINTR) return;
  if (is_full(errno)) fail_full(reserved_bytes_, errno);
  fail(ErrorCode::kFailure, "{}: writing failed: {}", path(), system_reason(errno));
}

uint64_t TemporaryFile::copy_at(uint64_t offset, int source, uint64_t source_offset, uint64_t bytes) {
  uint64_t done = 0;
  while (done < bytes) {
    auto from = static_cast<loff_t>(source_offset + done), to = static_cast<loff_t>(offset + done);
    const size_t wanted = std::min(bytes - done, kMaxTransferBytes);
    const ssize_t copied = ::copy_file_range(source, &from, descriptor_.get(), &to, wanted, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && is_full(errno)) fail_full(reserved_bytes_, errno);
    if (copied < 0 && errno == EIO) {
      fail(ErrorCode::kFailure, "{}: copying failed: {}", path(), system_reason(EIO));
    }
    if (copied <= 0) break;  // other file system, old kernel, or a network server without the call
    done += static_cast<uint64_t>(copied);
  }
  return done;
}

void TemporaryFile::finish() {
  struct stat older {};
  if (::stat(place_.target().c_str(), &older) == 0) {
    // Failing that, the file has a new file's permissions; no reason to lose it.
    [[maybe_unused]] const int ignored = ::fchmod(descriptor_.get(), older.st_mode & 0777);
  }
  int error = 0;
  do {
    error = ::fsync(descriptor_.get()) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (is_full(error)) fail_full(reserved_bytes_, error);  // network file systems notice only here
  if (error != 0 && error != EINVAL) {
    fail(ErrorCode::kFailure, "{}: writing failed: {}", path(), system_reason(error));
  }
}

void TemporaryFile::commit() {
  if (::rename(temporary_.c_str(), place_.target().c_str()) != 0) {
    fail(ErrorCode::kFailure, "{}: the finished file cannot be given its name: {}", path(),
         system_reason(errno));
  }
  committed_ = true;
  place_.sync_folder();
}

std::string partial_path(const std::string& path) {
  return OutputPlace(path).hidden(kPartialEnding).string();
}

}  // namespace ctq::safetensors
