// What came of a conversion, a plan or an inspection, as plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctq/engine/events.h"

namespace ctq::engine {

/// The error of one layer.
struct LayerResult {
  std::string name;    ///< of the weight
  std::string format;  ///< "int8_tensorwise (row)"
  ErrorFigures error;
  std::optional<OptimizerFigures> optimized;
  double seconds = 0;
};

/// A layer of an adapter that makes up for what quantization lost. Errors are relative to the weight's norm.
struct AdaptedLayer {
  std::string layer;
  int64_t rank = 0;
  double error_before = 0;
  double error_after = 0;
};

struct ConversionResult {
  std::string written;   ///< the file, or the index of the shards
  size_t quantized = 0;  ///< tensors, as the next three
  size_t cast = 0;
  size_t kept = 0;
  size_t removed = 0;
  uint64_t bytes_in = 0;   ///< of all input files
  uint64_t bytes_out = 0;  ///< of all output files
  double seconds = 0;
  uint64_t peak_memory_bytes = 0;     ///< most resident memory seen, without mapped files
  std::vector<TensorReason> unfit;    ///< weights that are kept because of their values
  std::vector<LayerResult> layers;    ///< by name, where report.quality asks for it
  std::string adapter;                ///< the extracted one's file; empty where none is asked for
  std::vector<AdaptedLayer> adapted;  ///< its layers
};

/// What becomes of a tensor.
struct PlannedTensor {
  std::string name;
  Decision decision = Decision::kKeep;
  std::string reason;
  std::string label;  ///< "int8_tensorwise (row, convrot 256)"; empty where it is kept or removed
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;  ///< with its scales
};

struct PlanResult {
  PlanSummary summary;
  std::vector<PlannedTensor> tensors;  ///< by name
};

/// What is in a checkpoint, from its headers and markers.
struct Inspection {
  struct Tensor {
    std::string name;
    std::string type;  ///< "BF16", as in the header
    std::vector<int64_t> shape;
    uint64_t bytes = 0;
  };
  struct Layer {
    std::string name;
    std::string dialect;         ///< who says that it is quantized: "comfy_quant", "scaled_fp8", "GPTQ"
    std::string format;          ///< "int8_tensorwise"; may be empty
    std::vector<int64_t> shape;  ///< of the weight that the codes stand for; empty where nothing says so
    int64_t rotation_group = 0;  ///< columns that ConvRot rotates together; 0: none
  };
  std::vector<std::string> files;
  std::map<std::string, std::string> metadata;  ///< of the headers
  std::string fingerprint;                      ///< of names, types and shapes
  std::vector<Tensor> tensors;                  ///< by name
  std::vector<Layer> layers;                    ///< the quantized ones, by name
};

}  // namespace ctq::engine
