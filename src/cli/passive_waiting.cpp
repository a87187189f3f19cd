// Has OpenMP's threads sleep while they wait for work: a spinning thread takes the core that another program
// needs, and layers that are small then take ten times as long (docs/memory.md).
//
// The runtime reads its variables when its library is initialised, before main(). So the program sets the
// variable before any library is, and starts itself anew with it.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace {

/// No library is initialised yet: only system calls, and functions without state.
__attribute__((no_sanitize("address", "undefined"))) void wait_passively(int, char** argv, char** envp) {
  constexpr const char* kVariables[] = {"OMP_WAIT_POLICY=", "GOMP_SPINCOUNT="};
  size_t count = 0;
  for (; envp[count] != nullptr; ++count) {
    for (const char* variable : kVariables)
      if (std::strncmp(envp[count], variable, std::strlen(variable)) == 0) return;  // so it is to be
  }
  static char program[4096];
  static char passive[] = "OMP_WAIT_POLICY=passive";
  const long length = ::syscall(SYS_readlink, "/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return;
  auto** environment = static_cast<char**>(__builtin_alloca((count + 2) * sizeof(char*)));
  for (size_t i = 0; i < count; ++i) environment[i] = envp[i];
  environment[count] = passive;
  environment[count + 1] = nullptr;
  ::syscall(SYS_execve, program, argv, environment);  // where it cannot, waiting stays active
}

}  // namespace

extern "C" __attribute__((section(".preinit_array"),
                          used)) void (*const ctq_wait_passively)(int, char**, char**) = wait_passively;
