// A file that has its final name only when it is whole.
#include "temporary_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <functional>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/base/text.h"

namespace ctq::safetensors {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTransferBytes = uint64_t{1} << 30;  // Linux moves at most 2 GiB - 4 KiB per call

/// The file that a path stands for: symbolic links followed, also one whose target does not exist yet.
fs::path follow_links(const std::string& path) {
  constexpr int kMaxLinks = 40;  // as Linux
  fs::path target(path);
  std::error_code error;
  for (int links = 0; fs::is_symlink(fs::symlink_status(target, error)); ++links) {
    if (links == kMaxLinks) {
      fail(ErrorCode::kFailure, "{}: cannot be written: {}", path, system_reason(ELOOP));
    }
    const fs::path next = fs::read_symlink(target, error);
    if (error) fail(ErrorCode::kFailure, "{}: cannot be written: {}", path, error.message());
    target = target.parent_path() / next;
  }
  return target;
}

/// A path that no file can take, or only by destroying something else.
void check_target(const std::string& path, const fs::path& target) {
  const fs::path name = target.filename();
  struct stat status {};
  const bool exists = ::stat(target.c_str(), &status) == 0;
  if (!exists && errno == ENAMETOOLONG) {
    fail(ErrorCode::kFailure, "{}: cannot be written: {}", path, system_reason(ENAMETOOLONG));
  }
  if (name.empty() || name == "." || name == ".." || (exists && S_ISDIR(status.st_mode))) {
    fail(ErrorCode::kFailure, "{}: cannot be written: it is a directory; give the name of a file", path);
  }
  if (exists && !S_ISREG(status.st_mode)) {
    fail(ErrorCode::kFailure, "{}: cannot be written: it exists and is not a regular file", path);
  }
}

/// ".<name>.<pid>.partial", with the middle of a long name replaced by its hash.
std::string temporary_name(const std::string& name, const fs::path& folder) {
  const std::string ending = fmt::format(".{}.partial", ::getpid());
  const long limit = ::pathconf(folder.c_str(), _PC_NAME_MAX);
  const size_t max_bytes = limit > 0 ? static_cast<size_t>(limit) : NAME_MAX;
  if (1 + name.size() + ending.size() <= max_bytes) return "." + name + ending;

  const std::string hash = fmt::format(".{:016x}", std::hash<std::string>()(name));
  const size_t taken = 1 + hash.size() + ending.size();
  std::string start = name.substr(0, max_bytes > taken ? max_bytes - taken : 0);
  while (!is_utf8(start)) start.pop_back();
  return "." + start + hash + ending;
}

uint64_t free_bytes(int fd) {
  struct statvfs status {};
  if (::fstatvfs(fd, &status) != 0) return 0;
  return static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
}

bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

void sync_folder(const fs::path& folder) {
  // Some file systems cannot sync a folder. The file itself is safe by then, so that is not an error.
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened) ::fsync(opened.get());
}

}  // namespace

TemporaryFile::TemporaryFile(const std::string& path) : path_(path), target_(follow_links(path)) {
  check_target(path_, target_);
  folder_ = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  try {
    make_folders();
    create();
  } catch (...) {
    discard();
    throw;
  }
}

TemporaryFile::~TemporaryFile() {
  if (!committed_) discard();
}

void TemporaryFile::discard() noexcept {
  if (descriptor_) ::unlink(temporary_.c_str());
  // rmdir leaves folders alone that someone else has put something into meanwhile.
  for (auto made = made_folders_.rbegin(); made != made_folders_.rend(); ++made) ::rmdir(made->c_str());
}

void TemporaryFile::make_folders() {
  std::vector<fs::path> missing;  // innermost first
  struct stat status {};
  for (fs::path folder = folder_; ::stat(folder.c_str(), &status) != 0 && errno == ENOENT;) {
    missing.push_back(folder);
    if (!folder.has_parent_path() || folder.parent_path() == folder) break;
    folder = folder.parent_path();
  }
  for (auto folder = missing.rbegin(); folder != missing.rend(); ++folder) {
    if (::mkdir(folder->c_str(), 0777) == 0) {
      made_folders_.push_back(*folder);
    } else if (errno != EEXIST) {
      fail(ErrorCode::kFailure, "{}: the folder '{}' cannot be created: {}", path_, folder->string(),
           system_reason(errno));
    }
  }
}

