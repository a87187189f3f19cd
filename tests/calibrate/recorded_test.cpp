#include "calibrate/recorded.h"

#include <limits>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/device.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::calibrate {
namespace {

using safetensors::Dtype;
using test::HasCode;
using test::tensor;
using test::TestTensor;

std::string bytes_of(const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  return {static_cast<const char*>(flat.const_data_ptr()), flat.nbytes()};
}

TestTensor f32(const std::string& name, const at::Tensor& values) {
  return tensor(name, Dtype::kF32, values.sizes().vec(), bytes_of(values.to(at::kFloat)));
}

at::Tensor normal(int64_t rows, int64_t columns, uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn({rows, columns});
}

/// A model with layers a (8 columns), b (6) and, under a prefix, blk.0.c (8); and a recording of it.
class Files {
 public:
  explicit Files(const std::vector<TestTensor>& recorded, const safetensors::Metadata& metadata = {}) {
    test::make_checkpoint(dir_ / "m.safetensors",
                          {test::f32_weight("a.weight", 4, 8), test::f32_weight("b.weight", 4, 6),
                           test::f32_weight("model.diffusion_model.blk.0.c.weight", 4, 8),
                           test::bf16_vector("norm.weight", 8)});
    model_.emplace(model::Checkpoint::open(dir_ / "m.safetensors"));
    test::make_checkpoint(dir_ / "cal.safetensors", recorded, metadata);
  }
  Recording open() const { return Recording::open(dir_ / "cal.safetensors", *model_); }
  Recording open_json(const std::string& text) const {
    test::write_file(dir_ / "cal.json", text);
    return Recording::open(dir_ / "cal.json", *model_);
  }
  const model::Checkpoint& model() const { return *model_; }

 private:
  test::TempDir dir_;
  std::optional<model::Checkpoint> model_;
};

void refuses(const std::vector<TestTensor>& recorded, ErrorCode code, const std::string& said,
             const safetensors::Metadata& metadata = {}) {
  const Files files(recorded, metadata);
  CHECK_THROWS_MATCHES(files.open(), Error, HasCode(code, said));
}

}  // namespace

TEST_CASE("recording: rows are loaded once each, and about a tenth can be held back", "[calibrate]") {
  const int64_t count = GENERATE(11, 64, 400, 5000);
  CAPTURE(count);
  const at::Tensor rows = normal(count, 8) + 0.5;
  const Files files({f32("a.rows", rows)});
  const auto input = files.open().load("a", at::kCPU);
  REQUIRE(input);
  CHECK(at::equal(input->rows.rows, rows));
  CHECK(at::allclose(input->mean, rows.mean(0), 1e-4, 1e-5));
  CHECK_FALSE(input->second.defined());
  const at::Tensor held_back = input->held_back(), others = all_but(input->rows, held_back);
  CHECK(held_back.size(0) >= count / 11);
  CHECK(held_back.size(0) <= count / 8);
  // Together they are all rows.
  const at::Tensor both = at::cat({held_back, others});
  CHECK(at::equal(std::get<0>(both.sort()), at::arange(count)));
}

TEST_CASE("recording: rows in half precision, and with values that are not finite", "[calibrate]") {
  at::Tensor rows = normal(100, 8).to(at::kBFloat16);
  rows[3][2] = std::numeric_limits<float>::quiet_NaN();
  rows[50][0] = std::numeric_limits<float>::infinity();
  const Files files({tensor("a.rows", Dtype::kBF16, {100, 8}, bytes_of(rows))});
  const auto input = files.open().load("a", at::kCPU);
  REQUIRE(input);
  CHECK(input->rows.rows.size(0) == 98);
  CHECK(input->rows.left_out == 2);
  CHECK(second_moment(input->rows).isfinite().all().item<bool>());
}

TEST_CASE("recording: rows in float64 that float32 cannot hold are left out", "[calibrate]") {
  at::Tensor rows = normal(30, 8).to(at::kDouble);
  rows[7][1] = 1e300;
  const Files files({tensor("a.rows", Dtype::kF64, {30, 8}, bytes_of(rows))});
  const auto input = files.open().load("a", at::kCPU);
  REQUIRE(input);
  CHECK(input->rows.left_out == 1);
  CHECK(input->rows.rows.size(0) == 29);
}

