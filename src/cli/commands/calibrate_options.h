// What can be asked of the command `calibrate`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/options/option.h"
#include "ctq/engine/settings.h"

namespace ctq::cli {

enum class CalibrateMode : unsigned char { kGather, kList, kMerge, kPatch };

struct CalibrateOptions {
  engine::Setting<engine::Path> input{"input"};
  engine::Setting<engine::Path> output{"output"};
  engine::Setting<engine::Path> json{"json"};  ///< given without a path: in place of safetensors
  engine::Setting<bool> quiet{"quiet"};
  engine::Setting<engine::Path> list{"list"};
  engine::Setting<std::vector<engine::Path>> merge{"merge"};
  engine::Setting<bool> patch{"patch"};
  engine::Setting<engine::Path> activations{"activations"};
  engine::Setting<engine::Path> data{"calibration_data"};
  engine::Setting<double> percentile{"percentile", 99.9};
  engine::Setting<int64_t> samples{"samples", 64};
  engine::Setting<engine::Path> lora{"lora"};
  engine::Setting<int64_t> seed{"seed", 42};
  engine::Setting<int64_t> rows{"rows"};
  engine::Setting<bool> hessian{"hessian"};
  engine::Setting<std::string> device{"device", "auto"};

  bool writes_json() const { return json.given() && json->empty(); }
  std::optional<int64_t> rows_to_keep() const { return rows.given() ? std::optional(*rows) : std::nullopt; }
  uint64_t seed_value() const { return static_cast<uint64_t>(*seed); }
};

Table make_calibrate_table(CalibrateOptions& asked);

/// throws  Error(kUsage) for two modes, and for a setting of another one
CalibrateMode mode_of(const CalibrateOptions& asked);

}  // namespace ctq::cli
