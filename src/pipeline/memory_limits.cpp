#include "pipeline/memory_limits.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <utility>

namespace ctq::pipeline {
namespace {

constexpr uint64_t kProgram = 112 << 20;
constexpr uint64_t kWaitingPart = 16;  // of the whole
constexpr uint64_t kMostWaiting = 256 << 20;

/// The number after a word in a file of "word number" lines; nothing where there is none.
std::optional<uint64_t> number_after(const char* path, const char* word) {
  std::ifstream file(path);
  std::string found;
  while (file >> found) {
    if (found != word) continue;
    uint64_t number = 0;
    if (file >> number) return number;
    return std::nullopt;
  }
  return std::nullopt;
}

/// A file of one number; nothing for "max" or where there is none.
std::optional<uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

/// What the control group of the process, as a container sees it, has left. The kernel takes pages of files
/// away when it needs them, so only those of no file count.
std::optional<uint64_t> left_in_group() {
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_after("/sys/fs/cgroup/memory.stat", "anon");
  if (!limit || !used) return std::nullopt;
  return *limit - std::min(*limit, *used);
}

}  // namespace

std::optional<Offload> offload_of(std::string_view streaming_mode) {
  static constexpr std::array<std::pair<std::string_view, Offload>, 5> kTiers{{
      {"auto", {}},
      {"off", {}},
      {"minimal", {100'000'000, 32768, 65536, 16384}},
      {"balanced", {50'000'000, 24576, 49152, 12288}},
      {"aggressive", {25'000'000, 8192, 16384, 4096}},
  }};
  const auto* const tier =
      std::ranges::find(kTiers, streaming_mode, &std::pair<std::string_view, Offload>::first);
  if (tier == kTiers.end()) return std::nullopt;
  return tier->second;
}

MemoryShares shares_of(uint64_t whole) {
  MemoryShares shares{.program = kProgram, .waiting = std::min(whole / kWaitingPart, kMostWaiting)};
  shares.layer = whole - std::min(whole, shares.program + shares.waiting);
  return shares;
}

MemoryShares shares_for_layer(uint64_t layer_bytes) {
  const uint64_t others = kProgram + layer_bytes;
  const uint64_t waiting = std::min(others / (kWaitingPart - 1) + 1, kMostWaiting);
  return {.program = kProgram, .waiting = waiting, .layer = layer_bytes};
}

std::optional<uint64_t> available_bytes() {
  const auto machine = number_after("/proc/meminfo", "MemAvailable:");
  const auto group = left_in_group();
  if (!machine) return group;
  const uint64_t bytes = *machine * 1024;
  return group ? std::min(bytes, *group) : bytes;
}

}  // namespace ctq::pipeline
