#include "ctq/pipeline/convert.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include "bank.h"
#include "budgeted_layers.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/format/bank.h"
#include "ctq/format/codec.h"
#include "ctq/linalg/device.h"
#include "ctq/linalg/tiles.h"
#include "ctq/metrics/error_sum.h"
#include "ctq/model/stored_type.h"
#include "ctq/transform/smoothing.h"
#include "journal.h"
#include "layer_rounding.h"
#include "memory.h"
#include "output_set.h"
#include "partition.h"
#include "placement.h"
#include "read_ahead.h"
#include "value_findings.h"
#include "write_behind.h"

namespace ctq::pipeline {
namespace {

using plan::Decision;
using plan::TensorPlan;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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

/// What the layer's output loses on average by the change of its weight: -E mean(x). [out_features] float64.
at::Tensor bias_change(const at::Tensor& weight, const at::Tensor& decoded, const at::Tensor& mean) {
  return -(decoded - weight).to(at::kDouble).mul_(mean).sum(1).cpu();
}

bool is_interruption(const Error& error) {
  return error.code() == ErrorCode::kInterrupted || error.code() == ErrorCode::kTerminated;
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

/// Of every weight whose module ("blocks.0.attn" of "blocks.0.attn.to_q.weight") holds several that get one
/// scale: the largest magnitude of them all. Reads these weights.
std::map<std::string_view, float> largest_of_modules(const plan::Plan& plan) {
  std::map<std::string_view, std::vector<const TensorPlan*>> modules;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    if (tensor.target.codec->granularity != format::Granularity::kTensor) continue;
    const std::string_view layer = tensor.source->layer();
    if (const size_t dot = layer.rfind('.'); dot != std::string_view::npos)
      modules[layer.substr(0, dot)].push_back(&tensor);
  }
  std::map<std::string_view, float> largest;
  for (const auto& [module, weights] : modules) {
    if (weights.size() < 2) continue;
    float whole = 0;
    for (const TensorPlan* weight : weights) {
      throw_if_cancelled();
      whole = std::max(whole, linalg::extent(model::load(*weight->source)).amax);
    }
    for (const TensorPlan* weight : weights) largest[weight->source->name()] = whole;
  }
  return largest;
}

/// Nothing where the run does not smooth.
std::optional<transform::Smoothing> make_smoothing(const model::Checkpoint& checkpoint,
                                                   const plan::Plan& plan, const RunOptions& options) {
  if (!options.smoothquant_alpha) return std::nullopt;
  const auto quantized = [&](std::string_view layer) { return plan.quantizes(layer); };
  TORCH_INTERNAL_ASSERT(options.recording);
  transform::StoredFactors stored;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!tensor.scales_input) continue;
    const std::string layer(tensor.source->layer());
    stored.emplace(layer, options.input_factors.at(layer));
  }
  return std::make_optional<transform::Smoothing>(checkpoint, *options.recording, *options.smoothquant_alpha,
                                                  quantized, options.device, stored);
}

/// One pass over a plan.
class Run {
 public:
  /// whole: all of the plan, where `plan` is a part of it
  /// journal: null where nothing is to be kept of an interrupted run
  Run(const model::Checkpoint& checkpoint, const plan::Plan& whole, const plan::Plan& plan,
      const RunOptions& options, Journal* journal, Events& events)
      : plan_(plan),
        options_(options),
        journal_(journal),
        events_(events),
        smoothing_(make_smoothing(checkpoint, whole, options)),
        rounding_(checkpoint, options, smoothing_ ? &*smoothing_ : nullptr),
        placement_(options.device, options.memory),
        outputs_(plan, options.output,
                 journal ? safetensors::Unfinished::kKept : safetensors::Unfinished::kRemoved),
        writes_(options.byte_budget) {
    if (options.shared_scales) shared_largest_ = largest_of_modules(whole);
    if (options.time_budget) budget_.emplace(*options.time_budget, options, rounding_);
  }

  /// False when a weight turned out not to be quantizable, which refused() names: the run is then worthless.
  bool carry_out(Result& result) {
    try {
      if (!convert_tensors(result)) return false;
      writes_.drain();
      throw_if_cancelled();
    } catch (const Error& error) {
      if (!journal_ || !is_interruption(error)) throw;
      writes_.drain();
      journal_->flush([this] { outputs_.sync_data(); });
      throw;
    }
    result.biases_corrected = biases_corrected_;
    if (budget_) result.time = budget_->spent();
    result.smoothed_inputs = smoothing_ ? smoothing_->inputs() : 0;
    result.moved_to_cpu = placement_.moved();
    result.written = outputs_.commit();
    return true;
  }
  const plan::ValueFindings& refused() const { return refused_; }

