#include "pass.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <tuple>
#include <utility>

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "read_ahead.h"

namespace ctq::pipeline {
namespace {

using plan::Decision;
using plan::TensorPlan;
using Clock = std::chrono::steady_clock;

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

bool is_float_vector(const TensorPlan& tensor) {
  using safetensors::Dtype;
  const safetensors::TensorInfo& info = *tensor.source->info;
  return info.shape.size() == 1 && (info.dtype == Dtype::kF32 || info.dtype == Dtype::kF16 ||
                                    info.dtype == Dtype::kBF16 || info.dtype == Dtype::kF64);
}

/// The bias that belongs to a weight; null when there is none.
const TensorPlan* bias_of(const plan::Plan& plan, const TensorPlan& weight) {
  const TensorPlan* bias = plan.find(fmt::format("{}.bias", weight.source->layer()));
  const bool fits = weight.source->info->shape.size() == 2 && bias && bias->decision == Decision::kKeep &&
                    is_float_vector(*bias) && bias->source->info->shape[0] == weight.source->info->shape[0];
  return fits ? bias : nullptr;
}

/// Tensors in the order of their bytes: reading is sequential, writing goes to known offsets anyway. Biases
/// that may be corrected come last, when their weights have been rounded.
std::vector<const TensorPlan*> in_reading_order(const plan::Plan& plan, bool biases_last) {
  std::vector<const TensorPlan*> order;
  std::set<const TensorPlan*> last;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kRemove) order.push_back(&tensor);
    if (biases_last && tensor.decision == Decision::kQuantize) last.insert(bias_of(plan, tensor));
  }
  std::ranges::sort(order, {}, [&](const TensorPlan* tensor) {
    return std::tuple<bool, std::string_view, uint64_t>(last.contains(tensor), tensor->source->file->path(),
                                                        tensor->source->info->begin);
  });
  return order;
}

}  // namespace

Pass::Pass(const model::Checkpoint& checkpoint, const plan::Plan& whole, const plan::Plan& plan,
           const RunOptions& options, Journal* journal, Events& events)
    : plan_(plan),
      options_(options),
      journal_(journal),
      events_(events),
      layers_(checkpoint, whole, plan, options),
      outputs_(plan, options.output,
               journal ? safetensors::Unfinished::kKept : safetensors::Unfinished::kRemoved),
      writes_(options.byte_budget) {}

plan::ValueFindings Pass::carry_out(Result& result) {
  try {
    if (!convert_tensors(result)) return std::move(refused_);
    writes_.drain();
    throw_if_cancelled();
  } catch (...) {
    save_work();
    throw;
  }
  result.biases_corrected = biases_corrected_;
  if (const BudgetedLayers* budget = layers_.budget()) result.time = budget->spent();
  result.smoothed_inputs = layers_.smoothed_inputs();
  result.moved_to_cpu = layers_.moved_to_cpu();
  result.written = outputs_.commit();
  return {};
}

/// What is done goes to the disk as far as that is still possible: what failed may be the disk itself.
void Pass::save_work() noexcept {
  if (!journal_) return;
  try {
    writes_.drain();
    journal_->flush([this] { outputs_.sync_data(); });
  } catch (const std::exception& error) {
    spdlog::debug("the last layers are not kept: {}", error.what());
  }
}

bool Pass::convert_tensors(Result& result) {
  Order order = in_reading_order(plan_, options_.bias_correction != BiasCorrection::kNone);
  uint64_t total = 0;
  for (const TensorPlan* tensor : order) total += tensor->bytes_in();
  const Resumed resumed = take_over(order, result);
  if (layers_.budget() && !rank(order)) return false;
  ReadAhead read_ahead(order, options_.byte_budget);
  uint64_t done = resumed.bytes_done;
  for (size_t i = 0; i < order.size(); ++i) {
    throw_if_cancelled();
    read_ahead.advance(i);
    TensorDone event;
    event.tensor = order[i], event.index = resumed.tensors + i + 1, event.count = resumed.count;
    event.bytes_total = total;
    const Clock::time_point start = Clock::now();
    const std::optional<DoneRecord> record = convert(*order[i]);
    if (!record) return false;
    event.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    event.error = record->error, event.optimized = record->optimized;
    event.bytes_done = done += order[i]->bytes_in();
    add_to(result, *order[i], *record, event.seconds);
    events_.tensor_done(event);
  }
  return true;
}

/// False where a weight was refused.
bool Pass::rank(Order& order) {
  const auto ranked = layers_.budget()->rank(order, [&](const TensorPlan& tensor) -> std::optional<double> {
    std::variant<double, Unfit> error = layers_.nearest_error(tensor);
    if (const double* measured = std::get_if<double>(&error)) return *measured;
    refuse(tensor, std::move(std::get<Unfit>(error).finding));
    return std::nullopt;
  });
  if (ranked) events_.ranked(*ranked);
  return ranked.has_value();
}

