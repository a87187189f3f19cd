#include "report/run_summary.h"

#include <deque>
#include <limits>
#include <string>

#include <catch2/catch.hpp>

namespace ctq::report {
namespace {

using plan::Decision;

std::string squeezed(std::string_view text) {
  std::string words;
  for (const char c : text) {
    if (c != ' ' || (!words.empty() && words.back() != ' ' && words.back() != '\n')) words += c;
  }
  return words;
}

/// A result written out.
class Made {
 public:
  plan::TensorPlan& add(Decision decision, std::string_view format = "") {
    plan::TensorPlan& tensor = result.plan.tensors.emplace_back();
    tensor.decision = decision;
    if (!format.empty()) tensor.target.codec = format::find_codec(format, format::Granularity::kRow);
    return tensor;
  }
  std::string summary() const { return squeezed(run_summary(result)); }

  pipeline::Result result;
};

pipeline::LayerError layer(std::string name, double sqnr_db) {
  pipeline::LayerError made;
  made.name = std::move(name), made.error.sqnr_db = sqnr_db;
  return made;
}

}  // namespace

TEST_CASE("run_summary: the file, weights by format, sizes, time and memory", "[report]") {
  Made made;
  made.result.written = "/models/out.safetensors";
  made.add(Decision::kQuantize, "int8_tensorwise");
  made.add(Decision::kQuantize, "int8_tensorwise");
  made.add(Decision::kQuantize, "int8_axiswise");
  made.add(Decision::kCast);
  made.add(Decision::kKeep);
  made.add(Decision::kKeep);
  made.result.plan.bytes_in = 4096, made.result.plan.bytes_out = 1024;
  made.result.seconds = 65;
  made.result.peak_memory_bytes = uint64_t{3} << 20;
  CHECK(made.summary() ==
        "Written: /models/out.safetensors\n"
        "float16 1 weights\n"
        "int8_axiswise (row) 1 weights\n"
        "int8_tensorwise (row) 2 weights\n"
        "kept as they are 2 tensors\n"
        "4.00 KiB -> 1.00 KiB (25.0 %), 1 min 05 s, peak memory 3.00 MiB without mapped files\n");
}

TEST_CASE("run_summary: what was removed, did not fit or was kept for its values", "[report]") {
  Made made;
  made.add(Decision::kQuantize, "int8_tensorwise").shape_fallback = true;
  made.add(Decision::kKeep).shape_fallback = true;
  made.add(Decision::kRemove);
  made.result.findings = {{"nan.weight", "1 NaN"}};
  const std::string summary = made.summary();
  CHECK_THAT(summary, Catch::Contains("\nremoved 1 tensors\n"));
  CHECK_THAT(summary, Catch::Contains("\nof these, block size does not divide 2 weights\n"));
  CHECK_THAT(summary, Catch::Contains("\nof these, kept for their values 1 weights\n"));
}

TEST_CASE("run_summary: the worst layer where it was measured", "[report]") {
  Made made;
  CHECK(made.summary().find("worst layer") == std::string::npos);
  made.result.quality = {layer("a.weight", 41), layer("b\n.weight", 31.256), layer("c.weight", 35)};
  CHECK_THAT(made.summary(), Catch::EndsWith("worst layer: b\\n.weight (31.26 dB)\n"));
  made.result.quality.push_back(layer("d.weight", std::numeric_limits<double>::quiet_NaN()));
  CHECK_THAT(made.summary(), Catch::EndsWith("worst layer: d.weight (nan dB)\n"));
}

TEST_CASE("run_summary: rows that codes lost", "[report]") {
  Made made;
  made.result.quality = {layer("a.weight", 41), layer("b.weight", 31), layer("c.weight", 35)};
  CHECK(made.summary().find("zeros") == std::string::npos);
  made.result.quality[0].error.rows_to_zero = 2;
  made.result.quality[2].error.rows_to_zero = 5;
  CHECK_THAT(made.summary(), Catch::Contains("\nbecame zeros 7 rows of 2 weights, most of c.weight (5)\n"));
}

TEST_CASE("closing_line: size, error, and the command that checks the file", "[report]") {
  Made made;
  made.result.written = "/models/my out.safetensors";
  made.result.plan.bytes_in = 4096, made.result.plan.bytes_out = 1024;
  CHECK(closing_line(made.result, "in.safetensors") == "Done: 1.00 KiB (25.0 %)\n");
  made.add(Decision::kQuantize, "int8_tensorwise");
  const std::string check =
      ". Check: convert_to_quant verify '/models/my out.safetensors' --original in.safetensors\n";
  CHECK(closing_line(made.result, "in.safetensors") == "Done: 1.00 KiB (25.0 %)" + check);
  made.result.squares = {.error = 1, .weight = 1000};
  CHECK(closing_line(made.result, "in.safetensors") ==
        "Done: 1.00 KiB (25.0 %), weights 30.00 dB (of one row in 16)" + check);
  made.result.quality = {layer("a.weight", 41)};
  CHECK(closing_line(made.result, "in.safetensors") == "Done: 1.00 KiB (25.0 %), weights 30.00 dB" + check);
  made.result.squares.error = 0;
  CHECK(closing_line(made.result, "in.safetensors") == "Done: 1.00 KiB (25.0 %), weights exact" + check);
}

TEST_CASE("run_summary: what became of a time budget", "[report]") {
  Made made;
  made.result.time = pipeline::TimeSpent{.budget = 30,
                                         .seconds = 28.1,
                                         .optimized = 23,
                                         .cut_short = 0,
                                         .left_over = 13,
                                         .largest_left_over = 0.012,
                                         .least_optimized = 0.0125};
  CHECK_THAT(made.summary(), Catch::Contains("\ntime: 23 of 36 layers optimized in 28.1 s of 30.0 s; 13 "
                                             "rounded to nearest, whose errors are at most 0.012 (of the "
                                             "optimized before at least 0.0125)\n"));
  made.result.time->cut_short = 1;
  CHECK_THAT(made.summary(), Catch::Contains("of 30.0 s, 1 of them cut short; 13 rounded"));
  made.result.time->left_over = 0;
  CHECK_THAT(made.summary(), Catch::Contains("time: 23 of 23 layers optimized in 28.1 s of 30.0 s, 1 of"));
  CHECK(made.summary().find("at most") == std::string::npos);
  made.result.time = pipeline::TimeSpent{};
  CHECK(made.summary().find("time:") == std::string::npos);
}

TEST_CASE("run_summary: an input without bytes is no division by zero", "[report]") {
  Made made;
  CHECK_THAT(made.summary(), Catch::Contains("0 bytes -> 0 bytes (0.0 %)"));
}

}  // namespace ctq::report
