// Runs a plan: reads ahead, converts, and writes behind, a few tensors in memory at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <c10/core/Device.h>

#include "calibrate/lora_rows.h"
#include "calibrate/recorded.h"
#include "metrics/error.h"
#include "metrics/error_sum.h"
#include "metrics/histogram.h"
#include "model/checkpoint.h"
#include "optimize/optimizer.h"
#include "pipeline/memory_limits.h"
#include "plan/plan.h"
#include "transform/smoothing.h"

namespace ctq::pipeline {

/// When the bias of a quantized layer takes up the mean of what the codes change.
enum class BiasCorrection : uint8_t {
  kNone,      ///< never
  kRecorded,  ///< with the mean of recorded rows
  kNorm,      ///< also with the mean that the bias of a norm right before the layer implies
};

/// All that the bytes of an output depend on. A run goes on from one that was interrupted only where the
/// three texts are equal.
struct ResumeKey {
  std::string version;  ///< of the program
  std::string input;    ///< what tells the input files apart from others of the same names
  std::string options;  ///< with what tells files that options name apart
};

/// One of several processes that share a plan; rewrite::assemble() joins what they write.
struct Partition {
  int64_t part = 1;  ///< from 1
  int64_t parts = 1;
  std::string run;  ///< what a part's bytes depend on besides the plan: parts join where it is equal
};

struct RunOptions {
  std::string output;  ///< final path of the file, or of the file the shards are named after
  at::Device device = at::kCPU;
  uint64_t byte_budget =
      256 << 20;  ///< tensors read ahead, and finished ones waiting to be written; 0: one tensor at a time
  MemoryLimits memory;
  bool measure_quality = false;
  bool count_values = false;  ///< with measure_quality: also how the values are spread
  optimize::Settings optimizer;
  BiasCorrection bias_correction = BiasCorrection::kNone;
  const calibrate::Recording* recording = nullptr;  ///< of the layers' inputs; must outlive the run
  const calibrate::LoraRows* lora = nullptr;  ///< says which inputs matter where none are recorded; as above
  std::optional<double> smoothquant_alpha;    ///< smooths inputs first (transform::Smoothing)
  transform::StoredFactors input_factors;     ///< of the layers of plan::Options::input_factors, with
                                              ///< smoothquant_alpha
  bool strict = false;                        ///< non-finite weights end the run
  bool shared_scales = false;       ///< weights of one module, each with one scale, get one scale for all
  std::optional<ResumeKey> resume;  ///< keeps what an interrupted run has done, and goes on from it; nothing:
                                    ///< neither
  std::optional<double> time_budget;   ///< seconds that optimizers may take of layers altogether, those of an
                                       ///< interrupted run included; nothing: no end
  std::optional<Partition> partition;  ///< writes the layers of one part; the plan must have one file
};

/// ||U^T E V||_F / ||W||_F before and after an optimizer.
struct SubspaceError {
  double nearest = 0;  ///< of round to nearest
  double stored = 0;
};

/// output_rel on rows that were held back, before and after an optimizer.
struct OutputError {
  double nearest = 0;  ///< of round to nearest
  double stored = 0;
};

/// What recorded inputs were worth to a layer, by a trial on some that were not fitted.
struct CalibrationUse {
  int64_t rows = 0, groups = 0;  ///< that are distinct, and how many of them belong together
  double effective_rank = 0;     ///< calibrate::effective_rank()
  double damping = 0;            ///< share of the mean that was added to the diagonal
  double implied_share = 0;      ///< of what the checkpoint implies
  bool used = true;              ///< false: what the checkpoint tells, or round to nearest, was better
};

/// What an optimizer did to a layer.
struct Optimized {
  std::string method;  ///< "direct", "implied"
  std::string source;  ///< where the second moment of the input comes from, in words; empty where the weight
                       ///< itself is it
  std::string objective_name;    ///< "trace", "subspace", "mse"; what a layer that was left over is
                                 ///< ranked by, "weight_rel", "output_rel"
  double nearest_objective = 0;  ///< relative, of round to nearest
  double objective = 0;          ///< relative, of what is stored
  int64_t iterations = 0;        ///< of learned rounding, and sweeps
  int64_t samples = 0;           ///< rows X of the second moment D + X^T X that it was rounded under;
                                 ///< 0: a matrix, or none
  std::string stopped_by;        ///< why learned rounding ended; "time" also of a layer left over
  bool guarded = false;          ///< round to nearest was kept
  std::optional<SubspaceError> subspace;  ///< when measured
  std::optional<OutputError> output;      ///< where rows of the input were held back
  /// With a time budget what the layer is ranked by: of round to nearest output_rel on rows that were held
  /// back, else weight_rel.
  std::optional<double> nearest_error = {};
  std::optional<CalibrationUse> calibration = {};  ///< where that was tried

