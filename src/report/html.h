// What the pages share: they need nothing else, follow the reader's choice of light or dark, and fit a phone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ctq::report {

/// For text between tags and in attributes within double quotes; control characters and bytes that are no
/// UTF-8 as printable() writes them.
std::string escaped(std::string_view text);

/// A page with that title and heading. body: HTML
std::string html_page(std::string_view title, std::string_view heading, std::string_view body);

struct Bar {
  std::string label;
  double value = 0;
  std::string text;   ///< the value in words
  std::string title;  ///< shown on hovering
};
/// Horizontal bars from 0 to the largest value, as one inline SVG. name: for readers that do not see it
std::string bar_chart(std::string_view name, const std::vector<Bar>& bars);

}  // namespace ctq::report
