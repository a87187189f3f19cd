#include "ctq/calibrate/recorded.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "calibrate/layer_names.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/linalg/cholesky.h"

namespace ctq::calibrate {
namespace {

using CheckpointEntry = model::Checkpoint::Entry;
using nlohmann::json;

constexpr int64_t kHoldBackEvery = 10;
constexpr int64_t kFewestHeldBack = 32;
constexpr int64_t kRowsAtOnce = 4096;  // in float32, for H

template <typename... Args>
[[noreturn]] void refuse(const std::string& path, fmt::format_string<Args...> message, Args&&... args) {
  fail(ErrorCode::kBadInput, "{}: {}", path, fmt::format(message, std::forward<Args>(args)...));
}

/// Rows to hold back: about a tenth, spread evenly; none of fewer than twice kFewestHeldBack.
int64_t held_back_step(int64_t rows) {
  if (rows < 2 * kFewestHeldBack) return 0;
  return std::clamp(rows / kFewestHeldBack, int64_t{2}, kHoldBackEvery);
}

at::Tensor load_float(const CheckpointEntry* entry, at::Device device) {
  return entry ? model::load(*entry).to(device).to(at::kFloat) : at::Tensor();
}

/// X^T X, some rows at a time.
at::Tensor sum_of_products(const at::Tensor& rows) {
  at::Tensor sum = at::zeros({rows.size(1), rows.size(1)}, rows.options());
  for (int64_t row = 0; row < rows.size(0); row += kRowsAtOnce)
    sum.add_(linalg::gram(rows.narrow(0, row, std::min(kRowsAtOnce, rows.size(0) - row))));
  return sum;
}

std::string read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file.is_open()) text << file.rdbuf();
  if (!file.is_open() || file.bad() || text.fail())
    refuse(path, "cannot be read: {}", std::generic_category().message(errno ? errno : EIO));
  return text.str();
}

}  // namespace

Recording Recording::open(const std::string& path, const model::Checkpoint& checkpoint) {
  Recording recording;
  path.ends_with(".json") ? recording.read_json(path) : recording.read_safetensors(path);
  recording.match(path, checkpoint);
  return recording;
}

void Recording::read_safetensors(const std::string& path) {
  file_.emplace(model::Checkpoint::open(path));
  using Part = std::pair<std::string_view, const CheckpointEntry * Entry::*>;
  constexpr std::array<Part, 7> kParts = {{{".rows", &Entry::rows},
                                           {".hessian", &Entry::hessian},
                                           {".second_moment", &Entry::second_moment},
                                           {".mean", &Entry::mean},
                                           {".channel_max", &Entry::channel_max},
                                           {".channel_mean", &Entry::channel_mean},
                                           {".input_scale", &Entry::input_scale}}};
  for (const CheckpointEntry& tensor : file_->entries()) {
    const auto* const part = std::ranges::find_if(
        kParts, [&](const Part& candidate) { return tensor.name().ends_with(candidate.first); });
    if (part == kParts.end()) {
      refuse(path, "tensor '{}' is no statistic of a calibration file (.rows, .hessian, .mean ...)",
             printable(tensor.name()));
    }
    entries_[tensor.name().substr(0, tensor.name().size() - part->first.size())].*part->second = &tensor;
  }
  const auto shared = file_->metadata().find("shared");
  if (shared == file_->metadata().end()) return;
  const json owners = json::parse(shared->second, nullptr, /*allow_exceptions=*/false);
  if (!owners.is_object()) refuse(path, "the header entry 'shared' is not a JSON object");
  for (const auto& [layer, owner] : owners.items()) {
    if (!owner.is_string() || !entries_.contains(owner.get<std::string>()))
      refuse(path, "layer '{}' shares an input that is not in the file", printable(layer));
    shared_[layer] = owner.get<std::string>();
  }
}

void Recording::read_json(const std::string& path) {
  const json root = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) refuse(path, "is not a JSON object of layers");
  for (const auto& [layer, value] : root.items()) {
    Entry& entry = entries_[layer];
    const json scale = value.is_object() ? value.value("input_scale", json()) : value;
    if (scale.is_number()) entry.json_input_scale = scale.get<double>();
    if (!scale.is_number() && !scale.is_null())
      refuse(path, "layer '{}': the input scale is not a number", printable(layer));
    const json largest = value.is_object() ? value.value("channel_max", json()) : json();
    const bool numbers =
        largest.is_array() && std::ranges::all_of(largest, [](const json& x) { return x.is_number(); });
    if (!largest.is_null() && !numbers)
      refuse(path, "layer '{}': channel_max is not a list of numbers", printable(layer));
    if (numbers) entry.json_channel_max = largest.get<std::vector<double>>();
    if (!value.is_object() && !value.is_number())
      refuse(path, "layer '{}' is neither an input scale nor an object of statistics", printable(layer));
  }
}

