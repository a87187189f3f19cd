// The kernels of the pretend device: the GPU's twins, at the addresses of the host.
#include "gpu/pretend_memory.h"
#include "gpu/twins.h"

namespace pretend {
namespace {

using namespace ctq::linalg;

template <typename T>
T* here(T* data) {
  return static_cast<T*>(arena().host(data));
}
template <typename T>
View<T> here(const View<T>& view) {
  return {here(view.data), view.row_stride, view.col_stride};
}
RoundingBlock here(const RoundingBlock& block) {
  return {block.rows,           block.cols,        here(block.weight), here(block.scale),
          here(block.coupling), here(block.error), here(block.values)};
}

int round(Code code, const RoundingBlock& block, View<const float> target, gpu::RowCosts costs, gpu::Queue) {
  counts().launched("round");
  twins::round(code, here(block), here(target), {here(costs.pivots), here(costs.cost)});
  return 0;
}
int refine(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change,
           gpu::Queue) {
  counts().launched("refine");
  twins::refine(code, here(block), here(gradient), here(change));
  return 0;
}
int search(Code code, const gpu::SearchRuns& runs, gpu::Queue) {
  counts().launched("search");
  gpu::SearchRuns there = runs;
  there.weight = here(runs.weight);
  there.tried = here(runs.tried);
  there.metric = here(runs.metric);
  there.scale = here(runs.scale);
  there.values = here(runs.values);
  twins::search(code, there);
  return 0;
}
int amax(Source source, const void* weight, const gpu::Tiles& tiles, uint32_t* bits, gpu::Queue) {
  counts().launched("amax");
  twins::amax(source, here(weight), tiles, here(bits));
  return 0;
}
int encode(Source source, Code code, bool divide, const void* weight, const gpu::Tiles& tiles,
           const float* factor, void* codes, gpu::Queue) {
  counts().launched("encode");
  twins::encode(source, code, divide, here(weight), tiles, here(factor), here(codes));
  return 0;
}
int decode(Code code, const void* codes, const gpu::Tiles& tiles, const float* scale, float* values,
           gpu::Queue) {
  counts().launched("decode");
  twins::decode(code, here(codes), tiles, here(scale), here(values));
  return 0;
}
int pack(const void* codes, int64_t n, bool even_is_high, void* packed, gpu::Queue) {
  counts().launched("pack");
  twins::pack(here(codes), n, even_is_high, here(packed));
  return 0;
}
int differences(Source original_source, const void* original, Source decoded_source, const void* decoded,
                int64_t n, double* sums, gpu::Queue) {
  counts().launched("differences");
  twins::differences(original_source, here(original), decoded_source, here(decoded), n, here(sums));
  return 0;
}
int hadamard(float* x, int64_t count, int64_t n, bool regular, float, gpu::Queue) {
  counts().launched("hadamard");
  twins::hadamard(here(x), count, n, regular);
  return 0;
}
int usable(int) { return 0; }
const char* message(int) { return "no error"; }

}  // namespace
}  // namespace pretend

extern "C" __attribute__((visibility("default"))) const ctq::linalg::gpu::Kernels* ctq_gpu_kernels() {
  using namespace pretend;
  static const gpu::Kernels kernels = {gpu::kLayout, usable, round, refine,      search,   amax,
                                       encode,       decode, pack,  differences, hadamard, message};
  return &kernels;
}
