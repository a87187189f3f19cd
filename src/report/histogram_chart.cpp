#include "histogram_chart.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "html.h"

namespace ctq::report {
namespace {

/// Sizes in the chart's own units, which are about pixels.
constexpr double kWidth = 320, kHeight = 104, kHead = 20, kFoot = 18, kMargin = 4;

struct Series {
  const metrics::Histogram* histogram;
  std::string_view style;  ///< a class of the page's style sheet
};

/// The outline of the bars, from the base to the base.
std::string outline(const metrics::Histogram& histogram, int64_t largest) {
  const double bin =
      (kWidth - 2 * kMargin) / static_cast<double>(std::max<size_t>(histogram.counts.size(), 1));
  const double unit = kHeight / std::log1p(static_cast<double>(std::max<int64_t>(largest, 1)));
  std::string path = fmt::format("M{:.1f} {:.1f}", kMargin, kHead + kHeight);
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    const double height = unit * std::log1p(static_cast<double>(histogram.counts[i]));
    path +=
        fmt::format("V{:.1f}H{:.1f}", kHead + kHeight - height, kMargin + bin * static_cast<double>(i + 1));
  }
  return path + fmt::format("V{:.1f}Z", kHead + kHeight);
}

std::string axis_text(double x, std::string_view anchor, double value) {
  return fmt::format("<text class=\"quiet\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{:.3g}</text>", x,
                     kHead + kHeight + kFoot - 5, anchor, value);
}

std::string axis(const metrics::Histogram& histogram) {
  std::string text =
      fmt::format("<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>\n",
                  kMargin, kWidth - kMargin, kHead + kHeight);
  text += axis_text(kMargin, "start", histogram.low) + axis_text(kWidth - kMargin, "end", histogram.high);
  const double zero = -histogram.low / (histogram.high - histogram.low);
  if (zero > 0.25 && zero < 0.75) text += axis_text(kMargin + zero * (kWidth - 2 * kMargin), "middle", 0);
  return text + "\n";
}

std::string chart(std::string_view label, std::string_view title, const std::vector<Series>& series) {
  int64_t largest = 0;
  for (const Series& one : series)
    for (const int64_t count : one.histogram->counts) largest = std::max(largest, count);
  std::string text = fmt::format(
      "<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\"><text class=\"quiet\" x=\"{:.0f}\" "
      "y=\"12\">{}</text>\n",
      kWidth, kHead + kHeight + kFoot, escaped(label), kMargin, escaped(title));
  for (const Series& one : series)
    text += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", one.style, outline(*one.histogram, largest));
  return text + axis(*series.front().histogram) + "</svg>\n";
}

}  // namespace

std::string histogram_charts(std::string_view name, const metrics::WeightHistograms& histograms) {
  const std::string values = chart(fmt::format("Values of {} before and after", name), "values",
                                   {{&histograms.original, "before"}, {&histograms.decoded, "after"}});
  return "<div class=\"pair\">\n" + values +
         chart(fmt::format("Error of {}", name), "error", {{&histograms.error, "error"}}) + "</div>\n";
}

}  // namespace ctq::report
