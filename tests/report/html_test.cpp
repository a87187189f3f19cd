#include "report/html.h"

#include <catch2/catch.hpp>

#include "report/csv.h"
#include "report/histogram_chart.h"

namespace ctq::report {
namespace {

size_t count_of(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

TEST_CASE("escaped: nothing of a text becomes markup, and nothing of it is lost", "[report]") {
  CHECK(escaped("<b a=\"1\">&</b>") == "&lt;b a=&quot;1&quot;&gt;&amp;&lt;/b&gt;");
  CHECK(escaped("--exclude-layers 'a\\.b' matches nothing") == "--exclude-layers 'a\\.b' matches nothing");
  CHECK(escaped("'") == "'");
  CHECK(escaped("") == "");
  CHECK(escaped("a\nb\x01 \xff \xc3\xa4") == "a\\nb\\x01 \\xff \xc3\xa4");
  CHECK(escaped(std::string(500, 'x')) == std::string(500, 'x'));
}

TEST_CASE("csv_field: quoted where RFC 4180 asks for it", "[report]") {
  CHECK(csv_field("a b") == "a b");
  CHECK(csv_field("a,b") == "\"a,b\"");
  CHECK(csv_field("say \"a\"") == "\"say \"\"a\"\"\"");
  CHECK(csv_field("a\r\nb") == "\"a\r\nb\"");
}

TEST_CASE("bar_chart: the largest value has the longest bar", "[report]") {
  const std::string chart = bar_chart("errors", {{"a", 1, "one", ""}, {"b", 2, "two", ""}});
  CHECK(chart.find("aria-label=\"errors\"") != std::string::npos);
  CHECK(chart.find("width=\"100.0\"") != std::string::npos);
  CHECK(chart.find("width=\"200.0\"") != std::string::npos);
}

TEST_CASE("histogram_charts: both series at one scale, in logarithms, and the error", "[report]") {
  const metrics::WeightHistograms histograms{
      .original = {-1, 1, {0, 9, 99}}, .decoded = {-1, 1, {0, 0, 108}}, .error = {-0.5, 0.5, {1, 107, 0}}};
  const std::string charts = histogram_charts("<w>", histograms);
  CHECK(count_of(charts, "<svg ") == 2);
  CHECK(count_of(charts, "<path ") == 3);
  CHECK(count_of(charts, "Values of &lt;w&gt; before and after") == 1);
  // Height 104 down from 20: log 10 and log 100 of log 109; nothing is on the base line, at 124.
  CHECK(charts.find("class=\"before\" d=\"M4.0 124.0V124.0H108.0V73.0H212.0V21.9H316.0V124.0Z\"") !=
        std::string::npos);
  CHECK(charts.find("class=\"after\" d=\"M4.0 124.0V124.0H108.0V124.0H212.0V20.0H316.0V124.0Z\"") !=
        std::string::npos);
  for (const char* end : {">-1<", ">1<", ">-0.5<", ">0.5<"}) CHECK(count_of(charts, end) == 1);
}

TEST_CASE("histogram_charts: values that are all the same give numbers that a browser reads", "[report]") {
  const metrics::Histogram same{3, 3, {5, 0}}, none{0, 0, {5, 0}};
  const std::string charts = histogram_charts("w", {.original = same, .decoded = same, .error = none});
  CHECK(charts.find("nan") == std::string::npos);
  CHECK(charts.find("inf") == std::string::npos);
}

}  // namespace
}  // namespace ctq::report
