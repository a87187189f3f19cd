#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "base/text.h"
#include "block_rows.h"
#include "html.h"

namespace ctq::report {
namespace {

using pipeline::BlockStatistics;

/// Sizes of the chart in its own units, which are pixels on a wide screen.
constexpr double kRow = 18, kCell = 46, kLeastHead = 78, kNumber = 34, kBar = 64, kMargin = 6;
constexpr double kLargestZoom = 1.4;
/// Of a column's name, which is turned by 40 degrees: how far a character reaches upwards.
constexpr double kRise = 4.2;
/// More columns are scrolled rather than made too small to read.
constexpr size_t kFitOnPhone = 7;
/// Relative error of a cell in full colour.
constexpr double kFullHeat = kHighOut;

/// Blocks of one stack, as cells: a row per block, a column per weight, and at the right the block's error.
class Chart {
 public:
  Chart(const BlockReport& report, std::span<const BlockStatistics> blocks)
      : report_(report), blocks_(blocks) {
    size_t longest = 2;
    for (const BlockStatistics& block : blocks) {
      longest = std::max(longest, fmt::to_string(block.index).size());
      for (const pipeline::WeightStatistics& weight : block.weights) {
        if (std::ranges::find(columns_, weight.name) == columns_.end()) columns_.push_back(weight.name);
      }
    }
    size_t longest_name = 0;
    for (const std::string& column : columns_) longest_name = std::max(longest_name, column.size());
    head_ = std::max(kLeastHead, kRise * static_cast<double>(longest_name) + 14);
    left_ = kMargin + 7.0 * static_cast<double>(longest) + 6;
    bars_ = left_ + kCell * static_cast<double>(columns_.size()) + kNumber + 6;
    const double largest = report.blocks[report.ranking.front()].error();
    scale_ = largest > 0 ? kBar / std::max(largest, report.threshold) : 0;
  }

  std::string svg() const {
    const double width = bars_ + kBar + kMargin,
                 height = head_ + kRow * static_cast<double>(blocks_.size()) + kMargin;
    std::string text = fmt::format(
        "<div class=\"chart\"><svg viewBox=\"0 0 {:.0f} {:.0f}\" "
        "style=\"min-width:{:.0f}px;max-width:{:.0f}px\" role=\"img\" "
        "aria-label=\"Relative error of a plain FP8 cast by block and weight\">\n",
        width, height, columns_.size() > kFitOnPhone ? width : 0, kLargestZoom * width);
    for (size_t column = 0; column < columns_.size(); ++column) {
      text += fmt::format("<text transform=\"translate({:.1f} {:.1f}) rotate(-40)\">{}</text>\n",
                          x_of(column) + kCell / 2 - 4, head_ - 6, escaped(columns_[column]));
    }
    text += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">block</text>\n", bars_ - 4,
                        head_ - 6);
    for (size_t row = 0; row < blocks_.size(); ++row) text += block_row(blocks_[row], y_of(row));
    const double threshold = bars_ + report_.threshold * scale_;
    text += fmt::format(
        "<line class=\"threshold\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>\n",
        threshold, head_, height - kMargin);
    return text + "</svg></div>\n";
  }

 private:
  double x_of(size_t column) const { return left_ + kCell * static_cast<double>(column); }
  double y_of(size_t row) const { return head_ + kRow * static_cast<double>(row); }

  std::string block_row(const BlockStatistics& block, double y) const {
    const double base = y + kRow - 5;
    std::string text = fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                                   left_ - 6, base, block.index);
    for (size_t column = 0; column < columns_.size(); ++column) {
      const metrics::CastStatistics* values = block.find(columns_[column]);
      if (values) text += cell(block, columns_[column], *values, x_of(column), y);
    }
    const double length = block.error() * scale_;
    return text + fmt::format(
                      "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>"
                      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\"{}>{:.2f}</text>\n",
                      bars_, y + 4, length, kRow - 8, bars_ - 4, base,
                      report_.is_sensitive(block) ? " font-weight=\"700\"" : " class=\"quiet\"",
                      100 * block.error());
  }

  static std::string cell(const BlockStatistics& block, const std::string& name,
                          const metrics::CastStatistics& values, double x, double y) {
    const double error = values.relative_error();
    const bool flagged = values.beyond > 0 || values.non_finite > 0;
    return fmt::format(
        "<g><title>{} {}: {:.4f} %, largest {:.4f}, {} beyond 448, {} not finite</title><rect "
        "class=\"cell{}\" "
        "x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill-opacity=\"{:.3f}\"/><text "
        "x=\"{:.1f}\" "
        "y=\"{:.1f}\" text-anchor=\"middle\">{:.2f}</text></g>\n",
        escaped(label_of(block)), escaped(name), 100 * error, values.max_abs, values.beyond,
        values.non_finite, flagged ? " flag" : "", x + 1, y + 1, kCell - 2, kRow - 2,
        std::min(1.0, error / kFullHeat), x + kCell / 2, y + kRow - 5, 100 * error);
  }

  const BlockReport& report_;
  std::span<const BlockStatistics> blocks_;
  std::vector<std::string> columns_;
  double head_ = 0;   ///< height of the columns' names
  double left_ = 0;   ///< where the cells begin
  double bars_ = 0;   ///< where the bars begin
  double scale_ = 0;  ///< units per error of 1
};

std::string charts(const BlockReport& report) {
  std::string text;
  for (auto from = report.blocks.begin(); from != report.blocks.end();) {
    const auto to = std::find_if(from, report.blocks.end(),
                                 [&](const BlockStatistics& block) { return block.stack != from->stack; });
    if (!from->stack.empty()) text += fmt::format("<h2>{}</h2>\n", escaped(from->stack));
    text += Chart(report, {from, to}).svg();
    from = to;
  }
  return text;
}

std::string sensitive_blocks(const BlockReport& report) {
  std::string list;
  for (const size_t place : report.ranking) {
    const BlockStatistics& block = report.blocks[place];
    if (report.is_sensitive(block))
      list += fmt::format("<li>{}: {:.4f} %</li>\n", escaped(label_of(block)), 100 * block.error());
  }
  return list.empty() ? "<p>None.</p>\n" : fmt::format("<ol>\n{}</ol>\n", list);
}

}  // namespace

std::string block_report_html(const BlockReport& report) {
  std::string page;
  page += fmt::format(
      "<p>Error of a plain cast to float8_e4m3fn in percent, relative to the weight: root of mean squares. "
      "Full colour "
      "at {:.0f} %; framed cells have values beyond 448, or not finite. Bars: the whole block; dashed: mean "
      "plus one "
      "standard deviation, {:.4f} %.</p>\n{}",
      100 * kFullHeat, 100 * report.threshold, charts(report));
  page += fmt::format(
      "<h2>Sensitive blocks</h2>\n{}<p class=\"quiet\">Mean {:.4f} %, standard deviation {:.4f} %.</p>\n",
      sensitive_blocks(report), 100 * report.mean, 100 * report.deviation);
  if (report.advice) {
    page += "<h2>Recommendation</h2>\n<ul>\n";
    for (const std::string& sentence : advice_sentences(report))
      page += fmt::format("<li>{}</li>\n", escaped(sentence));
    page += "</ul>\n";
    if (!report.advice->command.empty())
      page += fmt::format("<pre>{}</pre>\n", escaped(report.advice->command));
  }
  return html_page("FP8 by block", fmt::format("FP8 by block: {}", report.path), page);
}

}  // namespace ctq::report
