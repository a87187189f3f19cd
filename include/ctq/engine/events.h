// What happens in a conversion, as plain values for whoever follows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::engine {

/// What becomes of a tensor.
enum class Decision : uint8_t {
  kQuantize,  ///< codes, scales and a marker take its place
  kCast,      ///< stored as a plain type
  kKeep,      ///< copied byte by byte
  kRemove,    ///< left out of the output
};

/// "quantize", "cast", "keep", "remove".
std::string_view decision_name(Decision decision);

/// A tensor, and why it is treated as it is.
struct TensorReason {
  std::string tensor;
  std::string reason;
};

/// Sentences for people.
struct Advice {
  std::vector<std::string> notes;     ///< what they should know about the choices
  std::string suggested_preset;       ///< recognised from the names but not given; empty otherwise
  std::vector<std::string> warnings;  ///< what will not work as it stands, or was likely not meant so
};

/// What was decided.
struct PlanSummary {
  std::string output;  ///< the file, or what its shards are named after
  std::string loader;  ///< "ComfyUI 0.31": whose rules apply
  size_t tensors = 0;  ///< of the input
  size_t quantized = 0;
  size_t cast = 0;         ///< stored as a plain type
  uint64_t bytes_in = 0;   ///< of all input files
  uint64_t bytes_out = 0;  ///< of all output files
  Advice advice;
  std::vector<TensorReason> removed;  ///< left out of the output
  std::string methods;                ///< how layers are rounded, in a sentence; empty: nothing to say
  std::string smoothing;              ///< what SmoothQuant does; empty: nothing
};

/// How far a decoded weight is from its original (docs/ARCHITECTURE.md, "Error figures").
struct ErrorFigures {
  int64_t numel = 0;
  double mse = 0;
  double max_error = 0;
  double sqnr_db = 0;  ///< infinity for an exact copy
  double weight_rel = 0;
  double variance_db = 0;
  int64_t non_finite = 0;  ///< decoded values that are NaN or infinite; the other figures are then NaN
};

/// What an optimizer did to a layer.
struct OptimizerFigures {
  std::string method;            ///< "direct", "implied"
  std::string source;            ///< where the second moment of the input comes from; may be empty
  std::string objective_name;    ///< "trace", "subspace", "mse"
  double nearest_objective = 0;  ///< relative, of round to nearest
  double objective = 0;          ///< relative, of what is stored
  int64_t iterations = 0;        ///< of learned rounding, and sweeps
  std::string stopped_by;        ///< why learned rounding ended; may be empty
  bool guarded = false;          ///< round to nearest was kept
  bool left_over = false;        ///< there was no time for the layer, which was rounded to nearest
};

/// A layer in the formats among which one is chosen by measurement.
struct LayerMeasured {
  struct Format {
    std::string label;   ///< "nvfp4"
    uint64_t bytes = 0;  ///< of its tensors in the file
    double error = 0;    ///< as it would be stored
  };
  std::string tensor;
  std::vector<Format> formats;
  size_t index = 0;  ///< from 1
  size_t count = 0;
};

/// What an interrupted run had done already.
struct Resumed {
  size_t tensors = 0;
  size_t count = 0;         ///< of all tensors
  uint64_t bytes_done = 0;  ///< of the input
};

/// What a time budget's first pass found.
struct Ranked {
  size_t layers = 0;
  double seconds = 0;
  double largest_error = 0;  ///< of `largest_of`
  std::string largest_of;    ///< the weight; empty: no layer is optimized
};

struct TensorDone {
  std::string name;
  Decision decision = Decision::kKeep;
  std::string reason;
  std::string type;        ///< "int8", "fp8", "nvfp4", "fp16": what it became; empty where it is kept
  std::string format;      ///< the loader's word, "int8_tensorwise"; of a plain type its label
  std::string label;       ///< with the format's parameters: "int8_tensorwise (row, convrot 256)"
  bool is_layer = false;   ///< a weight that rules about layers apply to, or one that is cast
  bool fell_back = false;  ///< the target's blocks do not divide it
  size_t index = 0;        ///< from 1, in the order of work
  size_t count = 0;
  double seconds = 0;
  uint64_t bytes_done = 0;  ///< of the input
  uint64_t bytes_total = 0;
  std::optional<ErrorFigures> error;          ///< of the stored tensors, when measured
  std::optional<OptimizerFigures> optimized;  ///< when an optimizer chose the codes
};

/// What a caller can follow. Called from one thread, in the order of work. What it throws ends the work;
/// it may call Session::cancel(), and no other function of the session.
class Events {
 public:
  virtual ~Events() = default;
  /// Where formats are chosen by measurement; before started().
  virtual void measured(const LayerMeasured&) {}
  virtual void started(const PlanSummary&) {}
  /// Before the first tensor, where some need not be done again; tensor_done() is not called for those.
  virtual void resumed(const Resumed&) {}
  /// With a time budget, before the first tensor.
  virtual void ranked(const Ranked&) {}
  virtual void tensor_done(const TensorDone&) {}
  /// Weights turned out not to be quantizable; the run starts again with them kept.
  virtual void restarted(const std::vector<TensorReason>&) {}
};

}  // namespace ctq::engine