 private:
  /// Ends the run. Always nothing.
  std::nullopt_t refuse(const TensorPlan& tensor, std::string finding) {
    tensor.source->file->release(*tensor.source->info);
    refused_[tensor.source->name()] = std::move(finding);
    return std::nullopt;
  }

  bool convert_tensors(Result& result) {
    std::vector<const TensorPlan*> order =
        in_reading_order(plan_, options_.bias_correction != BiasCorrection::kNone);
    uint64_t total = 0;
    for (const TensorPlan* tensor : order) total += tensor->bytes_in();
    const Resumed resumed = take_over(order, result);
    if (budget_ && !rank(order)) return false;
    ReadAhead read_ahead(order, options_.byte_budget);
    uint64_t done = resumed.bytes_done;
    for (size_t i = 0; i < order.size(); ++i) {
      throw_if_cancelled();
      read_ahead.advance(i);
      TensorDone event;
      event.tensor = order[i], event.index = resumed.tensors + i + 1, event.count = resumed.count;
      event.bytes_total = total;
      const Clock::time_point start = Clock::now();
      const std::optional<DoneRecord> record = convert_tensor(*order[i]);
      if (!record) return false;
      event.seconds = seconds_since(start);
      event.error = record->error, event.optimized = record->optimized;
      event.bytes_done = done += order[i]->bytes_in();
      add_to(result, *order[i], *record, event.seconds);
      events_.tensor_done(event);
    }
    return true;
  }

  /// False as carry_out().
  bool rank(std::vector<const TensorPlan*>& order) {
    const auto ranked = budget_->rank(order, [&](const TensorPlan& tensor) -> std::optional<double> {
      const at::Tensor weight = values_of(tensor);
      auto nearest = rounding_.nearest(tensor, weight, shared_largest(tensor));
      if (!nearest) {
        refuse(tensor, no_encoding_fault(weight));
        return std::nullopt;
      }
      return rounding_.error(tensor, weight, {std::move(*nearest), std::nullopt});
    });
    if (ranked) events_.ranked(*ranked);
    return ranked.has_value();
  }

