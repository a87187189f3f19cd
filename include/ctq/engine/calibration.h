// What can be asked of calibration files: to be made, joined, listed; and what they give a quantized model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctq/engine/settings.h"

namespace ctq::engine {

enum class CalibrationMode : uint8_t {
  kGather,  ///< statistics for a model
  kList,    ///< what is in a calibration file
  kMerge,   ///< several files to one
  kPatch,   ///< input scales for a quantized model
  kEnough,  ///< whether enough pictures were recorded
};

struct CalibrationSettings {
  Setting<Path> input{"calibrate.input"};
  Setting<Path> output{"calibrate.output"};
  Setting<Path> json{"calibrate.json"};  ///< given without a path: in place of safetensors
  Setting<bool> quiet{"calibrate.quiet"};
  Setting<Path> list{"calibrate.list"};
  Setting<std::vector<Path>> merge{"calibrate.merge"};
  Setting<bool> patch{"calibrate.patch"};
  Setting<bool> enough{"calibrate.enough"};
  Setting<Path> activations{"calibrate.activations"};
  Setting<Path> data{"calibrate.calibration_data"};
  Setting<bool> allow_random{"calibrate.allow_random"};
  Setting<double> percentile{"calibrate.percentile", 99.9};
  Setting<int64_t> samples{"calibrate.samples", 64};
  Setting<Path> lora{"calibrate.lora"};
  Setting<int64_t> seed{"calibrate.seed", 42};
  Setting<int64_t> rows{"calibrate.rows"};
  Setting<bool> hessian{"calibrate.hessian"};
  Setting<std::string> device{"calibrate.device", "auto"};

  bool writes_json() const { return json.given() && json->empty(); }
  std::optional<int64_t> rows_to_keep() const { return rows.given() ? std::optional(*rows) : std::nullopt; }
  uint64_t seed_value() const { return static_cast<uint64_t>(*seed); }
};

/// throws  Error(kUsage) for two modes, and for a setting of another one
CalibrationMode mode_of(const CalibrationSettings& asked);

}  // namespace ctq::engine
