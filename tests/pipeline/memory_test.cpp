#include "pipeline/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "support/temp_dir.h"

namespace ctq::pipeline {
namespace {

constexpr size_t kBytes = size_t{64} << 20;
constexpr uint64_t kMost = kBytes / 8 * 7;  // other allocations of the process come and go

}  // namespace

TEST_CASE("memory: what is allocated and touched is counted", "[pipeline]") {
  const uint64_t before = resident_bytes();
  CHECK(before > 0);
  const std::vector<char> touched(kBytes, 'x');
  CHECK(resident_bytes() >= before + kMost);
  CHECK(std::count(touched.begin(), touched.end(), 'x') == static_cast<std::ptrdiff_t>(kBytes));
}

TEST_CASE("memory: a watch remembers what is gone", "[pipeline]") {
  MemoryWatch watch;
  const uint64_t before = watch.peak();
  {
    const std::vector<char> touched(kBytes, 'x');
    CHECK(std::count(touched.begin(), touched.end(), 'x') == static_cast<std::ptrdiff_t>(kBytes));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  CHECK(watch.peak() >= before + kMost);
}

TEST_CASE("memory: pages of a mapped file are not counted", "[pipeline]") {
  const test::TempDir dir;
  test::write_file(dir / "file", std::string(kBytes, 'x'));
  const int file = ::open((dir / "file").c_str(), O_RDONLY);
  REQUIRE(file >= 0);
  void* mapped = ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, file, 0);
  REQUIRE(mapped != MAP_FAILED);
  const uint64_t before = resident_bytes();
  const char* bytes = static_cast<const char*>(mapped);
  CHECK(std::count(bytes, bytes + kBytes, 'x') == static_cast<std::ptrdiff_t>(kBytes));
  CHECK(resident_bytes() < before + kMost);
  ::munmap(mapped, kBytes);
  ::close(file);
}

}  // namespace ctq::pipeline
