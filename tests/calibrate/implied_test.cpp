#include "calibrate/implied.h"

#include <cmath>
#include <functional>
#include <limits>

#include <catch2/catch.hpp>

#include "calibrate/structure_checkpoint.h"
#include "linalg/device.h"

namespace ctq::calibrate {
namespace {

using test::StructureCheckpoint;

/// Normal rows in float64, from a generator that the code under test does not use.
at::Tensor normal_rows(int64_t rows, int64_t width, int64_t seed) {
  at::manual_seed(static_cast<uint64_t>(seed));
  return at::randn({rows, width}, at::kDouble);
}

at::Tensor layer_normed(const at::Tensor& x) {
  const at::Tensor centred = x - x.mean(1, true);
  return centred / centred.square().mean(1, true).sqrt();
}

at::Tensor rms_normed(const at::Tensor& x) { return x / x.square().mean(1, true).sqrt(); }

double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b).norm() / b.norm()).item<double>();
}

bool is_gated(const InputMoments& moments) {
  return moments.source.find(" times ") != std::string::npos ||
         moments.source.find(", gated,") != std::string::npos;
}

/// Compares with the moments of rows that `input` makes of normal numbers: 30,000 of up to 12 columns have a
/// distance of about 0.015 from their limit. A closed form takes pre-activations for normal, which costs up
/// to 0.04 where they are sums of 8 numbers.
void check_moments(const model::Checkpoint& checkpoint, const std::string& layer, int64_t width,
                   const std::function<at::Tensor(const at::Tensor& z)>& input) {
  constexpr int64_t kRows = 30'000;
  const auto moments = ImpliedInputs(checkpoint).moments(layer, /*seed=*/5, kRows);
  REQUIRE(moments);
  const at::Tensor x = input(normal_rows(kRows, width, 77));
  CHECK(moments->rows == (is_gated(*moments) ? kRows : 0));
  CHECK(moments->source == ImpliedInputs(checkpoint).source(layer));
  const at::Tensor second = x.t().mm(x) / kRows;
  CHECK(distance(moments->second.matrix(), second) < 0.06);
  CHECK((moments->mean - x.mean(0)).norm().item<double>() < 0.03 * std::sqrt(second.trace().item<double>()));
  CHECK(at::equal(moments->second.matrix(), moments->second.matrix().t()));
}

StructureCheckpoint bert(const std::string& prefix = "") {
  StructureCheckpoint made(prefix);
  made.layer_norm("embeddings.LayerNorm", 8);
  for (const std::string block : {"encoder.layer.0.", "encoder.layer.1."}) {
    for (const char* name : {"query", "key", "value"}) made.biased(block + "attention.self." + name, 8, 8);
    made.biased(block + "attention.output.dense", 8, 8).layer_norm(block + "attention.output.LayerNorm", 8);
    made.biased(block + "intermediate.dense", 12, 8).biased(block + "output.dense", 8, 12);
    made.layer_norm(block + "output.LayerNorm", 8);
  }
  return made;
}

StructureCheckpoint llama(const std::string& prefix, bool gemma, int64_t value_heads = 2) {
  StructureCheckpoint made(prefix);
  const std::string block = "layers.3.";
  made.rms_norm(block + "input_layernorm", 6).rms_norm(block + "post_attention_layernorm", 6);
  if (gemma)
    made.rms_norm(block + "pre_feedforward_layernorm", 6).rms_norm(block + "post_feedforward_layernorm", 6);
  made.linear(block + "self_attn.q_proj", 12, 6).linear(block + "self_attn.k_proj", 3 * value_heads, 6);
  made.linear(block + "self_attn.v_proj", 3 * value_heads, 6).linear(block + "self_attn.o_proj", 6, 12);
  made.rms_norm(block + "self_attn.q_norm", 3);
  made.linear(block + "mlp.gate_proj", 10, 6).linear(block + "mlp.up_proj", 10, 6);
  made.linear(block + "mlp.down_proj", 6, 10);
  return made;
}

