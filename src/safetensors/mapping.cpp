// Mapped files, and the handler of SIGBUS.
#include "mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>

namespace ctq::safetensors {

/// A mapping as the signal handler sees it. Never freed, since a handler may be looking at it; used again for
/// other mappings.
struct Guarded {
  std::atomic<std::byte*> start{nullptr};  ///< null: of no mapping
  std::atomic<uint64_t> bytes{0};
  std::atomic<bool> lost{false};
  Guarded* next = nullptr;
};

namespace {

std::atomic<Guarded*> all_guarded{nullptr};
std::mutex guarding;
struct sigaction earlier_action {};

uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

/// Only calls that a signal handler may make.
void on_bus_error(int, siginfo_t* info, void*) {
  const int error = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Guarded* guarded = all_guarded.load(); guarded != nullptr; guarded = guarded->next) {
    std::byte* const start = guarded->start.load();
    const uint64_t pages = (guarded->bytes.load() + page_bytes() - 1) / page_bytes();
    const auto first = reinterpret_cast<uintptr_t>(start), end = first + pages * page_bytes();
    if (start == nullptr || address < first || address >= end) continue;
    const uintptr_t page = address / page_bytes() * page_bytes();
    guarded->lost.store(true);
    constexpr int kZeros = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    if (::mmap(start + (page - first), end - page, PROT_READ, kZeros, -1, 0) == MAP_FAILED) break;
    errno = error;
    return;
  }
  // Not ours: the instruction runs again, under what was set before.
  ::sigaction(SIGBUS, &earlier_action, nullptr);
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    page_bytes();  // so that the handler finds it known
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &earlier_action);
  });
}

Guarded* guard(std::byte* start, uint64_t bytes) {
  install_handler();
  const std::lock_guard lock(guarding);
  Guarded* guarded = all_guarded.load();
  while (guarded != nullptr && guarded->start.load() != nullptr) guarded = guarded->next;
  const bool is_new = guarded == nullptr;
  if (is_new) guarded = new Guarded;
  guarded->lost.store(false);
  guarded->bytes.store(bytes);
  guarded->start.store(start);
  if (is_new) {
    guarded->next = all_guarded.load();
    all_guarded.store(guarded);
  }
  return guarded;
}

}  // namespace

Mapping::Mapping(int descriptor, uint64_t bytes) : bytes_(bytes) {
  for (const int kind : {MAP_SHARED, MAP_PRIVATE}) {
    void* const mapped = ::mmap(nullptr, bytes, PROT_READ, kind, descriptor, 0);
    if (mapped == MAP_FAILED) continue;
    start_ = static_cast<std::byte*>(mapped);
    guarded_ = guard(start_, bytes);
    return;
  }
}

Mapping::~Mapping() {
  if (start_ == nullptr) return;
  {
    const std::lock_guard lock(guarding);
    guarded_->start.store(nullptr);
  }
  ::munmap(start_, bytes_);
}

bool Mapping::is_lost() const {
  return guarded_ != nullptr && guarded_->lost.load(std::memory_order_relaxed);
}

}  // namespace ctq::safetensors
