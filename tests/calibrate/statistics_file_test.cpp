#include "calibrate/statistics_file.h"

#include <limits>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "calibrate/recorded.h"
#include "calibrate/tensors.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::calibrate {
namespace {

using test::HasCode;
using test::loaded;
using test::stored;
using test::TestTensor;

at::Tensor normal(int64_t rows, int64_t columns, uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({rows, columns});
}

/// Files that are joined.
class Files {
 public:
  Files& add(const std::vector<TestTensor>& tensors, const safetensors::Metadata& metadata = {}) {
    const std::string path = dir_ / (std::to_string(files_.size()) + ".safetensors");
    test::make_checkpoint(path, tensors, metadata);
    files_.push_back(CalibrationFile::open(path));
    return *this;
  }
  Files& add_json(const std::string& text) {
    const std::string path = dir_ / (std::to_string(files_.size()) + ".json");
    test::write_file(path, text);
    files_.push_back(CalibrationFile::open(path));
    return *this;
  }
  model::Checkpoint joined(const MergeOptions& options = {}) const {
    write_statistics(dir_ / "out.safetensors", merge(files_, options), merged_metadata(files_, options));
    return model::Checkpoint::open(dir_ / "out.safetensors");
  }
  nlohmann::json joined_json() const {
    write_statistics(dir_ / "out.json", merge(files_, {}), {});
    return nlohmann::json::parse(test::read_file(dir_ / "out.json"));
  }
  const std::vector<CalibrationFile>& files() const { return files_; }
  std::string operator/(const std::string& name) const { return dir_ / name; }

 private:
  test::TempDir dir_;
  std::vector<CalibrationFile> files_;
};

void refuses(const Files& files, const std::string& said, const MergeOptions& options = {}) {
  CHECK_THROWS_MATCHES(merge(files.files(), options), Error, HasCode(ErrorCode::kBadInput, said));
}

}  // namespace

TEST_CASE("merge: rows are put behind each other, in the type that holds them all", "[calibrate]") {
  const at::Tensor first = normal(5, 4, 1), second = normal(3, 4, 2);
  Files files;
  files.add({stored("a.rows", first)}).add({stored("a.rows", second)});
  CHECK(at::equal(loaded(files.joined(), "a.rows"), at::cat({first, second})));
  const at::Tensor half = second.to(at::kBFloat16);
  Files halves;
  halves.add({stored("a.rows", half)}).add({stored("a.rows", half)});
  CHECK(loaded(halves.joined(), "a.rows").scalar_type() == at::kBFloat16);
  Files mixed;
  mixed.add({stored("a.rows", half)}).add({stored("a.rows", first)});
  CHECK(at::equal(loaded(mixed.joined(), "a.rows"), at::cat({half.to(at::kFloat), first})));
}

TEST_CASE("merge: averages weigh by counted rows, maxima are maxima", "[calibrate]") {
  const at::Tensor h = at::eye(2);
  const auto part = [&](float value) {
    const at::Tensor v = at::tensor({value, -value});
    return std::vector<TestTensor>{
        stored("a.hessian", h * value),     stored("a.mean", v),
        stored("a.channel_mean", v.abs()),  stored("a.channel_max", v.abs()),
        stored("a.second_moment", v.abs()), stored("a.input_scale", at::scalar_tensor(value))};
  };
  Files files;
  files.add(part(1), {{"counts", R"({"a": 300})"}}).add(part(5), {{"counts", R"({"a": 100})"}});
  const model::Checkpoint out = files.joined();
  CHECK(at::allclose(loaded(out, "a.hessian"), h * 2));
  CHECK(at::allclose(loaded(out, "a.mean"), at::tensor({2.0f, -2.0f})));
  CHECK(at::allclose(loaded(out, "a.channel_mean"), at::tensor({2.0f, 2.0f})));
  CHECK(at::allclose(loaded(out, "a.second_moment"), at::tensor({2.0f, 2.0f})));
  CHECK(at::equal(loaded(out, "a.channel_max"), at::tensor({5.0f, 5.0f})));
  CHECK(loaded(out, "a.input_scale").item<float>() == 5);
  CHECK(out.metadata().at("counts") == R"({"a":400})");

  Files unknown;  // one file does not say: both weigh the same
  unknown.add(part(1), {{"counts", R"({"a": 300})"}}).add(part(5));
  CHECK(at::allclose(loaded(unknown.joined(), "a.mean"), at::tensor({3.0f, -3.0f})));
}

