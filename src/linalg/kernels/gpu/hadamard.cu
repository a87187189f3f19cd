// A block has some whole runs in shared memory and goes through all strides there: one read and one write of
// the data, whatever the size of a run.
#include "linalg/kernels/gpu/hadamard.cuh"

#include "linalg/kernels/gpu/launch.h"

namespace ctq::linalg::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kElements = 4096;  // of a block at least, where there are as many

struct Regular {
  static constexpr int kRadix = 4;
  static __device__ void pass(float* first, int stride) {
    const float a = first[0], b = first[stride], c = first[2 * stride], d = first[3 * stride];
    const float a_plus_b = a + b, a_minus_b = a - b, c_plus_d = c + d, c_minus_d = c - d;
    first[0] = a_plus_b + c_minus_d;
    first[stride] = a_plus_b - c_minus_d;
    first[2 * stride] = c_plus_d + a_minus_b;
    first[3 * stride] = c_plus_d - a_minus_b;
  }
};
struct Sylvester {
  static constexpr int kRadix = 2;
  static __device__ void pass(float* first, int stride) {
    const float a = first[0], b = first[stride];
    first[0] = a + b;
    first[stride] = a - b;
  }
};

template <typename Butterfly>
__global__ void __launch_bounds__(kThreads)
    hadamard_kernel(float* x, int64_t count, int64_t n, int64_t of_block, float normalise) {
  CTQ_DYNAMIC_SHARED(float, here);
  constexpr int kRadix = Butterfly::kRadix;
  const int64_t begin = int64_t{blockIdx.x} * of_block;
  const int elements = static_cast<int>(count - begin < of_block ? count - begin : of_block);
  const int run = static_cast<int>(n), thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < elements; i += kThreads) here[i] = x[begin + i];
  __syncthreads();
  for (int stride = 1, shift = 0; stride < run; stride *= kRadix, shift += kRadix / 2) {
    for (int i = thread; i < elements / kRadix; i += kThreads) {
      const int within = i & (stride - 1), group = i >> shift;
      Butterfly::pass(here + group * kRadix * stride + within, stride);
    }
    __syncthreads();
  }
  for (int i = thread; i < elements; i += kThreads) x[begin + i] = here[i] * normalise;
}

}  // namespace

int hadamard(float* x, int64_t count, int64_t n, bool regular, float normalise, Queue queue) {
  const int64_t of_block = n < kElements ? kElements / n * n : n;
  const dim3 grid(static_cast<unsigned>((count + of_block - 1) / of_block));
  const auto shared = static_cast<size_t>(of_block) * sizeof(float);
  return launch(regular ? hadamard_kernel<Regular> : hadamard_kernel<Sylvester>, grid, dim3(kThreads), shared,
                queue.device, queue.stream, x, count, n, of_block, normalise);
}

}  // namespace ctq::linalg::gpu