TEST_CASE("implied: BERT's post-norm blocks, sources and shared keys", "[calibrate]") {
  const std::string prefix = GENERATE("", "bert.", "text_encoders.x.transformer.bert.");
  CAPTURE(prefix);
  const StructureCheckpoint made = bert(prefix);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  const auto source = [&](const std::string& layer) { return inputs.source(prefix + layer); };
  const auto key = [&](const std::string& layer) { return inputs.input_key(prefix + layer); };
  CHECK(source("encoder.layer.0.attention.self.query") == "norm " + prefix + "embeddings.LayerNorm");
  CHECK(source("encoder.layer.1.attention.self.query") ==
        "norm " + prefix + "encoder.layer.0.output.LayerNorm");
  CHECK(source("encoder.layer.1.attention.output.dense") ==
        "values " + prefix + "encoder.layer.1.attention.self.value after norm " + prefix +
            "encoder.layer.0.output.LayerNorm");
  CHECK(source("encoder.layer.0.intermediate.dense") ==
        "norm " + prefix + "encoder.layer.0.attention.output.LayerNorm");
  CHECK(source("encoder.layer.0.output.dense") == "gelu of " + prefix +
                                                      "encoder.layer.0.intermediate.dense after norm " +
                                                      prefix + "encoder.layer.0.attention.output.LayerNorm");
  CHECK(key("encoder.layer.1.attention.self.query") == key("encoder.layer.1.attention.self.value"));
  CHECK(key("encoder.layer.1.attention.self.key") == key("encoder.layer.1.attention.self.value"));
  CHECK(key("encoder.layer.0.attention.self.key") != key("encoder.layer.1.attention.self.key"));
  CHECK(key("encoder.layer.0.output.dense") != key("encoder.layer.1.output.dense"));
}

TEST_CASE("implied: moments after a LayerNorm, its values and its MLP", "[calibrate]") {
  const StructureCheckpoint made = bert();
  const model::Checkpoint checkpoint = made.open();
  const auto get = [&](const std::string& name) { return test::values(checkpoint, name); };
  const auto norm = [&](const at::Tensor& z, const std::string& name) {
    return layer_normed(z) * get(name + ".weight") + get(name + ".bias");
  };
  const auto linear = [&](const at::Tensor& x, const std::string& name) {
    return x.mm(get(name + ".weight").t()) + get(name + ".bias");
  };
  const std::string before = "encoder.layer.0.output.LayerNorm", block = "encoder.layer.1.";
  check_moments(checkpoint, block + "attention.self.query", 8,
                [&](const at::Tensor& z) { return norm(z, before); });
  check_moments(checkpoint, block + "attention.output.dense", 8, [&](const at::Tensor& z) {
    const at::Tensor value = linear(norm(z, before), block + "attention.self.value");
    return (value + value.flip(0)) / 2;
  });
  check_moments(checkpoint, block + "output.dense", 8, [&](const at::Tensor& z) {
    return at::gelu(linear(norm(z, block + "attention.output.LayerNorm"), block + "intermediate.dense"));
  });
}

