#include "transform/smoothing.h"

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "calibrate/structure_checkpoint.h"

namespace ctq::transform {
namespace {

using test::StructureCheckpoint;

/// A recording of the largest inputs of these layers.
class Recorded {
 public:
  Recorded(const model::Checkpoint& checkpoint, const std::vector<std::string>& layers) {
    std::vector<test::TestTensor> tensors;
    for (const std::string& layer : layers) {
      const int64_t width = checkpoint.find(layer + ".weight")->info->shape[1];
      const auto seed = static_cast<int64_t>(layer.size());
      tensors.push_back(
          test::tensor(layer + ".channel_max", safetensors::Dtype::kF32, {width},
                       test::elements<float>(width, [&](int64_t i) { return value(i + seed); })));
    }
    test::make_checkpoint(folder_ / "cal.safetensors", tensors,
                          {{"format", "ctq-calibration"}, {"version", "1"}});
    recording_.emplace(calibrate::Recording::open(folder_ / "cal.safetensors", checkpoint));
  }
  static float value(int64_t i) {
    return 0.1f + 40 * std::abs(test::weight_value(i)) + (i % 5 == 0 ? 20.0f : 0.0f);
  }
  const calibrate::Recording& operator*() const { return *recording_; }

 private:
  test::TempDir folder_;
  std::optional<calibrate::Recording> recording_;
};

std::vector<std::string> matrices(const model::Checkpoint& checkpoint) {
  std::vector<std::string> layers;
  for (const auto& entry : checkpoint.entries())
    if (entry.is_matrix()) layers.emplace_back(entry.layer());
  return layers;
}

constexpr auto kAll = [](std::string_view) { return true; };

/// A block as the text encoder of CLIP has it: a norm before each branch, biases everywhere.
StructureCheckpoint clip() {
  StructureCheckpoint made("text_model.");
  const std::string block = "encoder.layers.0.";
  made.layer_norm(block + "layer_norm1", 8).layer_norm(block + "layer_norm2", 8);
  for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
    made.biased(block + "self_attn." + name, 8, 8);
  made.biased(block + "mlp.fc1", 12, 8).biased(block + "mlp.fc2", 8, 12);
  return made;
}

/// A block as Llama has it, or as Gemma, whose norms multiply by one plus their weight.
StructureCheckpoint llama(bool gemma) {
  StructureCheckpoint made("model.");
  const std::string block = "layers.0.";
  made.rms_norm(block + "input_layernorm", 8).rms_norm(block + "post_attention_layernorm", 8);
  if (gemma) made.rms_norm(block + "pre_feedforward_layernorm", 8);
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
    made.linear(block + "self_attn." + name, 8, 8);
  made.linear(block + "mlp.gate_proj", 12, 8).linear(block + "mlp.up_proj", 12, 8);
  made.linear(block + "mlp.down_proj", 8, 12);
  return made;
}

/// The tensors of a model in float64, smoothed or as they are.
class Model {
 public:
  Model(const model::Checkpoint& checkpoint, std::string prefix, const Smoothing* smoothing)
      : checkpoint_(checkpoint), prefix_(std::move(prefix)), smoothing_(smoothing) {}

  at::Tensor operator()(const std::string& name) const {
    const auto* entry = checkpoint_.find(prefix_ + name);
    if (!entry) return at::zeros({}, at::kDouble);
    const at::Tensor stored = model::load(*entry);
    return (smoothing_ ? smoothing_->apply(*entry, stored) : stored).to(at::kDouble);
  }
  at::Tensor linear(const std::string& name, const at::Tensor& x) const {
    return x.mm((*this)(name + ".weight").t()) + (*this)(name + ".bias");
  }
  at::Tensor attention(const std::string& name, const at::Tensor& out, const at::Tensor& x) const {
    const at::Tensor scores = linear(name + "q_proj", x).mm(linear(name + "k_proj", x).t());
    return scores.softmax(1).mm(linear(name + "v_proj", x)).mm(out.t());
  }

