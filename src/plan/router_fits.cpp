// Whether what the rules chose suits the layer's shape and values, and the client.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "model/weight_shape.h"
#include "plan/router.h"

namespace ctq::plan {
namespace {

using safetensors::Dtype;

/// Why --heur leaves a layer out; empty when it does not.
std::string unsuitable(const TensorPlan& plan) {
  const auto [experts, rows, columns] = model::weight_shape(*plan.source);
  const format::Codec* codec = plan.target.codec;
  const int64_t block = codec && codec->group > 0 ? codec->group : plan.target.block_size;
  if (plan.source->name().find("lora_") != std::string::npos) return "";
  if (block > 0) {
    if (std::min(rows, columns) < block)
      return fmt::format("heuristic: a dimension smaller than block size {}", block);
    if (rows % block != 0 || columns % block != 0)
      return fmt::format("heuristic: not divisible by block size {}", block);
  } else if (std::min(rows, columns) < 16 || rows * columns < 1024) {
    return "heuristic: too small";
  }
  return "";
}

/// The format with one scale per row that stands in for a block format.
const format::Codec* row_codec(const format::Codec& blocks) {
  const bool fp8 = blocks.type == "fp8";
  const format::Codec* codec =
      format::find_codec(fp8 ? "float8_e4m3fn_rowwise" : "int8_tensorwise", format::Granularity::kRow);
  TORCH_INTERNAL_ASSERT(codec != nullptr);
  return codec;
}

client::Scales scales_of(const format::Codec& codec) {
  switch (codec.granularity) {
    case format::Granularity::kTensor: return client::Scales::kOne;
    case format::Granularity::kRow: return client::Scales::kRows;
    default: return client::Scales::kOther;
  }
}

}  // namespace

TensorPlan Router::fit_to_values(TensorPlan plan) const {
  if (plan.decision == Decision::kKeep) return plan;
  const auto finding = findings_.find(plan.source->name());
  if (finding == findings_.end()) return plan;
  plan = keep(*plan.source, finding->second);
  plan.value_fallback = true;
  return plan;
}

client::Client Router::client_for(const format::Codec& codec, client::Scales scales) const {
  if (!options_.client) return client::implied_by(codec.format).value_or(client::Client{});
  const std::string obstacle = client::format_obstacle(*options_.client, codec.format, scales);
  if (!obstacle.empty())
    fail(ErrorCode::kUsage,
         "argument --client: {}; choose another format, or --client any, which writes it (got '{}')",
         obstacle, options_.client->word());
  return *options_.client;
}

TensorPlan Router::fit_to_client(TensorPlan plan) {
  if (plan.decision != Decision::kQuantize) return plan;
  const format::Codec& codec = *plan.target.codec;
  const client::Scales scales = scales_of(codec);
  const client::Client asked = client_for(codec, scales);
  const client::Client reader =
      writes_all() ? client::implied_by(codec.format).value_or(client::Client{}) : asked;
  const model::Checkpoint::Entry& entry = *plan.source;
  const client::Loader loader(reader, parts_);
  const client::Obstacle obstacle =
      loader.reads(entry.layer(), entry.info->shape, codec.format, scales, plan.target.rotation_group);
  if (obstacle == client::Obstacle::kNone) return plan;
  if (obstacle == client::Obstacle::kRotatedBank && !writes_all()) {
    plan.reason += ", not rotated: " + loader.why(entry.layer(), obstacle);
    plan.target.rotation_group = 0;
    ++banks_not_rotated_;
    return plan;
  }
  const std::string reason = loader.why(entry.layer(), obstacle);
  Misread& misread = misread_[reason];
  if (misread.count++ == 0) misread.first = entry.layer();
  return writes_all() ? plan : keep(entry, reason);
}

TensorPlan Router::fit_rotation(TensorPlan plan) {
  const int64_t asked = plan.target.rotation_group;
  const int64_t in_features = model::weight_shape(*plan.source).in_features;
  const int64_t group = rotation_group_for(plan.target, in_features);
  if (group == 0 && asked > 0) {
    plan.reason += fmt::format(", not rotated: {} does not divide in_features {}", asked, in_features);
    ++not_rotated_;
  }
  plan.target.rotation_group = group;
  return plan;
}

TensorPlan Router::fit_to_shape(TensorPlan plan, bool heuristic) {
  const model::Checkpoint::Entry& entry = *plan.source;
  if (heuristic) {
    if (std::string reason = unsuitable(plan); !reason.empty()) {
      heuristic_used_ = true;
      return keep(entry, std::move(reason));
    }
  }
  if (plan.decision == Decision::kCast) {
    return entry.info->dtype == Dtype::kF16 ? keep(entry, "is F16 already") : plan;
  }
  const model::WeightShape shape = model::weight_shape(entry);
  if (shape.experts > 0 && plan.target.codec->incoherent)
    return keep(entry, fmt::format("a bank of experts, which {} has no form for", plan.target.codec->format));
  if (shape.experts > 0 && options_.layout == format::Layout::kLegacy)
    return keep(entry, "a bank of experts, which the legacy layout has no form for");
  const auto misfit =
      format::misfit(*plan.target.codec, shape.out_features, shape.in_features, plan.target.block_size);
  if (!misfit) return fit_rotation(std::move(plan));
  switch (options_.block_fallback) {
    case BlockFallback::kSkip: plan = keep(entry, *misfit); break;
    case BlockFallback::kError:
      fail(ErrorCode::kFailure, "tensor '{}': {}; choose another {}, or --block-fallback row or skip",
           printable(entry.name()), *misfit, plan.target.codec->has_blocks() ? "--block_size" : "format");
    case BlockFallback::kRow:
      plan.reason = plan.by_target ? "" : plan.reason + ", ";
      plan.reason += plan.target.codec->has_blocks() ? "scales per row" : "INT8 instead";
      plan.reason += ": " + *misfit;
      plan.target.codec = row_codec(*plan.target.codec);
      plan.target.block_size = 0;
      plan.target.rotation_group = 0;
      plan.target.linear_dtype = format::LinearDtype::kInt4;
      break;
  }
  plan.shape_fallback = true;
  if (options_.block_fallback == BlockFallback::kRow && fallbacks_++ == 0) first_fallback_ = entry.layer();
  return plan;
}

bool Router::writes_all() const {
  return options_.client && options_.client->program == client::Program::kAny;
}

}  // namespace ctq::plan
