// Whether a client would load a quantized file, and with the right meaning.
#pragma once

#include <string>
#include <vector>

#include "ctq/engine/settings.h"

namespace ctq::engine {

struct VerificationSettings {
  Setting<Path> input{"verify.input"};                      ///< the quantized file
  Setting<Path> original{"verify.original"};                ///< measured against, where given
  Setting<std::string> client{"verify.client", "comfyui"};  ///< as client::parse_client() takes it
  Setting<bool> values{"verify.values", true};              ///< scales and codes are read, not headers alone
  Setting<double> min_sqnr{"verify.min_sqnr", 5};           ///< with `original`: less, in dB, is a fault
};

/// What is wrong with a file.
struct Finding {
  std::string subject;  ///< a layer, a tensor, or empty for the file
  std::string text;     ///< one clause: "weight_scale is missing"
  bool refused = true;  ///< the file fails; otherwise a remark
};

/// A quantized layer beside its original.
struct MeasuredLayer {
  std::string name;
  double sqnr_db = 0;  ///< infinite where nothing was lost
};

struct Verdict {
  std::vector<Finding> findings;
  bool refused = false;                 ///< one of them makes the file fail
  std::vector<MeasuredLayer> measured;  ///< with an original, by name
};

}  // namespace ctq::engine
