// What `calibrate --list` prints.
#pragma once

#include <string>

#include "calibrate/calibration_file.h"

namespace ctq::report {

/// One line per input: rows, how many are distinct, groups and effective rank of these, width, statistics,
/// the layers that share it; totals and header entries. Reads the rows.
/// throws  Error(kBadInput) for tensors that do not go together
std::string calibration_table(const calibrate::CalibrationFile& file);

/// The same as JSON, indented by 2.
std::string calibration_json(const calibrate::CalibrationFile& file);

}  // namespace ctq::report
