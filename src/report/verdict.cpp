#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
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

}  // namespace

std::string verdict_text(const std::string& path, const std::string& client,
                         const std::vector<Finding>& findings, const Paint& paint) {
  return fmt::format("{}{}{}: {} for {}\n", grouped(findings, true, paint(Tone::kBad, "refused ")),
                     grouped(findings, false, paint(Tone::kCaution, "remark  ")), printable(path),
                     verify::is_refused(findings) ? paint(Tone::kBad, "FAILS") : paint(Tone::kGood, "OK"),
                     client);
}

std::string verdict_json(const std::string& path, const std::string& client,
                         const std::vector<Finding>& findings) {
  ordered_json json = {{"path", path},
                       {"client", client},
                       {"ok", !verify::is_refused(findings)},
                       {"refused", ordered_json::array()},
                       {"remarks", ordered_json::array()}};
  for (const Finding& finding : findings)
    json[finding.refused ? "refused" : "remarks"].push_back(
        {{"subject", finding.subject}, {"text", finding.text}});
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::report
