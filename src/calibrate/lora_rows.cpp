#include "calibrate/lora_rows.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "linalg/cholesky.h"
#include "lora/adapter.h"
#include "model/layer_names.h"

namespace ctq::calibrate {
namespace {

/// Whether `whole` is `end` with further components in front.
bool ends_with_component(std::string_view whole, std::string_view end) {
  return whole.size() > end.size() && whole.ends_with(end) && whole[whole.size() - end.size() - 1] == '.';
}

}  // namespace

std::string lora_name(std::string_view layer) {
  layer = model::without_model_prefixes(layer);
  layer.remove_prefix(model::adapter_prefix(layer).size());
  std::string name = lower_case(layer);
  std::ranges::replace(name, '_', '.');
  return name;
}

LoraRows::LoraRows(const std::string& path, uint64_t seed)
    : file_(model::Checkpoint::open(path)), seed_(seed) {
  for (const model::Checkpoint::Entry& entry : file_.entries()) {
    const safetensors::TensorInfo& info = *entry.info;
    if (info.shape.size() != 2 || info.numel() == 0 || !safetensors::is_float(info.dtype)) continue;
    const auto part = lora::part_of(info.name);
    if (part && part->part == lora::Part::kDown) matrices_.emplace(lora_name(part->layer), &entry);
  }
  if (matrices_.empty())
    fail(ErrorCode::kBadInput,
         "{}: has no matrix named as .lora_A.weight or .lora_down.weight; is it a LoRA?", path);
}

std::string LoraRows::example() const {
  return fmt::format(" (the first is '{}')", printable(matrices_.begin()->first));
}

const model::Checkpoint::Entry* LoraRows::find(std::string_view layer, int64_t in_features) const {
  const std::string name = lora_name(layer);
  if (const auto exact = matrices_.find(name); exact != matrices_.end()) {
    const std::vector<int64_t>& shape = exact->second->info->shape;
    if (shape[1] == in_features) return exact->second;
    fail(ErrorCode::kBadInput,
         "{}: tensor '{}' has shape {}, but layer '{}' reads {} columns; it is of another model",
         file_.path(), printable(exact->second->name()), shape_text(shape), printable(layer), in_features);
  }
  for (const auto& [candidate, entry] : matrices_) {
    const bool similar = ends_with_component(name, candidate) || ends_with_component(candidate, name);
    if (similar && entry->info->shape[1] == in_features) return entry;
  }
  return nullptr;
}

at::Tensor LoraRows::load(const model::Checkpoint::Entry& entry) const {
  const at::Tensor a = model::load(entry).to(at::kFloat);
  if (!a.isfinite().all().item<bool>())
    fail(ErrorCode::kBadInput, "{}: tensor '{}' holds NaN or infinite values", file_.path(),
         printable(entry.name()));
  return a;
}

at::Tensor LoraRows::directions(std::string_view layer, int64_t in_features) const {
  const model::Checkpoint::Entry* entry = find(layer, in_features);
  if (!entry) return {};
  const at::Tensor second = linalg::gram(load(*entry));
  return second / second.diagonal().mean().clamp_min(1e-30);
}

at::Tensor LoraRows::rows(std::string_view layer, int64_t in_features) const {
  const model::Checkpoint::Entry* entry = find(layer, in_features);
  if (!entry) return {};
  const at::Tensor a = load(*entry);
  at::Generator generator = at::detail::createCPUGenerator(seed_ & 0xFFFFFFFF);
  const auto noise = [&](double size) { return at::randn(a.sizes(), generator, at::kFloat).mul_(size); };
  const at::Tensor first = a + noise(0.1), second = a + noise(0.2);
  const at::Tensor x = at::cat({a, first, second, -a});
  return x / x.std().clamp_min(1e-20);
}

}  // namespace ctq::calibrate
