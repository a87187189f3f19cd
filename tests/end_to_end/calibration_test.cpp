// Conversions with recorded inputs.
#include <limits>
#include <optional>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <ATen/ATen.h>

#include "model/checkpoint.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq::test;

namespace {

/// Rows whose columns go together, so that errors can cancel; with a mean.
at::Tensor input_rows(int64_t rows, int64_t columns, uint64_t seed) {
  at::manual_seed(7);
  const at::Tensor mixing = at::randn({columns / 8, columns});
  at::manual_seed(seed);
  return at::randn({rows, columns / 8}).mm(mixing).add_(at::randn({rows, columns}), 0.1).add_(0.5);
}

TestTensor rows_of(const std::string& layer, const at::Tensor& rows) {
  const at::Tensor half = rows.to(at::kBFloat16).contiguous();
  return tensor(layer + ".rows", ctq::safetensors::Dtype::kBF16, rows.sizes().vec(),
                {static_cast<const char*>(half.const_data_ptr()), half.nbytes()});
}

/// Layers a, with a bias, and b; a's input is recorded.
struct Fixture {
  TempDir dir;
  std::string model = dir / "m.safetensors", recording = dir / "cal.safetensors",
              output = dir / "o.safetensors";

  Fixture() {
    make_checkpoint(
        model, {bf16_weight("a.weight", 96, 64), bf16_vector("a.bias", 96), bf16_weight("b.weight", 32, 64)});
    record({rows_of("a", input_rows(800, 64, 1))});
  }
  void record(const std::vector<TestTensor>& tensors) const { make_checkpoint(recording, tensors); }
  Outcome convert(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {"-i",          model, "-o", output, "--comfy_quant", "--quality-json",
                                     dir / "q.json"};
    args.insert(args.end(), more.begin(), more.end());
    return run_binary(args);
  }
  nlohmann::json layer(const std::string& name) const {
    const nlohmann::json report = nlohmann::json::parse(read_file(dir / "q.json"));
    for (const auto& row : report.at("layers")) {
      if (row.at("name") == name + ".weight") return row;
    }
    return {};
  }
};

}  // namespace

TEST_CASE("calibration: recorded inputs lower the error of unseen outputs, on every format", "[end_to_end]") {
  const Fixture files;
  const auto flags =
      GENERATE(values<std::vector<std::string>>({{"--fp8"},
                                                 {"--fp8", "--scaling_mode", "row"},
                                                 {"--fp8", "--scaling_mode", "block", "--block_size", "32"},
                                                 {"--fp8", "--scaling_mode", "block3d", "--block_size", "32"},
                                                 {"--format", "float8_e5m2"},
                                                 {"--int8", "--block_size", "32"},
                                                 {"--int8", "--scaling_mode", "row"},
                                                 {"--int8", "--scaling_mode", "axis"},
                                                 {"--int8", "--scaling_mode", "tensor"}}));
  const std::string optimizer = GENERATE("auto", "gptq");
  CAPTURE(flags, optimizer);
  std::vector<std::string> args = flags;
  args.insert(args.end(), {"--calibration-data", files.recording, "--optimizer", optimizer});
  const Outcome run = files.convert(args);
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  const nlohmann::json a = files.layer("a").at("optimizer"), b = files.layer("b").at("optimizer");
  CHECK(a.at("method") == "gptq");
  CHECK(a.at("output_rel").get<double>() < 0.8 * a.at("output_rel_nearest").get<double>());
  CHECK(b.at("method") == "direct");
  CHECK_FALSE(b.contains("output_rel"));
  CHECK(run.out.find("gptq for 1 layer") != std::string::npos);

  // Recomputed from the files, on rows that were never recorded.
  const auto original = ctq::model::Checkpoint::open(files.model),
             written = ctq::model::Checkpoint::open(files.output);
  if (flags.size() == 1 && flags[0] == "--fp8") {
    const at::Tensor w = ctq::model::load(*original.find("a.weight")).to(at::kFloat);
    const at::Tensor d = ctq::model::load(*written.find("a.weight")).to(at::kFloat) *
                         ctq::model::load(*written.find("a.weight_scale"));
    const at::Tensor x = input_rows(400, 64, 99), y = x.mm(w.t());
    const double output_rel = (x.mm((d - w).t()).norm() / (y - y.mean(0)).norm()).item<double>();
    CHECK(output_rel == Approx(a.at("output_rel").get<double>()).epsilon(0.15));
  }
}