TEST_CASE("implied: a language model's norms, repeated value heads and gated MLP", "[calibrate]") {
  const bool gemma = GENERATE(false, true);
  const std::string prefix = GENERATE("model.", "model.language_model.");
  CAPTURE(gemma, prefix);
  const StructureCheckpoint made = llama(prefix, gemma);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  const std::string block = prefix + "layers.3.";
  const std::string mlp_norm = block + (gemma ? "pre_feedforward_layernorm" : "post_attention_layernorm");
  CHECK(inputs.source(block + "self_attn.k_proj") == "norm " + block + "input_layernorm");
  CHECK(inputs.input_key(block + "self_attn.q_proj") == inputs.input_key(block + "self_attn.v_proj"));
  CHECK(inputs.source(block + "self_attn.o_proj") ==
        "values " + block + "self_attn.v_proj after norm " + block + "input_layernorm");
  CHECK(inputs.source(block + "mlp.gate_proj") == "norm " + mlp_norm);
  CHECK(inputs.input_key(block + "mlp.gate_proj") == inputs.input_key(block + "mlp.up_proj"));
  CHECK(inputs.source(block + "mlp.down_proj") == (gemma ? "gelu_tanh of " : "silu of ") + block +
                                                      "mlp.gate_proj times " + block +
                                                      "mlp.up_proj after norm " + mlp_norm);

  const auto norm = [&](const at::Tensor& z, const std::string& name) {
    return rms_normed(z) * (test::values(checkpoint, name + ".weight") + (gemma ? 1 : 0));
  };
  const auto linear = [&](const at::Tensor& x, const std::string& name) {
    return x.mm(test::values(checkpoint, block + name + ".weight").t());
  };
  check_moments(checkpoint, block + "self_attn.q_proj", 6,
                [&](const at::Tensor& z) { return norm(z, block + "input_layernorm"); });
  check_moments(checkpoint, block + "self_attn.o_proj", 6, [&](const at::Tensor& z) {
    const at::Tensor v = linear(norm(z, block + "input_layernorm"), "self_attn.v_proj");
    const at::Tensor averaged = (v + v.flip(0)) / 2;
    const at::Tensor first = averaged.narrow(1, 0, 3), second = averaged.narrow(1, 3, 3);
    return at::cat({first, first, second, second}, 1);
  });
  check_moments(checkpoint, block + "mlp.down_proj", 6, [&](const at::Tensor& z) {
    const at::Tensor x = norm(z, mlp_norm);
    const at::Tensor gate = linear(x, "mlp.gate_proj");
    return (gemma ? at::gelu(gate, "tanh") : at::silu(gate)) * linear(x, "mlp.up_proj");
  });
}

TEST_CASE("implied: value heads that repeat in an unknown way", "[calibrate]") {
  const auto source = [](int64_t hidden, int64_t values, int64_t inner) {
    StructureCheckpoint made;
    made.rms_norm("layers.0.input_layernorm", hidden).rms_norm("layers.0.post_attention_layernorm", hidden);
    made.linear("layers.0.self_attn.v_proj", values, hidden).linear("layers.0.self_attn.o_proj", 1, inner);
    return ImpliedInputs(made.open()).source("layers.0.self_attn.o_proj");
  };
  CHECK(source(6, 6, 12).empty());
  CHECK(source(6, 5, 12).empty());
  CHECK_FALSE(source(6, 12, 12).empty());
  CHECK_FALSE(source(2048, 256, 2048).empty());  // Qwen 2.5 3B
  CHECK(source(2048, 512, 2048).empty());
}

TEST_CASE("implied: Gemma 4 and Qwen 3.5 have names of others, and other blocks", "[calibrate]") {
  StructureCheckpoint gemma4 = llama("model.", /*gemma=*/true);
  gemma4.vector("layers.3.layer_scalar", 1, 1);
  const model::Checkpoint gemma4_checkpoint = gemma4.open();
  const ImpliedInputs gemma4_inputs(gemma4_checkpoint);
  CHECK(gemma4_inputs.source("model.layers.3.self_attn.o_proj").empty());
  check_moments(gemma4_checkpoint, "model.layers.3.mlp.gate_proj", 6, [&](const at::Tensor& z) {
    return rms_normed(z) * test::values(gemma4_checkpoint, "model.layers.3.pre_feedforward_layernorm.weight");
  });

  StructureCheckpoint qwen = llama("model.language_model.", /*gemma=*/false);
  qwen.vector("layers.0.linear_attn.A_log", 4, 0);
  qwen.rms_norm("layers.0.input_layernorm", 6).linear("layers.0.linear_attn.in_proj_a", 4, 6);
  const model::Checkpoint qwen_checkpoint = qwen.open();
  const ImpliedInputs qwen_inputs(qwen_checkpoint);
  const std::string prefix = "model.language_model.layers.";
  CHECK(qwen_inputs.source(prefix + "3.self_attn.o_proj").empty());
  CHECK(qwen_inputs.source(prefix + "0.linear_attn.in_proj_a") == "norm " + prefix + "0.input_layernorm");
  check_moments(qwen_checkpoint, prefix + "3.self_attn.q_proj", 6, [&](const at::Tensor& z) {
    return rms_normed(z) * (1 + test::values(qwen_checkpoint, prefix + "3.input_layernorm.weight"));
  });
}