void Recording::match(const std::string& path, const model::Checkpoint& checkpoint) {
  LayerNames names(checkpoint);
  const auto add = [&](const std::string& recorded, const std::string& owner) {
    const CheckpointEntry* weight = names.find(recorded);
    if (!weight) {
      unmatched_.push_back(recorded);
      return;
    }
    check_width(path, owner, weight->layer(), weight->info->shape.at(1));
    layers_.emplace(weight->layer(), owner);
  };
  for (const auto& [layer, entry] : entries_) add(layer, layer);
  for (const auto& [layer, owner] : shared_) add(layer, owner);
  if (!layers_.empty()) return;
  fail(ErrorCode::kFailure, "{}: none of its {} layers is in {}{}; it was recorded for another model", path,
       entries_.size(), checkpoint.path(),
       unmatched_.empty() ? "" : fmt::format(" (the first is '{}')", printable(unmatched_.front())));
}

void Recording::check_width(const std::string& path, const std::string& owner, std::string_view layer,
                            int64_t in_features) const {
  const Entry& entry = entries_.find(owner)->second;
  const auto check = [&](const CheckpointEntry* tensor, const std::vector<int64_t>& expected) {
    if (!tensor) return;
    const std::vector<int64_t>& shape = tensor->info->shape;
    const bool fits = shape.size() == expected.size() &&
                      std::ranges::equal(shape, expected, [](int64_t has, int64_t wants) {
                        return wants < 0 || has == wants;
                      });
    if (!fits) {
      refuse(path,
             "tensor '{}' has shape {}, but layer '{}' reads {} columns; it was recorded for another model",
             printable(tensor->name()), shape_text(shape), printable(layer), in_features);
    }
    model::scalar_type(*tensor->info);
  };
  check(entry.rows, {-1, in_features});
  check(entry.hessian, {in_features, in_features});
  for (const CheckpointEntry* vector :
       {entry.second_moment, entry.mean, entry.channel_max, entry.channel_mean})
    check(vector, {in_features});
  if (entry.input_scale && entry.input_scale->info->numel() != 1)
    refuse(path, "tensor '{}' has shape {}, not one element", printable(entry.input_scale->name()),
           shape_text(entry.input_scale->info->shape));
  if (!entry.json_channel_max.empty() && static_cast<int64_t>(entry.json_channel_max.size()) != in_features)
    refuse(path, "channel_max of '{}' has {} values, but layer '{}' reads {} columns", printable(owner),
           entry.json_channel_max.size(), printable(layer), in_features);
}

const Recording::Entry* Recording::find(std::string_view layer) const {
  const auto found = layers_.find(layer);
  return found == layers_.end() ? nullptr : &entries_.find(found->second)->second;
}

bool Recording::has_second_moment(std::string_view layer) const {
  const Entry* entry = find(layer);
  if (!entry) return false;
  return entry->hessian || entry->second_moment || (entry->rows && entry->rows->info->shape[0] > 0);
}

std::string Recording::key(std::string_view layer) const {
  const auto found = layers_.find(layer);
  return found == layers_.end() ? std::string() : found->second;
}

std::optional<double> Recording::input_scale(std::string_view layer) const {
  const Entry* entry = find(layer);
  if (!entry) return std::nullopt;
  if (entry->input_scale) return model::load(*entry->input_scale).to(at::kDouble).item<double>();
  return entry->json_input_scale;
}

std::optional<RecordedInput> Recording::load(std::string_view layer, at::Device device) const {
  const Entry* entry = find(layer);
  if (!entry) return std::nullopt;
  RecordedInput input;
  input.mean = load_float(entry->mean, device);
  input.channel_max = load_float(entry->channel_max, device);
  if (!entry->json_channel_max.empty())
    input.channel_max = at::tensor(entry->json_channel_max, at::kDouble).to(device).to(at::kFloat);
  input.second = load_float(entry->hessian, device);
  if (!entry->hessian && entry->rows && entry->rows->info->shape[0] > 0) {
    at::Tensor rows = load_float(entry->rows, device);
    const at::Tensor finite = rows.isfinite().all(1);
    const int64_t bad = rows.size(0) - finite.sum().item<int64_t>();
    if (bad > 0) {
      warn("calibration data of '{}': {} of {} rows hold NaN or infinite values and are left out",
           printable(layer), bad, rows.size(0));
      rows = rows.index_select(0, finite.nonzero().squeeze(1));
    }
    const int64_t step = held_back_step(rows.size(0));
    const at::Tensor index = at::arange(rows.size(0), rows.options().dtype(at::kLong));
    const at::Tensor held = step > 0 ? index.remainder(step) == step - 1 : at::zeros_like(index, at::kBool);
    input.held_back = rows.index_select(0, held.nonzero().squeeze(1));
    const at::Tensor learned = rows.index_select(0, held.logical_not().nonzero().squeeze(1));
    input.rows = learned.size(0);
    if (input.rows > 0) {
      input.second = sum_of_products(learned).div_(static_cast<double>(input.rows));
      input.mean = learned.mean(0);
      if (!input.channel_max.defined()) input.channel_max = learned.abs().amax(0);
    }
  }
  if (!input.second.defined() && entry->second_moment)
    input.second = at::diag(load_float(entry->second_moment, device));
  for (at::Tensor* statistic : {&input.second, &input.mean, &input.channel_max}) {
    if (!statistic->defined() || statistic->isfinite().all().item<bool>()) continue;
    warn("calibration data of '{}' hold values that are not finite and are not used", printable(layer));
    return std::nullopt;
  }
  return input;
}

}  // namespace ctq::calibrate
