#include "report/quality_report.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ctq::report {
namespace {

using nlohmann::json;
using pipeline::LayerError;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A layer of 100 weights whose error has that relative size and mean square.
LayerError layer(std::string name, double weight_rel, double mse = 0.25) {
  LayerError made;
  made.name = std::move(name), made.format = "int8_tensorwise (row)";
  made.error.numel = 100;
  made.error.mse = weight_rel == 0 ? 0 : mse;
  made.error.weight_rel = weight_rel;
  made.error.sqnr_db = -20 * std::log10(weight_rel);
  made.error.variance_db = made.error.sqnr_db + 1;
  made.error.max_error = 1.5;
  return made;
}

LayerError not_finite(std::string name) {
  LayerError made = layer(std::move(name), 0.1);
  made.error.non_finite = 3;
  made.error.mse = made.error.max_error = made.error.weight_rel = kNaN;
  made.error.sqnr_db = made.error.variance_db = kNaN;
  return made;
}

pipeline::Result result_of(std::vector<LayerError> layers, plan::ValueFindings findings = {}) {
  pipeline::Result result;
  result.quality = std::move(layers);
  result.findings = std::move(findings);
  return result;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::vector<std::string> lines_with(const std::string& text, std::string_view words) {
  std::vector<std::string> lines;
  for (const std::string& line : lines_of(text)) {
    if (line.find(words) != std::string::npos) lines.push_back(line);
  }
  return lines;
}

}  // namespace

TEST_CASE("summarize: the mean of decibels, the total of errors", "[report]") {
  // 40 dB and 20 dB, of the same error energy: weights of 25 / 1e-4 and 25 / 1e-2 against 50.
  const QualitySummary summary = summarize({layer("a", 0.01), layer("b", 0.1)}, 0, 30);
  CHECK(summary.layers == 2);
  CHECK(summary.below_threshold == 1);
  CHECK(summary.mean_sqnr_db == Approx(30));
  CHECK(summary.mean_weight_rel == Approx(0.055));
  CHECK(summary.total_sqnr_db == Approx(10 * std::log10((25 / 1e-4 + 25 / 1e-2) / 50)));
}

TEST_CASE("summarize: the total weighs layers by their errors, not by their number", "[report]") {
  const QualitySummary summary = summarize({layer("large", 0.1, 0.25), layer("small", 0.001, 1e-8)}, 0, 30);
  CHECK(summary.mean_sqnr_db == Approx(40));
  CHECK(summary.total_sqnr_db == Approx(20).margin(0.01));
}

TEST_CASE("summarize: a layer exactly at the threshold is not below it", "[report]") {
  LayerError at = layer("a", 0.1);
  at.error.sqnr_db = 30;
  CHECK(summarize({at}, 0, 30).below_threshold == 0);
  at.error.sqnr_db = std::nextafter(30.0, 0.0);
  CHECK(summarize({at}, 0, 30).below_threshold == 1);
}

TEST_CASE("summarize: findings are layers below the threshold", "[report]") {
  const QualitySummary summary = summarize({layer("a", 0.001)}, 2, 30);
  CHECK(summary.layers == 3);
  CHECK(summary.below_threshold == 2);
  CHECK(summary.mean_sqnr_db == Approx(60));
}

TEST_CASE("summarize: an exact layer is good and out of the mean of decibels", "[report]") {
  const QualitySummary summary = summarize({layer("a", 0), layer("b", 0.1)}, 0, 10);
  CHECK(summary.below_threshold == 0);
  CHECK(summary.mean_sqnr_db == Approx(20));
  CHECK(summary.mean_weight_rel == Approx(0.05));
  CHECK(summarize({layer("a", 0)}, 0, 10).total_sqnr_db == kInfinity);
}

TEST_CASE("summarize: layers that do not decode to finite values are below, and out of the means",
          "[report]") {
  const QualitySummary summary = summarize({not_finite("a"), layer("b", 0.1)}, 0, 10);
  CHECK(summary.layers == 2);
  CHECK(summary.below_threshold == 1);
  CHECK(summary.mean_sqnr_db == Approx(20));
  CHECK(summary.mean_weight_rel == Approx(0.1));
  CHECK(summary.total_sqnr_db == Approx(20));
}

TEST_CASE("summarize: nothing measured", "[report]") {
  const QualitySummary summary = summarize({}, 0, 30);
  CHECK(summary.layers == 0);
  CHECK(summary.below_threshold == 0);
  CHECK(summary.mean_sqnr_db == 0);
  CHECK(summary.mean_weight_rel == 0);
}

TEST_CASE("quality_table: columns of a layer, marked when it is below the threshold", "[report]") {
  const std::string table =
      quality_table(result_of({layer("good.weight", 0.01), layer("poor.weight", 0.1)}), 30);
  const std::vector<std::string> head = lines_with(table, "Layer  ");
  REQUIRE(head.size() == 1);
  REQUIRE(lines_with(table, "good.weight").size() == 1);
  const std::string good = lines_with(table, "good.weight")[0], poor = lines_with(table, "poor.weight").at(0);
  CHECK(good == std::string("good.weight") + std::string(39, ' ') +
                    " |   0.25000000 |     40.00 |   0.010000 |    1.5000");
  CHECK_THAT(poor, Catch::Contains("20.00") && Catch::EndsWith("<"));
  CHECK(good.find('|') == head[0].find('|'));
  CHECK(good.rfind('|') == head[0].rfind('|'));
}

TEST_CASE("quality_table: the summary counts layers below the threshold, findings too", "[report]") {
  const std::string table = quality_table(
      result_of({layer("a", 0.01), layer("b", 0.1)}, {{"nan.weight", "1 NaN and 0 infinite values"}}), 25);
  CHECK(lines_with(table, "Layers below 25.0 dB: 2 / 3").size() == 1);
  REQUIRE(lines_with(table, "nan.weight").size() == 1);
  CHECK_THAT(lines_with(table, "nan.weight")[0],
             Catch::EndsWith("| kept unquantized: 1 NaN and 0 infinite values"));
  CHECK(lines_with(table, "mean SQNR 30.00 dB, mean weight_rel 0.05500").size() == 1);
}

TEST_CASE("quality_table: the ten worst layers once more when there are more than ten", "[report]") {
  std::vector<LayerError> layers;
  for (int i = 0; i < 12; ++i)
    layers.push_back(layer(fmt::format("layer{:02}", i), 0.001 * (1 + i * 5 % 12)));
  const std::string table = quality_table(result_of(layers), 0);
  const std::vector<std::string> lines = lines_of(table.substr(table.find("Worst layers:")));
  std::vector<std::string> worst;
  for (const std::string& line : lines) {
    if (line.starts_with("layer")) worst.push_back(line.substr(0, 7));
  }
  // 1 + 5 i mod 12 is 12 for i = 7, 11 for i = 2, and so on in steps of 7.
  CHECK(worst == std::vector<std::string>{"layer07", "layer02", "layer09", "layer04", "layer11", "layer06",
                                          "layer01", "layer08", "layer03", "layer10"});
  layers.resize(10);
  CHECK(quality_table(result_of(layers), 0).find("Worst layers:") == std::string::npos);
}

TEST_CASE("quality_table: the worst layers begin with those that are not finite", "[report]") {
  std::vector<LayerError> layers;
  for (int i = 0; i < 11; ++i) layers.push_back(layer(fmt::format("layer{:02}", i), 0.01));
  layers[5].error.sqnr_db = 10;
  layers.push_back(not_finite("layer11"));
  const std::string table = quality_table(result_of(layers), 0);
  const std::vector<std::string> lines = lines_of(table.substr(table.find("Worst layers:")));
  REQUIRE(lines.size() > 3);
  CHECK_THAT(lines[1], Catch::StartsWith("layer11 "));
  CHECK_THAT(lines[2], Catch::StartsWith("layer05 "));
}

TEST_CASE("quality_table: a name of any content stays on one line and in its column", "[report]") {
  const std::string table = quality_table(result_of({layer("a\nb" + std::string(100, 'x'), 0.01)}), 30);
  const std::vector<std::string> lines = lines_with(table, R"(a\nbxxx)");
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], Catch::Contains("xxx... |") && Catch::Contains("40.00"));
}

