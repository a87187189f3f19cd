// An owned file descriptor, and opening a file for reading.
#include "descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"

namespace ctq::safetensors {

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::string system_reason(int error) { return std::generic_category().message(error); }

InputFile open_input(const std::string& path) {
  // O_NONBLOCK: opening a pipe would otherwise wait for its writer. It means nothing for a regular file.
  InputFile file{Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), 0};
  if (!file.descriptor) fail(ErrorCode::kBadInput, "{}: cannot be opened: {}", path, system_reason(errno));
  struct stat status {};
  if (::fstat(file.descriptor.get(), &status) != 0) {
    fail(ErrorCode::kBadInput, "{}: cannot be examined: {}", path, system_reason(errno));
  }
  if (S_ISDIR(status.st_mode)) fail(ErrorCode::kBadInput, "{}: is a directory, not a file", path);
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorCode::kBadInput, "{}: is a pipe or device, not a regular file; save it to a file first", path);
  }
  file.bytes = static_cast<uint64_t>(status.st_size);
  return file;
}

}  // namespace ctq::safetensors