 private:
  const model::Checkpoint& checkpoint_;
  std::string prefix_;
  const Smoothing* smoothing_;
};

at::Tensor clip_block(const Model& of, at::Tensor x) {
  const auto norm = [&](const std::string& name) {
    return at::layer_norm(x, {8}, of("encoder.layers.0." + name + ".weight"),
                          of("encoder.layers.0." + name + ".bias"));
  };
  const std::string attention = "encoder.layers.0.self_attn.";
  x = x + of.attention(attention, of(attention + "out_proj.weight"), norm("layer_norm1"));
  return x + of.linear("encoder.layers.0.mlp.fc2",
                       at::gelu(of.linear("encoder.layers.0.mlp.fc1", norm("layer_norm2"))));
}

at::Tensor llama_block(const Model& of, at::Tensor x, bool gemma) {
  const std::string block = "layers.0.";
  const auto norm = [&](const std::string& name) {
    const at::Tensor scale = of(block + name + ".weight") + (gemma ? 1.0 : 0.0);
    return x / x.square().mean(1, true).sqrt() * scale;
  };
  x = x + of.attention(block + "self_attn.", of(block + "self_attn.o_proj.weight"), norm("input_layernorm"));
  const at::Tensor y = norm(gemma ? "pre_feedforward_layernorm" : "post_attention_layernorm");
  return x + of.linear(block + "mlp.down_proj",
                       at::silu(of.linear(block + "mlp.gate_proj", y)) * of.linear(block + "mlp.up_proj", y));
}

at::Tensor rows() {
  at::manual_seed(3);
  return at::randn({20, 8}, at::kDouble);
}

bool is_power_of_two(const at::Tensor& factors) {
  const at::Tensor exponent = at::log2(factors.to(at::kDouble));
  return at::equal(exponent, exponent.round());
}

TEST_CASE("smoothing factors: the equation of the paper, 1 where a side is never used") {
  const at::Tensor x = at::tensor({4.0f, 0.0f, 9.0f, 1.0f, INFINITY}),
                   w = at::tensor({1.0f, 2.0f, 0.25f, 0.0f, 1.0f});
  CHECK(at::allclose(smoothing_factors(x, w, 0.5), at::tensor({2.0f, 1.0f, 6.0f, 1.0f, 1.0f})));
  CHECK(at::allclose(smoothing_factors(x, w, 1.0), at::tensor({4.0f, 1.0f, 9.0f, 1.0f, 1.0f})));
  CHECK(at::allclose(smoothing_factors(x, w, 0.0), at::tensor({1.0f, 1.0f, 4.0f, 1.0f, 1.0f})));
}

TEST_CASE("stored factors: their reciprocals are the equation's, about 1, in numbers that every loader has") {
  const at::Tensor x = at::tensor({8.0f, 0.0f, 9.0f, 3.0f, 1e9f, 1e-9f}),
                   w = at::tensor({0.5f, 2.0f, 0.25f, 0.7f, 1e-9f, 1e9f});
  const at::Tensor factors = stored_factors(x, w, 0.5);
  REQUIRE(factors.scalar_type() == at::kBFloat16);
  CHECK(at::equal(factors.to(at::kHalf).to(at::kFloat), factors.to(at::kFloat)));
  const at::Tensor some = stored_factors(x.narrow(0, 0, 4), w.narrow(0, 0, 4), 0.5).to(at::kFloat);
  CHECK(some[1].item<float>() == 1);  // of a channel that is never used
  const at::Tensor products = some * smoothing_factors(x.narrow(0, 0, 4), w.narrow(0, 0, 4), 0.5);
  for (const int64_t i : {2, 3})
    CHECK(products[i].item<float>() == Approx(products[0].item<float>()).epsilon(0.01));
  CHECK((some[0] * some[2] * some[3]).item<float>() == Approx(1).epsilon(0.02));
  const at::Tensor none = at::zeros({4});
  CHECK(at::equal(stored_factors(none, none, 0.5).to(at::kFloat), at::ones({4})));
}

TEST_CASE("smoothing: a layer with factors of its own is divided by them, and its input multiplied") {
  const StructureCheckpoint made = clip();
  const model::Checkpoint& checkpoint = made.open();
  const std::string fc2 = "text_model.encoder.layers.0.mlp.fc2";
  const Recorded recorded(checkpoint, {fc2});
  const at::Tensor factors = at::linspace(0.25, 2, 12).to(at::kBFloat16);
  const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU, {{fc2, factors}});
  CHECK(smoothing.inputs() == 1);
  const auto& weight = *checkpoint.find(fc2 + ".weight");
  const at::Tensor values = model::load(weight).to(at::kFloat);
  CHECK(at::allclose(smoothing.apply(weight, values) * factors.to(at::kFloat), values, 1e-6, 0));
  CHECK(at::allclose(smoothing.factors(fc2) * factors.to(at::kFloat), at::ones({12})));
  CHECK_FALSE(smoothing.changes(*checkpoint.find("text_model.encoder.layers.0.mlp.fc1.weight")));
  CHECK(
      summary({}, {fc2, "a", "b"}, {{fc2, factors}}) ==
      "SmoothQuant: layers with factors of their own (pre_quant_scale): 1; layers that are not smoothed: 2");
}

TEST_CASE("smoothing: a smoothed block computes what it did") {
  const bool all_quantized = GENERATE(true, false);
  const auto quantized = [&](std::string_view layer) {
    return all_quantized ||
           !(layer.ends_with("k_proj") || layer.ends_with("gate_proj") || layer.ends_with("fc1"));
  };
  const auto same = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).norm().item<double>() < 1e-5 * b.norm().item<double>();
  };
  {
    const model::Checkpoint checkpoint = clip().open();
    const Recorded recorded(checkpoint, matrices(checkpoint));
    const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, quantized, at::kCPU);
    CHECK(smoothing.inputs() == (all_quantized ? 3 : 2));  // fc1 is the only reader of its norm
    CHECK(smoothing.factors("text_model.encoder.layers.0.self_attn.q_proj").defined());
    CHECK_FALSE(smoothing.factors("text_model.encoder.layers.0.mlp.fc2").defined());
    const Model plain(checkpoint, "text_model.", nullptr), smoothed(checkpoint, "text_model.", &smoothing);
    CHECK_FALSE(at::allclose(plain("encoder.layers.0.self_attn.q_proj.weight"),
                             smoothed("encoder.layers.0.self_attn.q_proj.weight")));
    CHECK(same(clip_block(smoothed, rows()), clip_block(plain, rows())));
  }
  for (const bool gemma : {false, true}) {
    const model::Checkpoint checkpoint = llama(gemma).open();
    const Recorded recorded(checkpoint, matrices(checkpoint));
    const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.7, quantized, at::kCPU);
    CHECK(smoothing.inputs() == 4);
    const Model plain(checkpoint, "model.", nullptr), smoothed(checkpoint, "model.", &smoothing);
    CHECK(same(llama_block(smoothed, rows(), gemma), llama_block(plain, rows(), gemma)));
    CHECK(is_power_of_two(smoothing.factors("model.layers.0.self_attn.o_proj")) == false);
    if (!all_quantized && !gemma)
      CHECK(is_power_of_two(smoothing.factors("model.layers.0.self_attn.q_proj")));
  }
}