TEST_CASE("quality_json: every figure of a layer, what was kept, and the summary", "[report]") {
  const std::string text =
      quality_json(result_of({layer("a.weight", 0.01)}, {{"nan.weight", "1 NaN and 0 infinite values"}}), 30);
  CHECK(text.back() == '\n');
  const json report = json::parse(text);
  CHECK(report.at("threshold_db") == 30);
  REQUIRE(report.at("layers").size() == 1);
  const json& a = report["layers"][0];
  CHECK(a.size() == 11);
  CHECK(a.at("name") == "a.weight");
  CHECK(a.at("format") == "int8_tensorwise (row)");
  CHECK(a.at("numel") == 100);
  CHECK(a.at("mse") == 0.25);
  CHECK(a.at("sqnr_db").get<double>() == Approx(40));
  CHECK(a.at("variance_db").get<double>() == Approx(41));
  CHECK(a.at("weight_rel") == 0.01);
  CHECK(a.at("max_error") == 1.5);
  CHECK(a.at("non_finite") == 0);
  CHECK(a.at("to_zero") == 0);
  CHECK(a.at("rows_to_zero") == 0);
  CHECK(report.at("kept") ==
        json::array({{{"name", "nan.weight"}, {"reason", "1 NaN and 0 infinite values"}}}));
  CHECK(report.at("summary").at("layers") == 2);
  CHECK(report.at("summary").at("below_threshold") == 1);
  CHECK(report.at("summary").at("mean_sqnr_db").get<double>() == Approx(40));
  CHECK(report.at("summary").at("total_sqnr_db").get<double>() == Approx(40));
  CHECK(report.at("summary").at("mean_weight_rel") == 0.01);
}

TEST_CASE("quality_json: infinite values and NaN are null", "[report]") {
  const json report = json::parse(quality_json(result_of({layer("exact", 0), not_finite("nan")}), 30));
  CHECK(report.at("layers").at(0).at("sqnr_db").is_null());
  CHECK(report.at("layers").at(0).at("variance_db").is_null());
  CHECK(report.at("layers").at(0).at("weight_rel") == 0);
  CHECK(report.at("layers").at(1).at("mse").is_null());
  CHECK(report.at("layers").at(1).at("non_finite") == 3);
  CHECK(report.at("summary").at("total_sqnr_db").is_null());
  CHECK(report.at("summary").at("below_threshold") == 1);
}

}  // namespace ctq::report