  /// Takes out of `order` what an interrupted run has done already.
  Resumed take_over(std::vector<const TensorPlan*>& order, Result& result) {
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

  bool is_written(const TensorPlan& tensor, const DoneRecord& record) {
    if (record.checksums.size() != tensor.outputs.size()) return false;
    for (size_t i = 0; i < tensor.outputs.size(); ++i) {
      if (!outputs_.adopt(tensor.outputs[i].name, record.checksums[i])) return false;
    }
    return true;
  }

  void add_to(Result& result, const TensorPlan& tensor, const DoneRecord& record, double seconds) {
    if (record.error)
      result.quality.push_back({tensor.source->name(), tensor.target.label(), *record.error, record.optimized,
                                seconds, record.histograms});
    if (budget_) budget_->done(tensor, record.optimized, record.seconds);
    if (!record.optimized || record.optimized->left_over()) return;
    ++result.optimized;
    if (record.optimized->guarded) ++result.guarded;
  }

  /// What came of a tensor, whose bytes are on their way to the file; nothing where it was refused.
  std::optional<DoneRecord> convert_tensor(const TensorPlan& tensor) {
    switch (tensor.decision) {
      case Decision::kKeep:
        if (const auto found = bias_changes_.find(&tensor); found != bias_changes_.end())
          return correct_bias(tensor, found->second);
        if (is_smoothed(tensor)) return keep_smoothed(tensor);
        if (tensor.source->computed) return keep_computed(tensor);
        writes_.add(0, [this, source = tensor.source] {
          outputs_.copy(*source);
          source->file->release(*source->info);
        });
        return DoneRecord();
      case Decision::kCast: return cast(tensor);
      case Decision::kQuantize: return quantize(tensor);
      case Decision::kRemove: return DoneRecord();
    }
    return DoneRecord();
  }

  bool is_smoothed(const TensorPlan& tensor) const {
    return smoothing_ && smoothing_->changes(*tensor.source);
  }

  at::Tensor values_of(const TensorPlan& tensor, at::Device device) const {
    const at::Tensor values = model::load(*tensor.source).to(device);
    return is_smoothed(tensor) ? smoothing_->apply(*tensor.source, values) : values;
  }
  at::Tensor values_of(const TensorPlan& tensor) const { return values_of(tensor, options_.device); }

  /// 0 where the weight shares no scale with others.
  float shared_largest(const TensorPlan& tensor) const {
    const auto shared = shared_largest_.find(tensor.source->name());
    return shared == shared_largest_.end() ? 0 : shared->second;
  }

  DoneRecord keep_smoothed(const TensorPlan& tensor) {
    const at::Tensor values = values_of(tensor).to(model::scalar_type(*tensor.source->info)).cpu();
    if (!values.isfinite().all().item<bool>())
      fail(ErrorCode::kFailure,
           "tensor '{}': a factor of SmoothQuant carries it beyond its type; lower --smoothquant-alpha",
           printable(tensor.source->name()));
    write_kept(tensor, values);
    return {};
  }

  /// A decoded or merged tensor that stays unquantized, in the type that it had.
  DoneRecord keep_computed(const TensorPlan& tensor) {
    write_kept(tensor, model::in_stored_type(*tensor.source, model::load(*tensor.source)));
    return {};
  }

  void write_kept(const TensorPlan& tensor, const at::Tensor& values) {
    tensor.source->file->release(*tensor.source->info);
    writes_.add(values.nbytes(),
                [this, &tensor, values] { outputs_.write(tensor.source->name(), bytes_of(values)); });
  }

  std::optional<DoneRecord> cast(const TensorPlan& tensor) {
    if (std::string finding = value_finding(tensor, options_.optimizer.quip_seed); !finding.empty())
      return refuse(tensor, std::move(finding));
    store(tensor, {values_of(tensor).to(at::kHalf).cpu()}, {});
    return DoneRecord();
  }

  std::optional<DoneRecord> quantize(const TensorPlan& tensor) {
    const LayerMethods::Choice choice = rounding_.methods().choice(tensor);
    return placement_.in_room(tensor, layer_work(tensor, choice, options_, options_.device),
                              [&](const Place& place) { return quantize_at(tensor, place); });
  }

  std::optional<DoneRecord> quantize_at(const TensorPlan& tensor, const Place& place) {
    const Clock::time_point start = Clock::now();
    const at::Tensor weight = values_of(tensor, place.device);
    const LayerRounding::Bounds bounds{.layer_bytes = place.layer_bytes, .largest = shared_largest(tensor)};
    auto outcome = budget_ ? budget_->round(tensor, weight, bounds) : rounding_.round(tensor, weight, bounds);
    if (!outcome) return refuse(tensor, no_encoding_fault(weight));
    const std::vector<format::Encoded>& encoded = outcome->encoded;
    if (std::string fault = encoding_fault(weight, encoded); !fault.empty())
      return refuse(tensor, std::move(fault));
    DoneRecord record = judged(tensor, weight, encoded);
    record.optimized = std::move(outcome->optimized);
    std::vector<at::Tensor> stored = packed(tensor, encoded);
    if (tensor.scales_input) stored.push_back(input_factors(tensor));
    if (tensor.copies_scale) stored.push_back(encoded.front().scales.to(at::kFloat).clone());
    for (at::Tensor& part : stored) part = part.cpu();
    record.seconds = seconds_since(start);
    store(tensor, std::move(stored), record);
    return record;
  }

  /// What loaders multiply the layer's input by, [in_features] as stored.
  const at::Tensor& input_factors(const TensorPlan& tensor) const {
    return options_.input_factors.find(tensor.source->layer())->second;
  }

  /// Error and histograms of what is stored, and what its bias has to make up for.
  DoneRecord judged(const TensorPlan& tensor, const at::Tensor& weight,
                    const std::vector<format::Encoded>& encoded) {
    DoneRecord record;
    const TensorPlan* bias = bias_of(plan_, tensor);
    const at::Tensor mean = bias ? rounding_.input_mean(tensor) : at::Tensor();
    if (!options_.measure_quality && !mean.defined()) return record;
    const std::vector<at::Tensor> matrices = matrices_of(weight);
    // Factors of the input belong to the weight that the layer stands for.
    const at::Tensor factors =
        tensor.scales_input ? input_factors(tensor).to(weight.device()).to(at::kFloat) : at::Tensor();
    const auto of_layer = [&](const at::Tensor& codes) {
      return factors.defined() ? codes * factors : codes;
    };
    metrics::WeightErrorSum error;
    std::vector<at::Tensor> counted;
    for (size_t i = 0; i < matrices.size(); ++i) {
      const at::Tensor decoded = format::decode(encoded[i]);
      if (options_.measure_quality) {
        const at::Tensor stored = of_layer(decoded);
        error.add(of_layer(matrices[i]), stored);
        if (options_.count_values) counted.push_back(stored);
      }
      if (mean.defined()) bias_changes_[bias] = record.bias_change = bias_change(matrices[i], decoded, mean);
    }
    if (options_.measure_quality) record.error = error.error();
    if (counted.empty()) return record;
    const at::Tensor decoded = counted.size() > 1 ? at::stack(counted) : counted.front().view(weight.sizes());
    record.histograms = metrics::weight_histograms(of_layer(weight), decoded);
    return record;
  }

  static std::vector<at::Tensor> packed(const TensorPlan& tensor,
                                        const std::vector<format::Encoded>& encoded) {
    try {
      return tensor.source->info->shape.size() == 3 ? format::pack_bank(encoded)
                                                    : format::pack(encoded.front());
    } catch (const Error& error) {
      fail(error.code(), "tensor '{}': {}", printable(tensor.source->name()), error.what());
    }
  }

  DoneRecord correct_bias(const TensorPlan& tensor, const at::Tensor& change) {
    const at::ScalarType type = model::scalar_type(*tensor.source->info);
    const at::Tensor bias = values_of(tensor).cpu();
    const at::Tensor corrected = (bias.to(at::kDouble) + change).to(type);
    const bool usable = corrected.isfinite().all().item<bool>();
    if (usable) ++biases_corrected_;
    write_kept(tensor, usable ? corrected : bias.to(type, /*non_blocking=*/false, /*copy=*/true));
    return {};
  }

  /// Hands finished tensors to the writing thread, in the order of the plan's outputs.
  void store(const TensorPlan& tensor, std::vector<at::Tensor> tensors, DoneRecord record) {
    TORCH_INTERNAL_ASSERT(tensors.size() == tensor.outputs.size());
    tensor.source->file->release(*tensor.source->info);
    uint64_t bytes = 0;
    for (const at::Tensor& stored : tensors) bytes += stored.nbytes();
    writes_.add(bytes, [this, &tensor, tensors = std::move(tensors), record = std::move(record)]() mutable {
      for (size_t i = 0; i < tensors.size(); ++i)
        outputs_.write(tensor.outputs[i].name, bytes_of(tensors[i]));
      if (!journal_) return;
      record.tensor = tensor.source->name();
      for (const at::Tensor& stored : tensors)
        record.checksums.push_back(safetensors::checksum(bytes_of(stored)));
      journal_->add(record, [this] { outputs_.sync_data(); });
    });
  }

  const plan::Plan& plan_;
  const RunOptions& options_;
  Journal* const journal_;
  Events& events_;
  std::optional<transform::Smoothing> smoothing_;
  LayerRounding rounding_;
  Placement placement_;
  std::optional<BudgetedLayers> budget_;
  std::map<std::string_view, float> shared_largest_;      ///< by weights that share a scale
  std::map<const TensorPlan*, at::Tensor> bias_changes_;  ///< by the bias's plan, [out_features] float64
  size_t biases_corrected_ = 0;
  plan::ValueFindings refused_;
  OutputSet outputs_;
  WriteBehind writes_;
};

/// Values are only seen while reading, after the header is written: the first surprise has all weights looked
/// at, once.
plan::ValueFindings look_at_values(const plan::Plan& plan, uint64_t sign_seed) {
  plan::ValueFindings findings;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize && tensor.decision != Decision::kCast) continue;
    throw_if_cancelled();
    if (std::string finding = value_finding(tensor, sign_seed); !finding.empty())
      findings[tensor.source->name()] = std::move(finding);
    tensor.source->file->release(*tensor.source->info);
  }
  return findings;
}