/// Blocks as Flux and SD 3.5 medium have them: norms without parameters, modulated by linear layers.
StructureCheckpoint flux() {
  StructureCheckpoint made;
  made.biased("double_blocks.0.img_mod.lin", 48, 4).biased("double_blocks.0.img_attn.qkv", 24, 8);
  made.biased("double_blocks.0.img_mlp.0", 16, 8).biased("single_blocks.3.modulation.lin", 24, 4);
  return made.biased("single_blocks.3.linear1", 16, 8);
}

StructureCheckpoint sd35() {
  const std::string block = "joint_blocks.0.x_block.";
  StructureCheckpoint made;
  made.biased(block + "adaLN_modulation.1", 72, 4).biased(block + "attn.qkv", 24, 8);
  return made.biased(block + "attn2.qkv", 24, 8).biased(block + "mlp.fc1", 16, 8);
}

struct ModulatedReader {
  const char* layer;
  const char* modulation;
  int64_t first;  ///< of the rows of its shift; those of the scale follow
};

TEST_CASE("smoothing: what conditioning modulates is divided by scale and shift") {
  struct Case {
    StructureCheckpoint made;
    std::vector<ModulatedReader> readers;
  };
  const std::vector<Case> cases = {
      {flux(),
       {{"double_blocks.0.img_attn.qkv", "double_blocks.0.img_mod.lin", 0},
        {"double_blocks.0.img_mlp.0", "double_blocks.0.img_mod.lin", 24},
        {"single_blocks.3.linear1", "single_blocks.3.modulation.lin", 0}}},
      {sd35(),
       {{"joint_blocks.0.x_block.attn.qkv", "joint_blocks.0.x_block.adaLN_modulation.1", 0},
        {"joint_blocks.0.x_block.mlp.fc1", "joint_blocks.0.x_block.adaLN_modulation.1", 24},
        {"joint_blocks.0.x_block.attn2.qkv", "joint_blocks.0.x_block.adaLN_modulation.1", 48}}}};
  for (const Case& family : cases) {
    const model::Checkpoint checkpoint = family.made.open();
    const Recorded recorded(checkpoint, matrices(checkpoint));
    const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU);
    CHECK(smoothing.inputs() == family.readers.size());
    const at::Tensor conditioning = rows().narrow(1, 0, 4).narrow(0, 0, 1);
    for (const ModulatedReader& reader : family.readers) {
      CAPTURE(reader.layer);
      const at::Tensor factors = smoothing.factors(reader.layer);
      REQUIRE(factors.defined());
      CHECK(factors.log().mean().item<double>() == Approx(0).margin(1e-3));
      CHECK(factors.max().item<double>() > 1.5 * factors.min().item<double>());
      const auto output = [&](const Smoothing* of) {
        const Model model(checkpoint, "", of);
        const at::Tensor made = model.linear(reader.modulation, conditioning);
        const at::Tensor input =
            (1 + made.narrow(1, reader.first + 8, 8)) * rows() + made.narrow(1, reader.first, 8);
        return model.linear(reader.layer, input);
      };
      CHECK(at::allclose(output(&smoothing), output(nullptr), 1e-5, 1e-5));
    }
  }
}

