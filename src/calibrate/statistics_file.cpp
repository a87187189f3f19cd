#include "calibrate/statistics_file.h"

#include <nlohmann/json.hpp>

#include <ATen/ATen.h>

#include "base/cancel.h"
#include "safetensors/writer.h"

namespace ctq::calibrate {
namespace {

using nlohmann::ordered_json;

std::vector<PendingTensor> tensors_of(const StatisticsEntry& entry) {
  std::vector<PendingTensor> tensors = entry.large;
  const auto add = [&](const char* part, const at::Tensor& values) {
    if (values.defined())
      tensors.push_back({part, values.scalar_type(), values.sizes().vec(), [values] { return values; }});
  };
  add(".second_moment", entry.second_moment);
  add(".mean", entry.statistics.mean);
  add(".channel_max", entry.statistics.channel_max);
  add(".channel_mean", entry.statistics.channel_mean);
  if (entry.statistics.input_scale)
    add(".input_scale", at::scalar_tensor(*entry.statistics.input_scale, at::kFloat));
  return tensors;
}

void write_safetensors(const std::string& path, const std::vector<StatisticsEntry>& entries,
                       const safetensors::Metadata& metadata) {
  std::vector<safetensors::TensorInfo> infos;
  for (const StatisticsEntry& entry : entries) {
    for (const PendingTensor& tensor : tensors_of(entry)) {
      safetensors::TensorInfo& info = infos.emplace_back();
      info.name = entry.layer + tensor.part;
      info.dtype = model::container_dtype(tensor.dtype);
      info.shape = tensor.shape;
    }
  }
  safetensors::Writer writer(path, safetensors::lay_out(infos), metadata);
  for (const StatisticsEntry& entry : entries) {
    for (const PendingTensor& tensor : tensors_of(entry)) {
      throw_if_cancelled();
      const at::Tensor values = tensor.make().contiguous();
      TORCH_INTERNAL_ASSERT(values.sizes() == at::IntArrayRef(tensor.shape) &&
                            values.scalar_type() == tensor.dtype);
      writer.write(entry.layer + tensor.part,
                   {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
    }
  }
  writer.commit();
}

std::vector<float> numbers(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

std::string statistics_json(const std::vector<StatisticsEntry>& entries) {
  ordered_json root = ordered_json::object();
  for (const StatisticsEntry& entry : entries) {
    ordered_json layer = ordered_json::object();
    const InputStatistics& known = entry.statistics;
    if (known.channel_max.defined()) layer["channel_max"] = numbers(known.channel_max);
    if (known.channel_mean.defined()) layer["channel_mean"] = numbers(known.channel_mean);
    if (known.input_scale) layer["input_scale"] = static_cast<float>(*known.input_scale);
    layer["origin"] = origin_name(entry.origin);
    for (const std::string& sharing : entry.shared_by) root[sharing] = layer;
    root[entry.layer] = std::move(layer);
  }
  return root.dump() + "\n";
}

}  // namespace

void write_statistics(const std::string& path, const std::vector<StatisticsEntry>& entries,
                      safetensors::Metadata metadata) {
  if (path.ends_with(".json")) {
    safetensors::write_text_file(path, statistics_json(entries));
    return;
  }
  ordered_json shared = ordered_json::object(), counts = shared, origins = shared;
  for (const StatisticsEntry& entry : entries) {
    if (entry.statistics.count > 0) counts[entry.layer] = entry.statistics.count;
    origins[entry.layer] = origin_name(entry.origin);
    for (const std::string& sharing : entry.shared_by) shared[sharing] = entry.layer;
  }
  metadata["format"] = "ctq-calibration";
  metadata["version"] = "1";
  metadata["counts"] = counts.dump();
  metadata["shared"] = shared.dump();
  metadata["origins"] = origins.dump();
  write_safetensors(path, entries, metadata);
}

std::string input_scales_json(const std::vector<StatisticsEntry>& entries) {
  ordered_json root = ordered_json::object();
  for (const StatisticsEntry& entry : entries) {
    if (!entry.statistics.input_scale) continue;
    const auto scale = static_cast<float>(*entry.statistics.input_scale);
    root[entry.layer] = scale;
    for (const std::string& sharing : entry.shared_by) root[sharing] = scale;
  }
  return root.dump(2) + "\n";
}

}  // namespace ctq::calibrate