TEST_CASE("recording: counts, pictures and steps of rows are read, and have to be one for each",
          "[calibrate]") {
  const auto i32 = [](const std::string& name, const at::Tensor& values) {
    return tensor(name, Dtype::kI32, values.sizes().vec(), bytes_of(values.to(at::kInt)));
  };
  const at::Tensor rows = normal(20, 8), counts = at::arange(1, 21);
  const Files files({f32("a.rows", rows), i32("a.row_counts", counts),
                     i32("a.row_pictures", at::arange(20).floor_divide(5)),
                     i32("a.row_steps", at::arange(20).remainder(5))});
  const auto input = files.open().load("a", at::kCPU);
  REQUIRE(input);
  CHECK(at::equal(input->rows.counts, counts.to(at::kFloat)));
  CHECK(input->rows.group_count == 4);
  const at::Tensor weighted = rows * counts.sqrt().unsqueeze(1);
  CHECK(at::allclose(second_moment(input->rows), weighted.t().mm(weighted) / counts.sum(), 1e-4, 1e-5));
  CHECK(at::allclose(input->mean, (rows * counts.unsqueeze(1)).sum(0) / counts.sum(), 1e-4, 1e-5));
  const Files none({f32("a.rows", rows), i32("a.row_counts", at::arange(20))});
  CHECK_THROWS_MATCHES(none.open().load("a", at::kCPU), Error,
                       HasCode(ErrorCode::kBadInput, "tensor 'a.row_counts' has a count below 1"));
  refuses({f32("a.rows", rows), i32("a.row_counts", at::arange(19))}, ErrorCode::kBadInput,
          "tensor 'a.row_counts' is I32 [19], not one integer for each of 20 rows");
  refuses({f32("a.rows", rows), f32("a.row_steps", at::arange(20))}, ErrorCode::kBadInput,
          "tensor 'a.row_steps' is F32 [20], not one integer for each of 20 rows");
  refuses({f32("a.mean", rows[0]), i32("a.row_steps", at::arange(20))}, ErrorCode::kBadInput,
          "not one integer for each of 0 rows");
}

TEST_CASE("recording: H itself is taken as it is", "[calibrate]") {
  const at::Tensor x = normal(50, 8), h = x.t().mm(x) / 50;
  const Files files({f32("a.hessian", h), f32("a.mean", x.mean(0)), f32("a.channel_max", x.abs().amax(0)),
                     f32("b.second_moment", at::arange(1, 7))});
  const Recording recording = files.open();
  const auto input = recording.load("a", at::kCPU);
  CHECK(at::equal(input->second.matrix(), h));
  CHECK(at::equal(input->mean, x.mean(0)));
  CHECK_FALSE(input->rows.any());
  CHECK(at::equal(recording.load("b", at::kCPU)->second.matrix(), at::diag(at::arange(1, 7).to(at::kFloat))));
  CHECK(recording.has_second_moment("a"));
  CHECK_FALSE(recording.has_second_moment("model.diffusion_model.blk.0.c"));
}

TEST_CASE("recording: the diagonal of all that was seen stands beside rows, not beside H", "[calibrate]") {
  const at::Tensor rows = normal(20, 8), h = rows.t().mm(rows) / 20;
  const Files files({f32("a.rows", rows), f32("a.second_moment", at::arange(1, 9)), f32("blk.0.c.rows", rows),
                     f32("blk.0.c.hessian", h), f32("blk.0.c.second_moment", at::arange(1, 9))});
  const Recording recording = files.open();
  CHECK(recording.has_diagonal("a"));
  const auto input = recording.load("a", at::kCPU);
  CHECK(at::equal(input->diagonal, at::arange(1, 9).to(at::kFloat)));
  CHECK_FALSE(input->second.defined());
  const std::string other = "model.diffusion_model.blk.0.c";
  CHECK_FALSE(recording.has_diagonal(other));
  CHECK_FALSE(recording.load(other, at::kCPU)->diagonal.defined());
}