TEST_CASE("implied: T5, gated and not", "[calibrate]") {
  const bool gated = GENERATE(false, true);
  CAPTURE(gated);
  StructureCheckpoint made("text_encoders.t5xxl.transformer.");
  const std::string block = "encoder.block.2.";
  made.rms_norm(block + "layer.0.layer_norm", 6).rms_norm(block + "layer.1.layer_norm", 6);
  for (const char* name : {"q", "k", "v"}) made.linear(block + "layer.0.SelfAttention." + name, 8, 6);
  made.linear(block + "layer.0.SelfAttention.o", 6, 8);
  const std::string mlp = block + "layer.1.DenseReluDense.";
  for (const char* name : {"wi_0", "wi_1"}) {
    if (gated) made.linear(mlp + name, 10, 6);
  }
  if (!gated) made.linear(mlp + "wi", 10, 6);
  made.linear(mlp + "wo", 6, 10);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  const std::string prefix = "text_encoders.t5xxl.transformer.";
  CHECK(inputs.source(prefix + block + "layer.0.SelfAttention.k") ==
        "norm " + prefix + block + "layer.0.layer_norm");
  CHECK(inputs.source(prefix + block + "layer.0.SelfAttention.o") ==
        "values " + prefix + block + "layer.0.SelfAttention.v after norm " + prefix + block +
            "layer.0.layer_norm");
  const auto weight = [&](const std::string& name) {
    return test::values(checkpoint, prefix + mlp + name + ".weight").t();
  };
  check_moments(checkpoint, prefix + mlp + "wo", 6, [&](const at::Tensor& z) {
    const at::Tensor x =
        rms_normed(z) * test::values(checkpoint, prefix + block + "layer.1.layer_norm.weight");
    return gated ? at::gelu(x.mm(weight("wi_0")), "tanh") * x.mm(weight("wi_1"))
                 : at::relu(x.mm(weight("wi")));
  });
}

TEST_CASE("implied: CLIP's activation goes by the model's width", "[calibrate]") {
  const auto open_clip = [](const std::string& prefix, int64_t width) {
    StructureCheckpoint made(prefix);
    made.layer_norm("transformer.resblocks.7.ln_2", width);
    made.biased("transformer.resblocks.7.mlp.c_fc", 6, width)
        .biased("transformer.resblocks.7.mlp.c_proj", 2, 6);
    const std::string source =
        ImpliedInputs(made.open()).source(prefix + "transformer.resblocks.7.mlp.c_proj");
    return source.substr(0, source.find(' '));
  };
  CHECK(open_clip("conditioner.embedders.1.model.", 1280) == "gelu");
  CHECK(open_clip("", 768) == "quick_gelu");
  CHECK(open_clip("", 1024) == "gelu");
  CHECK(open_clip("visual.", 1024) == "quick_gelu");
  CHECK(open_clip("visual.", 1664) == "gelu");

  const auto hugging_face = [](const std::string& prefix, int64_t width) {
    StructureCheckpoint made(prefix);
    made.layer_norm("encoder.layers.7.layer_norm2", width);
    made.biased("encoder.layers.7.mlp.fc1", 6, width).biased("encoder.layers.7.mlp.fc2", 2, 6);
    const std::string source = ImpliedInputs(made.open()).source(prefix + "encoder.layers.7.mlp.fc2");
    return source.substr(0, source.find(' '));
  };
  CHECK(hugging_face("cond_stage_model.transformer.text_model.", 768) == "quick_gelu");
  CHECK(hugging_face("text_model.", 1024) == "gelu");
  CHECK(hugging_face("vision_model.", 1024) == "quick_gelu");
  CHECK(hugging_face("vision_model.", 1152) == "gelu_tanh");
  CHECK(hugging_face("vision_model.", 1280) == "gelu");
}

