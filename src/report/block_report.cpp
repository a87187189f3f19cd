#include "report/block_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/shell.h"
#include "block_rows.h"

namespace ctq::report {
namespace {

using pipeline::BlockStatistics;

/// Blocks with a risky k or v that are worth keeping for the sake of splitting all others: a share of all
/// blocks.
constexpr size_t kFewBlocks = 8;

double error_of(const BlockStatistics& block, std::string_view weight) {
  const metrics::CastStatistics* found = block.find(weight);
  return found ? found->relative_error() : 0;
}

Risk output_risk(double error) {
  return error >= kHighOut ? Risk::kHigh : error >= kElevatedOut ? Risk::kElevated : Risk::kLow;
}

template <typename Rows>
std::vector<int64_t> risky_blocks(const Rows& rows, const std::set<int64_t>& kept) {
  std::vector<int64_t> blocks;
  for (const auto& row : rows) {
    if (row.risk != Risk::kLow && !kept.contains(row.block)) blocks.push_back(row.block);
  }
  return blocks;
}

ClipGAdvice advise(const BlockReport& report, std::set<int64_t> keep) {
  ClipGAdvice advice;
  const int64_t last = report.blocks.back().index;
  for (const BlockStatistics& block : report.blocks) {
    if (block.index == last) continue;
    if (report.is_sensitive(block)) advice.sensitive.push_back(block.index);
    const double out = error_of(block, "attn.out_proj");
    advice.outputs.push_back({block.index, out, output_risk(out)});
    QkvRisk qkv{block.index, error_of(block, "attn.q_proj"), error_of(block, "attn.k_proj"),
                error_of(block, "attn.v_proj")};
    if (std::max(qkv.key, qkv.value) >= kElevatedQkv) qkv.risk = Risk::kElevated;
    advice.qkv.push_back(qkv);
  }
  // With all blocks kept there is nothing to convert; in a small model the usual first ones are all.
  if (static_cast<int64_t>(keep.size()) >= last) keep.clear();
  keep.insert(advice.sensitive.begin(), advice.sensitive.end());
  const std::vector<int64_t> risky_qkv = risky_blocks(advice.qkv, keep);
  const bool split = risky_qkv.size() * kFewBlocks <= report.blocks.size();
  if (split) keep.insert(risky_qkv.begin(), risky_qkv.end());
  keep.erase(last);
  advice.keep.assign(keep.begin(), keep.end());
  std::string list = plan::range_list(advice.keep);
  if (advice.keep.size() == 1)
    list += fmt::format("-{}", advice.keep.front());  // one number alone counts blocks
  if (list.empty()) list = "0";
  if (static_cast<int64_t>(keep.size()) >= last) return advice;
  advice.command = fmt::format("convert_to_quant clip-g -i {} -o OUTPUT -k {}{}{}", shell_word(report.path),
                               list, split ? " --split-attn-qkv q16,kv8" : "",
                               risky_blocks(advice.outputs, keep).empty() ? " --attn-out-fp8" : "");
  return advice;
}

}  // namespace

std::vector<BlockRow> rows_of(const BlockStatistics& block) {
  std::vector<BlockRow> rows;
  for (size_t i = 0; i < block.weights.size(); ++i) {
    const pipeline::WeightStatistics& weight = block.weights[i];
    if (weight.fused.empty()) {
      rows.push_back({weight.name, weight.values, RowPlace::kWhole});
      continue;
    }
    if (i == 0 || block.weights[i - 1].fused != weight.fused) {
      BlockRow fused{weight.fused, {}, RowPlace::kFused};
      for (size_t part = i; part < block.weights.size() && block.weights[part].fused == weight.fused; ++part)
        fused.values += block.weights[part].values;
      rows.push_back(std::move(fused));
    }
    const bool last = i + 1 == block.weights.size() || block.weights[i + 1].fused != weight.fused;
    rows.push_back({weight.name, weight.values, last ? RowPlace::kLastPart : RowPlace::kPart});
  }
  return rows;
}

std::string label_of(const BlockStatistics& block) {
  return block.stack.empty() ? fmt::to_string(block.index) : fmt::format("{}.{}", block.stack, block.index);
}

std::string_view risk_word(Risk risk) {
  return risk == Risk::kHigh ? "HIGH" : risk == Risk::kElevated ? "ELEVATED" : "LOW";
}

std::vector<std::string> advice_sentences(const BlockReport& report) {
  const ClipGAdvice& advice = *report.advice;
  const int64_t last = report.blocks.back().index;
  // The last block always stays.
  const auto as_prefix = [&](int64_t covering) {
    return covering < last ? fmt::format("as a prefix, -k {}", covering)
                           : std::string("by name; a prefix would keep every block");
  };
  std::vector<std::string> sentences;
  const auto say = [&](std::string sentence) { sentences.push_back(std::move(sentence)); };
  if (advice.sensitive.empty()) {
    say("No block but the last is above the threshold: the default of -k will do.");
  } else {
    say(fmt::format("Sensitive blocks: {}. Keep them.", plan::range_list(advice.sensitive)));
    int64_t prefix = 0;
    while (std::ranges::binary_search(advice.sensitive, prefix)) ++prefix;
    const int64_t covering = advice.sensitive.back() + 1;
    if (covering >= last) {
      say("No prefix covers them but one of every block: name them.");
    } else if (prefix == static_cast<int64_t>(advice.sensitive.size())) {
      say(fmt::format("They are the first blocks: -k {} covers them.", prefix));
    } else {
      say(fmt::format("A prefix that covers them all is -k {}.", covering));
    }
    if (covering < last && advice.sensitive.back() + 3 >= last)
      say("Some of them are just before the last block, which a short prefix does not reach: name them.");
  }
  if (advice.command.empty()) say("Every block is better kept: leave this encoder in float16.");
  std::vector<int64_t> high, elevated;
  for (const OutputRisk& row : advice.outputs) {
    if (row.risk == Risk::kHigh) high.push_back(row.block);
    if (row.risk == Risk::kElevated) elevated.push_back(row.block);
  }
  if (high.empty() && elevated.empty()) say("attn.out_proj: below 8 % everywhere; --attn-out-fp8 is safe.");
  if (!high.empty()) {
    say(
        fmt::format("WARNING: attn.out_proj is at 12 % or more in: {}. --attn-out-fp8 is strongly "
                    "discouraged unless these blocks "
                    "are kept ({}).",
                    plan::range_list(high), as_prefix(high.back() + 1)));
  }
  if (!elevated.empty()) {
    say(
        fmt::format("CAUTION: attn.out_proj is at 8 % or more in: {}. Keep these blocks ({}) or do without "
                    "--attn-out-fp8.",
                    plan::range_list(elevated), as_prefix(elevated.back() + 1)));
  }
  const std::vector<int64_t> exposed =
      risky_blocks(advice.outputs, std::set<int64_t>(advice.keep.begin(), advice.keep.end()));
  if (!exposed.empty())
    say(fmt::format("With the -k below these would remain exposed to --attn-out-fp8: {}.",
                    plan::range_list(exposed)));
  const std::vector<int64_t> risky = risky_blocks(advice.qkv, {});
  if (risky.empty()) {
    say("K and V: below 6 % everywhere; --split-attn-qkv is safe.");
  } else {
    say(
        fmt::format("K or V is at 6 % or more in: {}. Keep these blocks ({}), or leave K and V of all "
                    "blocks as they are: without --split-attn-qkv, or with q16,kv16.",
                    plan::range_list(risky), as_prefix(risky.back() + 1)));
  }
  return sentences;
}

BlockReport make_block_report(std::string path, std::vector<BlockStatistics> blocks,
                              const std::optional<std::set<int64_t>>& keep) {
  BlockReport report;
  report.path = std::move(path);
  report.blocks = std::move(blocks);
  std::vector<double> errors;
  for (const BlockStatistics& block : report.blocks) errors.push_back(block.error());
  const auto count = static_cast<double>(errors.size());
  report.mean = std::reduce(errors.begin(), errors.end()) / count;
  double squares = 0;
  for (const double error : errors) squares += (error - report.mean) * (error - report.mean);
  report.deviation = std::sqrt(squares / count);
  report.threshold = report.mean + report.deviation;
  report.ranking.resize(errors.size());
  std::iota(report.ranking.begin(), report.ranking.end(), size_t{0});
  std::ranges::stable_sort(report.ranking, [&](size_t a, size_t b) { return errors[a] > errors[b]; });
  if (keep) report.advice = advise(report, *keep);
  return report;
}

}  // namespace ctq::report
