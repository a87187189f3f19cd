// CUDA for kernels that are compiled for a CPU: every thread of a block is a fiber, blocks run in turn.
//
// Covers what the kernels use: grids and blocks of up to three dimensions, static and dynamic shared memory,
// __syncthreads, shuffles. Beyond what a GPU does it ends the process where not all threads of a block reach
// a barrier or not all lanes of a warp a shuffle; fills shared memory with NaN; and has threads and blocks
// take their turns in the order that order() says, which shows a barrier that is missing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static  // one block runs at a time
#define CTQ_UNROLL
#define CTQ_LOOP
#define CTQ_DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(ctq::emulated::shared_memory())

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
enum cudaError_t { cudaSuccess = 0 };
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }

inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim, gridDim;

namespace ctq::emulated {

constexpr int kWarp = 32;

enum class Order : uint8_t { kForward, kBackward, kShuffled };

/// In which threads of a block, and blocks of a grid, take their turns.
inline Order& order() {
  static Order order = Order::kForward;
  return order;
}

#if defined(__x86_64__)
// Keeps what a call must keep, and changes stacks.
asm(R"(
.weak ctq_change_fiber
.type ctq_change_fiber, @function
ctq_change_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ctq_change_fiber, .-ctq_change_fiber
)");
extern "C" void ctq_change_fiber(void** from, void* to);

/// A stack and where it stopped.
struct Context {
  void* stack = nullptr;

  void begin(char* bottom, size_t bytes, void (*entry)()) {
    auto** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(bottom) + bytes) & ~uintptr_t{15});
    *--top = nullptr;  // where entry() would return to: the stack lies as after a call
    *--top = reinterpret_cast<void*>(entry);
    for (int kept = 0; kept < 6; ++kept) *--top = nullptr;
    stack = top;
  }
  void leave_for(Context& other) { ctq_change_fiber(&stack, other.stack); }
};
#else
struct Context {
  ucontext_t context;

  void begin(char* bottom, size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = bottom;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
  void leave_for(Context& other) { swapcontext(&context, &other.context); }
};
#endif

/// The block that runs.
class Block {
 public:
  Block(int threads, size_t shared, void (*kernel)(void*), void* arguments)
      : fibers_(static_cast<size_t>(threads)),
        warps_(static_cast<size_t>((threads + kWarp - 1) / kWarp)),
        stacks_(new char[static_cast<size_t>(threads) * kStack]),
        shared_((shared + sizeof(float) - 1) / sizeof(float) + 1),
        kernel_(kernel),
        arguments_(arguments) {}

  static Block*& current() {
    static Block* block = nullptr;
    return block;
  }

  void run() {
    current() = this;
    std::memset(shared_.data(), 0xFF, shared_.size() * sizeof(float));
    alive_ = static_cast<int>(fibers_.size());
    arrived_ = 0;
    std::fill(warps_.begin(), warps_.end(), Warp());
    std::vector<int> turns(fibers_.size());
    std::iota(turns.begin(), turns.end(), 0);
    if (order() == Order::kBackward) std::reverse(turns.begin(), turns.end());
    if (order() == Order::kShuffled) std::shuffle(turns.begin(), turns.end(), std::mt19937(blockIdx.x + 1));
    for (const int thread : turns) prepare(thread);
    while (alive_ > 0) {
      moved_ = false;
      for (const int thread : turns)
        if (!fibers_[static_cast<size_t>(thread)].ended) resume(thread);
      if (alive_ > 0 && !moved_) end("no thread can go on: a barrier or a shuffle that not all reach");
    }
  }

  void* shared() { return shared_.data(); }

  void barrier() {
    const unsigned here = barriers_;
    if (++arrived_ == alive_) pass_barrier();
    while (barriers_ == here) pause();
    moved_ = true;
  }