/// throws  Error(kUsage) for the first layer that cannot be done within a binding limit
void check_memory(const plan::Plan& plan, const LayerMethods& methods, const RunOptions& run) {
  if (!run.memory.binding || !run.device.is_cpu()) return;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    const LayerMethods::Choice choice = methods.choice(tensor);
    const LayerWork work = layer_work(tensor, choice, run, run.device);
    if (steps_within(work, run.memory.layer_bytes)) continue;
    const MemoryShares least = shares_for_layer(smallest_steps(work).bytes);
    fail(ErrorCode::kUsage,
         "argument --max-memory: tensor '{}' [{}, {}] takes up to {} by {}, and the rest of the program {}: "
         "give {} MiB or more, or another --optimizer (got '{}')",
         printable(tensor.source->name()), work.rows, work.columns, human_bytes(least.layer), choice.label(),
         human_bytes(least.whole() - least.layer), (least.whole() >> 20) + 1,
         human_bytes(shares_for_layer(run.memory.layer_bytes).whole()));
  }
}

/// The plan, and the part of it that is carried out.
class Work {
 public:
  Work(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
       Journal* journal, Events& events)
      : checkpoint_(checkpoint), options_(options), run_(run), journal_(journal), events_(events) {
    if (journal_) result_.findings = journal_->findings();
  }

