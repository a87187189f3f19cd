// A plan for people and for programs: what a dry run prints, and writes with --report.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pipeline/layer_methods.h"
#include "plan/plan.h"

namespace ctq::report {

struct PlanNames {
  std::string input;
  std::string output;
  std::string fingerprint;  ///< of the input, model::fingerprint()
  const std::map<std::string, std::vector<std::string>>* merged =
      nullptr;  ///< tensors that LoRAs change, and by which of their layers; null: none
};

/// One line per 2-D weight with decision, format, scale shape, bytes before and after, reason and optimizer;
/// then totals.
std::string plan_table(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods);

/// The same for every tensor, as JSON: {"input", "fingerprint", "output", "layout", "tensors": [...],
/// "files": [...], "totals": {...}, "notes": [...], "unused": [...], "suggested_preset"}. docs/cli.md, "Dry
/// run", has the fields.
std::string plan_json(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods);

/// One row per tensor, RFC 4180.
std::string plan_csv(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods);

/// A page that needs nothing else: sizes by decision and by block, notes, what LoRAs change, every tensor. A
/// few lines of script add a filter; without them the page says the same.
std::string plan_html(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods);

}  // namespace ctq::report
