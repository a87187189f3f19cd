#include "pipeline/format_errors.h"

#include <optional>

#include <fmt/format.h>

#include "bank.h"
#include "base/cancel.h"
#include "format/bank.h"
#include "format/codec.h"
#include "metrics/error_sum.h"
#include "model/checkpoint.h"
#include "model/weight_shape.h"

namespace ctq::pipeline {
namespace {

uint64_t stored_bytes(const plan::Target& target, const model::Checkpoint::Entry& entry) {
  const model::WeightShape shape = model::weight_shape(entry);
  uint64_t bytes = 0;
  for (const format::StoredTensor& stored : format::stored_tensors_of_bank(
           *target.codec, shape.experts, shape.out_features, shape.in_features, target.block_size))
    bytes += safetensors::tensor_bytes(model::container_dtype(stored.dtype), stored.shape).value_or(0);
  return bytes;
}

std::optional<FormatError> measure(const model::Checkpoint::Entry& entry, const at::Tensor& weight,
                                   plan::Target target) {
  const model::WeightShape shape = model::weight_shape(entry);
  if (format::misfit(*target.codec, shape.out_features, shape.in_features, target.block_size))
    return std::nullopt;
  target.rotation_group = plan::rotation_group_for(target, shape.in_features);
  metrics::WeightErrorSum error;
  for (const at::Tensor& matrix : matrices_of(weight)) {
    const auto encoded =
        format::encode_nearest(*target.codec, matrix, target.block_size, target.rotation_group);
    if (!encoded) return std::nullopt;
    error.add(matrix, format::decode(*encoded));
  }
  return FormatError{target, stored_bytes(target, entry), error.error()};
}

}  // namespace

std::vector<LayerFormatErrors> measure_formats(const plan::Plan& plan,
                                               std::span<const plan::Target> targets) {
  std::vector<LayerFormatErrors> layers;
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != plan::Decision::kQuantize) continue;
    throw_if_cancelled();
    LayerFormatErrors& layer = layers.emplace_back();
    layer.name = tensor.source->name(), layer.bytes = tensor.bytes_in();
    const at::Tensor weight = model::load(*tensor.source);
    for (const plan::Target& target : targets) {
      if (auto measured = measure(*tensor.source, weight, target))
        layer.formats.push_back(std::move(*measured));
    }
    tensor.source->file->release(*tensor.source->info);
  }
  return layers;
}

plan::Measured smallest_formats(const std::vector<LayerFormatErrors>& layers, double sqnr_db) {
  plan::Measured chosen;
  for (const LayerFormatErrors& layer : layers) {
    const FormatError* smallest = nullptr;
    for (const FormatError& format : layer.formats) {
      if (format.error.sqnr_db >= sqnr_db && (!smallest || format.bytes < smallest->bytes))
        smallest = &format;
    }
    chosen[layer.name] =
        smallest ? plan::MeasuredTarget{smallest->target, fmt::format("{:.2f} dB", smallest->error.sqnr_db)}
                 : plan::MeasuredTarget{std::nullopt, fmt::format("no format reaches {:.2f} dB", sqnr_db)};
  }
  return chosen;
}

}  // namespace ctq::pipeline