TEST_CASE("merge: what only one file has is taken of the other's rows", "[calibrate]") {
  const at::Tensor rows = normal(30, 4, 1), others = normal(10, 4, 2);
  const at::Tensor all = at::cat({rows, others});
  Files files;
  files.add({stored("a.rows", rows)})
      .add({stored("a.hessian", second_moment(others)), stored("a.mean", others.mean(0)),
            stored("a.channel_max", others.abs().amax(0)), stored("a.channel_mean", others.abs().mean(0))},
           {{"counts", R"({"a": 10})"}});
  const model::Checkpoint out = files.joined();
  CHECK(at::allclose(loaded(out, "a.hessian"), second_moment(all), 1e-4, 1e-5));
  CHECK(at::allclose(loaded(out, "a.mean"), all.mean(0), 1e-4, 1e-5));
  CHECK(at::allclose(loaded(out, "a.channel_max"), all.abs().amax(0)));
  CHECK(at::allclose(loaded(out, "a.channel_mean"), all.abs().mean(0), 1e-4, 1e-5));
  CHECK(at::equal(loaded(out, "a.rows"), rows));
}

TEST_CASE("merge: thinned rows are a repeatable choice among all", "[calibrate]") {
  const at::Tensor rows = at::arange(200).reshape({200, 1}).to(at::kFloat);
  Files files;
  files.add({stored("a.rows", rows.narrow(0, 0, 100)), stored("b.rows", rows.narrow(0, 0, 5))})
      .add({stored("a.rows", rows.narrow(0, 100, 100))});
  const at::Tensor chosen = loaded(files.joined({.rows = 40, .seed = 1}), "a.rows");
  REQUIRE(chosen.size(0) == 40);
  CHECK(std::get<0>(at::_unique(chosen)).numel() == 40);
  CHECK(chosen.min().item<float>() < 100);
  CHECK(chosen.max().item<float>() >= 100);
  CHECK(at::equal(chosen, loaded(files.joined({.rows = 40, .seed = 1}), "a.rows")));
  const model::Checkpoint other = files.joined({.rows = 40, .seed = 2});
  CHECK_FALSE(at::equal(chosen, loaded(other, "a.rows")));
  CHECK(loaded(other, "b.rows").size(0) == 5);
  // The mean square of all of them, since some are gone; of b none is.
  CHECK(loaded(other, "a.second_moment").item<double>() == Approx(rows.square().mean().item<double>()));
  CHECK(other.find("b.second_moment") == nullptr);
  CHECK(other.metadata().at("rows") == "40");
}

TEST_CASE("merge: the mean square of rows whose file has none", "[calibrate]") {
  const at::Tensor a = normal(30, 4, 1), b = normal(10, 4, 2) * 3;
  Files files;
  files.add({stored("a.rows", a), stored("a.second_moment", a.square().mean(0))}).add({stored("a.rows", b)});
  CHECK(
      at::allclose(loaded(files.joined(), "a.second_moment"), at::cat({a, b}).square().mean(0), 1e-5, 1e-6));
}

TEST_CASE("merge: H in place of rows, with the statistics that the rows gave", "[calibrate]") {
  at::Tensor rows = normal(100, 6, 1);
  const at::Tensor good = rows.narrow(0, 1, 99).clone();
  rows[0][3] = std::numeric_limits<float>::quiet_NaN();
  Files files;
  files.add({stored("a.rows", rows)});
  const model::Checkpoint out = files.joined({.hessian = true});
  CHECK(out.find("a.rows") == nullptr);
  CHECK(loaded(out, "a.hessian").scalar_type() == at::kFloat);
  CHECK(at::allclose(loaded(out, "a.hessian"), second_moment(good), 1e-5, 1e-6));
  CHECK(at::allclose(loaded(out, "a.mean"), good.mean(0), 1e-5, 1e-6));
  CHECK(at::equal(loaded(out, "a.channel_max"), good.abs().amax(0)));
  Files none;
  none.add({stored("a.mean", at::ones({4}))});
  refuses(none, "layer 'a' has neither rows nor H", {.hessian = true});
}

TEST_CASE("merge: layers share an entry while they read the same inputs", "[calibrate]") {
  const at::Tensor x = normal(4, 3, 1), y = normal(4, 3, 2), z = normal(4, 3, 3);
  Files files;
  files.add({stored("q.rows", x)}, {{"shared", R"({"k": "q", "v": "q"})"}})
      .add({stored("k.rows", y), stored("v.rows", z)}, {{"shared", R"({"q": "k"})"}});
  const model::Checkpoint out = files.joined();
  CHECK(nlohmann::json::parse(out.metadata().at("shared")) == nlohmann::json{{"k", "q"}});
  CHECK(at::equal(loaded(out, "q.rows"), at::cat({x, y})));
  CHECK(at::equal(loaded(out, "v.rows"), at::cat({x, z})));
  CHECK(out.find("k.rows") == nullptr);
}

