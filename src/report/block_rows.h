// The rows that a block has in every form of its report.
#pragma once

#include <string>
#include <vector>

#include "report/block_report.h"

namespace ctq::report {

enum class RowPlace : uint8_t {
  kWhole,
  kFused,  ///< the parts that follow, taken together
  kPart,
  kLastPart,
};

struct BlockRow {
  std::string name;
  metrics::CastStatistics values;
  RowPlace place = RowPlace::kWhole;
};

std::vector<BlockRow> rows_of(const pipeline::BlockStatistics& block);

/// "3", or "double_blocks.3" where there are stacks.
std::string label_of(const pipeline::BlockStatistics& block);

/// "LOW", "ELEVATED", "HIGH".
std::string_view risk_word(Risk risk);

/// Sentences about the advice, the recommended command line apart.
std::vector<std::string> advice_sentences(const BlockReport& report);

}  // namespace ctq::report
