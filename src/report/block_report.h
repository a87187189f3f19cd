// How sensitive the blocks of a transformer are to a plain FP8 cast, as text, JSON and a page
// (docs/clip_g.md).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pipeline/block_analysis.h"

namespace ctq::report {

enum class Risk : uint8_t { kLow, kElevated, kHigh };

inline constexpr double kElevatedOut = 0.08;  ///< relative error of attn.out_proj
inline constexpr double kHighOut = 0.12;
inline constexpr double kElevatedQkv = 0.06;  ///< of q, k or v

/// The attention's output projection of a block.
struct OutputRisk {
  int64_t block = 0;
  double error = 0;
  Risk risk = Risk::kLow;
};

/// q, k and v of a block; `risk` is that of k and v.
struct QkvRisk {
  int64_t block = 0;
  double query = 0, key = 0, value = 0;
  Risk risk = Risk::kLow;
};

/// What the figures say about the options of `clip-g`. The last block, which always stays, is left out of
/// all.
struct ClipGAdvice {
  std::vector<int64_t> sensitive;  ///< blocks, ascending
  std::vector<OutputRisk> outputs;
  std::vector<QkvRisk> qkv;
  std::vector<int64_t> keep;  ///< for -k: those asked for, the sensitive, and the few with a risky k or v
  std::string command;
};

struct BlockReport {
  std::string path;
  std::vector<pipeline::BlockStatistics> blocks;
  double mean = 0;              ///< of the blocks' errors
  double deviation = 0;         ///< of the population
  double threshold = 0;         ///< mean + deviation
  std::vector<size_t> ranking;  ///< places in `blocks`, the largest error first
  std::optional<ClipGAdvice> advice;

  bool is_sensitive(const pipeline::BlockStatistics& block) const { return block.error() > threshold; }
};

/// keep: blocks that stay anyway, for advice about a text encoder of OpenCLIP; nothing: another transformer,
/// for which there is none
BlockReport make_block_report(std::string path, std::vector<pipeline::BlockStatistics> blocks,
                              const std::optional<std::set<int64_t>>& keep);

/// Tables for people.
std::string block_report_text(const BlockReport& report);
/// Everything, at full precision; docs/clip_g.md has the fields.
std::string block_report_json(const BlockReport& report);
/// A page that needs nothing else: a chart of errors by block and weight, the ranking and the advice.
std::string block_report_html(const BlockReport& report);

}  // namespace ctq::report
