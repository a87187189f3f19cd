#include "layer_memory.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "known_input.h"
#include "linalg/moment.h"
#include "linalg/panels.h"
#include "linalg/sample_space.h"
#include "model/weight_shape.h"
#include "optimize/rows_apart.h"

namespace ctq::pipeline {
namespace {

constexpr uint64_t kFloat = sizeof(float);
constexpr int64_t kMostSegments = 32;
constexpr int64_t kFewestSamples = 64;
constexpr double kPanelsPerThread = 4;  // of kPanelRows rows
constexpr double kDecodedCopies = 2.5;  // of a layer while it is judged
constexpr double kMeasuredCopies = 5;   // while its leading directions are measured too
constexpr double kHeldBackCopy = 1.1;   // of recorded rows, with those to judge by

double elements(int64_t rows, int64_t columns) {
  return static_cast<double>(rows) * static_cast<double>(columns);
}

/// Whether H stays D + X^T X.
bool in_samples(const LayerWork& work, const LayerSteps& steps) {
  return work.samples > 0 && steps.segments == 1;
}

/// D + X^T X with what is factored of it, as X once more, and with blocks on its diagonal; while it is
/// factored, a matrix [samples, samples] and what a run multiplies with it.
double floats_of_samples(const LayerWork& work, int64_t samples) {
  return elements(4 * samples + 3 * linalg::kSampleRun + 4 * work.rotation_group, work.columns) +
         elements(samples, samples + 2 * linalg::kSampleRun);
}

/// Rows of X that are left.
int64_t samples_left(const LayerWork& work, const LayerSteps& steps) {
  return steps.samples > 0 ? steps.samples : work.samples;
}

/// While the second moment is made.
double floats_to_find_moment(const LayerWork& work, const LayerSteps& steps) {
  if (in_samples(work, steps)) {
    // Linears, as they are and as directions, and what is made of them.
    const int64_t maps = work.implied_gated ? 5 : 3;
    const bool follows = work.implied && work.samples > 1;
    const double implied =
        follows ? elements(work.implied_width, maps * work.columns + work.implied_width) : 0;
    if (work.recorded_rows > 0)  // weighted and, where codes are, rotated; then made fewer
      return implied + elements(2 * work.samples + 4 * steps.samples, work.columns);
    if (follows) return implied + 3 * elements(work.samples, work.columns);
    const double turned = work.rotation_group > 0 ? elements(work.rows, work.columns) : 0;  // the weight
    return 4 * elements(work.samples, work.columns) + elements(work.samples, work.rows) + turned;
  }
  const double square = elements(work.columns, work.columns);
  if (work.implied) return 3 * (elements(work.rows, work.columns) + square);
  if (work.recorded_rows > 0) return 2 * elements(work.recorded_rows, work.columns) + square;
  return elements(std::min(work.rows, optimize::kGramRows), work.columns) + square;
}

/// What is kept beside H for the next layer that reads the same: recorded rows and those that are held back,
/// what the others say, and what is known without them.
double floats_kept_beside_moment(const LayerWork& work) {
  const double rows = elements(work.recorded_rows, work.columns);
  const double moment =
      work.samples > 0 ? elements(work.samples, work.columns) : elements(work.columns, work.columns);
  const double weighted = work.samples > 0 ? rows : 0;
  if (work.trial_sets == 0) return weighted + kHeldBackCopy * rows;
  const auto sets = static_cast<double>(work.trial_sets);
  return (2 + sets) * moment + 2 * rows + sets * elements(kMostSeenRows, work.columns);
}

uint64_t bytes_of(const LayerWork& work, const LayerSteps& steps) {
  const optimize::Settings settings = with_steps(*work.settings, steps);
  const optimize::Footprint footprint =
      settings.optimizer->footprint(settings, {*work.codec, work.rotation_group > 0, work.columns});
  const double weight = elements(work.rows, work.columns), square = elements(work.columns, work.columns);
  const double panels = kPanelsPerThread * at::get_num_threads() * elements(linalg::kPanelRows, work.columns);

  // Codes as they are found, as they are packed, and those of round to nearest: bytes. Those of a bank's
  // experts are kept until all are packed.
  const double bank = weight * static_cast<double>(work.experts);
  const double others = bank - weight;
  const double always = (3 * weight + 2 * others) / kFloat + (work.weight_in_memory ? 2 * bank : 0) +
                        (work.counted ? kDecodedCopies * others : 0);
  double phase = 0;
  if (footprint.rows > 0)
    phase = footprint.rows * elements(std::min(steps.rows_at_once, work.rows), work.columns) +
            (in_samples(work, steps) ? floats_of_samples(work, samples_left(work, steps))
                                     : footprint.moments * square) +
            panels;
  if (footprint.moments > 0) phase = std::max(phase, floats_to_find_moment(work, steps));
  const double moment = in_samples(work, steps) ? elements(work.samples, work.columns)
                        : footprint.moments > 0 ? square
                                                : 0;
  if (work.judged) phase = std::max(phase, kDecodedCopies * weight + moment);
  if (work.measured) phase = std::max(phase, kMeasuredCopies * weight + moment);
  if (footprint.moments > 0) phase += floats_kept_beside_moment(work);
  return static_cast<uint64_t>(always + phase) * kFloat;
}

/// Rows that are worked on together at least: panels, so that sums are those of all rows at once, of whole
/// tiles.
int64_t row_unit(const LayerWork& work) {
  if (!work.codec->has_blocks()) return linalg::kPanelRows;
  return std::lcm(linalg::kPanelRows,
                  format::tiling(*work.codec, work.rows, work.columns, work.block_size).rows);
}

LayerSteps sized(const LayerWork& work, LayerSteps steps) {
  steps.bytes = bytes_of(work, steps);
  return steps;
}

/// As many rows at once as fit, at least one unit, and no more than there are threads for.
LayerSteps by_rows(const LayerWork& work, LayerSteps steps, uint64_t bytes) {
  const int64_t unit = row_unit(work), units = (work.rows + unit - 1) / unit;
  const auto of_units = [&](int64_t count) {
    steps.rows_at_once = std::min(count * unit, work.rows);
    steps.part_rows = work.by_threads ? std::min(unit, work.rows) : steps.rows_at_once;
    return sized(work, steps);
  };
  int64_t fits = 1;
  int64_t too_many = (work.by_threads ? std::min<int64_t>(units, at::get_num_threads()) : units) + 1;
  while (too_many - fits > 1) {
    const int64_t middle = (fits + too_many) / 2;
    (of_units(middle).bytes <= bytes ? fits : too_many) = middle;
  }
  return of_units(fits);
}

/// Calls take(steps) for what may be done, from the one that changes least, until it returns true.
template <typename Take>
void for_each_way(const LayerWork& work, uint64_t bytes, const Take& take) {
  const optimize::Settings& settings = *work.settings;
  const int64_t fewest = optimize::segments_of(settings, work.columns);
  const bool by_row = optimize::takes_rows_apart(settings, *work.codec);
  // Recorded rows can be many.
  const bool by_segments = settings.optimizer->by_segments && (work.samples == 0 || work.recorded_rows > 0);
  const int64_t most = by_segments ? std::min(kMostSegments, work.columns) : fewest;
  // Scales that rows share are searched over all rows, or not at all.
  const bool absmax = by_row && !optimize::same_by_rows(settings, *work.codec);
  LayerSteps steps{.rows_at_once = work.rows, .part_rows = work.rows, .segments = fewest};
  const bool in_parts = by_row && !absmax && work.by_threads;
  if (!in_parts && take(sized(work, steps))) return;
  steps.absmax_scales = absmax;
  const auto apart = [&] { return take(by_row ? by_rows(work, steps, bytes) : sized(work, steps)); };
  if (work.recorded_rows > 0 && work.samples > 0 && fewest == 1) {
    if (apart()) return;
    for (steps.samples = work.samples / 2; steps.samples >= kFewestSamples; steps.samples /= 2)
      if (apart()) return;
    steps.samples = 0;
    steps.segments = 2;
  }
  for (; steps.segments <= std::max(most, fewest); steps.segments *= 2) {
    if (apart()) return;
  }
}

/// What second_moment() and implied moments make of so many columns, by headers. sampled_rows: recorded ones
/// of which H is made
int64_t samples_of(const LayerMethods::Choice& choice, const plan::Target& target,
                   const model::WeightShape& shape, int64_t sampled_rows, bool tried) {
  const optimize::Settings& settings = choice.settings;
  const optimize::Optimizer& optimizer = *settings.optimizer;
  const bool in_samples = optimizer.needs.moment && !optimizer.incoherent && !optimizer.by_gradients &&
                          !target.codec->incoherent && shape.in_features >= linalg::kSamplesFrom;
  if (!in_samples || choice.lora) return 0;
  const bool stays = target.rotation_group == 0 || linalg::stays_in_samples(target.rotation_group);
  if (choice.recorded) {
    if (sampled_rows == 0 || !linalg::worth_samples(sampled_rows, shape.in_features)) return 0;
    if (!tried || choice.implied.kind == calibrate::Implied::kNothing) return sampled_rows;
    // With a share of what is implied.
    const bool blends = choice.implied.rows > 0 && stays;
    return blends ? sampled_rows + choice.implied.rows : 0;
  }
  if (settings.drawn_rows > 0 && optimizer.needs.drawn) return 0;
  if (choice.implied.kind != calibrate::Implied::kNothing) return stays ? choice.implied.rows : 0;
  return settings.direct.objective == optimize::DirectObjective::kMixed
             ? std::min(optimize::direct_rank(shape.in_features), shape.out_features)
             : 0;
}

}  // namespace

LayerWork layer_work(const plan::TensorPlan& tensor, const LayerMethods::Choice& choice,
                     const RunOptions& run, at::Device device) {
  const model::WeightShape shape = model::weight_shape(*tensor.source);
  const bool mapped = device.is_cpu() && !tensor.source->computed && !run.smoothquant_alpha;
  const int64_t recorded_rows = choice.recorded ? run.recording->stored_rows(tensor.source->layer()) : 0;
  const bool of_rows = recorded_rows > 0 && run.recording->is_of_rows(tensor.source->layer());
  // The diagonal of all that was seen is no diagonal where codes are rotated.
  const int64_t group = tensor.target.rotation_group;
  const bool cut = group > 0 && !linalg::stays_in_samples(group) && of_rows &&
                   run.recording->has_diagonal(tensor.source->layer());
  const int64_t sampled_rows = of_rows && !cut ? recorded_rows : 0;
  const bool tried = recorded_rows > 0 && is_tried(choice.settings, *tensor.target.codec, shape.in_features);
  return {.codec = tensor.target.codec,
          .block_size = tensor.target.block_size,
          .rotation_group = tensor.target.rotation_group,
          .rows = shape.out_features,
          .columns = shape.in_features,
          .experts = std::max<int64_t>(shape.experts, 1),
          .settings = &choice.settings,
          .by_threads = device.is_cpu(),
          .weight_in_memory = !mapped,
          .counted = run.measure_quality && run.count_values,
          .judged = run.measure_quality || run.bias_correction != BiasCorrection::kNone || choice.recorded,
          .measured = run.measure_quality && choice.settings.optimizer != &optimize::kNearest,
          .implied = !choice.source.empty() && (!choice.recorded || tried),
          .implied_width = choice.implied.width,
          .implied_gated = choice.implied.gated,
          .recorded_rows = recorded_rows,
          .samples = samples_of(choice, tensor.target, shape, sampled_rows, tried),
          .trial_sets = tried ? most_trial_sets(shape.in_features) : 0};
}

optimize::Settings with_steps(optimize::Settings settings, const LayerSteps& steps) {
  settings.segments = steps.segments;
  settings.segments_from = 0;
  if (steps.absmax_scales) settings.scales = optimize::Scales::kAbsmax;
  return settings;
}

std::string LayerSteps::words() const {
  std::vector<std::string> words;
  if (samples > 0) words.push_back(fmt::format("{} samples", samples));
  if (segments > 1) words.push_back(fmt::format("{} segments", segments));
  if (absmax_scales) words.emplace_back("absmax scales");
  return fmt::format("{}", fmt::join(words, ", "));
}

std::optional<LayerSteps> steps_within(const LayerWork& work, uint64_t bytes) {
  std::optional<LayerSteps> found;
  for_each_way(work, bytes, [&](const LayerSteps& steps) {
    if (steps.bytes <= bytes) found = steps;
    return found.has_value();
  });
  return found;
}

LayerSteps smallest_steps(const LayerWork& work) {
  LayerSteps least;
  for_each_way(work, /*bytes=*/0, [&](const LayerSteps& steps) {
    if (least.bytes == 0 || steps.bytes < least.bytes) least = steps;
    return false;
  });
  return least;
}

bool is_within(const LayerWork& work, const Offload& limits) {
  const optimize::Settings& settings = *work.settings;
  const bool quip = settings.optimizer->incoherent;
  if (work.rotation_group > 0 || quip || work.codec->incoherent) {
    if (std::max(work.rows, work.columns) * work.columns >= limits.hadamard_elements) return false;
  }
  if (settings.optimizer->needs.moment &&
      (work.columns >= limits.hessian_width || work.columns >= limits.ldlq_width))
    return false;
  if (!quip) return true;
  const auto orthogonal = [&](int64_t size) {
    return settings.quip_hadamard ? size >> std::countr_zero(static_cast<uint64_t>(size)) : size;
  };
  return std::max(orthogonal(work.rows), orthogonal(work.columns)) < limits.orthogonal_size;
}

}  // namespace ctq::pipeline
