#include "calibrate/gather.h"

#include <array>
#include <limits>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "calibrate/lora_rows.h"
#include "calibrate/tensors.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::calibrate {
namespace {

using test::HasCode;
using test::stored;
using test::TestTensor;

/// A model with layers a and c (8 columns) and b (6), and files beside it.
class Model {
 public:
  Model() {
    test::make_checkpoint(
        dir_ / "m.safetensors",
        {test::f32_weight("a.weight", 4, 8), test::f32_weight("b.weight", 4, 6),
         test::f32_weight("diffusion_model.blk_0.c.weight", 4, 8), test::bf16_vector("norm.weight", 8)});
    checkpoint_.emplace(model::Checkpoint::open(dir_ / "m.safetensors"));
  }
  std::string write(const std::vector<TestTensor>& tensors,
                    const safetensors::Metadata& metadata = {}) const {
    test::make_checkpoint(dir_ / "file.safetensors", tensors, metadata);
    return dir_ / "file.safetensors";
  }
  std::vector<StatisticsEntry> measured(const std::string& path, const MeasuredOptions& options = {}) {
    file_.emplace(CalibrationFile::open_activations(path));
    return gather_measured(*file_, *checkpoint_, file_->match(*checkpoint_), options);
  }
  const model::Checkpoint& checkpoint() const { return *checkpoint_; }

 private:
  test::TempDir dir_;
  std::optional<model::Checkpoint> checkpoint_;
  std::optional<CalibrationFile> file_;
};

at::Tensor normal(int64_t rows, int64_t columns) {
  at::manual_seed(11);
  return at::randn({rows, columns});
}

}  // namespace

TEST_CASE("gather: one matrix per layer name gives statistics and keeps the rows", "[calibrate]") {
  Model model;
  at::Tensor rows = normal(50, 8);
  rows[7][0] = std::numeric_limits<float>::infinity();
  const at::Tensor good = finite_rows(rows);
  const auto entries = model.measured(model.write({stored("a", rows), stored("b", normal(5, 6))}));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].layer == "a");
  CHECK(entries[0].statistics.count == 49);
  CHECK(at::allclose(entries[0].statistics.mean, good.mean(0), 1e-5, 1e-6));
  CHECK(entries[0].statistics.input_scale == magnitude_percentile(good, 99.9) / 127);
  REQUIRE(entries[0].large.size() == 1);
  CHECK(entries[0].large[0].shape == std::vector<int64_t>{49, 8});
  CHECK(at::equal(entries[0].large[0].make(), good));
  CHECK_FALSE(entries[0].second_moment.defined());
}

TEST_CASE("gather: a recording's shared inputs stay shared, under the model's names", "[calibrate]") {
  Model model;
  const std::string path = model.write({stored("blk_0.c.rows", normal(50, 8).to(at::kBFloat16))},
                                       {{"format", "ctq-calibration"}, {"shared", R"({"a": "blk_0.c"})"}});
  const auto thinned = model.measured(path, {.rows = 10});
  REQUIRE(thinned.size() == 1);
  CHECK(thinned[0].layer == "a");
  CHECK(thinned[0].shared_by == std::vector<std::string>{"diffusion_model.blk_0.c"});
  CHECK(thinned[0].large[0].shape == std::vector<int64_t>{10, 8});
  CHECK(thinned[0].large[0].dtype == at::kBFloat16);
  CHECK(thinned[0].statistics.count == 50);
  const at::Tensor squares = normal(50, 8).to(at::kBFloat16).to(at::kFloat).square();
  CHECK(at::allclose(thinned[0].second_moment, squares.mean(0), 1e-4, 1e-5));
  const auto hessian = model.measured(path, {.hessian = true});
  CHECK(hessian[0].large[0].part == ".hessian");
  CHECK(at::equal(hessian[0].large[0].make(), second_moment(normal(50, 8).to(at::kBFloat16))));
}

TEST_CASE("gather: activations that cannot be used are refused", "[calibrate]") {
  Model model;
  const auto refused = [&](const std::vector<TestTensor>& tensors, ErrorCode code, const std::string& said) {
    CHECK_THROWS_MATCHES(model.measured(model.write(tensors)), Error, HasCode(code, said));
  };
  refused({stored("a", normal(5, 7))}, ErrorCode::kBadInput,
          "tensor 'a' has shape [5, 7], but layer 'a' reads 8 columns");
  refused({stored("a", normal(5, 8).reshape({5, 2, 4}))}, ErrorCode::kBadInput,
          "tensor 'a' is F32 [5, 2, 4]");
  refused({stored("a", at::ones({5, 8}, at::kInt))}, ErrorCode::kBadInput, "tensor 'a' is I32");
  refused({stored("a.mean", at::ones({8}))}, ErrorCode::kBadInput, "has no rows of layer 'a'");
  refused({stored("x", normal(5, 8))}, ErrorCode::kFailure, "none of its 1 layers is in");
  refused({stored("a", normal(5, 8) / 0)}, ErrorCode::kFailure, "has rows that can be used");
  refused({stored("a", at::ones({0, 8}))}, ErrorCode::kFailure, "has rows that can be used");
}