TEST_CASE("recording: layers share an input, and are found under the model's prefix", "[calibrate]") {
  const Files files({f32("blk.0.c.rows", normal(80, 8)), f32("blk.0.c.input_scale", at::tensor(0.25))},
                    {{"shared", R"({"a": "blk.0.c"})"}, {"format", "ctq-calibration"}});
  const Recording recording = files.open();
  CHECK(recording.matched().owners.size() == 2);
  CHECK(recording.matched().unmatched.empty());
  CHECK(recording.key("a") == recording.key("model.diffusion_model.blk.0.c"));
  CHECK(recording.key("b").empty());
  CHECK(at::equal(recording.load("a", at::kCPU)->rows.rows,
                  recording.load("model.diffusion_model.blk.0.c", at::kCPU)->rows.rows));
  CHECK(recording.input_scale("a") == 0.25);
  CHECK_FALSE(recording.input_scale("b"));
  CHECK_FALSE(recording.load("b", at::kCPU));
}

TEST_CASE("recording: the JSON layouts of older programs", "[calibrate]") {
  const Files files({f32("a.rows", normal(64, 8))});
  const Recording recording = files.open_json(
      R"({"a": {"channel_max": [1,2,3,4,5,6,7,8], "channel_mean": [0,0,0,0,0,0,0,0], "input_scale": 0.5}, "b": 0.125})");
  CHECK(recording.input_scale("a") == 0.5);
  CHECK(recording.input_scale("b") == 0.125);
  CHECK(at::equal(recording.load("a", at::kCPU)->channel_max, at::arange(1, 9).to(at::kFloat)));
  CHECK_FALSE(recording.has_second_moment("a"));
  const auto refuses_json = [&](const std::string& text, const std::string& said) {
    CHECK_THROWS_MATCHES(files.open_json(text), Error, HasCode(ErrorCode::kBadInput, said));
  };
  refuses_json("[1]", "not a JSON object");
  refuses_json("{", "not a JSON object");
  refuses_json(R"({"a": "x"})", "layer 'a'");
  refuses_json(R"({"a": {"input_scale": "x"}})", "layer 'a': the input scale is not a number");
  refuses_json(R"({"a": {"channel_max": [1, "x"]}})", "layer 'a': channel_max is not a list of numbers");
  refuses_json(R"({"a": {"channel_max": [1, 2]}})", "channel_max of 'a' has 2 values, but layer 'a' reads 8");
}

TEST_CASE("recording: names of diffusers find what ComfyUI has joined, whose parts read the same rows",
          "[calibrate]") {
  const test::TempDir dir;
  test::make_checkpoint(dir / "m.safetensors",
                        {test::f32_weight("double_blocks.0.img_attn.qkv.weight", 12, 8),
                         test::f32_weight("double_blocks.0.img_mlp.0.weight", 4, 8),
                         test::f32_weight("double_blocks.0.txt_attn.qkv.weight", 12, 8)});
  const auto model = model::Checkpoint::open(dir / "m.safetensors");
  const std::string joined = "double_blocks.0.img_attn.qkv", block = "transformer_blocks.0.";
  const auto open = [&](const std::vector<TestTensor>& tensors, const safetensors::Metadata& metadata) {
    test::make_checkpoint(dir / "cal.safetensors", tensors, metadata);
    return Recording::open(dir / "cal.safetensors", model);
  };
  const at::Tensor rows = normal(80, 8);
  const Recording shared =
      open({f32(block + "attn.to_q.rows", rows), f32(block + "ff.net.0.proj.rows", normal(80, 8, 2)),
            f32("double_blocks.0.txt_attn.qkv.rows", normal(80, 8, 3)),
            f32(block + "attn.add_q_proj.rows", normal(80, 8, 4)), f32("nowhere.rows", rows)},
           {{"shared", R"({"transformer_blocks.0.attn.to_k": "transformer_blocks.0.attn.to_q",
                           "transformer_blocks.0.attn.to_v": "transformer_blocks.0.attn.to_q"})"}});
  const Recording own = open({f32(joined + ".rows", rows)}, {});
  CHECK(at::equal(shared.load(joined, at::kCPU)->rows.rows, own.load(joined, at::kCPU)->rows.rows));
  CHECK(shared.matched().owners.size() == 3);
  CHECK(shared.matched().renamed == 4);
  CHECK(shared.matched().renamed_to == 2);
  CHECK(shared.matched().joined.empty());
  // The model's own name goes before another library's.
  CHECK(shared.key("double_blocks.0.txt_attn.qkv") == "double_blocks.0.txt_attn.qkv");
  CHECK(shared.matched().unmatched ==
        std::vector<std::string>{"nowhere", "transformer_blocks.0.attn.add_q_proj"});

  const Recording alone = open({f32("transformer." + block + "attn.to_q.channel_max", at::arange(1, 9)),
                                f32("transformer." + block + "attn.to_v.rows", rows),
                                f32("transformer." + block + "attn.to_k.channel_max", at::arange(8, 0, -1)),
                                f32("transformer." + block + "attn.to_k.input_scale", at::tensor(0.5)),
                                f32("transformer." + block + "attn.to_v.input_scale", at::tensor(0.25))},
                               {});
  CHECK(at::equal(alone.load(joined, at::kCPU)->rows.rows, own.load(joined, at::kCPU)->rows.rows));
  CHECK(
      at::equal(alone.load(joined, at::kCPU)->channel_max, at::tensor({8, 7, 6, 5, 5, 6, 7, 8}, at::kFloat)));
  CHECK(alone.input_scale(joined) == 0.5);
  CHECK(alone.input_magnitude(joined) == 63.5);
  CHECK(alone.matched().joined.at(joined).size() == 2);

  test::write_file(dir / "cal.json", R"({
    "transformer_blocks.0.attn.to_q": {"channel_max": [9,1,1,1,1,1,1,1], "input_scale": 0.125},
    "transformer_blocks.0.attn.to_k": {"channel_max": [1,9,1,1,1,1,1,1], "input_scale": 0.5},
    "transformer_blocks.0.ff.net.0.proj": 0.75})");
  const Recording json = Recording::open(dir / "cal.json", model);
  CHECK(
      at::equal(json.load(joined, at::kCPU)->channel_max, at::tensor({9, 9, 1, 1, 1, 1, 1, 1}, at::kFloat)));
  CHECK(json.input_scale(joined) == 0.5);
  CHECK(json.input_scale("double_blocks.0.img_mlp.0") == 0.75);

  CHECK_THROWS_MATCHES(open({f32(block + "attn.to_q.rows", normal(80, 9))}, {}), Error,
                       HasCode(ErrorCode::kBadInput, "layer 'double_blocks.0.img_attn.qkv' reads 8 columns"));
}