TEST_CASE("smoothing: a modulation is left alone where a reader keeps its weight, or it has no bias") {
  const StructureCheckpoint made = flux();
  const model::Checkpoint checkpoint = made.open();
  const Recorded recorded(checkpoint, matrices(checkpoint));
  const auto quantized = [](std::string_view layer) { return !layer.ends_with("qkv"); };
  const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, quantized, at::kCPU);
  CHECK(smoothing.inputs() == 2);
  CHECK_FALSE(smoothing.factors("double_blocks.0.img_attn.qkv").defined());

  StructureCheckpoint bare;
  bare.linear("single_blocks.0.modulation.lin", 24, 4).biased("single_blocks.0.linear1", 16, 8);
  const model::Checkpoint unbiased = bare.open();
  CHECK(Smoothing::candidates(unbiased, {unbiased, &*Recorded(unbiased, matrices(unbiased))}, kAll).empty());
}

TEST_CASE("smoothing: a norm's weight takes the factors where conditioning only multiplies") {
  StructureCheckpoint made;
  made.rms_norm("layers.0.attention_norm1", 8).linear("layers.0.attention.qkv", 24, 8);
  made.rms_norm("layers.0.ffn_norm1", 8).linear("layers.0.feed_forward.w1", 16, 8);
  made.linear("layers.0.feed_forward.w3", 16, 8);
  const model::Checkpoint checkpoint = made.open();
  const Recorded recorded(checkpoint, matrices(checkpoint));
  const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU);
  CHECK(smoothing.inputs() == 2);
  const Model plain(checkpoint, "", nullptr), smoothed(checkpoint, "", &smoothing);
  for (const auto& [layer, norm] :
       {std::pair{"attention.qkv", "attention_norm1"}, std::pair{"feed_forward.w3", "ffn_norm1"}}) {
    const auto product = [&](const Model& of) {
      return of(fmt::format("layers.0.{}.weight", norm)) * of(fmt::format("layers.0.{}.weight", layer));
    };
    CHECK(at::allclose(product(smoothed), product(plain), 1e-5));
    CHECK_FALSE(at::allclose(smoothed(fmt::format("layers.0.{}.weight", norm)),
                             plain(fmt::format("layers.0.{}.weight", norm))));
  }
}

TEST_CASE("smoothing: readers of one input share their factors") {
  const model::Checkpoint checkpoint = clip().open();
  const Recorded recorded(checkpoint, matrices(checkpoint));
  const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU);
  const std::string attention = "text_model.encoder.layers.0.self_attn.";
  const at::Tensor factors = smoothing.factors(attention + "q_proj");
  CHECK(factors.is_same(smoothing.factors(attention + "k_proj")));
  CHECK(factors.is_same(smoothing.factors(attention + "v_proj")));
  const auto column = [&](const char* name) {
    return test::values(checkpoint, attention + name + ".weight").abs().amax(0);
  };
  const at::Tensor most = at::maximum(at::maximum(column("q_proj"), column("k_proj")), column("v_proj"));
  const auto seed = static_cast<int64_t>((attention + "q_proj").size());
  at::Tensor input = at::empty({8}, at::kDouble);
  for (int64_t i = 0; i < 8; ++i) input[i] = Recorded::value(i + seed);
  CHECK(at::allclose(factors.to(at::kDouble), (input / most).sqrt(), 1e-5));
}

