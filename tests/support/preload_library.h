// A library that stands between the program and the system, to be loaded before it.
#pragma once

#include <cstdlib>
#include <string>

#include "base/shell.h"
#include "temp_dir.h"

namespace ctq::test {

/// Its mmap() does to the file whose path ends in $CTQ_FILE what $CTQ_DOES says:
///   refuse           fails with ENODEV, as some network file systems do
///   refuse_shared    the same for MAP_SHARED alone
///   truncate:BYTES   maps, then cuts the file
///   write            maps, then writes the file's last byte anew
/// And its pwrite():
///   full:CALLS       fails with ENOSPC after so many calls
class PreloadLibrary {
 public:
  PreloadLibrary() {
    write_file(dir_ / "mapping.c", kSource);
    const std::string command = "cc -shared -fPIC -o " + shell_quoted(dir_ / "mapping.so") + " " +
                                shell_quoted(dir_ / "mapping.c") + " -ldl >/dev/null 2>&1";
    built_ = std::system(command.c_str()) == 0;
  }
  /// Whether there is a C compiler.
  bool built() const { return built_; }
  /// What to put before a command.
  std::string prefix(const std::string& file, const std::string& does) const {
    return "ASAN_OPTIONS=verify_asan_link_order=0 CTQ_FILE=" + shell_quoted(file) + " CTQ_DOES=" + does +
           " LD_PRELOAD=" + shell_quoted(dir_ / "mapping.so");
  }

 private:
  static constexpr const char* kSource = R"(#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
static int is_meant(int fd, char *path, size_t size) {
  const char *name = getenv("CTQ_FILE");
  char link[64];
  if (fd < 0 || !name) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, size - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return (size_t)n >= strlen(name) && !strcmp(path + n - strlen(name), name);
}
static void rewrite_last_byte(const char *path) {
  char last;
  struct stat status;
  int fd = open(path, O_RDWR);
  usleep(20000);  /* so that the time of modification is another */
  if (fd < 0 || fstat(fd, &status) || pread(fd, &last, 1, status.st_size - 1) != 1) abort();
  if (pwrite(fd, &last, 1, status.st_size - 1) != 1) abort();
  close(fd);
}
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  static void *(*real)(void *, size_t, int, int, int, off_t);
  char path[4096];
  const char *does = getenv("CTQ_DOES");
  if (!real) real = dlsym(RTLD_NEXT, "mmap");
  if (!does || !is_meant(fd, path, sizeof path)) return real(address, length, protection, flags, fd, offset);
  if (!strcmp(does, "refuse") || (!strcmp(does, "refuse_shared") && (flags & MAP_SHARED))) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  void *mapped = real(address, length, protection, flags, fd, offset);
  if (!strncmp(does, "truncate:", 9) && truncate(path, atol(does + 9))) abort();
  if (!strcmp(does, "write")) rewrite_last_byte(path);
  return mapped;
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  return mmap(address, length, protection, flags, fd, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
  static ssize_t (*real)(int, const void *, size_t, off_t);
  static int calls;
  char path[4096];
  const char *does = getenv("CTQ_DOES");
  if (!real) real = dlsym(RTLD_NEXT, "pwrite");
  if (does && !strncmp(does, "full:", 5) && is_meant(fd, path, sizeof path) && ++calls > atoi(does + 5)) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) {
  return pwrite(fd, bytes, size, offset);
}
)";

  TempDir dir_;
  bool built_ = false;
};

}  // namespace ctq::test