  Result carry_out() {
    make_plan();
    // All parts must know of the weights that change the plan.
    if (run_.partition && result_.findings.empty()) {
      add_findings(look_at_values(whole_, run_.optimizer.quip_seed));
      if (!result_.findings.empty()) make_plan();
    }
    events_.started(whole_, run_);
    if (!result_.findings.empty()) events_.restarted(result_.findings);
    for (auto refused = convert_once(); !refused.empty(); refused = convert_once()) {
      // The first surprise has all weights looked at; later ones are of values that smoothing or sharing
      // made.
      if (result_.findings.empty()) refused.merge(look_at_values(whole_, run_.optimizer.quip_seed));
      refuse_in_part(refused);
      add_findings(refused);
      events_.restarted(refused);
      result_.quality.clear();
      result_.optimized = result_.guarded = 0;
      make_plan();
    }
    return std::move(result_);
  }

 private:
  void make_plan() {
    const std::string name = std::filesystem::path(run_.output).filename().string();
    whole_ = plan::make_plan(checkpoint_, options_, name, result_.findings);
    refuse_inputs_as_outputs();
    const LayerMethods methods(checkpoint_, run_.optimizer, run_.recording, run_.lora);
    check_memory(whole_, methods, run_);
    if (!run_.partition) {
      result_.plan = whole_;
      return;
    }
    result_.plan = part_of(whole_, *run_.partition, methods);
  }

  /// Shards have names that --output does not show.
  void refuse_inputs_as_outputs() const {
    const std::filesystem::path folder = std::filesystem::path(run_.output).parent_path();
    for (const plan::OutputFile& file : whole_.files) {
      for (const std::string& input : checkpoint_.files()) {
        std::error_code error;
        if (std::filesystem::equivalent(folder / file.name, input, error))
          fail(ErrorCode::kUsage,
               "argument --output: its file '{}' is the input file '{}'; choose another name (got '{}')",
               printable(file.name), input, run_.output);
      }
    }
  }

  void add_findings(const plan::ValueFindings& findings) {
    if (run_.strict && !findings.empty()) {
      const auto& [tensor, finding] = *findings.begin();
      fail(ErrorCode::kFailure, "tensor '{}' has {} (--strict); without --strict it is copied unquantized",
           printable(tensor), finding);
    }
    for (const auto& [tensor, finding] : findings) {
      const bool is_new = result_.findings.emplace(tensor, finding).second;
      TORCH_INTERNAL_ASSERT(is_new, "a weight that is kept was quantized: ", tensor);
    }
  }

  /// The other parts made their plan without what shows here alone.
  void refuse_in_part(const plan::ValueFindings& findings) const {
    if (!run_.partition) return;
    const auto& [tensor, finding] = *findings.begin();
    fail(ErrorCode::kFailure,
         "tensor '{}' has {}, which the other parts do not know; leave it out (--exclude-layers)",
         printable(tensor), finding);
  }

  /// Weights that turned out not to be quantizable, which makes the pass worthless; none: it is done.
  plan::ValueFindings convert_once() {
    if (journal_) journal_->begin(result_.plan, result_.findings);
    Run run(checkpoint_, whole_, result_.plan, run_, journal_, events_);
    return run.carry_out(result_) ? plan::ValueFindings() : run.refused();
  }

  const model::Checkpoint& checkpoint_;
  const plan::Options& options_;
  const RunOptions& run_;
  Journal* const journal_;
  Events& events_;
  plan::Plan whole_;
  Result result_;
};

/// With a journal that outlasts an interruption.
Result convert_resumably(const model::Checkpoint& checkpoint, const plan::Options& options,
                         const RunOptions& run, Events& events) {
  Journal journal(run.output, *run.resume);
  try {
    return Work(checkpoint, options, run, &journal, events).carry_out();
  } catch (const Error& error) {
    if (!is_interruption(error) || !journal.keep()) throw;
    fail(error.code(),
         "{}; {} layers are done and kept: the same command goes on from there. To discard them instead: {}",
         error.what(), journal.records(), journal.removal());
  }
}

}  // namespace

Result convert(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
               Events& events) {
  const Clock::time_point start = Clock::now();
  MemoryWatch memory;
  if (!run.resume) Journal::remove_left(run.output);
  Result result = run.resume ? convert_resumably(checkpoint, options, run, events)
                             : Work(checkpoint, options, run, /*journal=*/nullptr, events).carry_out();
  std::ranges::sort(result.quality, {}, &LayerError::name);
  result.seconds = seconds_since(start);
  result.peak_memory_bytes = memory.peak();
  return result;
}

}  // namespace ctq::pipeline