TEST_CASE("merge: the header tells what all files agree on", "[calibrate]") {
  Files files;
  files.add({stored("a.rows", normal(4, 3, 1))}, {{"format", "ctq-calibration"},
                                                  {"version", "1"},
                                                  {"source", "first"},
                                                  {"samples", "3"},
                                                  {"layers_sha256", "x"},
                                                  {"model", "m"},
                                                  {"uncalled", R"(["b", "c"])"},
                                                  {"skipped", R"({"a": 2})"}});
  files.add({stored("a.rows", normal(4, 3, 1)), stored("b.rows", normal(4, 3, 1))},
            {{"source", "second"},
             {"samples", "4"},
             {"layers_sha256", "y"},
             {"model", "m"},
             {"skipped", R"({"a": 5})"}});
  const safetensors::Metadata metadata = files.joined().metadata();
  CHECK(metadata.at("format") == "ctq-calibration");
  CHECK(metadata.at("version") == "1");
  CHECK(metadata.at("source") == "first; second");
  CHECK(metadata.at("samples") == "7");
  CHECK(metadata.at("model") == "m");
  CHECK_FALSE(metadata.contains("layers_sha256"));
  CHECK(metadata.at("uncalled") == R"(["c"])");
  CHECK(metadata.at("skipped") == R"({"a":7})");
  CHECK(metadata.at("counts") == R"({"a":8,"b":4})");
}

TEST_CASE("merge: recordings of different models are refused", "[calibrate]") {
  Files widths;
  widths.add({stored("a.rows", normal(4, 3, 1))}).add({stored("a.rows", normal(4, 5, 1))});
  refuses(widths, "layer 'a' reads 5 columns, but 3 in");
  Files layers;
  layers.add({stored("a.rows", normal(4, 3, 1))}).add({stored("b.rows", normal(4, 3, 1))});
  refuses(layers, "has no layer in common with");
  Files inconsistent;
  inconsistent.add({stored("a.rows", normal(4, 3, 1)), stored("a.mean", at::ones({4}))});
  refuses(inconsistent, "tensor 'a.mean' has shape [4], which does not fit a layer that reads 3 columns");
  Files hessian;
  hessian.add({stored("a.hessian", normal(4, 3, 1))});
  refuses(hessian, "tensor 'a.hessian'");
  Files scalar;
  scalar.add({stored("a.rows", at::scalar_tensor(1.0f))});
  refuses(scalar, "tensor 'a.rows' has shape []");
}

TEST_CASE("calibration file: header entries that cannot be read are refused", "[calibrate]") {
  const auto refused = [](const safetensors::Metadata& metadata, const std::string& said) {
    Files files;
    CHECK_THROWS_MATCHES(files.add({stored("a.rows", normal(4, 3, 1))}, metadata), Error,
                         HasCode(ErrorCode::kBadInput, said));
  };
  refused({{"format", "ctq-calibration"}, {"version", "2"}}, "version '2'");
  refused({{"counts", "[]"}}, "'counts' is not a JSON object");
  refused({{"counts", R"({"a": -1})"}}, "no number for layer 'a'");
}

TEST_CASE("merge: JSON holds each layer's small statistics, shared or not", "[calibrate]") {
  Files files;
  files.add(
      {stored("a.channel_max", at::tensor({1.0f, 2.0f})), stored("a.channel_mean", at::tensor({0.5f, 1.0f})),
       stored("a.input_scale", at::scalar_tensor(0.25f)), stored("a.rows", normal(4, 2, 1))},
      {{"shared", R"({"b": "a"})"}});
  const nlohmann::json expected = {{"channel_max", {1.0, 2.0}},
                                   {"channel_mean", {0.5, 1.0}},
                                   {"input_scale", 0.25},
                                   {"origin", "recorded"}};
  CHECK(files.joined_json() == nlohmann::json{{"a", expected}, {"b", expected}});
  // And it is read back, also together with another file.
  Files back;
  back.add_json(files.joined_json().dump()).add_json(R"({"a": {"channel_max": [3, 1]}, "b": 0.5})");
  const nlohmann::json joined = back.joined_json();
  CHECK(joined.at("a").at("channel_max") == nlohmann::json{3.0, 2.0});
  CHECK(joined.at("b").at("input_scale") == 0.5);
}

TEST_CASE("merge: a joined file is read by the converter", "[calibrate]") {
  const at::Tensor first = normal(60, 8, 1), second = normal(60, 8, 2);
  Files files;
  files.add({stored("a.rows", first)}).add({stored("a.rows", second)});
  files.joined({.hessian = true});
  test::make_checkpoint(files / "m.safetensors", {test::f32_weight("a.weight", 4, 8)});
  const model::Checkpoint model = model::Checkpoint::open(files / "m.safetensors");
  const Recording recording = Recording::open(files / "out.safetensors", model);
  const auto input = recording.load("a", at::kCPU);
  REQUIRE(input);
  CHECK(at::allclose(input->second.matrix(), second_moment(at::cat({first, second})), 1e-5, 1e-6));
  CHECK(at::allclose(input->mean, at::cat({first, second}).mean(0), 1e-4, 1e-6));
}

}  // namespace ctq::calibrate
