#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "error_json.h"
#include "report/file_report.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using verify::Finding;

/// Findings of one kind, those with the same text as one line.
std::string grouped(const std::vector<Finding>& findings, bool refused, const std::string& word) {
  std::map<std::string, std::vector<std::string>> subjects;
  std::vector<std::string> order;
  for (const Finding& finding : findings) {
    if (finding.refused != refused) continue;
    if (!subjects.contains(finding.text)) order.push_back(finding.text);
    subjects[finding.text].push_back(finding.subject);
  }
  std::string text;
  for (const std::string& what : order) {
    const auto& who = subjects[what];
    const std::string more = who.size() > 1 ? fmt::format(" and {} more", who.size() - 1) : "";
    text += fmt::format("{} {}{}{}{}\n", word, printable(who.front()), more, who.front().empty() ? "" : ": ",
                        what);
  }
  return text;
}

/// By SQNR, what is no number first.
std::vector<verify::LayerError> worst_first(std::vector<verify::LayerError> layers) {
  std::ranges::stable_sort(layers, {}, [](const verify::LayerError& layer) {
    return std::isnan(layer.error.sqnr_db) ? -INFINITY : layer.error.sqnr_db;
  });
  return layers;
}

std::string measured_line(const Checked& checked) {
  if (checked.original.empty()) return "";
  const std::string against = fmt::format("measured against {}: ", printable(checked.original));
  if (checked.measured.empty()) return against + "no layer that is quantized here and has an original\n";
  const std::vector<verify::LayerError> layers = worst_first(checked.measured);
  return fmt::format("{}{} layer{}, SQNR {:.2f} dB at worst ({}), median {:.2f} dB\n", against, layers.size(),
                     layers.size() == 1 ? "" : "s", layers.front().error.sqnr_db,
                     printable(layers.front().name), layers[layers.size() / 2].error.sqnr_db);
}

}  // namespace

std::string verdict_text(const Checked& checked, const Paint& paint) {
  const std::vector<Finding>& findings = checked.findings;
  return fmt::format("{}{}{}{}: {} for {}\n", grouped(findings, true, paint(Tone::kBad, "refused ")),
                     grouped(findings, false, paint(Tone::kCaution, "remark  ")), measured_line(checked),
                     printable(checked.path),
                     verify::is_refused(findings) ? paint(Tone::kBad, "FAILS") : paint(Tone::kGood, "OK"),
                     checked.client);
}

std::string verdict_json(const Checked& checked) {
  ordered_json json = {{"path", checked.path},
                       {"client", checked.client},
                       {"ok", !verify::is_refused(checked.findings)},
                       {"refused", ordered_json::array()},
                       {"remarks", ordered_json::array()}};
  for (const Finding& finding : checked.findings)
    json[finding.refused ? "refused" : "remarks"].push_back(
        {{"subject", finding.subject}, {"text", finding.text}});
  if (!checked.original.empty()) {
    json["original"] = checked.original;
    json["measured"] = ordered_json::array();
    for (const verify::LayerError& layer : checked.measured)
      json["measured"].push_back({{"layer", layer.name}, {"sqnr_db", number(layer.error.sqnr_db)}});
  }
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::report