TEST_CASE("gather: random rows are the same for layers of a width, and for a seed", "[calibrate]") {
  const Model model;
  const auto gathered = gather_synthetic(model.checkpoint(), {.samples = 1000}).entries;
  REQUIRE(gathered.size() == 3);
  CHECK(at::equal(gathered[0].statistics.channel_max, gathered[2].statistics.channel_max));
  CHECK(gathered[1].statistics.channel_max.numel() == 6);
  CHECK(at::allclose(gathered[1].statistics.channel_mean, at::full({6}, 0.8f), 0, 0.1));
  CHECK(std::abs(*gathered[0].statistics.input_scale * 127 - 3.29) < 0.4);  // 99.9 % of normal magnitudes
  CHECK_FALSE(gathered[0].statistics.mean.defined());
  CHECK(gathered[0].large.empty());
  const auto again = gather_synthetic(model.checkpoint(), {.samples = 1000}).entries;
  const auto other = gather_synthetic(model.checkpoint(), {.samples = 1000, .seed = 1}).entries;
  CHECK(at::equal(gathered[1].statistics.channel_max, again[1].statistics.channel_max));
  CHECK_FALSE(at::equal(gathered[1].statistics.channel_max, other[1].statistics.channel_max));
}

TEST_CASE("gather: a LoRA's matrices take the place of random rows", "[calibrate]") {
  const Model model;
  at::Tensor a = at::zeros({2, 8});
  a.select(1, 3).fill_(50);
  const std::string path = model.write({stored("lora_unet_blk_0_c.lora_down.weight", a),
                                        stored("lora_unet_blk_0_c.lora_up.weight", normal(4, 2))});
  const auto gathered = gather_synthetic(model.checkpoint(), {.lora = path});
  CHECK(gathered.from_lora == 1);
  CHECK(gathered.entries[2].statistics.count == 8);
  CHECK(gathered.entries[2].statistics.channel_max.argmax().item<int64_t>() == 3);
  CHECK(gathered.entries[0].statistics.count == 64);

  const LoraRows rows(path, 42);
  const at::Tensor x = rows.rows("diffusion_model.blk_0.c", 8);
  REQUIRE(x.sizes() == at::IntArrayRef{8, 8});
  CHECK(std::abs(x.std().item<double>() - 1) < 1e-5);
  CHECK(at::allclose(x.narrow(0, 0, 2), -x.narrow(0, 6, 2)));
  CHECK_FALSE(at::equal(x.narrow(0, 0, 2), x.narrow(0, 2, 2)));
  const double noise = (x.narrow(0, 4, 2) - x.narrow(0, 0, 2)).norm().item<double>();
  CHECK(noise > 1.2 * (x.narrow(0, 2, 2) - x.narrow(0, 0, 2)).norm().item<double>());
  CHECK_FALSE(rows.rows("a", 8).defined());
}

TEST_CASE("gather: LoRA names match without prefixes, as a whole or at the end", "[calibrate]") {
  CHECK(lora_name("model.diffusion_model.Double_Blocks.0.img_attn.qkv") == "double.blocks.0.img.attn.qkv");
  CHECK(lora_name("lora_unet_double_blocks_0_img_attn_qkv") == "double.blocks.0.img.attn.qkv");
  CHECK(lora_name("base_model.model.q_proj") == "q.proj");
  const Model model;
  const LoraRows longer(model.write({stored("text.encoder.a.lora_A.weight", normal(2, 8))}), 1);
  CHECK(longer.rows("a", 8).defined());
  CHECK(longer.rows("other.encoder.a", 8).defined() == false);
  CHECK_FALSE(longer.rows("a", 6).defined());
  const LoraRows older(model.write({stored("unet.a.lora.down.weight", normal(2, 8))}), 1);
  CHECK(older.rows("a", 8).defined());
}

TEST_CASE("gather: LoRAs that cannot be used are refused", "[calibrate]") {
  const Model model;
  const auto refused = [&](const std::vector<TestTensor>& tensors, ErrorCode code, const std::string& said) {
    CHECK_THROWS_MATCHES(gather_synthetic(model.checkpoint(), {.lora = model.write(tensors)}), Error,
                         HasCode(code, said));
  };
  refused({stored("a.weight", normal(2, 8))}, ErrorCode::kBadInput, "is it a LoRA?");
  refused({stored("x.lora_A.weight", normal(2, 8))}, ErrorCode::kFailure, "none of its 1 layers is in");
  refused({stored("a.lora_A.weight", normal(2, 7))}, ErrorCode::kBadInput, "layer 'a' reads 8 columns");
  refused({stored("a.lora_A.weight", normal(2, 8) / 0)}, ErrorCode::kBadInput, "NaN or infinite");
}

TEST_CASE("input magnitude: rows first, then what the scale was made of, then the maximum", "[calibrate]") {
  const Model model;
  const at::Tensor rows = at::arange(1, 17).reshape({2, 8}).to(at::kFloat);
  const auto magnitude = [&](const std::vector<TestTensor>& tensors, double percentile) {
    return input_magnitude(CalibrationFile::open(model.write(tensors)), std::array<std::string, 1>{"a"},
                           percentile);
  };
  const TestTensor scale = stored("a.input_scale", at::scalar_tensor(0.5f)),
                   largest = stored("a.channel_max", at::full({8}, 99.0f));
  CHECK(magnitude({stored("a.rows", rows), scale, largest}, 50) == 8);
  CHECK(magnitude({stored("a.rows", rows), scale}, 100) == 16);
  CHECK(magnitude({stored("a.rows", rows), scale, largest}, 100) == 99);
  CHECK(magnitude({scale, largest}, 99.9) == 63.5);
  CHECK(magnitude({largest}, 99.9) == 99);
  CHECK(magnitude({scale}, 100) == 63.5);
  CHECK_FALSE(magnitude({stored("a.mean", at::ones({8}))}, 99.9));
  CHECK_FALSE(
      magnitude({stored("a.channel_max", at::full({8}, std::numeric_limits<float>::quiet_NaN()))}, 99.9));
}

}  // namespace ctq::calibrate
