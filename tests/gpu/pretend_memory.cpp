#include "gpu/pretend_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <c10/util/Exception.h>

namespace pretend {
namespace {

constexpr size_t kSpace = size_t{64} << 30;
constexpr size_t kUnit = 512;
constexpr size_t kGivenBack = size_t{1} << 22;

uint64_t number_of(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

void write_map(FILE* file, const char* name, const std::map<std::string, uint64_t>& numbers) {
  std::fprintf(file, ", \"%s\": {", name);
  const char* separator = "";
  for (const auto& [key, count] : numbers) {
    std::fprintf(file, "%s\"%s\": %llu", separator, key.c_str(), static_cast<unsigned long long>(count));
    separator = ", ";
  }
  std::fprintf(file, "}");
}

}  // namespace

void Counts::launched(const std::string& name) {
  const std::lock_guard lock(mutex_);
  ++launches_[name];
}

void Counts::moved(const char* way) {
  const std::lock_guard lock(mutex_);
  ++transfers_[way];
}

void Counts::write() const {
  const char* path = std::getenv("CTQ_PRETEND_COUNTS");
  FILE* file = path && *path ? std::fopen(path, "w") : nullptr;
  if (!file) return;
  std::fprintf(file, "{\"peak\": %llu, \"allocations\": %llu", static_cast<unsigned long long>(peak),
               static_cast<unsigned long long>(allocations));
  write_map(file, "launches", launches_);
  write_map(file, "transfers", transfers_);
  std::fprintf(file, "}\n");
  std::fclose(file);
}

Counts& counts() {
  static Counts* const counts = new Counts;
  return *counts;
}

Arena::Arena() {
  file_ = memfd_create("pretend device", MFD_CLOEXEC);
  TORCH_CHECK(file_ >= 0 && ftruncate(file_, static_cast<off_t>(kSpace)) == 0,
              "pretend device: no memory file");
  const auto map = [&](int rights) {
    void* mapped = mmap(nullptr, kSpace, rights, MAP_SHARED | MAP_NORESERVE, file_, 0);
    TORCH_CHECK(mapped != MAP_FAILED, "pretend device: no address space");
    return static_cast<char*>(mapped);
  };
  host_ = map(PROT_READ | PROT_WRITE);
  device_ = map(PROT_NONE);
  free_[0] = kSpace;
  limit_ = number_of("CTQ_PRETEND_MEMORY", uint64_t{80} << 30);
  fail_at_ = number_of("CTQ_PRETEND_FAIL", 0);
}

void* Arena::allocate(size_t bytes) {
  const size_t size = std::max((bytes + kUnit - 1) / kUnit * kUnit, kUnit);
  const std::lock_guard lock(mutex_);
  const bool fails = ++counts().allocations == fail_at_;
  const auto found =
      std::find_if(free_.begin(), free_.end(), [&](const auto& piece) { return piece.second >= size; });
  TORCH_CHECK_WITH(OutOfMemoryError, !fails && used_ + size <= limit_ && found != free_.end(),
                   "pretend device out of memory: ", used_, " of ", limit_, " bytes are in use, ", size,
                   " more were asked for");
  const auto [at, all] = *found;
  free_.erase(found);
  if (all > size) free_[at + size] = all - size;
  sizes_[at] = size;
  used_ += size;
  counts().peak = std::max<uint64_t>(counts().peak, used_);
  std::memset(host_ + at, 0xFF, std::min<size_t>(size, 1 << 16));
  return device_ + at;
}

void Arena::release(void* pointer) {
  const std::lock_guard lock(mutex_);
  size_t at = static_cast<size_t>(static_cast<char*>(pointer) - device_);
  const auto found = sizes_.find(at);
  size_t size = found->second;
  sizes_.erase(found);
  used_ -= size;
  if (size >= kGivenBack)
    (void)fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                    static_cast<off_t>(size));
  auto next = free_.lower_bound(at);
  if (next != free_.end() && next->first == at + size) {
    size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == at) {
      at = before->first;
      size += before->second;
      free_.erase(before);
    }
  }
  free_[at] = size;
}

bool Arena::holds(const void* pointer) const { return pointer >= device_ && pointer < device_ + kSpace; }

void* Arena::host(const void* pointer) const {
  return pointer == nullptr ? nullptr : host_ + (static_cast<const char*>(pointer) - device_);
}

Arena& arena() {
  static Arena* const arena = new Arena;
  return *arena;
}

namespace {

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, device()};
    void* pointer = arena().allocate(bytes);
    return {pointer, pointer, &release, device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(arena().host(to), arena().host(from), bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override { return arena().free_and_all(); }

 private:
  static void release(void* pointer) {
    if (pointer) arena().release(pointer);
  }
};

}  // namespace

c10::DeviceAllocator& allocator() {
  static Allocator* const allocator = new Allocator;
  return *allocator;
}

}  // namespace pretend
