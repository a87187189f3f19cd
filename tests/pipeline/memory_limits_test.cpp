#include "pipeline/memory_limits.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <catch2/catch.hpp>

#include "pipeline/layer_memory.h"
#include "pipeline/placement.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::pipeline {
namespace {

using ctq::test::HasCode;
using format::Granularity;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

/// A layer by itself.
struct Work {
  explicit Work(const optimize::Optimizer* optimizer, int64_t rows = 4096, int64_t columns = 4096) {
    settings.optimizer = optimizer;
    work = {.codec = format::find_codec("int8_tensorwise", Granularity::kRow),
            .rows = rows,
            .columns = columns,
            .settings = &settings};
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  optimize::Settings settings;
  LayerWork work;
};

}  // namespace

TEST_CASE("memory: what is left for a layer, and how much it takes to leave that", "[pipeline]") {
  for (const uint64_t whole : {200 * kMiB, kGiB, 3 * kGiB, 100 * kGiB}) {
    CAPTURE(whole);
    const MemoryShares shares = shares_of(whole);
    CHECK(shares.whole() == whole);
    CHECK(shares.layer > 0);
    CHECK(shares.waiting <= 256 * kMiB);
    const uint64_t needed = shares_for_layer(shares.layer).whole();
    CHECK(needed >= whole);
    CHECK(needed <= whole + 2);
    CHECK(shares_of(needed).layer >= shares.layer);
  }
  CHECK(shares_of(50 * kMiB).layer == 0);
  CHECK(available_bytes().value() > 0);
}

TEST_CASE("memory: the tiers of --streaming-mode", "[pipeline]") {
  for (const std::string_view mode : {"auto", "off"}) {
    CHECK(offload_of(mode)->hadamard_elements == Offload::kNever);
    CHECK(offload_of(mode)->ldlq_width == Offload::kNever);
  }
  CHECK(offload_of("minimal")->hessian_width == 32768);
  CHECK(offload_of("balanced")->hadamard_elements == 50'000'000);
  CHECK(offload_of("aggressive")->orthogonal_size == 4096);
  CHECK_FALSE(offload_of("extreme"));
}

TEST_CASE("memory: every threshold sends the layers it is about to the CPU", "[pipeline]") {
  const auto within = [](const Work& layer, int64_t Offload::*limit, int64_t value) {
    Offload offload;
    offload.*limit = value;
    return is_within(layer.work, offload);
  };
  const Work direct(&optimize::kDirect), nearest(&optimize::kNearest), quip(&optimize::kQuip, 4096, 6144);
  Work rotated(&optimize::kNearest, 4096, 8192);
  rotated.work.rotation_group = 256;
  for (const auto limit : {&Offload::hessian_width, &Offload::ldlq_width}) {
    CHECK_FALSE(within(direct, limit, 4096));
    CHECK(within(direct, limit, 4097));
    CHECK(within(nearest, limit, 1));
  }
  CHECK_FALSE(within(rotated, &Offload::hadamard_elements, 8192 * 8192));
  CHECK(within(rotated, &Offload::hadamard_elements, 8192 * 8192 + 1));
  CHECK_FALSE(within(quip, &Offload::hadamard_elements, 6144 * 6144));
  CHECK(within(direct, &Offload::hadamard_elements, 1));
  // 6144 is 3 * 2^11: what is left for a dense matrix has 3 rows.
  CHECK_FALSE(within(quip, &Offload::orthogonal_size, 3));
  CHECK(within(quip, &Offload::orthogonal_size, 4));
  CHECK(within(direct, &Offload::orthogonal_size, 1));
}

TEST_CASE("memory: the steps that change least come first", "[pipeline]") {
  const Work layer(&optimize::kDirect);
  const uint64_t whole = steps_within(layer.work, MemoryLimits::kUnlimited)->bytes;
  CHECK(steps_within(layer.work, whole)->rows_at_once == 4096);
  int64_t rows = 4096, segments = 1;
  for (uint64_t bytes = whole; const auto steps = steps_within(layer.work, bytes); bytes -= bytes / 50) {
    CAPTURE(bytes, steps->rows_at_once, steps->segments);
    CHECK(steps->bytes <= bytes);
    CHECK(steps->segments >= segments);
    if (steps->segments == segments) CHECK(steps->rows_at_once <= rows);
    if (steps->rows_at_once < 4096) CHECK(steps->rows_at_once % 256 == 0);
    CHECK(steps->words().empty() == (steps->segments == 1));
    rows = steps->rows_at_once, segments = steps->segments;
  }
  CHECK(rows == 256);
  CHECK(segments > 1);
  const uint64_t least = smallest_steps(layer.work).bytes;
  CHECK(steps_within(layer.work, least));
  CHECK_FALSE(steps_within(layer.work, least - 1));
  CHECK(least < whole / 3);
}

TEST_CASE("memory: on a CPU every thread has a panel of rows, unless rows share searched scales",
          "[pipeline]") {
  const int threads = at::get_num_threads();
  at::set_num_threads(4);
  Work layer(&optimize::kDirect);
  layer.work.by_threads = true;
  const LayerSteps free = *steps_within(layer.work, MemoryLimits::kUnlimited);
  CHECK(free.part_rows == 256);
  CHECK(free.rows_at_once == 1024);
  const LayerSteps bounded = *steps_within(layer.work, free.bytes - 1);
  CHECK(bounded.part_rows == 256);
  CHECK(bounded.rows_at_once == 768);
  CHECK(bounded.bytes < free.bytes);
  CHECK(smallest_steps(layer.work).rows_at_once == 256);

  Work shared(&optimize::kDirect);
  shared.work.codec = format::find_codec("float8_e4m3fn", Granularity::kTensor);
  shared.work.by_threads = true;
  CHECK(steps_within(shared.work, MemoryLimits::kUnlimited)->part_rows == 256);
  shared.settings.scales = optimize::Scales::kSearch;
  CHECK(steps_within(shared.work, MemoryLimits::kUnlimited)->part_rows == 4096);
  CHECK(smallest_steps(shared.work).part_rows == 256);
  CHECK(smallest_steps(shared.work).absmax_scales);

  Work few(&optimize::kDirect, /*rows=*/100);
  few.work.by_threads = true;
  CHECK(steps_within(few.work, MemoryLimits::kUnlimited)->part_rows == 100);
  at::set_num_threads(threads);
}

TEST_CASE("memory: what must see all rows at once is not split", "[pipeline]") {
  for (const optimize::Optimizer* optimizer :
       {&optimize::kNearest, &optimize::kOriginal, &optimize::kAdamW}) {
    const Work layer(optimizer);
    const LayerSteps least = smallest_steps(layer.work);
    CHECK(least.rows_at_once == 4096);
    CHECK(least.segments == 1);
    CHECK_FALSE(steps_within(layer.work, least.bytes - 1));
  }
  const Work quip(&optimize::kQuip);
  CHECK(smallest_steps(quip.work).rows_at_once == 4096);
  CHECK(smallest_steps(quip.work).segments > 1);
}

TEST_CASE("memory: what is kept of recorded rows, and of those that are held back, is counted",
          "[pipeline]") {
  constexpr uint64_t kFloat = sizeof(float), kRows = 1024, kColumns = 2048;
  const auto least = [](const Work& layer) { return smallest_steps(layer.work).bytes; };
  const auto whole = [](const Work& layer) {
    return steps_within(layer.work, MemoryLimits::kUnlimited)->bytes;
  };
  Work layer(&optimize::kAuto, 4096, kColumns);
  const uint64_t without = least(layer), whole_without = whole(layer);
  layer.work.recorded_rows = kRows;
  const uint64_t with_rows = least(layer);
  CHECK(with_rows >= without + kFloat * kRows * kColumns);
  CHECK(whole(layer) >= whole_without + kFloat * kRows * kColumns);
  layer.work.trial_sets = 3;
  CHECK(least(layer) >= with_rows + kFloat * 3 * kColumns * kColumns);

  Work nearest(&optimize::kNearest, 4096, kColumns);
  const uint64_t of_nearest = least(nearest);
  nearest.work.recorded_rows = kRows;
  CHECK(least(nearest) == of_nearest);
}

TEST_CASE("memory: recorded rows are made fewer before columns are cut", "[pipeline]") {
  Work layer(&optimize::kAuto, 3072, 12288);
  layer.work.recorded_rows = layer.work.samples = 4096;
  layer.work.by_threads = true;
  const uint64_t whole = steps_within(layer.work, MemoryLimits::kUnlimited)->bytes;
  CHECK(steps_within(layer.work, whole)->words().empty());
  int64_t samples = 4096;
  bool cut = false;
  for (uint64_t bytes = whole; const auto steps = steps_within(layer.work, bytes); bytes -= bytes / 100) {
    CAPTURE(bytes, steps->samples, steps->segments);
    CHECK(steps->bytes <= bytes);
    CHECK_FALSE((steps->samples > 0 && steps->segments > 1));
    if (steps->samples > 0) {
      CHECK_FALSE(cut);
      CHECK(steps->samples <= samples);
      CHECK(steps->words() == std::to_string(steps->samples) + " samples");
      samples = steps->samples;
    }
    cut = steps->segments > 1;
  }
  CHECK(samples < 1024);
  Work matrix(&optimize::kAuto, 3072, 12288);
  matrix.work.recorded_rows = 4096;
  CHECK(smallest_steps(layer.work).bytes < smallest_steps(matrix.work).bytes);
}

TEST_CASE("memory: out of memory on a GPU means smaller steps, then the CPU", "[pipeline]") {
  const plan::TensorPlan tensor = [] {
    static const test::TempDir dir;
    test::make_checkpoint(dir / "m.safetensors", {test::bf16_weight("a.weight", 4096, 4096)});
    static const model::Checkpoint checkpoint = model::Checkpoint::open(dir / "m.safetensors");
    plan::TensorPlan made;
    made.source = &checkpoint.entries()[0];
    return made;
  }();
  const Work layer(&optimize::kDirect);
  const at::Device gpu(at::kCUDA, 0);
  MemoryLimits limits;
  limits.layer_bytes = 5 * kGiB;
  limits.gpu_bytes = kGiB;
  const auto out_of_memory = [] { C10_THROW_ERROR(OutOfMemoryError, "no more"); };

  SECTION("until there is room") {
    Placement placement(gpu, limits);
    std::vector<uint64_t> tried;
    const at::Device device = placement.in_room(tensor, layer.work, [&](const Place& place) {
      tried.push_back(place.layer_bytes);
      if (tried.size() < 3) out_of_memory();
      return place.device;
    });
    CHECK(device == gpu);
    CHECK(tried == std::vector<uint64_t>{kGiB, kGiB / 2, kGiB / 4});
    CHECK(placement.moved() == 0);
    CHECK(placement.in_room(tensor, layer.work, [](const Place& place) { return place.layer_bytes; }) ==
          kGiB / 4);  // later layers start there
  }
  SECTION("on the CPU in the end") {
    Placement placement(gpu, limits);
    const uint64_t bytes = placement.in_room(tensor, layer.work, [&](const Place& place) {
      if (place.device.is_cuda()) out_of_memory();
      return place.layer_bytes;
    });
    CHECK(bytes == 5 * kGiB);
    CHECK(placement.moved() == 1);
  }
  SECTION("at once for a layer that cannot fit") {
    limits.gpu_bytes = kMiB;
    Placement placement(gpu, limits);
    CHECK(placement.in_room(tensor, layer.work, [](const Place& place) { return place.device; }) == at::kCPU);
  }
  SECTION("and for one beyond a limit") {
    limits.offload.ldlq_width = 4096;
    Placement placement(gpu, limits);
    CHECK(placement.in_room(tensor, layer.work, [](const Place& place) { return place.device; }) == at::kCPU);
  }
  SECTION("not with --no-memory-limits") {
    limits.guarded = false;
    Placement placement(gpu, limits);
    CHECK_THROWS_MATCHES(placement.in_room(tensor, layer.work, [&](const Place&) { out_of_memory(); }), Error,
                         HasCode(ErrorCode::kFailure, "leave out --no-memory-limits"));
  }
  SECTION("on the CPU, what its allocator throws is an error with the tensor and what to do") {
    Placement placement(at::kCPU, limits);
    const auto allocate = [](const Place&) { return at::empty({int64_t{1} << 52}, at::kFloat); };
    CHECK_THROWS_MATCHES(placement.in_room(tensor, layer.work, allocate), Error,
                         HasCode(ErrorCode::kFailure,
                                 "tensor 'a.weight': not enough memory; bound it with "
                                 "--max-memory, or take fewer --threads"));
  }
  SECTION("other errors are passed on") {
    Placement placement(gpu, limits);
    CHECK_THROWS_AS(placement.in_room(tensor, layer.work, [](const Place&) { throw std::logic_error("x"); }),
                    std::logic_error);
  }
}

}  // namespace ctq::pipeline