void TemporaryFile::create() {
  temporary_ = folder_ / temporary_name(target_.filename().string(), folder_);
  // 0666 less the umask: the kernel gives it what a newly created file has.
  const auto open_new = [&] {
    return ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  };
  Descriptor opened(open_new());
  if (!opened && errno == EEXIST) {
    // Left by a killed run with our process id (usual in containers), unless its writer lives: then it holds
    // the lock.
    const Descriptor left(::open(temporary_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (left && ::flock(left.get(), LOCK_EX | LOCK_NB) != 0) {
      fail(ErrorCode::kFailure, "{}: another run is writing it (temporary file {})", path_,
           temporary_.string());
    }
    if (left) ::unlink(temporary_.c_str());
    opened = Descriptor(open_new());
  }
  if (!opened) {
    fail(ErrorCode::kFailure, "{}: cannot be written: no file can be created in '{}': {}", path_,
         folder_.string(), system_reason(errno));
  }
  descriptor_ = std::move(opened);
  ::flock(descriptor_.get(), LOCK_EX | LOCK_NB);
}

void TemporaryFile::fail_full(uint64_t bytes, int error) const {
  if (error == EFBIG) {
    fail(ErrorCode::kFailure, "{}: the file system cannot hold a file of {}: {}", path_, human_bytes(bytes),
         system_reason(error));
  }
  fail(ErrorCode::kFailure, "{}: not enough space: needs {}, {} are free in '{}': {}", path_,
       human_bytes(bytes), human_bytes(free_bytes(descriptor_.get())), folder_.string(),
       system_reason(error));
}

void TemporaryFile::reserve(uint64_t bytes) {
  reserved_bytes_ = bytes;
  if (bytes == 0) return;
  int error = 0;
  do {
    // Not posix_fallocate: where the file system has no such call, that writes the whole file once over.
    error = ::fallocate(descriptor_.get(), 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == 0) return;
  if (is_full(error)) {
    // A partial reservation would make the disk look fuller than it is.
    if (::ftruncate(descriptor_.get(), 0) != 0) error = errno;
    fail_full(bytes, error);
  }
  if (free_bytes(descriptor_.get()) < bytes) fail_full(bytes, ENOSPC);
  if (::ftruncate(descriptor_.get(), static_cast<off_t>(bytes)) != 0) {
    if (is_full(errno)) fail_full(bytes, errno);
    fail(ErrorCode::kFailure, "{}: cannot be given {} bytes: {}", path_, bytes, system_reason(errno));
  }
}

void TemporaryFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t wanted = std::min<size_t>(bytes.size(), kMaxTransferBytes);
    const ssize_t written = ::pwrite(descriptor_.get(), bytes.data(), wanted, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && is_full(errno)) fail_full(std::max(reserved_bytes_, offset + bytes.size()), errno);
    if (written <= 0) {
      fail(ErrorCode::kFailure, "{}: writing failed: {}", path_, system_reason(written < 0 ? errno : EIO));
    }
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
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
      fail(ErrorCode::kFailure, "{}: copying failed: {}", path_, system_reason(EIO));
    }
    if (copied <= 0) break;  // other file system, old kernel, or a network server without the call
    done += static_cast<uint64_t>(copied);
  }
  return done;
}

void TemporaryFile::finish() {
  struct stat older {};
  if (::stat(target_.c_str(), &older) == 0) {
    // Failing that, the file has a new file's permissions; no reason to lose it.
    [[maybe_unused]] const int ignored = ::fchmod(descriptor_.get(), older.st_mode & 0777);
  }
  int error = 0;
  do {
    error = ::fsync(descriptor_.get()) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (is_full(error)) fail_full(reserved_bytes_, error);  // network file systems notice only here
  if (error != 0 && error != EINVAL) {
    fail(ErrorCode::kFailure, "{}: writing failed: {}", path_, system_reason(error));
  }
}

void TemporaryFile::commit() {
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    fail(ErrorCode::kFailure, "{}: the finished file cannot be given its name: {}", path_,
         system_reason(errno));
  }
  committed_ = true;
  sync_folder(folder_);
}

}  // namespace ctq::safetensors
