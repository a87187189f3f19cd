#include <nlohmann/json.hpp>

#include "block_rows.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;

ordered_json row_json(const BlockRow& row) {
  const metrics::CastStatistics& values = row.values;
  return {{"name", row.name},
          {"fused", row.place == RowPlace::kFused},
          {"params", values.numel},
          {"norm", values.norm()},
          {"max_abs", values.max_abs},
          {"std", values.deviation()},
          {"outliers", values.beyond},
          {"non_finite", values.non_finite},
          {"qerror", values.relative_error()}};
}

ordered_json advice_json(const BlockReport& report) {
  const ClipGAdvice& advice = *report.advice;
  ordered_json outputs = ordered_json::array(), qkv = ordered_json::array();
  for (const OutputRisk& row : advice.outputs)
    outputs.push_back({{"block", row.block}, {"qerror", row.error}, {"risk", risk_word(row.risk)}});
  for (const QkvRisk& row : advice.qkv) {
    qkv.push_back({{"block", row.block},
                   {"q", row.query},
                   {"k", row.key},
                   {"v", row.value},
                   {"risk", risk_word(row.risk)}});
  }
  return {
      {"sensitive", advice.sensitive}, {"attention_out", std::move(outputs)},   {"qkv", std::move(qkv)},
      {"keep", advice.keep},           {"sentences", advice_sentences(report)}, {"command", advice.command}};
}

}  // namespace

std::string block_report_json(const BlockReport& report) {
  ordered_json blocks = ordered_json::array(), ranking = ordered_json::array();
  for (const pipeline::BlockStatistics& block : report.blocks) {
    ordered_json weights = ordered_json::array();
    for (const BlockRow& row : rows_of(block)) weights.push_back(row_json(row));
    blocks.push_back({{"stack", block.stack},
                      {"block", block.index},
                      {"error", block.error()},
                      {"sensitive", report.is_sensitive(block)},
                      {"components", std::move(weights)}});
  }
  for (const size_t place : report.ranking) ranking.push_back(label_of(report.blocks[place]));
  ordered_json all{{"input", report.path},          {"cast", "float8_e4m3fn, without scale"},
                   {"blocks", std::move(blocks)},   {"mean", report.mean},
                   {"deviation", report.deviation}, {"threshold", report.threshold},
                   {"ranking", std::move(ranking)}};
  if (report.advice) all["advice"] = advice_json(report);
  return all.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::report