/// Takes out of `order` what an interrupted run has done already.
Resumed Pass::take_over(Order& order, Result& result) {
  Resumed resumed{.tensors = 0, .count = order.size(), .bytes_done = 0};
  if (!journal_) return resumed;
  std::erase_if(order, [&](const TensorPlan* tensor) {
    throw_if_cancelled();
    const DoneRecord* record = journal_->find(tensor->source->name());
    if (!record || !is_written(*tensor, *record)) return false;
    if (record->bias_change.defined()) bias_changes_[bias_of(plan_, *tensor)] = record->bias_change;
    add_to(result, *tensor, *record, record->seconds);
    ++resumed.tensors;
    resumed.bytes_done += tensor->bytes_in();
    return true;
  });
  if (resumed.tensors > 0) events_.resumed(resumed);
  return resumed;
}

bool Pass::is_written(const TensorPlan& tensor, const DoneRecord& record) {
  if (record.checksums.size() != tensor.outputs.size()) return false;
  for (size_t i = 0; i < tensor.outputs.size(); ++i) {
    if (!outputs_.adopt(tensor.outputs[i].name, record.checksums[i])) return false;
  }
  return true;
}

void Pass::add_to(Result& result, const TensorPlan& tensor, const DoneRecord& record, double seconds) {
  result.squares += record.squares;
  if (record.error)
    result.quality.push_back({tensor.source->name(), tensor.target.label(), *record.error, record.optimized,
                              seconds, record.histograms});
  if (BudgetedLayers* budget = layers_.budget()) budget->done(tensor, record.optimized, record.seconds);
  if (!record.optimized || record.optimized->left_over()) return;
  ++result.optimized;
  if (record.optimized->guarded) ++result.guarded;
}

std::optional<DoneRecord> Pass::convert(const TensorPlan& tensor) {
  switch (tensor.decision) {
    case Decision::kQuantize: {
      const TensorPlan* bias = bias_of(plan_, tensor);
      auto record = take(tensor, layers_.quantize(tensor, bias != nullptr));
      if (record && record->bias_change.defined()) bias_changes_[bias] = record->bias_change;
      return record;
    }
    case Decision::kCast: return take(tensor, layers_.cast(tensor));
    case Decision::kKeep: keep(tensor); break;
    case Decision::kRemove: break;
  }
  return DoneRecord();
}

/// Stores what is converted, and refuses what is not.
std::optional<DoneRecord> Pass::take(const TensorPlan& tensor, LayerOutcome outcome) {
  if (auto* unfit = std::get_if<Unfit>(&outcome)) {
    refuse(tensor, std::move(unfit->finding));
    return std::nullopt;
  }
  auto& done = std::get<Converted>(outcome);
  store(tensor, std::move(done.stored), done.record);
  return std::move(done.record);
}

void Pass::keep(const TensorPlan& tensor) {
  if (const auto found = bias_changes_.find(&tensor); found != bias_changes_.end()) {
    bool usable = false;
    write(tensor, layers_.corrected_bias(tensor, found->second, usable));
    if (usable) ++biases_corrected_;
  } else if (const auto values = layers_.kept(tensor)) {
    write(tensor, *values);
  } else {
    writes_.add(0, [this, source = tensor.source] {
      outputs_.copy(*source);
      source->file->release(*source->info);
    });
  }
}

void Pass::write(const TensorPlan& tensor, const at::Tensor& values) {
  tensor.source->file->release(*tensor.source->info);
  writes_.add(values.nbytes(),
              [this, &tensor, values] { outputs_.write(tensor.source->name(), bytes_of(values)); });
}

/// Hands finished tensors to the writing thread, in the order of the plan's outputs.
void Pass::store(const TensorPlan& tensor, std::vector<at::Tensor> tensors, DoneRecord record) {
  TORCH_INTERNAL_ASSERT(tensors.size() == tensor.outputs.size());
  tensor.source->file->release(*tensor.source->info);
  uint64_t bytes = 0;
  for (const at::Tensor& stored : tensors) bytes += stored.nbytes();
  writes_.add(bytes, [this, &tensor, tensors = std::move(tensors), record = std::move(record)]() mutable {
    for (size_t i = 0; i < tensors.size(); ++i) outputs_.write(tensor.outputs[i].name, bytes_of(tensors[i]));
    if (!journal_) return;
    record.tensor = tensor.source->name();
    for (const at::Tensor& stored : tensors)
      record.checksums.push_back(safetensors::checksum(bytes_of(stored)));
    journal_->add(record, [this] { outputs_.sync_data(); });
  });
}

void Pass::refuse(const TensorPlan& tensor, std::string finding) {
  tensor.source->file->release(*tensor.source->info);
  refused_[tensor.source->name()] = std::move(finding);
}

}  // namespace ctq::pipeline
