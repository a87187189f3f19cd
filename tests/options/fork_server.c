// Preloaded into the program, starts it once and lets a fork of it do each run: what LibTorch takes to load,
// 0.4 s of CPU time, is spent once in place of thousands of times. fork_server.py speaks with it. A fork calls
// main() as the program's own start does.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int (*Main)(int, char**, char**);
typedef int (*Start)(Main, int, char**, void (*)(void), void (*)(void), void (*)(void), void*);

static Main program;

static int read_all(void* to, size_t size) {
  for (char* at = to; size > 0;) {
    const ssize_t got = read(0, at, size);
    if (got <= 0) return 0;
    at += got;
    size -= (size_t)got;
  }
  return 1;
}

static void point(int stream, const char* path, int flags) {
  const int file = open(path, flags, 0600);
  if (file < 0 || dup2(file, stream) < 0) _exit(127);
  close(file);
}

/// `words`: folder, file for standard output, file for standard error, then the program's own.
static void be_the_program(char** words, int count, char** environment) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (chdir(words[0]) != 0) _exit(127);
  point(0, "/dev/null", O_RDONLY);
  point(1, words[1], O_WRONLY | O_CREAT | O_TRUNC);
  point(2, words[2], O_WRONLY | O_CREAT | O_TRUNC);
  const int code = program(count - 3, words + 3, environment);
  fflush(NULL);
  _exit(code);  // without the destructors of LibTorch, which would copy most of its pages
}

/// A request is the size of its words, and they, each ended by a zero. Answers: the process, then how it ended.
static int serve(int argc, char** argv, char** environment) {
  (void)argc, (void)argv;
  for (uint32_t size; read_all(&size, sizeof size);) {
    char* text = malloc(size + 1);
    char** words = calloc(size + 1, sizeof *words);
    if (!text || !words || !read_all(text, size)) return 1;
    int count = 0;
    for (char* word = text; word < text + size; word += strlen(word) + 1) words[count++] = word;
    int32_t answer = fork();
    if (answer == 0) be_the_program(words, count, environment);
    if (write(1, &answer, sizeof answer) < 0 || waitpid(answer, &answer, 0) < 0) return 1;
    if (write(1, &answer, sizeof answer) < 0) return 1;
    free(words);
    free(text);
  }
  return 0;
}

int __libc_start_main(Main own, int argc, char** argv, void (*init)(void), void (*fini)(void), void (*loader)(void),
                      void* stack) {
  const Start start = (Start)dlsym(RTLD_NEXT, "__libc_start_main");
  unsetenv("LD_PRELOAD");
  program = own;
  return start(serve, argc, argv, init, fini, loader, stack);
}
