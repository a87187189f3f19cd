#include "report/clip_g_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "format/codec.h"
#include "format/layout.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using plan::ClipGPart;
using plan::ClipGPlan;
using plan::ClipGTensor;

uint64_t bytes_of(const safetensors::TensorInfo& info) {
  return safetensors::tensor_bytes(info.dtype, info.shape).value_or(0);
}

/// A scale of float32 and the marker.
uint64_t bytes_of_scale() {
  const format::Codec& codec = *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);
  return sizeof(float) + format::marker_json(codec, /*block_size=*/0, {}).size();
}

struct Totals {
  size_t kept = 0;
  size_t fp8 = 0;
  bool all_f16 = true;  ///< of the kept
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

Totals totals_of(const ClipGPlan& plan) {
  Totals totals;
  for (const ClipGTensor& tensor : plan.tensors) {
    totals.bytes_in += tensor.source->info->bytes();
    for (const ClipGPart& part : tensor.parts) {
      ++(part.fp8 ? totals.fp8 : totals.kept);
      totals.all_f16 = totals.all_f16 && (part.fp8 || part.info.dtype == safetensors::Dtype::kF16);
      totals.bytes_out += bytes_of(part.info) + (part.fp8 && plan.scaled ? bytes_of_scale() : 0);
    }
  }
  return totals;
}

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / (1 << 20));
}

std::string fp8_words(const plan::ClipGOptions& options) {
  std::string words = "MLP weights";
  const auto add = [&](bool fp8, std::string_view what) {
    if (fp8) words += fmt::format(" + {}", what);
  };
  add(options.split && options.split->query_fp8, "attn Q");
  add(options.split && options.split->key_value_fp8, "attn K/V");
  add(options.fused_fp8, "attn QKV");
  add(options.attention_out_fp8, "attn out");
  return words;
}

}  // namespace

std::string clip_g_intention(const ClipGPlan& plan, const plan::ClipGOptions& options) {
  const std::vector<int64_t> kept(plan.kept_blocks.begin(), plan.kept_blocks.end());
  std::vector<int64_t> candidates;
  for (int64_t block = 0; block <= plan.last_block; ++block) {
    if (!plan.kept_blocks.contains(block)) candidates.push_back(block);
  }
  const bool fused = std::ranges::any_of(plan.tensors, [](const ClipGTensor& tensor) {
    const auto name = plan::parse_clip_g_name(tensor.source->name());
    return name && name->role == plan::ClipGRole::kFusedWeight;
  });
  const std::string_view state = !fused              ? "q, k and v are tensors of their own already"
                                 : options.split     ? "split into q, k and v in the blocks that are not kept"
                                 : options.fused_fp8 ? "stays fused, as FP8"
                                                     : "stays fused, as it is";
  return fmt::format(
      "{} tensors in {} blocks\nPreserved blocks: {} (block {} is the last)\nFP8 candidates: blocks {} ({})\n"
      "attn.in_proj: {}\n",
      plan.tensors.size(), plan.last_block + 1, plan::range_list(kept), plan.last_block,
      candidates.empty() ? "none" : plan::range_list(candidates), fp8_words(options), state);
}

std::string clip_g_mapping(const ClipGPlan& plan) {
  std::string text;
  for (const ClipGTensor& tensor : plan.tensors) {
    const std::string_view from = safetensors::dtype_name(tensor.source->info->dtype);
    for (const ClipGPart& part : tensor.parts) {
      const std::string to = part.info.dtype != tensor.source->info->dtype
                                 ? fmt::format("{} -> {}", from, safetensors::dtype_name(part.info.dtype))
                                 : fmt::format("{} (unchanged)", from);
      text += fmt::format("  {}: {}, {}\n", printable(part.info.name), to, part.reason);
    }
  }
  return text;
}

std::string clip_g_summary(const ClipGPlan& plan) {
  const Totals totals = totals_of(plan);
  const double saved = 100 * (1 - static_cast<double>(totals.bytes_out) /
                                      static_cast<double>(std::max<uint64_t>(1, totals.bytes_in)));
  std::string text = "=== Summary ===\n";
  const auto line = [&](std::string_view what, const std::string& value) {
    text += fmt::format("{:<27}{}\n", fmt::format("{}:", what), value);
  };
  line(totals.all_f16 ? "FP16 tensors kept" : "Tensors kept as they were", fmt::to_string(totals.kept));
  line("FP8 tensors quantized", fmt::to_string(totals.fp8));
  line("in_proj blocks split", fmt::to_string(plan.split_blocks()));
  line("Output tensors (total)", fmt::to_string(plan.expected_tensors()));
  line("Input size (estimated)", megabytes(totals.bytes_in));
  line("Output size (estimated)", megabytes(totals.bytes_out));
  line("Size reduction", fmt::format("{:.1f}%", saved));
  return text;
}

std::string clip_g_json(const ClipGPlan& plan, const pipeline::ClipGSurvey& survey) {
  ordered_json tensors = ordered_json::array();
  for (const ClipGTensor& tensor : plan.tensors) {
    for (const ClipGPart& part : tensor.parts) {
      ordered_json& row = tensors.emplace_back(ordered_json{
          {"name", part.info.name},
          {"source", tensor.source->name()},
          {"shape", part.info.shape},
          {"dtype_in", safetensors::dtype_name(tensor.source->info->dtype)},
          {"dtype_out", safetensors::dtype_name(part.info.dtype)},
          {"reason", part.reason},
      });
      if (const auto found = survey.fp8.find(part.info.name); found != survey.fp8.end()) {
        row["max_abs"] = found->second.max_abs;
        row["beyond_448"] = found->second.beyond;
        row["become_zero"] = found->second.below;
        row["non_finite"] = found->second.non_finite;
      }
    }
  }
  const Totals totals = totals_of(plan);
  const ordered_json all{{"tensors", std::move(tensors)},
                         {"kept_blocks", plan.kept_blocks},
                         {"totals",
                          {{"kept", totals.kept},
                           {"fp8", totals.fp8},
                           {"split_blocks", plan.split_blocks()},
                           {"output_tensors", plan.expected_tensors()},
                           {"bytes_in", totals.bytes_in},
                           {"bytes_out", totals.bytes_out}}}};
  return all.dump(2) + "\n";
}

}  // namespace ctq::report
