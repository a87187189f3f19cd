// Where an output file goes, and the hidden files beside it.
#include "output_place.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <system_error>

#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/text.h"
#include "descriptor.h"

namespace ctq::safetensors {
namespace {

constexpr size_t kLongestEnding = 40;  // ".<process>.partial" and the like

namespace fs = std::filesystem;

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

/// Whether the path still names the file that is open.
bool names(const fs::path& path, int fd) {
  struct stat named {
  }, opened{};
  return ::lstat(path.c_str(), &named) == 0 && ::fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
         named.st_ino == opened.st_ino;
}

}  // namespace

OutputPlace::OutputPlace(const std::string& path) : path_(path), target_(follow_links(path)) {
  check_target(path_, target_);
  folder_ = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
}

std::string OutputPlace::hidden_stem() const {
  const std::string name = target_.filename().string();
  const long limit = ::pathconf(folder_.c_str(), _PC_NAME_MAX);
  const size_t max_bytes = limit > 0 ? static_cast<size_t>(limit) : NAME_MAX;
  if (1 + name.size() + kLongestEnding <= max_bytes) return "." + name;

  const std::string hash = fmt::format(".{:016x}", XXH3_64bits(name.data(), name.size()));
  const size_t taken = 1 + hash.size() + kLongestEnding;
  std::string start = name.substr(0, max_bytes > taken ? max_bytes - taken : 0);
  while (!is_utf8(start)) start.pop_back();
  return fmt::format(".{}{}", start, hash);
}

fs::path OutputPlace::hidden(std::string_view ending) const {
  return folder_ / fmt::format("{}{}", hidden_stem(), ending);
}

void OutputPlace::make_folders() {
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

void OutputPlace::remove_made_folders() noexcept {
  // rmdir leaves folders alone that someone else has put something into meanwhile.
  for (auto made = made_folders_.rbegin(); made != made_folders_.rend(); ++made) ::rmdir(made->c_str());
}

int OutputPlace::open_locked(const fs::path& hidden) {
  while (true) {
    // 0666 less the umask: the kernel gives it what a newly created file has.
    Descriptor opened(::open(hidden.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!opened) return -1;
    // On a file system without locks two runs do not see each other.
    if (::flock(opened.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return -1;
    // Its last owner may have renamed or removed it between the two calls.
    if (names(hidden, opened.get())) return opened.release();
  }
}

void OutputPlace::remove_abandoned(std::string_view ending) const noexcept {
  const std::string start = hidden_stem() + ".";
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(start) || !name.ends_with(ending) || name.size() <= start.size() + ending.size())
      continue;
    const std::string_view process =
        std::string_view(name).substr(start.size(), name.size() - start.size() - ending.size());
    if (process.find_first_not_of("0123456789") != std::string_view::npos) continue;
    // Who is still writing it holds the lock.
    const Descriptor unlocked(open_locked(entry->path()));
    if (unlocked) ::unlink(entry->path().c_str());
  }
}

void OutputPlace::fail_in_use(const fs::path& hidden) const {
  fail(ErrorCode::kFailure, "{}: another run is writing it (temporary file {})", path_, hidden.string());
}

void OutputPlace::fail_create(int error) const {
  fail(ErrorCode::kFailure, "{}: cannot be written: no file can be created in '{}': {}", path_,
       folder_.string(), system_reason(error));
}

void OutputPlace::sync_folder() const {
  // The file itself is safe by then, so that a file system which cannot is not an error.
  const Descriptor opened(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened) ::fsync(opened.get());
}

}  // namespace ctq::safetensors