TEST_CASE(
    "smoothing: of a part of the tensors, what makes or reads its inputs has the factors of the whole") {
  const model::Checkpoint checkpoint = clip().open();
  const Recorded recorded(checkpoint, matrices(checkpoint));
  const std::string attention = "text_model.encoder.layers.0.self_attn.";
  const Smoothing whole(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU);
  const Smoothing part(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU, {},
                       [&](const auto& entry) { return entry.layer() == attention + "v_proj"; });
  CHECK(whole.inputs() == 3);
  CHECK(part.inputs() == 2);
  CHECK_FALSE(part.factors("text_model.encoder.layers.0.mlp.fc1").defined());
  for (const char* name : {"v_proj", "out_proj"})
    CHECK(at::equal(part.factors(attention + name), whole.factors(attention + name)));
  const auto& values = *checkpoint.find(attention + "v_proj.weight");
  CHECK(at::equal(part.apply(values, model::load(values)), whole.apply(values, model::load(values))));
}

TEST_CASE("smoothing: norms that a residual reads, and shared value heads, are left alone") {
  StructureCheckpoint bert;
  bert.layer_norm("embeddings.LayerNorm", 8);
  const std::string block = "encoder.layer.0.";
  for (const char* name : {"query", "key", "value"}) bert.biased(block + "attention.self." + name, 8, 8);
  bert.biased(block + "attention.output.dense", 8, 8).layer_norm(block + "attention.output.LayerNorm", 8);
  bert.biased(block + "intermediate.dense", 12, 8).biased(block + "output.dense", 8, 12);
  const model::Checkpoint checkpoint = bert.open();
  const auto folds =
      Smoothing::candidates(checkpoint, {checkpoint, &*Recorded(checkpoint, matrices(checkpoint))}, kAll);
  REQUIRE(folds.size() == 1);
  CHECK(folds[0].into == calibrate::Fold::Into::kValues);
  CHECK(folds[0].makers.size() == 2);

  StructureCheckpoint grouped("model.");
  const std::string layer = "layers.0.";
  grouped.rms_norm(layer + "input_layernorm", 8).rms_norm(layer + "post_attention_layernorm", 8);
  grouped.linear(layer + "self_attn.q_proj", 8, 8).linear(layer + "self_attn.k_proj", 4, 8);
  grouped.linear(layer + "self_attn.v_proj", 4, 8).linear(layer + "self_attn.o_proj", 8, 8);
  grouped.rms_norm(layer + "self_attn.q_norm", 2);
  const model::Checkpoint shared = grouped.open();
  const auto found = Smoothing::candidates(shared, {shared, &*Recorded(shared, matrices(shared))}, kAll);
  REQUIRE(found.size() == 1);
  CHECK(found[0].into == calibrate::Fold::Into::kNorm);
  CHECK(found[0].readers.size() == 3);
}

TEST_CASE("smoothing: what was not recorded stays as it is") {
  const model::Checkpoint checkpoint = clip().open();
  const std::string block = "text_model.encoder.layers.0.";
  const Recorded recorded(checkpoint, {block + "mlp.fc1", block + "mlp.fc2"});
  const Smoothing smoothing(checkpoint, {checkpoint, &*recorded}, 0.5, kAll, at::kCPU);
  CHECK(smoothing.inputs() == 1);
  CHECK_FALSE(smoothing.factors(block + "self_attn.q_proj").defined());
  CHECK_FALSE(smoothing.changes(*checkpoint.find(block + "layer_norm1.weight")));
  CHECK(smoothing.changes(*checkpoint.find(block + "layer_norm2.bias")));
  CHECK(smoothing.factors(block + "mlp.fc1").defined());
}

}  // namespace
TEST_CASE("smoothing: without a recording the ranges are those that norms and weights imply", "[transform]") {
  const StructureCheckpoint made = clip();
  const model::Checkpoint checkpoint = made.open();
  const calibrate::InputRanges ranges(checkpoint, nullptr);
  const std::string layer = "text_model.encoder.layers.0.self_attn.q_proj";
  REQUIRE(ranges.knows(layer));
  const at::Tensor largest = ranges.largest(layer, at::kCPU);
  // A LayerNorm's output is about g z + b.
  const auto part = [&](const char* name) {
    return model::load(*checkpoint.find("text_model.encoder.layers.0.layer_norm1" + std::string(name)))
        .to(at::kFloat);
  };
  const at::Tensor wanted = part(".bias").abs() + 3 * part(".weight").abs();
  CHECK(at::allclose(largest, wanted, /*rtol=*/0.1));
  const Smoothing smoothing(checkpoint, ranges, 0.5, kAll, at::kCPU);
  CHECK(smoothing.inputs() > 0);
}

}  // namespace ctq::transform
