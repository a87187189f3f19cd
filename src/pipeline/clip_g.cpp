#include "pipeline/clip_g.h"

#include <fmt/format.h>

#include <ATen/ops/abs.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/le.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/narrow.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>

#include "base/cancel.h"
#include "base/error.h"
#include "format/codec.h"
#include "format/layout.h"
#include "linalg/tiles.h"
#include "metrics/cast_error.h"
#include "rewrite/output.h"
#include "value_findings.h"

namespace ctq::pipeline {
namespace {

using plan::ClipGPart;
using plan::ClipGTensor;

/// The part's rows of the source, contiguous.
at::Tensor rows_of(const ClipGTensor& tensor, const ClipGPart& part) {
  const at::Tensor values = model::load(*tensor.source);
  return tensor.is_split() ? values.narrow(0, part.first_row, part.info.shape[0]) : values;
}

const format::Codec& scaled_codec() {
  return *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);
}

at::Tensor plain_cast(const at::Tensor& weight) {
  return linalg::encode_tiles(weight, {weight.size(0), weight.size(1)}, linalg::Code::kE4M3, /*divide=*/false,
                              at::ones({1, 1}));
}

at::Tensor scaled_codes(const at::Tensor& weight) {
  auto encoded = format::encode_nearest(scaled_codec(), weight, /*block_size=*/0);
  TORCH_INTERNAL_ASSERT(encoded.has_value());
  return encoded->codes;
}

/// In a plain cast: half of the smallest E4M3 number, which rounds to the even 0.
constexpr float kRoundsToZero = 0x1p-10f;

/// scaled: with a scale of its own, else by a plain cast
ClipGValues values_of(const at::Tensor& weight, const linalg::Extent& extent, bool scaled) {
  ClipGValues values{.max_abs = extent.amax,
                     .numel = weight.numel(),
                     .beyond = 0,
                     .below = 0,
                     .non_finite = extent.nan_count + extent.inf_count,
                     .vanishes = false};
  values.vanishes = extent.amax > 0 && (scaled ? scaled_codec().absmax(extent.amax, /*whole=*/0).factor == 0
                                               : extent.amax <= kRoundsToZero);
  if (scaled) return values;
  const at::Tensor magnitudes = weight.abs();
  values.below = magnitudes.gt(0).logical_and_(magnitudes.le(kRoundsToZero)).sum().item<int64_t>();
  if (extent.amax > metrics::kLargestE4M3)
    values.beyond = magnitudes.gt(metrics::kLargestE4M3).sum().item<int64_t>() - extent.inf_count;
  return values;
}

}  // namespace

ClipGSurvey survey_clip_g(const plan::ClipGPlan& plan) {
  ClipGSurvey survey;
  for (const ClipGTensor& tensor : plan.tensors) {
    throw_if_cancelled();
    if (!safetensors::is_float(tensor.source->info->dtype)) continue;
    for (const ClipGPart& part : tensor.parts) {
      const at::Tensor rows = rows_of(tensor, part);
      const linalg::Extent extent = linalg::extent(rows);
      if (part.fp8) {
        survey.fp8[part.info.name] = values_of(rows, extent, plan.scaled);
      } else if (!extent.finite()) {
        survey.non_finite_kept.push_back(part.info.name);
      }
      if (tensor.source->info->dtype != safetensors::Dtype::kF16 &&
          !cast_finding(extent.amax, safetensors::Dtype::kF16).empty())
        survey.no_float16[part.info.name] = extent.amax;
    }
    tensor.source->file->release(*tensor.source->info);
  }
  return survey;
}

plan::ClipGFindings findings_of(const ClipGSurvey& survey, bool keep_beyond) {
  plan::ClipGFindings findings;
  for (const auto& [name, max_abs] : survey.no_float16) findings.no_float16.insert(name);
  for (const auto& [name, values] : survey.fp8) {
    if (values.non_finite > 0) {
      findings.no_fp8[name] = fmt::format("{} values are NaN or infinite", values.non_finite);
    } else if (values.vanishes) {
      findings.no_fp8[name] =
          fmt::format("values of at most {:.6g}, which are all zeros in FP8", values.max_abs);
    } else if (keep_beyond && values.beyond > 0) {
      findings.no_fp8[name] = fmt::format("{} values beyond 448", values.beyond);
    }
  }
  return findings;
}

void write_clip_g(const plan::ClipGPlan& plan, const ClipGSurvey& survey, const model::Checkpoint& checkpoint,
                  const std::string& path) {
  rewrite::Output output;
  for (const ClipGTensor& tensor : plan.tensors) {
    for (const ClipGPart& part : tensor.parts) {
      const safetensors::TensorInfo& info = part.info;
      const bool same_type = info.dtype == tensor.source->info->dtype;
      if (same_type && !tensor.is_split()) {
        output.copy(*tensor.source);
        continue;
      }
      output.make(info.name, info.dtype, info.shape, *tensor.source, [&plan, &tensor, &part, same_type] {
        const at::Tensor rows = rows_of(tensor, part);
        if (!part.fp8) return same_type ? rows : rows.to(at::kHalf);
        return plan.scaled ? scaled_codes(rows) : plain_cast(rows);
      });
      if (!part.fp8 || !plan.scaled) continue;
      const std::string layer = format::layer_of(info.name);
      output.put_scalar(format::side_name(layer, "weight_scale", format::Layout::kComfy),
                        scaled_codec().absmax(survey.fp8.at(info.name).max_abs, /*whole=*/0).decode);
      output.put_text(format::side_name(layer, "comfy_quant", format::Layout::kComfy),
                      format::marker_json(scaled_codec(), /*block_size=*/0, {}));
    }
  }
  safetensors::Metadata metadata = rewrite::copied_metadata(checkpoint);
  metadata.emplace("format", "pt");
  output.write(path, metadata);
}

}  // namespace ctq::pipeline