  /// Whether there was no time for the layer, which was rounded to nearest.
  bool left_over() const { return method == "rtn" && stopped_by == "time"; }
};

/// What became of a time budget.
struct TimeSpent {
  double budget = 0;             ///< seconds
  double seconds = 0;            ///< of the layers that were optimized
  size_t optimized = 0;          ///< layers
  size_t cut_short = 0;          ///< of these, whose optimizer ended with the budget
  size_t left_over = 0;          ///< layers that were rounded to nearest
  double largest_left_over = 0;  ///< of Optimized::nearest_error
  double least_optimized = 0;
};

/// What a time budget's first pass found.
struct Ranked {
  size_t layers = 0;
  double seconds = 0;
  double largest_error = 0;  ///< Optimized::nearest_error of `largest_of`
  std::string largest_of;    ///< the weight; empty: no layer is optimized
};

/// A tensor of the plan that is done.
struct TensorDone {
  const plan::TensorPlan* tensor = nullptr;
  size_t index = 0;  ///< from 1, in the order of work
  size_t count = 0;
  double seconds = 0;
  std::optional<metrics::WeightError> error;  ///< of the stored tensors, when measured
  std::optional<Optimized> optimized;         ///< when an optimizer chose the codes
  uint64_t bytes_done = 0;                    ///< of the input
  uint64_t bytes_total = 0;
};

/// What an interrupted run had done already.
struct Resumed {
  size_t tensors = 0;
  size_t count = 0;         ///< of all tensors
  uint64_t bytes_done = 0;  ///< of the input
};

struct MeasuredLayer;

/// What a caller can follow. Called from one thread, in the order of work.
class Events {
 public:
  virtual ~Events() = default;
  /// By choose_formats(). index from 1.
  virtual void measured(const MeasuredLayer&, size_t /*index*/, size_t /*count*/) {}
  virtual void started(const plan::Plan&, const RunOptions&) {}
  /// Before the first tensor, where some need not be done again; tensor_done() is not called for those.
  virtual void resumed(const Resumed&) {}
  /// With a time budget, before the first tensor.
  virtual void ranked(const Ranked&) {}
  virtual void tensor_done(const TensorDone&) {}
  /// Weights turned out not to be quantizable; the run starts again with them kept.
  virtual void restarted(const plan::ValueFindings&) {}
};

/// The error of one layer.
struct LayerError {
  std::string name;    ///< of the weight
  std::string format;  ///< label
  metrics::WeightError error;
  std::optional<Optimized> optimized;
  double seconds = 0;
  std::optional<metrics::WeightHistograms> histograms;  ///< when counted
};

struct Result {
  plan::Plan plan;                  ///< as carried out; of one part where there are several
  plan::ValueFindings findings;     ///< weights kept because of their values
  std::vector<LayerError> quality;  ///< when measured, sorted by name
  metrics::Squares squares;         ///< of all quantized weights; sampled where `quality` was not measured
  size_t optimized = 0;             ///< layers whose codes an optimizer chose, none that were left over
  size_t guarded = 0;               ///< layers on which it did not beat round to nearest, which was kept
  std::optional<TimeSpent> time;    ///< where there was a budget
  size_t biases_corrected = 0;
  size_t smoothed_inputs = 0;
  size_t moved_to_cpu = 0;  ///< layers that a GPU had no room for
  std::string written;      ///< the file, or the index of the shards
  double seconds = 0;
  uint64_t peak_memory_bytes = 0;  ///< most resident memory seen, without mapped files
};

/// Plans and converts. On return the output is whole under its final name. On any exception nothing of it is
/// left, unless a signal ended a run with `resume` that had done a tensor: then partial files and a journal
/// are. An older output is as it was.
/// throws  what make_plan, the reader and the writer throw; Error(kInterrupted) or Error(kTerminated) after a
///         signal
Result convert(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
               Events& events);

}  // namespace ctq::pipeline
