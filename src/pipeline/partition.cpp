#include "partition.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "rewrite/part.h"
#include "safetensors/writer.h"

namespace ctq::pipeline {
namespace {

using plan::Decision;

/// "blocks.0.to_q" of "blocks.0.to_q.bias".
std::string_view layer_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

using Owners = std::map<std::string_view, int64_t>;  ///< part by layer

Owners owners(const plan::Plan& whole, int64_t parts, const LayerMethods& methods) {
  std::map<std::string_view, double> costs;
  for (const plan::TensorPlan& tensor : whole.tensors)
    costs[layer_of(tensor.source->name())] += cost_of(tensor, methods);
  std::vector<std::pair<std::string_view, double>> layers(costs.begin(), costs.end());
  std::ranges::stable_sort(layers, std::greater<>(), &std::pair<std::string_view, double>::second);
  std::vector<double> work(static_cast<size_t>(parts), 0.0);
  Owners owners;
  for (const auto& [layer, cost] : layers) {
    const auto least = std::ranges::min_element(work);
    *least += cost;
    owners[layer] = 1 + (least - work.begin());
  }
  return owners;
}

/// Tells plans apart.
std::string plan_text(const plan::Plan& plan) {
  std::string text;
  const auto add = [&](const safetensors::TensorInfo& info) {
    text += fmt::format(" {} {} {}\n", info.name, safetensors::dtype_name(info.dtype),
                        fmt::join(info.shape, ","));
  };
  for (const plan::TensorPlan& tensor : plan.tensors) {
    text += fmt::format("{} {} {}\n", tensor.source->name(), plan::decision_name(tensor.decision),
                        tensor.decision == Decision::kKeep ? "" : tensor.target.label());
    std::ranges::for_each(tensor.outputs, add);
  }
  for (const plan::Generated& generated : plan.generated) text += generated.bytes, add(generated.info);
  for (const auto& [key, value] : plan.metadata) text += fmt::format("{}={}\n", key, value);
  return text;
}

}  // namespace

double cost_of(const plan::TensorPlan& tensor, const LayerMethods& methods) {
  double elements = 1;
  for (const int64_t side : tensor.source->info->shape) elements *= static_cast<double>(side);
  if (tensor.decision != Decision::kQuantize) return elements;
  const auto columns = static_cast<double>(tensor.source->info->shape.back());
  const optimize::Settings settings = methods.choice(tensor).settings;
  return elements * settings.optimizer->cost(settings, columns);
}

plan::Plan part_of(const plan::Plan& whole, const Partition& partition, const LayerMethods& methods) {
  const Owners owner = owners(whole, partition.parts, methods);
  const auto is_ours = [&](std::string_view name) {
    const auto found = owner.find(layer_of(name));
    return (found == owner.end() ? 1 : found->second) == partition.part;
  };
  plan::Plan part = whole;
  std::erase_if(part.tensors, [&](const auto& tensor) { return !is_ours(tensor.source->name()); });
  std::erase_if(part.generated, [&](const auto& generated) { return !is_ours(generated.info.name); });

  const std::string text = partition.run + plan_text(whole);
  const uint64_t id = safetensors::checksum(std::as_bytes(std::span(text)));
  rewrite::add_label(part.metadata, {.plan = fmt::format("{:016x}", id),
                                     .part = partition.part,
                                     .parts = partition.parts,
                                     .tensors = whole.files.front().tensors.size()});
  std::vector<safetensors::TensorInfo> infos;
  part.bytes_in = 0;
  for (const plan::TensorPlan& tensor : part.tensors) {
    infos.insert(infos.end(), tensor.outputs.begin(), tensor.outputs.end());
    part.bytes_in += tensor.bytes_in();
  }
  for (const plan::Generated& generated : part.generated) infos.push_back(generated.info);
  plan::OutputFile& file = part.files.front();
  file.tensors = safetensors::lay_out(std::move(infos));
  file.bytes = safetensors::write_header(file.tensors, part.metadata).size() +
               (file.tensors.empty() ? 0 : file.tensors.back().end);
  part.bytes_out = file.bytes;
  return part;
}

}  // namespace ctq::pipeline