TEST_CASE("implied: quick_gelu, and the values in a joined in_proj", "[calibrate]") {
  StructureCheckpoint made;
  const std::string block = "transformer.resblocks.0.";
  made.layer_norm(block + "ln_1", 6).layer_norm(block + "ln_2", 768);
  made.matrix(block + "attn.in_proj_weight", 18, 6).vector(block + "attn.in_proj_bias", 18, 0.1f);
  made.biased(block + "attn.out_proj", 6, 6);
  made.biased(block + "mlp.c_fc", 5, 768).biased(block + "mlp.c_proj", 3, 5);
  const model::Checkpoint checkpoint = made.open();
  CHECK(ImpliedInputs(checkpoint).source(block + "attn.in_proj") == "norm " + block + "ln_1");
  const auto get = [&](const std::string& name) { return test::values(checkpoint, block + name); };
  check_moments(checkpoint, block + "attn.out_proj", 6, [&](const at::Tensor& z) {
    const at::Tensor x = layer_normed(z) * get("ln_1.weight") + get("ln_1.bias");
    const at::Tensor v =
        x.mm(get("attn.in_proj_weight").narrow(0, 12, 6).t()) + get("attn.in_proj_bias").narrow(0, 12, 6);
    return (v + v.flip(0)) / 2;
  });
  check_moments(checkpoint, block + "mlp.c_proj", 768, [&](const at::Tensor& z) {
    const at::Tensor x = layer_normed(z) * get("ln_2.weight") + get("ln_2.bias");
    const at::Tensor h = x.mm(get("mlp.c_fc.weight").t()) + get("mlp.c_fc.bias");
    return h * at::sigmoid(1.702 * h);
  });
}

TEST_CASE("implied: modulated diffusion blocks, the MLP's second linear alone", "[calibrate]") {
  struct Mlp {
    std::string first, second, activation;
    std::string marker = {};
  };
  const Mlp mlp = GENERATE(
      Mlp{"double_blocks.4.img_mlp.0", "double_blocks.4.img_mlp.2", "gelu_tanh"},
      Mlp{"double_blocks.4.txt_mlp.0", "double_blocks.4.txt_mlp.2", "gelu_tanh"},
      Mlp{"double_blocks.4.img_mlp.fc1", "double_blocks.4.img_mlp.fc2", "gelu_tanh"},
      Mlp{"blocks.4.ffn.0", "blocks.4.ffn.2", "gelu_tanh", "blocks.4.modulation"},
      Mlp{"blocks.4.mlp.layer1", "blocks.4.mlp.layer2", "gelu", "blocks.4.adaln_modulation_mlp.1.weight"},
      Mlp{"transformer_blocks.4.img_mlp.net.0.proj", "transformer_blocks.4.img_mlp.net.2", "gelu_tanh"},
      Mlp{"transformer_blocks.4.txt_mlp.net.0.proj", "transformer_blocks.4.txt_mlp.net.2", "gelu_tanh"},
      Mlp{"transformer_blocks.4.ff.net.0.proj", "transformer_blocks.4.ff.net.2", "gelu_tanh",
          "transformer_blocks.4.scale_shift_table"},
      Mlp{"joint_blocks.4.x_block.mlp.fc1", "joint_blocks.4.x_block.mlp.fc2", "gelu_tanh"},
      Mlp{"joint_blocks.4.context_block.mlp.fc1", "joint_blocks.4.context_block.mlp.fc2", "gelu_tanh"});
  const std::string prefix = GENERATE("", "model.diffusion_model.");
  CAPTURE(prefix, mlp.second);
  StructureCheckpoint made(prefix);
  made.biased(mlp.first, 10, 6).biased(mlp.second, 6, 10);
  if (!mlp.marker.empty()) made.vector(mlp.marker, 6, 0);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  CHECK(inputs.source(prefix + mlp.first).empty());
  CHECK(inputs.source(prefix + mlp.second) ==
        mlp.activation + " of " + prefix + mlp.first + " after a norm without parameters");
  check_moments(checkpoint, prefix + mlp.second, 6, [&](const at::Tensor& z) {
    const bool rms = mlp.first.find(".ff.") != std::string::npos;
    const at::Tensor x = rms ? rms_normed(z) : layer_normed(z);
    const at::Tensor h = x.mm(test::values(checkpoint, prefix + mlp.first + ".weight").t()) +
                         test::values(checkpoint, prefix + mlp.first + ".bias");
    return mlp.activation == "gelu" ? at::gelu(h) : at::gelu(h, "tanh");
  });
}

