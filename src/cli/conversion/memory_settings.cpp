#include "memory_settings.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/linalg/bf16.h"
#include "ctq/linalg/device.h"
#include "ctq/pipeline/memory_limits.h"
#include "unused_options.h"

namespace ctq::cli {
namespace {

using pipeline::MemoryLimits;
using pipeline::Offload;

struct Threshold {
  std::string_view option;  ///< key
  int64_t Offload::*limit;
};
constexpr std::array kThresholds{Threshold{"stream_hadamard_threshold", &Offload::hadamard_elements},
                                 Threshold{"stream_hessian_threshold", &Offload::hessian_width},
                                 Threshold{"stream_ldlq_threshold", &Offload::ldlq_width},
                                 Threshold{"stream_ortho_threshold", &Offload::orthogonal_size}};

constexpr std::array<std::string_view, 4> kOfAGpu = {"streaming_mode", "streaming", "streaming_aggressive",
                                                     "no_memory_limits"};

std::string streaming_mode(const Arguments& arguments, std::vector<std::string>& warnings) {
  for (const auto& [option, mode] :
       {std::pair{"streaming_aggressive", "aggressive"}, std::pair{"streaming", "balanced"}}) {
    if (!arguments.flag(option)) continue;
    warnings.push_back(
        fmt::format("{} is an old spelling; write --streaming-mode {}", option_name(option), mode));
    return mode;
  }
  return arguments.text("streaming_mode");
}

/// Nine tenths: others on the machine, or the GPU, go on working.
uint64_t most_of(uint64_t bytes) { return bytes / 10 * 9; }

void read_gpu_limits(const Arguments& arguments, at::Device device, MemoryLimits& limits,
                     std::vector<std::string>& notes, std::vector<std::string>& warnings) {
  const std::string mode = streaming_mode(arguments, warnings);
  if (device.is_cpu()) {
    std::vector<std::string> unused;
    for (const std::string_view option : kOfAGpu)
      if (arguments.given(option)) unused.push_back(option_name(option));
    for (const Threshold& threshold : kThresholds)
      if (arguments.given(threshold.option)) unused.push_back(option_name(threshold.option));
    if (!unused.empty())
      notes.push_back(
          fmt::format("{}: all work is on the CPU, where tensors are always read one at a time; no effect",
                      fmt::join(unused, ", ")));
    return;
  }
  if (!limits.guarded) return;
  const uint64_t free = linalg::free_memory(device);
  limits.gpu_bytes = most_of(free);
  limits.offload = pipeline::offload_of(mode, free).value();
  for (const Threshold& threshold : kThresholds)
    if (arguments.given(threshold.option))
      limits.offload.*threshold.limit = arguments.integer(threshold.option);
}

}  // namespace

void read_memory(const Arguments& arguments, pipeline::RunOptions& run, std::vector<std::string>& notes,
                 std::vector<std::string>& warnings) {
  MemoryLimits& limits = run.memory;
  const bool low_memory = arguments.flag("low_memory");
  limits.guarded = !arguments.flag("no_memory_limits");
  if (!limits.guarded) {
    for (const std::string_view other :
         {std::string_view("low_memory"), std::string_view("max_memory"), kThresholds[0].option,
          kThresholds[1].option, kThresholds[2].option, kThresholds[3].option}) {
      if (other == "low_memory" ? low_memory : arguments.given(other))
        fail(ErrorCode::kUsage, "argument --no-memory-limits: does not go with {} (got 'true')",
             option_name(other));
    }
    warnings.emplace_back(
        "--no-memory-limits: nothing is checked or moved to the CPU; running out of memory ends the run");
  }
  if (low_memory) run.byte_budget = 0;
  if (low_memory && run.device.is_cuda())
    notes.emplace_back("--low-memory streams tensors one by one, but stays on the GPU that was named");
  if (arguments.flag("calib_cpu"))
    notes.emplace_back("--calib_cpu has no effect: rows are drawn from the seed when they are needed");
  read_gpu_limits(arguments, run.device, limits, notes, warnings);

  if (limits.guarded && arguments.bytes("max_memory") > 0) {
    const pipeline::MemoryShares shares = pipeline::shares_of(arguments.bytes("max_memory"));
    if (shares.layer == 0)
      fail(ErrorCode::kUsage, "argument --max-memory: the program without any layer takes {} (got '{}')",
           human_bytes(shares.whole()), arguments.text("max_memory"));
    run.byte_budget = std::min(run.byte_budget, shares.waiting);
    limits.layer_bytes = shares.layer;
    limits.binding = true;
  } else if (limits.guarded) {
    if (const auto bytes = pipeline::available_bytes())
      limits.layer_bytes = pipeline::shares_of(most_of(*bytes)).layer;
  }
}

void read_bf16(const Arguments& arguments, at::Device device, std::vector<std::string>& notes) {
  const std::string& use = arguments.text("bf16_compute");
  if (use == "on" && !linalg::has_bf16(device))
    notes.push_back(fmt::format("--bf16-compute on: {} has no BF16 arithmetic; float32 is used",
                                device.is_cpu() ? "the CPU" : device.str()));
  linalg::Bf16Compute compute;
  if (use == "on") compute = {.product = 0, .hadamard = 0, .hessian = 0};
  if (use == "auto") {
    compute.product = arguments.integer("bf16_threshold");
    compute.hessian = arguments.integer("bf16_hessian_threshold");
    // What it rounds are the weights themselves.
    if (arguments.given("bf16_hadamard_threshold"))
      compute.hadamard = arguments.integer("bf16_hadamard_threshold");
  }
  Unused unused(arguments, notes);
  if (device.is_cpu() || use != "auto")
    unused.note({"bf16_threshold", "bf16_hadamard_threshold", "bf16_hessian_threshold"},
                device.is_cpu() ? "on the CPU" : "with --bf16-compute " + use);
  linalg::set_bf16_compute(compute);
}

}  // namespace ctq::cli