TEST_CASE("recording: a file for another model, or no calibration file, is refused", "[calibrate]") {
  refuses({f32("x.rows", normal(64, 8)), f32("y.rows", normal(64, 8))}, ErrorCode::kFailure,
          "none of its 2 layers is in");
  refuses({f32("a.rows", normal(64, 9))}, ErrorCode::kBadInput,
          "tensor 'a.rows' has shape [64, 9], but layer 'a' reads 8 columns");
  refuses({f32("a.hessian", normal(8, 7))}, ErrorCode::kBadInput, "tensor 'a.hessian'");
  refuses({f32("a.mean", normal(1, 8))}, ErrorCode::kBadInput, "tensor 'a.mean'");
  refuses({f32("a.input_scale", normal(1, 8))}, ErrorCode::kBadInput, "not one element");
  refuses({f32("a.weight", normal(4, 8))}, ErrorCode::kBadInput, "is no statistic of a calibration file");
  refuses({f32("a.rows", normal(64, 8))}, ErrorCode::kBadInput, "'shared' is not a JSON object",
          {{"shared", "[]"}});
  refuses({f32("a.rows", normal(64, 8))}, ErrorCode::kBadInput, "layer 'b' shares an input that is not in",
          {{"shared", R"({"b": "z"})"}});
  const Files files({f32("a.rows", normal(64, 8)), f32("x.rows", normal(64, 8))});
  CHECK(files.open().matched().unmatched == std::vector<std::string>{"x"});
  CHECK_THROWS_MATCHES(Recording::open("/nonexistent.safetensors", files.model()), Error,
                       HasCode(ErrorCode::kBadInput, "No such file"));
  CHECK_THROWS_MATCHES(Recording::open("/nonexistent.json", files.model()), Error,
                       HasCode(ErrorCode::kBadInput, "No such file"));
}

TEST_CASE("recording: H has the same bits for any number of threads", "[calibrate]") {
  const Files files({f32("a.rows", normal(9000, 8))});
  const Recording recording = files.open();
  linalg::set_threads(1);
  const at::Tensor one = second_moment(recording.load("a", at::kCPU)->rows);
  for (const int threads : {2, 7}) {
    linalg::set_threads(threads);
    CHECK(at::equal(second_moment(recording.load("a", at::kCPU)->rows), one));
  }
  linalg::set_threads(linalg::available_cores());
}

}  // namespace ctq::calibrate
