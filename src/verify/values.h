// What only the values of a quantized file show.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "metrics/error.h"
#include "quantized/layers.h"
#include "verify/client.h"

namespace ctq::verify {

/// Scales that are not finite or not above zero, and weights that decode to NaN or infinity. Decodes one
/// layer at a time. A layer that cannot be decoded is a finding.
/// throws  Error(kInterrupted) after a signal
std::vector<Finding> check_values(const quantized::QuantizedFile& file);

/// The error of one layer against its original.
struct LayerError {
  std::string name;  ///< of the layer
  std::string format;
  metrics::WeightError error;
};

/// Differences from the unquantized file.
struct Differences {
  std::vector<LayerError> layers;  ///< of those that could be measured, by name
  std::vector<Finding> findings;   ///< tensors that are lost or changed, layers without an original
};

/// Measures every layer that is quantized in `file` against `original`, whose own quantized layers are
/// decoded too, and looks whether the other tensors are the same values in the same or another float type. A
/// changed bias of a quantized layer is a remark: bias correction changes it.
///
/// wanted  by layer; null: all. Other tensors are only compared when all layers are.
/// device  where errors are summed up; files are decoded on the CPU
/// throws  Error(kInterrupted) after a signal
Differences compare(const quantized::QuantizedFile& original, const quantized::QuantizedFile& file,
                    const std::function<bool(const std::string& layer)>& wanted = nullptr,
                    at::Device device = at::kCPU);

}  // namespace ctq::verify