TEST_CASE("implied: gates that are joined with what they gate", "[calibrate]") {
  StructureCheckpoint made("model.diffusion_model.");
  made.linear("double_blocks.0.img_mlp.0", 20, 6).linear("double_blocks.0.img_mlp.2", 6, 10);
  const std::string block = "input_blocks.4.1.transformer_blocks.0.";
  made.layer_norm(block + "norm1", 6).layer_norm(block + "norm2", 6).layer_norm(block + "norm3", 6);
  made.linear(block + "attn1.to_q", 6, 6)
      .linear(block + "attn1.to_v", 6, 6)
      .biased(block + "attn1.to_out.0", 6, 6);
  made.linear(block + "attn2.to_q", 6, 6)
      .linear(block + "attn2.to_k", 6, 9)
      .biased(block + "attn2.to_out.0", 6, 6);
  made.biased(block + "ff.net.0.proj", 20, 6).biased(block + "ff.net.2", 6, 10);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  const std::string prefix = "model.diffusion_model.", unet = prefix + block;
  CHECK(inputs.source(prefix + "double_blocks.0.img_mlp.2") ==
        "silu of " + prefix + "double_blocks.0.img_mlp.0, gated, after a norm without parameters");
  check_moments(checkpoint, prefix + "double_blocks.0.img_mlp.2", 6, [&](const at::Tensor& z) {
    const at::Tensor h =
        layer_normed(z).mm(test::values(checkpoint, prefix + "double_blocks.0.img_mlp.0.weight").t());
    return at::silu(h.narrow(1, 0, 10)) * h.narrow(1, 10, 10);
  });
  CHECK(inputs.source(unet + "attn1.to_q") == "norm " + unet + "norm1");
  CHECK(inputs.source(unet + "attn1.to_out.0") ==
        "values " + unet + "attn1.to_v after norm " + unet + "norm1");
  CHECK(inputs.source(unet + "attn2.to_q") == "norm " + unet + "norm2");
  CHECK(inputs.source(unet + "attn2.to_k").empty());
  CHECK(inputs.source(unet + "attn2.to_out.0").empty());
  CHECK(inputs.source(unet + "ff.net.0.proj") == "norm " + unet + "norm3");
  check_moments(checkpoint, unet + "ff.net.2", 6, [&](const at::Tensor& z) {
    const at::Tensor x = layer_normed(z) * test::values(checkpoint, unet + "norm3.weight") +
                         test::values(checkpoint, unet + "norm3.bias");
    const at::Tensor h = x.mm(test::values(checkpoint, unet + "ff.net.0.proj.weight").t()) +
                         test::values(checkpoint, unet + "ff.net.0.proj.bias");
    return h.narrow(1, 0, 10) * at::gelu(h.narrow(1, 10, 10));
  });
}

TEST_CASE("implied: diffusion blocks with norms that are not modulated", "[calibrate]") {
  StructureCheckpoint made("diffusion_model.");
  made.vector("blocks.9.modulation", 6, 0).layer_norm("blocks.9.norm3", 6);
  made.biased("blocks.9.cross_attn.q", 6, 6).biased("blocks.9.self_attn.q", 6, 6);
  for (const std::string block : {"context_refiner.1.", "layers.1."}) {
    made.rms_norm(block + "attention_norm1", 6).rms_norm(block + "ffn_norm1", 6);
    made.linear(block + "attention.qkv", 18, 6).linear(block + "attention.out", 6, 6);
    for (const char* name : {"w1", "w3"}) made.linear(block + "feed_forward." + name, 10, 6);
    made.linear(block + "feed_forward.w2", 6, 10);
  }
  const std::string refiner = "txt_in.individual_token_refiner.blocks.0.";
  made.layer_norm(refiner + "norm1", 6)
      .biased(refiner + "self_attn.qkv", 18, 6)
      .biased(refiner + "self_attn.proj", 6, 6);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  const auto source = [&](const std::string& layer) { return inputs.source("diffusion_model." + layer); };
  const std::string prefix = "diffusion_model.";
  CHECK(source("blocks.9.cross_attn.q") == "norm " + prefix + "blocks.9.norm3");
  CHECK(source("blocks.9.self_attn.q").empty());
  CHECK(source("context_refiner.1.attention.qkv") == "norm " + prefix + "context_refiner.1.attention_norm1");
  CHECK(source("context_refiner.1.attention.out") == "values " + prefix +
                                                         "context_refiner.1.attention.qkv after norm " +
                                                         prefix + "context_refiner.1.attention_norm1");
  CHECK(source("context_refiner.1.feed_forward.w3") == "norm " + prefix + "context_refiner.1.ffn_norm1");
  CHECK(source("layers.1.attention.qkv").empty());
  CHECK(source("layers.1.attention.out").empty());
  CHECK(source("layers.1.feed_forward.w1").empty());
  CHECK(source("layers.1.feed_forward.w2") == "silu of " + prefix + "layers.1.feed_forward.w1 times " +
                                                  prefix + "layers.1.feed_forward.w3 after norm " + prefix +
                                                  "layers.1.ffn_norm1");
  CHECK(source(refiner + "self_attn.qkv") == "norm " + prefix + refiner + "norm1");
  CHECK(source(refiner + "self_attn.proj") ==
        "values " + prefix + refiner + "self_attn.qkv after norm " + prefix + refiner + "norm1");
}

