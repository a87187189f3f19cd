#include "html.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"

namespace ctq::report {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #5d6670; --paper: #ffffff; --line: #d8dde3; --heat: #e0602a; --bar: #3b76c4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --quiet: #9aa4af; --paper: #15181c; --line: #343b43; --heat: #d9581f; --bar: #5b93dd; }
}
body { margin: 0 auto; padding: 1rem; max-width: 52rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin-top: 2rem; }
p, li { max-width: 42rem; }
.chart { overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
svg .quiet { fill: var(--quiet); }
svg .cell { stroke: var(--line); stroke-width: .5; fill: var(--heat); }
svg .flag { stroke: var(--ink); stroke-width: 1.5; }
svg .bar { fill: var(--bar); }
svg .before { fill: var(--quiet); fill-opacity: .45; }
svg .after { fill: none; stroke: var(--bar); stroke-width: 1.3; stroke-linejoin: round; }
svg .error { fill: var(--heat); fill-opacity: .75; }
svg .axis { stroke: var(--line); }
svg .threshold { stroke: var(--ink); stroke-dasharray: 3 3; }
.scroll { overflow-x: auto; }
.scroll td, .scroll th { white-space: nowrap; }
.wide { margin-inline: min(0px, calc(50% - min(50vw - 2rem, 38rem))); }
#tensors { font-size: .85rem; line-height: 1.35; width: 100%; }
#tensors td, #tensors th { vertical-align: top; }
#tensors .words { white-space: normal; min-width: 7rem; }
#tensors .name { white-space: normal; min-width: 15rem; }
#tensors td, #tensors th { padding-right: .6rem; }
form { margin: .5rem 0; }
form input { width: min(24rem, 60%); }
.pair { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; }
.pair svg { flex: 1 1 18rem; width: auto; max-width: 100%; }
figure { margin: 1rem 0 1.5rem; }
figcaption { overflow-wrap: anywhere; }
pre { padding: .75rem; border: 1px solid var(--line); border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
table { border-collapse: collapse; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number, th.number { text-align: right; }
)";

/// Sizes of a chart in its own units, which are pixels on a wide screen.
constexpr double kRow = 18, kMostLabel = 300, kBar = 200, kText = 130, kCharacter = 6.2;
constexpr double kSmallestZoom = 0.72, kLargestZoom = 1.3;

/// The end of a name is what tells.
std::string shortened(const std::string& label) {
  constexpr auto kMost = static_cast<size_t>(kMostLabel / kCharacter);
  return label.size() <= kMost ? label : "..." + label.substr(label.size() - kMost + 3);
}

void append_escaped(std::string& safe, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      default: safe += c;
    }
  }
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string safe;
  // Quotes and backslashes end no word of a page, and sentences may hold some that printable() made.
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("'\\", at), text.size());
    append_escaped(safe, printable(text.substr(at, end - at), std::string::npos));
    if (end < text.size()) safe += text[end];
    at = end + 1;
  }
  return safe;
}

std::string html_page(std::string_view title, std::string_view heading, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n</head>\n"
      "<body>\n<h1>{}</h1>\n{}</body>\n</html>\n",
      escaped(title), kStyle, escaped(heading), body);
}

std::string bar_chart(std::string_view name, const std::vector<Bar>& bars) {
  double largest = 0;
  size_t longest = 0;
  for (const Bar& bar : bars) {
    largest = std::max(largest, bar.value);
    longest = std::max(longest, shortened(bar.label).size());
  }
  const double label = kCharacter * static_cast<double>(longest) + 10;
  const double width = label + kBar + kText, height = kRow * static_cast<double>(bars.size()) + 4;
  std::string text = fmt::format(
      "<div class=\"chart\"><svg viewBox=\"0 0 {:.0f} {:.0f}\" "
      "style=\"min-width:{:.0f}px;max-width:{:.0f}px\" "
      "role=\"img\" aria-label=\"{}\">\n",
      width, height, kSmallestZoom * width, kLargestZoom * width, escaped(name));
  for (size_t i = 0; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
    const double y = kRow * static_cast<double>(i), base = y + kRow - 5;
    const double length = largest > 0 ? kBar * std::max(bar.value, 0.0) / largest : 0;
    text += fmt::format(
        "<g><title>{}</title><text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text><rect "
        "class=\"bar\" "
        "x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{:.0f}\"/><text class=\"quiet\" x=\"{:.1f}\" "
        "y=\"{:.0f}\">{}</text></g>\n",
        escaped(bar.title), label - 6, base, escaped(shortened(bar.label)), label, y + 3, length, kRow - 6,
        label + length + 5, base, escaped(bar.text));
  }
  return text + "</svg></div>\n";
}

}  // namespace ctq::report
