#include "pipeline/input_factors.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/cancel.h"
#include "base/log.h"
#include "base/text.h"
#include "client/client.h"
#include "families/sensitive.h"
#include "layer_memory.h"
#include "model/weight_shape.h"
#include "placement.h"
#include "value_findings.h"

namespace ctq::pipeline {
namespace {

using plan::TensorPlan;
using transform::Smoothing;

constexpr std::string_view kFormat = "nvfp4";
constexpr int64_t kRows = 128;  // enough to tell layers apart; more would cost as much as the conversion
constexpr double kWorthwhile = 0.99;  // of the error: the product with the factors costs time in every step

/// ||E||_F with the input as it is, and quantized.
struct Errors {
  double plain = 0, quantized = 0;
};

/// Loads the layer's input and its weight, and tells whether factors help.
class Measurement {
 public:
  Measurement(const plan::Options& options, const RunOptions& run)
      : options_(options), run_(run), placement_(run.device, run.memory) {
    nearest_.settings.optimizer = &optimize::kNearest;
  }

  /// Undefined where they do not; nothing where no rows were held back.
  std::optional<at::Tensor> factors_of(const TensorPlan& tensor) {
    return placement_.in_room(tensor, layer_work(tensor, nearest_, run_, run_.device),
                              [&](const Place& place) { return factors_on(tensor, place.device); });
  }

 private:
  std::optional<at::Tensor> factors_on(const TensorPlan& tensor, at::Device device) const {
    if (!run_.recording) return std::nullopt;
    const auto input = run_.recording->load(tensor.source->layer(), device);
    if (!input || !input->channel_max.defined()) return std::nullopt;
    const at::Tensor held_back = input->held_back();
    if (held_back.size(0) == 0) return std::nullopt;
    at::Tensor weight = model::load(*tensor.source).to(device).to(at::kFloat);
    const at::Tensor factors = transform::stored_factors(input->channel_max, transform::column_max(weight),
                                                         run_.smoothquant_alpha.value());
    const int64_t count = std::min(held_back.size(0), kRows);
    const at::Tensor rows = input->rows.rows.index_select(0, held_back.narrow(0, 0, count).to(device));
    const at::Tensor wanted = rows.mm(weight.t()), p = factors.to(at::kFloat);
    const auto without = errors(tensor, weight, rows, wanted);
    weight = weight / p;
    const auto with = errors(tensor, weight, rows * p, wanted);
    if (!without || !with) return at::Tensor();
    log_debug(tensor, *without, *with);
    const bool helps = with->quantized <= kWorthwhile * without->quantized && with->plain <= without->plain;
    return helps ? factors.cpu() : at::Tensor();
  }

  /// Nothing where the format cannot hold the weight, or the rows.
  std::optional<Errors> errors(const TensorPlan& tensor, const at::Tensor& weight, const at::Tensor& rows,
                               const at::Tensor& wanted) const {
    const format::Codec& codec = *tensor.target.codec;
    const auto encoded = format::encode_nearest(codec, weight, /*block_size=*/0);
    if (!encoded || !encoding_fault(weight, {&*encoded, 1}).empty()) return std::nullopt;
    const at::Tensor decoded = format::decode(*encoded).t();
    const auto error = [&](const at::Tensor& x) { return (x.mm(decoded) - wanted).norm().item<double>(); };
    Errors errors{.plain = error(rows), .quantized = 0};
    errors.quantized = errors.plain;
    if (tensor.full_precision_matrix_mult.value_or(options_.full_precision_matrix_mult)) return errors;
    const auto input = format::encode_nearest(codec, rows, /*block_size=*/0);
    if (!input) return std::nullopt;
    errors.quantized = error(format::decode(*input));
    return errors;
  }

  static void log_debug(const TensorPlan& tensor, const Errors& without, const Errors& with) {
    spdlog::debug(
        "{}: with factors for its input {:.4f} of the output's error, {:.4f} where inputs stay as they are",
        printable(tensor.source->name()), with.quantized / without.quantized, with.plain / without.plain);
  }

  const plan::Options& options_;
  const RunOptions& run_;
  Placement placement_;
  LayerMethods::Choice nearest_;
};

/// Layers whose factors are folded into what makes their input.
std::set<std::string, std::less<>> folded(const model::Checkpoint& checkpoint, const plan::Plan& plan,
                                          const RunOptions& run) {
  std::set<std::string, std::less<>> layers;
  for (const calibrate::Fold& fold :
       Smoothing::candidates(checkpoint, {checkpoint, run.recording},
                             [&](std::string_view layer) { return plan.quantizes(layer); }))
    layers.insert(fold.readers.begin(), fold.readers.end());
  return layers;
}

}  // namespace

InputFactorChoice choose_input_factors(const model::Checkpoint& checkpoint, const plan::Options& options,
                                       const RunOptions& run) {
  const plan::Plan plan =
      plan::make_plan(checkpoint, options, std::filesystem::path(run.output).filename().string());
  const auto served = folded(checkpoint, plan, run);
  InputFactorChoice choice;
  choice.obstacle = client::input_factor_obstacle(options.client.value_or(client::Client{}), kFormat);
  Measurement measurement(options, run);
  for (const TensorPlan& tensor : plan.tensors) {
    const std::string layer(tensor.source->layer());
    if (tensor.decision != plan::Decision::kQuantize || tensor.target.codec->format != kFormat ||
        model::weight_shape(*tensor.source).experts > 0 ||
        families::table_of(layer) != families::Table::kNone || served.contains(layer))
      continue;
    throw_if_cancelled();
    if (!choice.obstacle.empty()) {
      ++choice.unread;
      continue;
    }
    const auto factors = measurement.factors_of(tensor);
    tensor.source->file->release(*tensor.source->info);
    ++(factors ? choice.measured : choice.unmeasured);
    if (factors && factors->defined()) choice.factors.emplace(layer, *factors);
  }
  return choice;
}

}  // namespace ctq::pipeline
