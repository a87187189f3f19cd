#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"

extern char** environ;

namespace ctq::cli::batch {
namespace {

// Stays the same program when its file is replaced during a long batch.
constexpr const char* kThisProgram = "/proc/self/exe";

[[noreturn]] void refuse(int error) {
  fail(ErrorCode::kFailure, "no process for the next file: {}", std::generic_category().message(error));
}

/// What becomes of the descriptors in the child.
class FileActions {
 public:
  FileActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

}  // namespace

Child::Child(const std::vector<std::string>& args) {
  std::vector<std::string> words{"convert_to_quant"};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  FileActions actions;
  ::posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  std::array<int, 2> theirs{-1, -1};
  int error = 0;
  for (size_t i = 0; i < 2 && error == 0; ++i) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      error = errno;
      break;
    }
    streams_[i] = ends[0];
    theirs[i] = ends[1];
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ::posix_spawn_file_actions_adddup2(actions.get(), ends[1], i == 0 ? STDOUT_FILENO : STDERR_FILENO);
  }
  if (error == 0) error = ::posix_spawn(&pid_, kThisProgram, actions.get(), nullptr, argv.data(), environ);
  for (const int end : theirs) {
    if (end >= 0) ::close(end);
  }
  if (error == 0) return;
  for (const int stream : streams_) {
    if (stream >= 0) ::close(stream);
  }
  refuse(error);
}

Child::~Child() {
  if (pid_ > 0) {
    signal(SIGKILL);
    wait();
  }
  for (const int stream : streams_) ::close(stream);
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

int Child::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace ctq::cli::batch