  /// Every lane of a warp hands in 8 bytes; returns those of all lanes.
  const uint64_t* exchange(uint64_t value) {
    Warp& warp = warps_[static_cast<size_t>(thread_ / kWarp)];
    const unsigned here = warp.exchanges;
    uint64_t* const slots = warp.slots[here & 1];
    slots[thread_ % kWarp] = value;
    const int lanes = std::min(kWarp, static_cast<int>(fibers_.size()) - thread_ / kWarp * kWarp);
    if (++warp.arrived == lanes) {
      warp.arrived = 0;
      ++warp.exchanges;
    }
    while (warp.exchanges == here) pause();
    moved_ = true;
    return slots;
  }

  int lane() const { return thread_ % kWarp; }

 private:
  static constexpr size_t kStack = 32 * 1024;

  struct Fiber {
    Context context;
    bool ended = false;
  };
  struct Warp {
    uint64_t slots[2][kWarp] = {};
    unsigned exchanges = 0;
    int arrived = 0;
  };

  void pass_barrier() {
    arrived_ = 0;
    ++barriers_;
  }
  static void enter() {
    Block& block = *current();
    block.kernel_(block.arguments_);
    block.fibers_[static_cast<size_t>(block.thread_)].ended = true;
    --block.alive_;
    block.moved_ = true;
    if (block.alive_ > 0 && block.arrived_ == block.alive_)
      block.pass_barrier();  // nobody waits for the dead
    block.pause();
  }
  void prepare(int thread) {
    Fiber& fiber = fibers_[static_cast<size_t>(thread)];
    fiber.ended = false;
    fiber.context.begin(stacks_.get() + static_cast<size_t>(thread) * kStack, kStack, &enter);
  }
  void resume(int thread) {
    thread_ = thread;
    const auto n = static_cast<unsigned>(thread);
    threadIdx = {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)};
    scheduler_.leave_for(fibers_[static_cast<size_t>(thread)].context);
  }
  void pause() { fibers_[static_cast<size_t>(thread_)].context.leave_for(scheduler_); }
  [[noreturn]] void end(const char* why) const {
    std::fprintf(stderr, "emulated kernel, block (%u, %u, %u): %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
                 why);
    std::exit(1);
  }

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::unique_ptr<char[]> stacks_;
  std::vector<float> shared_;
  Context scheduler_;
  void (*kernel_)(void*);
  void* arguments_;
  int thread_ = 0, alive_ = 0, arrived_ = 0;
  unsigned barriers_ = 0;
  bool moved_ = false;
};

inline void* shared_memory() { return Block::current()->shared(); }

template <typename T>
uint64_t to_slot(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t slot = 0;
  std::memcpy(&slot, &value, sizeof value);
  return slot;
}
template <typename T>
T from_slot(uint64_t slot) {
  T value;
  std::memcpy(&value, &slot, sizeof value);
  return value;
}

}  // namespace ctq::emulated

inline void __syncthreads() { ctq::emulated::Block::current()->barrier(); }

template <typename T>
T __shfl_sync(unsigned, T value, int source, int width = 32) {
  using namespace ctq::emulated;
  Block& block = *Block::current();
  const int first = block.lane() / width * width;
  return from_slot<T>(block.exchange(to_slot(value))[first + source % width]);
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, int bits, int = 32) {
  using namespace ctq::emulated;
  Block& block = *Block::current();
  const int source = block.lane() ^ bits;
  return from_slot<T>(block.exchange(to_slot(value))[source]);
}

template <typename T>
T atomicMax(T* at, T value) {
  const T before = *at;
  *at = std::max(before, value);
  return before;
}

namespace ctq::linalg::gpu {

inline int loads(void (*)(), int) { return cudaSuccess; }

template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, int, void*,
           const Arguments&... arguments) {
  const auto call = [&] { kernel(arguments...); };
  blockDim = block;
  gridDim = grid;
  const auto enter = [](void* f) { (*static_cast<decltype(&call)>(f))(); };
  emulated::Block running(static_cast<int>(block.x * block.y * block.z), shared, enter,
                          const_cast<void*>(static_cast<const void*>(&call)));
  const unsigned blocks = grid.x * grid.y * grid.z;
  for (unsigned i = 0; i < blocks; ++i) {
    const unsigned b = emulated::order() == emulated::Order::kForward ? i : blocks - 1 - i;
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
    running.run();
  }
  return cudaSuccess;
}

}  // namespace ctq::linalg::gpu