TEST_CASE("calibration: biases take up the mean of the error", "[end_to_end]") {
  const Fixture files;
  const auto bias = [&](const std::string& word) {
    const Outcome run = files.convert({"--int8", "--scaling_mode", "tensor", "--calibration-data",
                                       files.recording, "--bias-correction", word});
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    return ctq::model::load(*ctq::model::Checkpoint::open(files.output).find("a.bias"))
        .to(at::kFloat)
        .clone();
  };
  const at::Tensor off = bias("off"), corrected = bias("auto");
  CHECK(at::equal(bias("on"), corrected));
  const auto original = ctq::model::Checkpoint::open(files.model),
             written = ctq::model::Checkpoint::open(files.output);
  CHECK(at::equal(off, ctq::model::load(*original.find("a.bias")).to(at::kFloat)));
  const at::Tensor error = ctq::model::load(*written.find("a.weight")).to(at::kFloat) *
                               ctq::model::load(*written.find("a.weight_scale")) -
                           ctq::model::load(*original.find("a.weight")).to(at::kFloat);
  const at::Tensor mean = input_rows(800, 64, 1).mean(0);
  CHECK_FALSE(at::equal(corrected, off));
  CHECK((corrected - (off - error.mv(mean))).abs().max().item<float>() <
        0.3 * error.mv(mean).abs().max().item<float>());
}

TEST_CASE("calibration: a layer on which the optimizer loses on held-back rows keeps the nearest codes",
          "[end_to_end]") {
  // What is learned from and what is held back have nothing in common: every tenth row is another kind.
  const Fixture files;
  at::Tensor rows = at::zeros({640, 64});
  rows.narrow(1, 0, 8) = at::randn({640, 1}) * at::ones({1, 8});
  for (int64_t i = 9; i < 640; i += 10) {
    rows[i].zero_();
    rows[i].narrow(0, 32, 32) = at::randn({32});
  }
  files.record({rows_of("a", rows)});
  const Outcome run =
      files.convert({"--int8", "--scaling_mode", "row", "--calibration-data", files.recording});
  INFO(run.err << run.out);
  REQUIRE(run.code == 0);
  const nlohmann::json a = files.layer("a").at("optimizer");
  const double nearest = a.at("output_rel_nearest").get<double>(), stored = a.at("output_rel").get<double>();
  CHECK(stored <= nearest);
  CHECK(a.at("guarded").get<bool>() == (stored == nearest));
}

TEST_CASE("calibration: the same few inputs standing many times are few, and serve others or are not used",
          "[end_to_end]") {
  // Conditioning: six inputs, seen in a hundred steps each. Every tenth row equals one that was fitted.
  const Fixture files;
  const auto flags = GENERATE(values<std::vector<std::string>>(
      {{"--fp8"}, {"--int8", "--scaling_mode", "row"}, {"--nvfp4", "--client", "any"}}));
  CAPTURE(flags);
  at::manual_seed(3);
  const at::Tensor six = at::randn({6, 64});
  const auto error_on_others = [&](const at::Tensor& rows, std::vector<std::string> more) {
    files.record({rows_of("a", rows)});
    more.insert(more.end(), flags.begin(), flags.end());
    const Outcome run = files.convert(more);
    INFO(run.err << run.out);
    REQUIRE(run.code == 0);
    const std::string plain = files.dir / "d.safetensors";
    REQUIRE(run_binary({"dequantize", files.output, "-o", plain, "-q"}).code == 0);
    const auto original = ctq::model::Checkpoint::open(files.model),
               written = ctq::model::Checkpoint::open(plain);
    const at::Tensor w = ctq::model::load(*original.find("a.weight")).to(at::kFloat);
    const at::Tensor d = ctq::model::load(*written.find("a.weight")).to(at::kFloat);
    at::manual_seed(99);
    return at::randn({400, 64}).mm((d - w).t()).norm().item<double>();
  };
  const double nearest = error_on_others(six, {"--simple"});
  const double once = error_on_others(six, {"--calibration-data", files.recording});
  const double often = error_on_others(six.repeat({100, 1}), {"--calibration-data", files.recording});
  CHECK(often == once);
  CHECK(often < 1.02 * nearest);
  const nlohmann::json use = files.layer("a").at("optimizer").at("calibration");
  CHECK(use.at("distinct_rows") == 6);
  CHECK(use.at("groups") == 6);
  CHECK(use.at("effective_rank").get<double>() < 6.01);
}

