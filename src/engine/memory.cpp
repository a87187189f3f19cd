#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/parts.h"
#include "engine/unused.h"
#include "linalg/device.h"
#include "pipeline/memory_limits.h"

namespace ctq::engine {
namespace {

using pipeline::MemoryLimits;
using pipeline::Offload;

struct Threshold {
  Setting<int64_t> Compute::*setting;
  int64_t Offload::*limit;
};
constexpr std::array kThresholds{Threshold{&Compute::stream_hadamard, &Offload::hadamard_elements},
                                 Threshold{&Compute::stream_hessian, &Offload::hessian_width},
                                 Threshold{&Compute::stream_ldlq, &Offload::ldlq_width},
                                 Threshold{&Compute::stream_ortho, &Offload::orthogonal_size}};

/// Nine tenths: others on the machine, or the GPU, go on working.
uint64_t most_of(uint64_t bytes) { return bytes / 10 * 9; }

void note_no_gpu(const Compute& compute, std::vector<std::string>& notes) {
  std::vector<std::string_view> unused;
  const auto look_at = [&](const AnySetting& setting) {
    if (setting.given()) unused.push_back(setting.label());
  };
  look_at(compute.streaming_mode);
  look_at(compute.no_memory_limits);
  for (const Threshold& threshold : kThresholds) look_at(compute.*threshold.setting);
  if (!unused.empty())
    notes.push_back(
        fmt::format("{}: all work is on the CPU, where tensors are always read one at a time; no effect",
                    fmt::join(unused, ", ")));
}

void read_gpu_limits(const Compute& compute, at::Device device, MemoryLimits& limits) {
  limits.gpu_bytes = most_of(linalg::free_memory(device));
  limits.offload = pipeline::offload_of(*compute.streaming_mode).value();
  for (const Threshold& threshold : kThresholds) {
    if ((compute.*threshold.setting).given()) limits.offload.*threshold.limit = *(compute.*threshold.setting);
  }
}

void refuse_with_no_limits(const Compute& compute) {
  const auto check = [&](const AnySetting& other, bool on) {
    if (on) refuse(compute.no_memory_limits, fmt::format("does not go with {}", other));
  };
  check(compute.low_memory, *compute.low_memory);
  check(compute.max_memory, compute.max_memory.given());
  for (const Threshold& threshold : kThresholds)
    check(compute.*threshold.setting, (compute.*threshold.setting).given());
}

}  // namespace

void read_memory(Job& job) {
  const Compute& compute = job.settings.compute;
  pipeline::RunOptions& run = job.run;
  MemoryLimits& limits = run.memory;
  limits.guarded = !*compute.no_memory_limits;
  if (!limits.guarded) {
    refuse_with_no_limits(compute);
    job.warnings.push_back(
        fmt::format("{}: nothing is checked or moved to the CPU; running out of memory ends the run",
                    compute.no_memory_limits));
  }
  if (*compute.low_memory) run.byte_budget = 0;
  if (*compute.low_memory && linalg::is_gpu(run.device))
    job.notes.push_back(fmt::format("{} streams tensors one by one, but stays on the GPU that was named",
                                    compute.low_memory));
  if (run.device.is_cpu()) {
    note_no_gpu(compute, job.notes);
  } else if (limits.guarded) {
    read_gpu_limits(compute, run.device, limits);
  }
  if (!limits.guarded) return;
  job.process.bounded_memory = *compute.max_memory > 0;
  if (*compute.max_memory > 0) {
    const pipeline::MemoryShares shares = pipeline::shares_of(*compute.max_memory);
    if (shares.layer == 0)
      refuse(compute.max_memory,
             fmt::format("the program without any layer takes {}", human_bytes(shares.whole())));
    run.byte_budget = std::min(run.byte_budget, shares.waiting);
    limits.layer_bytes = shares.layer;
    limits.binding = true;
  } else if (const auto bytes = pipeline::available_bytes()) {
    limits.layer_bytes = pipeline::shares_of(most_of(*bytes)).layer;
  }
}

void read_bf16(Job& job) {
  const Compute& compute = job.settings.compute;
  const at::Device device = job.run.device;
  const Bf16Word use = *compute.bf16;
  if (use == Bf16Word::kOn && !linalg::has_bf16(device))
    job.notes.push_back(fmt::format("{} on: {} has no BF16 arithmetic; float32 is used", compute.bf16,
                                    device.is_cpu() ? "the CPU" : device.str()));
  if (use == Bf16Word::kOff && device.is_cpu())
    job.notes.push_back(fmt::format("{} off has no effect: on the CPU all is float32", compute.bf16));
  if (use == Bf16Word::kOn) job.process.bf16 = {.product = 0, .hadamard = 0, .hessian = 0};
  if (use == Bf16Word::kAuto) {
    job.process.bf16.product = *compute.bf16_product;
    job.process.bf16.hessian = *compute.bf16_hessian;
    // What it rounds are the weights themselves.
    if (compute.bf16_hadamard.given()) job.process.bf16.hadamard = *compute.bf16_hadamard;
  }
  if (device.is_cpu() || use != Bf16Word::kAuto)
    Unused(Remarks(job))
        .note({&compute.bf16_product, &compute.bf16_hadamard, &compute.bf16_hessian},
              device.is_cpu() ? std::string("on the CPU")
                              : fmt::format("with {} {}", compute.bf16, compute.bf16.text()));
}

}  // namespace ctq::engine