TEST_CASE("implied: nothing is known of other names", "[calibrate]") {
  StructureCheckpoint made = bert();
  made.linear("pooler.dense", 8, 8).linear("xencoder.layer.0.intermediate.dense", 12, 8);
  made.linear("encoder.layer.x.intermediate.dense", 12, 8);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  for (const char* layer : {"", ".", "pooler.dense", "encoder.layer.0", "encoder.layer.2.intermediate.dense",
                            "xencoder.layer.0.intermediate.dense", "encoder.layer.x.intermediate.dense",
                            "encoder.layer.0.output.LayerNorm", "99999999999999999999.intermediate.dense"}) {
    CAPTURE(layer);
    CHECK(inputs.source(layer).empty());
    CHECK(inputs.input_key(layer).empty());
    CHECK_FALSE(inputs.moments(layer, 0, 8));
  }
}

TEST_CASE("implied: the first block without the norm before it", "[calibrate]") {
  StructureCheckpoint made;
  const std::string block = "encoder.layer.0.";
  made.biased(block + "attention.self.query", 8, 8).layer_norm(block + "attention.output.LayerNorm", 8);
  made.biased(block + "intermediate.dense", 12, 8);
  const model::Checkpoint checkpoint = made.open();
  CHECK(ImpliedInputs(checkpoint).source(block + "attention.self.query").empty());
  CHECK_FALSE(ImpliedInputs(checkpoint).source(block + "intermediate.dense").empty());
}

TEST_CASE("implied: a predecessor of another width or type is none", "[calibrate]") {
  const auto source = [](const std::function<void(StructureCheckpoint&)>& norm, int64_t hidden) {
    StructureCheckpoint made;
    norm(made);
    made.biased("encoder.layer.0.intermediate.dense", hidden, 8)
        .biased("encoder.layer.0.output.dense", 8, 12);
    return ImpliedInputs(made.open()).source("encoder.layer.0.output.dense");
  };
  const std::string name = "encoder.layer.0.attention.output.LayerNorm";
  const auto norm = [&](int64_t size) {
    return [&name, size](StructureCheckpoint& made) { made.layer_norm(name, size); };
  };
  CHECK_FALSE(source(norm(8), 12).empty());
  CHECK(source(norm(9), 12).empty());
  CHECK(source(norm(8), 11).empty());
  CHECK(source([&](StructureCheckpoint& made) { made.rms_norm(name, 8); }, 12).empty());
  CHECK(source([&](StructureCheckpoint& made) { made.rms_norm(name, 8).vector(name + ".bias", 9, 0); }, 12)
            .empty());

  StructureCheckpoint quantized;
  quantized.layer_norm(name, 8).biased("encoder.layer.0.output.dense", 8, 12);
  quantized.add(test::tensor("encoder.layer.0.intermediate.dense.weight", safetensors::Dtype::kF8E4M3,
                             {12, 8}, std::string(96, '\x38')));
  CHECK(ImpliedInputs(quantized.open()).source("encoder.layer.0.output.dense").empty());
}

