// What `calibrate --list` and `--enough` print.
#pragma once

#include <string>

#include "calibrate/calibration_file.h"
#include "pipeline/enough.h"

namespace ctq::report {

/// One line per input: rows, how many are distinct, groups and effective rank of these, width, statistics,
/// the layers that share it; totals and header entries. Reads the rows.
/// throws  Error(kBadInput) for tensors that do not go together
std::string calibration_table(const calibrate::CalibrationFile& file);

/// The same as JSON, indented by 2.
std::string calibration_json(const calibrate::CalibrationFile& file);

/// What `calibrate --enough` prints: a line per number of pictures, and what the last doubling brought.
std::string enough_table(const pipeline::Enough& enough);
std::string enough_json(const pipeline::Enough& enough);

}  // namespace ctq::report