TEST_CASE("calibration: a damping that is given is used as it is", "[end_to_end]") {
  const Fixture files;
  files.record({rows_of("a", input_rows(100, 64, 1))});
  const auto bytes = [&](const char* damping) {
    REQUIRE(files
                .convert({"--int8", "--scaling_mode", "row", "--calibration-data", files.recording,
                          "--damping", damping})
                .code == 0);
    return read_file(files.output);
  };
  const std::string weak = bytes("0.01");
  CHECK(files.layer("a").at("optimizer").at("calibration").at("damping") == 0.01);
  CHECK(bytes("3") != weak);
  CHECK(files.layer("a").at("optimizer").at("calibration").at("damping") == 3);
  const Outcome idle = files.convert({"--fp8", "--damping", "0.1"});
  CHECK(idle.out.find("--damping has no effect without --calibration-data") != std::string::npos);
  CHECK(files.convert({"--fp8", "--damping", "some"}).err.find("neither auto nor a finite number") !=
        std::string::npos);
}

TEST_CASE("calibration: the same bytes for any number of threads", "[end_to_end]") {
  const Fixture files;
  std::string expected;
  for (const char* threads : {"1", "2", "7"}) {
    REQUIRE(files
                .convert({"--fp8", "--calibration-data", files.recording, "--threads", threads, "--scales",
                          "refit"})
                .code == 0);
    if (expected.empty()) expected = read_file(files.output);
    CHECK(read_file(files.output) == expected);
  }
}

TEST_CASE("calibration: bad files are refused, and nothing is written", "[end_to_end]") {
  const Fixture files;
  const auto refused = [&](int code, const std::string& said, const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"--fp8", "--calibration-data", files.recording};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = files.convert(args);
    INFO(run.err << said);
    CHECK(run.code == code);
    CHECK(run.err.find("argument --calibration-data: ") != std::string::npos);
    CHECK(run.err.find(said) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(files.output));
  };
  files.record({rows_of("x", input_rows(100, 64, 1))});
  refused(1, "recorded for another model");
  files.record({rows_of("a", input_rows(100, 32, 1))});
  refused(4, "but layer 'a' reads 64 columns");
  files.record({rows_of("a", input_rows(100, 64, 1)), rows_of("x", input_rows(100, 64, 1))});
  refused(1, "(--strict)", {"--strict"});
  std::filesystem::resize_file(files.recording, 500);
  refused(4, "");
  std::filesystem::remove(files.recording);
  refused(4, "No such file");
}

TEST_CASE("calibration: rows that are no numbers are left out", "[end_to_end]") {
  const Fixture files;
  at::Tensor rows = input_rows(100, 64, 1);
  rows[5][5] = std::numeric_limits<float>::quiet_NaN();
  files.record({rows_of("a", rows), rows_of("unknown", input_rows(10, 64, 1))});
  const Outcome run = files.convert({"--fp8", "--calibration-data", files.recording});
  INFO(run.err << run.out);
  CHECK(run.code == 0);
  CHECK(run.err.find("1 of 100 rows hold NaN") != std::string::npos);
  CHECK(run.err.find("1 of its layers, first 'unknown'") != std::string::npos);
}