TEST_CASE("implied: a value on the way that is not finite", "[calibrate]") {
  const float value =
      GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity());
  const std::string where =
      GENERATE("attention.output.LayerNorm.bias", "intermediate.dense.weight", "intermediate.dense.bias");
  CAPTURE(value, where);
  StructureCheckpoint made = bert();
  made.poison("encoder.layer.0." + where, value);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  CHECK_FALSE(inputs.source("encoder.layer.0.output.dense").empty());
  CHECK_FALSE(inputs.moments("encoder.layer.0.output.dense", 0, 64));
  CHECK(inputs.moments("encoder.layer.1.output.dense", 0, 64));
}

TEST_CASE("implied: overflow on the way", "[calibrate]") {
  StructureCheckpoint made = bert();
  made.poison("encoder.layer.0.intermediate.dense.weight", 1e30f);
  const model::Checkpoint checkpoint = made.open();
  CHECK_FALSE(ImpliedInputs(checkpoint).moments("encoder.layer.0.output.dense", 0, 64));
}

/// A gated MLP: the case without a closed form.
StructureCheckpoint gated(int64_t width, int64_t hidden) {
  StructureCheckpoint made;
  for (const std::string block : {"layers.0.", "layers.1."}) {
    made.rms_norm(block + "input_layernorm", width).rms_norm(block + "post_attention_layernorm", width);
    made.linear(block + "self_attn.q_proj", 2, width)
        .linear(block + "mlp.gate_proj", hidden, width)
        .linear(block + "mlp.up_proj", hidden, width);
    made.linear(block + "mlp.down_proj", width, hidden);
  }
  return made;
}

TEST_CASE("implied: drawn bits depend on the seed and the layer, not on the number of threads",
          "[calibrate]") {
  const StructureCheckpoint made = gated(300, 700);
  const model::Checkpoint checkpoint = made.open();
  const ImpliedInputs inputs(checkpoint);
  const auto with_threads = [&](int threads, uint64_t seed) {
    linalg::set_threads(threads);
    return *inputs.moments("layers.0.mlp.down_proj", seed, 1300);
  };
  const InputMoments one = with_threads(1, 3);
  for (const int threads : {2, 3, 8}) {
    const InputMoments several = with_threads(threads, 3);
    CHECK(at::equal(one.second.matrix(), several.second.matrix()));
    CHECK(at::equal(one.mean, several.mean));
  }
  CHECK(distance(one.second.matrix(), with_threads(2, 4).second.matrix().to(at::kDouble)) > 0.1);
  linalg::set_threads(linalg::available_cores());
  CHECK_FALSE(at::equal(inputs.moments("layers.0.mlp.down_proj", 3, 64)->second.matrix(),
                        inputs.moments("layers.1.mlp.down_proj", 3, 64)->second.matrix()));
}

TEST_CASE("implied: few rows, and more than one chunk of them", "[calibrate]") {
  const StructureCheckpoint made = gated(8, 12);
  const model::Checkpoint checkpoint = made.open();
  for (const int64_t rows : {int64_t{1}, int64_t{255}, int64_t{257}}) {
    const auto moments = ImpliedInputs(checkpoint).moments("layers.0.mlp.down_proj", 0, rows);
    REQUIRE(moments);
    CHECK(moments->rows == rows);
    CHECK(at::linalg_matrix_rank(moments->second.matrix().to(at::kDouble), 1e-6).item<int64_t>() <= rows);
  }
  // 40,000 columns: a chunk is one panel of 256 rows.
  const StructureCheckpoint wide = gated(40'000, 3);
  const model::Checkpoint wide_checkpoint = wide.open();
  const auto get = [&](const std::string& name) { return test::values(wide_checkpoint, "layers.0." + name); };
  const auto moments = ImpliedInputs(wide_checkpoint).moments("layers.0.mlp.down_proj", 0, 700);
  REQUIRE(moments);
  const at::Tensor x = rms_normed(normal_rows(700, 40'000, 1)) * get("post_attention_layernorm.weight");
  const at::Tensor h = at::silu(x.mm(get("mlp.gate_proj.weight").t())) * x.mm(get("mlp.up_proj.weight").t());
  CHECK(distance(moments->second.matrix(), h.t().mm(h) / 700) < 0.4);
}

}  // namespace
}  // namespace ctq::calibrate
