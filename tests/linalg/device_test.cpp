// The device that is named is the device that is used; on a GPU the bits are the CPU's.
#include "linalg/device.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "base/error.h"
#include "linalg/tiles.h"
#include "support/matchers.h"

using namespace ctq;
using namespace ctq::linalg;

namespace {

/// Nothing where this machine has no working GPU.
std::optional<at::Device> gpu() {
  try {
    return open_device("cuda");
  } catch (const Error& error) {
    WARN("[skipped] " << error.what());
    return std::nullopt;
  }
}

TileScale absmax_int8(float amax, float) { return {amax / 127.0f, amax / 127.0f}; }
TileScale absmax_e4m3(float amax, float) { return {amax / 448.0f, 1.0f / (amax / 448.0f)}; }

}  // namespace

TEST_CASE("open_device: the CPU is always there", "[linalg]") { CHECK(open_device("cpu").is_cpu()); }

TEST_CASE("free_cores: no more than there are, one where others keep all busy", "[linalg]") {
  CHECK(free_cores() >= 1);
  CHECK(free_cores() <= available_cores());
  std::vector<pid_t> busy;
  for (int i = 0; i < 2 * available_cores() + 2; ++i) {
    busy.push_back(::fork());
    REQUIRE(busy.back() >= 0);
    if (busy.back() == 0)
      for (volatile bool forever = true; forever;) {
      }
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(free_cores() == 1);
  for (const pid_t process : busy) {
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
  }
}

TEST_CASE("free_cores: threads of this process take none from it", "[linalg]") {
  std::atomic<bool> done = false;
  std::vector<std::thread> spinning;
  for (int i = 0; i < 2 * available_cores() + 2; ++i)
    spinning.emplace_back([&] {
      while (!done) {
      }
    });
  // Other processes may be busy for a while.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  int most = 0;
  while (most < available_cores() && std::chrono::steady_clock::now() < deadline)
    most = std::max(most, free_cores());
  done = true;
  for (std::thread& thread : spinning) thread.join();
  if (available_cores() == 1) return;
  if (most == 1 && free_cores() == 1) {
    WARN("[skipped] other processes keep the cores busy");
    return;
  }
  CHECK(most > 1);
}

TEST_CASE("open_device: a device that is missing is an error, never another device", "[linalg]") {
  CHECK_THROWS_MATCHES(open_device("cuda:99"), Error, test::HasCode(ErrorCode::kFailure, "cuda:99"));
}

TEST_CASE("quantize_tiles: a GPU gives the CPU's bits", "[linalg][cuda]") {
  const auto device = gpu();
  if (!device) return;
  const at::Tensor weight = at::randn({96, 384}).mul(0.02).to(at::kBFloat16);
  const auto tiling = GENERATE(values<Tiling>({{96, 384}, {1, 384}, {32, 32}, {1, 64}}));
  for (const TileCoding coding :
       {TileCoding{Code::kInt8, true, absmax_int8}, TileCoding{Code::kE4M3, false, absmax_e4m3}}) {
    bool finite = false;
    const TileCodes cpu = quantize_tiles(weight, tiling, coding, &finite);
    const TileCodes there = quantize_tiles(weight.to(*device), tiling, coding, &finite);
    CHECK(at::equal(there.codes.cpu().view(at::kChar), cpu.codes.view(at::kChar)));
    CHECK(at::equal(there.decode.cpu(), cpu.decode));
  }
}