TEST_CASE("calibration: gptq without data says what it takes instead", "[end_to_end]") {
  const Fixture files;
  const Outcome run = files.convert({"--fp8", "--optimizer", "gptq"});
  CHECK(run.code == 0);
  CHECK(
      run.out.find("gptq without --calibration-data takes the second moments that the checkpoint implies") !=
      std::string::npos);
  CHECK(run.out.find("optimizer gptq: direct for 2 layers") != std::string::npos);
  const Outcome unused =
      files.convert({"--fp8", "--simple", "--bias-correction", "off", "--calibration-data", files.recording});
  CHECK(unused.out.find("--calibration-data has no effect") != std::string::npos);
}

TEST_CASE("calibration: input scales are written where they are measured or given", "[end_to_end]") {
  const Fixture files;
  const auto scale = [&](const std::string& name) -> std::optional<float> {
    const auto written = ctq::model::Checkpoint::open(files.output);
    const auto* entry = written.find(name);
    if (!entry) return std::nullopt;
    CHECK(entry->info->shape.empty());
    return ctq::model::load(*entry).item<float>();
  };
  const auto convert = [&](const std::vector<std::string>& more) {
    const Outcome run = files.convert(more);
    INFO(run.err << run.out);
    CHECK(run.code == 0);
    return run;
  };
  const float largest = input_rows(800, 64, 1).to(at::kBFloat16).to(at::kFloat).abs().max().item<float>();
  convert({"--fp8", "--calibration-data", files.recording, "--static-activations"});
  CHECK(scale("a.input_scale") == Approx(largest / 448));
  CHECK_FALSE(scale("b.input_scale"));
  convert({"--int8", "--scaling_mode", "row", "--calibration-data", files.recording, "--static-activations",
           "--input_scale"});
  CHECK(scale("a.input_scale") == Approx(largest / 127));
  CHECK(scale("b.input_scale") == 1.0f);
  convert({"--fp8", "--calibration-data", files.recording});
  CHECK_FALSE(scale("a.input_scale"));

  write_file(files.dir / "s.json", R"({"b": 0.125, "x": 1})");
  const Outcome given = convert({"--fp8", "--input-scales", files.dir / "s.json"});
  CHECK(scale("b.input_scale") == 0.125f);
  CHECK(given.err.find("1 of its layers are not in the model") != std::string::npos);
  std::filesystem::copy_file(files.output, files.dir / "other.safetensors");
  convert({"--fp8", "--input-scales", files.dir / "other.safetensors"});
  CHECK(scale("b.input_scale") == 0.125f);
  // A scale of a calibration file is used as it stands, for the code 127 that it is made for.
  write_file(files.dir / "cal.json", R"({"b": 0.0078125})");
  const Outcome read_by_none = convert({"--int8", "--scaling_mode", "row", "--calibration-data",
                                        files.dir / "cal.json", "--static-activations"});
  CHECK(scale("b.input_scale") == 0.0078125f);
  CHECK(read_by_none.out.find("steer nothing: what reads int8_tensorwise scales the inputs itself") !=
        std::string::npos);
  convert({"--fp8", "--calibration-data", files.dir / "cal.json", "--static-activations"});
  CHECK(scale("b.input_scale") == Approx(0.0078125 * 127 / 448));
  const Outcome steers_nothing = convert({"--fp8", "--calibration-data", files.dir / "cal.json"});
  CHECK(steers_nothing.out.find("--calibration-data has no effect: it holds neither rows") !=
        std::string::npos);

  const Outcome none = convert({"--fp8", "--static-activations"});
  CHECK(none.err.find("--static-activations: no measured inputs") != std::string::npos);

  CHECK(files.convert({"--fp8", "--input-scales", "s.txt"}).code == 2);
  CHECK(files.convert({"--fp8", "--input-scales", "missing.json"}).code == 4);
  write_file(files.dir / "s.json", R"({"b": -1})");
  CHECK(files.convert({"--fp8", "--input-scales", files.dir / "s.json"}).code == 4);
  write_file(files.dir / "s.json", R"({"x": 1})");
  CHECK(files.convert({"--fp8", "--input-scales", files.dir / "s.json"}).code == 1);
}
