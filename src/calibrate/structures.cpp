// Names as ComfyUI's models read them, or as their checkpoints are published where ComfyUI renames them.
#include "calibrate/structures.h"

#include <algorithm>

namespace ctq::calibrate {
namespace {

// A norm after each sum, so a block's input is normed by the block before, and the sums read the norms too.
constexpr Input kBert[] = {
    {.layers = {"encoder.layer.#.attention.self.query", "encoder.layer.#.attention.self.key",
                "encoder.layer.#.attention.self.value"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layer.<.output.LayerNorm",
     .norm_before = "embeddings.LayerNorm",
     .norm_is_shared = true},
    {.layers = {"encoder.layer.#.attention.output.dense"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layer.<.output.LayerNorm",
     .norm_before = "embeddings.LayerNorm",
     .values = {"encoder.layer.#.attention.self.value"}},
    {.layers = {"encoder.layer.#.intermediate.dense"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layer.#.attention.output.LayerNorm",
     .norm_is_shared = true},
    {.layers = {"encoder.layer.#.output.dense"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layer.#.attention.output.LayerNorm",
     .gate = {"encoder.layer.#.intermediate.dense"},
     .activation = Activation::kGelu},
};

// OpenAI's own models have quick_gelu; they are told from OpenCLIP's by their widths.
constexpr Input kOpenClip[] = {
    {.layers = {"transformer.resblocks.#.attn.in_proj"},
     .norm = Norm::kLayer,
     .norm_name = "transformer.resblocks.#.ln_1"},
    {.layers = {"transformer.resblocks.#.attn.out_proj"},
     .norm = Norm::kLayer,
     .norm_name = "transformer.resblocks.#.ln_1",
     .values = {"transformer.resblocks.#.attn.in_proj", 2, 3}},
    {.layers = {"transformer.resblocks.#.mlp.c_fc"},
     .norm = Norm::kLayer,
     .norm_name = "transformer.resblocks.#.ln_2"},
    {.layers = {"visual.transformer.resblocks.#.mlp.c_proj"},
     .norm = Norm::kLayer,
     .norm_name = "visual.transformer.resblocks.#.ln_2",
     .gate = {"visual.transformer.resblocks.#.mlp.c_fc"},
     .activation = Activation::kQuickGelu,
     .width = 1024},
    {.layers = {"transformer.resblocks.#.mlp.c_proj"},
     .norm = Norm::kLayer,
     .norm_name = "transformer.resblocks.#.ln_2",
     .gate = {"transformer.resblocks.#.mlp.c_fc"},
     .activation = Activation::kQuickGelu,
     .width = 768},
    {.layers = {"transformer.resblocks.#.mlp.c_proj"},
     .norm = Norm::kLayer,
     .norm_name = "transformer.resblocks.#.ln_2",
     .gate = {"transformer.resblocks.#.mlp.c_fc"},
     .activation = Activation::kGelu},
};

// text_model and vision_model of CLIP, vision_model of SigLIP.
constexpr Input kClip[] = {
    {.layers = {"encoder.layers.#.self_attn.q_proj", "encoder.layers.#.self_attn.k_proj",
                "encoder.layers.#.self_attn.v_proj"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layers.#.layer_norm1"},
    {.layers = {"encoder.layers.#.self_attn.out_proj"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layers.#.layer_norm1",
     .values = {"encoder.layers.#.self_attn.v_proj"}},
    {.layers = {"encoder.layers.#.mlp.fc1"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layers.#.layer_norm2"},
    {.layers = {"text_model.encoder.layers.#.mlp.fc2"},
     .norm = Norm::kLayer,
     .norm_name = "text_model.encoder.layers.#.layer_norm2",
     .gate = {"text_model.encoder.layers.#.mlp.fc1"},
     .activation = Activation::kQuickGelu,
     .width = 768},
    {.layers = {"vision_model.encoder.layers.#.mlp.fc2"},
     .norm = Norm::kLayer,
     .norm_name = "vision_model.encoder.layers.#.layer_norm2",
     .gate = {"vision_model.encoder.layers.#.mlp.fc1"},
     .activation = Activation::kQuickGelu,
     .width = 1024},
    {.layers = {"vision_model.encoder.layers.#.mlp.fc2"},
     .norm = Norm::kLayer,
     .norm_name = "vision_model.encoder.layers.#.layer_norm2",
     .gate = {"vision_model.encoder.layers.#.mlp.fc1"},
     .activation = Activation::kGeluTanh,
     .width = 1152},
    {.layers = {"encoder.layers.#.mlp.fc2"},
     .norm = Norm::kLayer,
     .norm_name = "encoder.layers.#.layer_norm2",
     .gate = {"encoder.layers.#.mlp.fc1"},
     .activation = Activation::kGelu},
};

constexpr Input kT5[] = {
    {.layers = {"encoder.block.#.layer.0.SelfAttention.q", "encoder.block.#.layer.0.SelfAttention.k",
                "encoder.block.#.layer.0.SelfAttention.v"},
     .norm = Norm::kRms,
     .norm_name = "encoder.block.#.layer.0.layer_norm"},
    {.layers = {"encoder.block.#.layer.0.SelfAttention.o"},
     .norm = Norm::kRms,
     .norm_name = "encoder.block.#.layer.0.layer_norm",
     .values = {"encoder.block.#.layer.0.SelfAttention.v"}},
    {.layers = {"encoder.block.#.layer.1.DenseReluDense.wi", "encoder.block.#.layer.1.DenseReluDense.wi_0",
                "encoder.block.#.layer.1.DenseReluDense.wi_1"},
     .norm = Norm::kRms,
     .norm_name = "encoder.block.#.layer.1.layer_norm"},
    {.layers = {"encoder.block.#.layer.1.DenseReluDense.wo"},  // T5 1.1, UMT5
     .norm = Norm::kRms,
     .norm_name = "encoder.block.#.layer.1.layer_norm",
     .gate = {"encoder.block.#.layer.1.DenseReluDense.wi_0"},
     .up = {"encoder.block.#.layer.1.DenseReluDense.wi_1"},
     .activation = Activation::kGeluTanh},
    {.layers = {"encoder.block.#.layer.1.DenseReluDense.wo"},  // T5 1.0
     .norm = Norm::kRms,
     .norm_name = "encoder.block.#.layer.1.layer_norm",
     .gate = {"encoder.block.#.layer.1.DenseReluDense.wi"},
     .activation = Activation::kRelu},
};

// Llama, Mistral, Qwen 2.5 and 3.
constexpr Input kLlama[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.input_layernorm"},
    {.layers = {"layers.#.self_attn.o_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.input_layernorm",
     .values = {"layers.#.self_attn.v_proj"},
     .head_norm = "layers.#.self_attn.q_norm"},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.post_attention_layernorm"},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.post_attention_layernorm",
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kSilu},
};

// Gemma 2 and 3. post_attention_layernorm norms what attention adds, not what the MLP reads.
constexpr Input kGemma[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.input_layernorm"},
    {.layers = {"layers.#.self_attn.o_proj"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.input_layernorm",
     .values = {"layers.#.self_attn.v_proj"},
     .head_norm = "layers.#.self_attn.q_norm"},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.pre_feedforward_layernorm"},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.pre_feedforward_layernorm",
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kGeluTanh},
};

// Its values are normed per head, so o_proj is left out; its norms may feed a router as well.
constexpr Input kGemma4[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.input_layernorm",
     .norm_is_shared = true},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.pre_feedforward_layernorm",
     .norm_is_shared = true},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.pre_feedforward_layernorm",
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kGeluTanh},
};

// Attention outputs are gated, so o_proj and linear_attn.out_proj are left out.
constexpr Input kQwen35[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj",
                "layers.#.linear_attn.in_proj_qkv", "layers.#.linear_attn.in_proj_z",
                "layers.#.linear_attn.in_proj_a", "layers.#.linear_attn.in_proj_b"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.input_layernorm"},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.post_attention_layernorm"},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = Norm::kRmsOnePlus,
     .norm_name = "layers.#.post_attention_layernorm",
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kSilu},
};

constexpr Input kQwen25Vision[] = {
    {.layers = {"visual.blocks.#.attn.qkv"}, .norm = Norm::kRms, .norm_name = "visual.blocks.#.norm1"},
    {.layers = {"visual.blocks.#.attn.proj"},
     .norm = Norm::kRms,
     .norm_name = "visual.blocks.#.norm1",
     .values = {"visual.blocks.#.attn.qkv", 2, 3}},
    {.layers = {"visual.blocks.#.mlp.gate_proj", "visual.blocks.#.mlp.up_proj"},
     .norm = Norm::kRms,
     .norm_name = "visual.blocks.#.norm2"},
    {.layers = {"visual.blocks.#.mlp.down_proj"},
     .norm = Norm::kRms,
     .norm_name = "visual.blocks.#.norm2",
     .gate = {"visual.blocks.#.mlp.gate_proj"},
     .up = {"visual.blocks.#.mlp.up_proj"},
     .activation = Activation::kSilu},
};

// The UNets of Stable Diffusion 1, 2 and XL: the second half of a GEGLU's rows is its gate.
constexpr Input kUnet[] = {
    {.layers = {"transformer_blocks.#.attn1.to_q", "transformer_blocks.#.attn1.to_k",
                "transformer_blocks.#.attn1.to_v"},
     .norm = Norm::kLayer,
     .norm_name = "transformer_blocks.#.norm1"},
    {.layers = {"transformer_blocks.#.attn1.to_out.0"},
     .norm = Norm::kLayer,
     .norm_name = "transformer_blocks.#.norm1",
     .values = {"transformer_blocks.#.attn1.to_v"}},
    {.layers = {"transformer_blocks.#.attn2.to_q"},
     .norm = Norm::kLayer,
     .norm_name = "transformer_blocks.#.norm2"},
    {.layers = {"transformer_blocks.#.ff.net.0.proj"},
     .norm = Norm::kLayer,
     .norm_name = "transformer_blocks.#.norm3"},
    {.layers = {"transformer_blocks.#.ff.net.2"},
     .norm = Norm::kLayer,
     .norm_name = "transformer_blocks.#.norm3",
     .gate = {"transformer_blocks.#.ff.net.0.proj", 1, 2},
     .up = {"transformer_blocks.#.ff.net.0.proj", 0, 2},
     .activation = Activation::kGelu},
};

// From here on: blocks whose norms are modulated. What reads such a norm is left out; behind an activation
// the modulation matters less.

// Flux, Chroma, Hunyuan Video and its published names; with twice the rows, Flux.2.
constexpr Input kFlux[] = {
    {.layers = {"double_blocks.#.img_mlp.2"},
     .norm = Norm::kLayer,
     .gate = {"double_blocks.#.img_mlp.0"},
     .activation = Activation::kGeluTanh},
    {.layers = {"double_blocks.#.txt_mlp.2"},
     .norm = Norm::kLayer,
     .gate = {"double_blocks.#.txt_mlp.0"},
     .activation = Activation::kGeluTanh},
    {.layers = {"double_blocks.#.img_mlp.fc2"},
     .norm = Norm::kLayer,
     .gate = {"double_blocks.#.img_mlp.fc1"},
     .activation = Activation::kGeluTanh},
    {.layers = {"double_blocks.#.txt_mlp.fc2"},
     .norm = Norm::kLayer,
     .gate = {"double_blocks.#.txt_mlp.fc1"},
     .activation = Activation::kGeluTanh},
    {.layers = {"double_blocks.#.img_mlp.2"},
     .norm = Norm::kLayer,
     .gate = {"double_blocks.#.img_mlp.0", 0, 2},
     .up = {"double_blocks.#.img_mlp.0", 1, 2},
     .activation = Activation::kSilu},
    {.layers = {"double_blocks.#.txt_mlp.2"},
     .norm = Norm::kLayer,
     .gate = {"double_blocks.#.txt_mlp.0", 0, 2},
     .up = {"double_blocks.#.txt_mlp.0", 1, 2},
     .activation = Activation::kSilu},
};

// Hunyuan Video's text refiner: its norms are not modulated, only what the branches add.
constexpr Input kTokenRefiner[] = {
    {.layers = {"individual_token_refiner.blocks.#.self_attn.qkv",
                "individual_token_refiner.blocks.#.self_attn_qkv"},
     .norm = Norm::kLayer,
     .norm_name = "individual_token_refiner.blocks.#.norm1"},
    {.layers = {"individual_token_refiner.blocks.#.self_attn.proj"},
     .norm = Norm::kLayer,
     .norm_name = "individual_token_refiner.blocks.#.norm1",
     .values = {"individual_token_refiner.blocks.#.self_attn.qkv", 2, 3}},
    {.layers = {"individual_token_refiner.blocks.#.self_attn_proj"},
     .norm = Norm::kLayer,
     .norm_name = "individual_token_refiner.blocks.#.norm1",
     .values = {"individual_token_refiner.blocks.#.self_attn_qkv", 2, 3}},
    {.layers = {"individual_token_refiner.blocks.#.mlp.0", "individual_token_refiner.blocks.#.mlp.fc1"},
     .norm = Norm::kLayer,
     .norm_name = "individual_token_refiner.blocks.#.norm2"},
    {.layers = {"individual_token_refiner.blocks.#.mlp.2"},
     .norm = Norm::kLayer,
     .norm_name = "individual_token_refiner.blocks.#.norm2",
     .gate = {"individual_token_refiner.blocks.#.mlp.0"},
     .activation = Activation::kSilu},
    {.layers = {"individual_token_refiner.blocks.#.mlp.fc2"},
     .norm = Norm::kLayer,
     .norm_name = "individual_token_refiner.blocks.#.norm2",
     .gate = {"individual_token_refiner.blocks.#.mlp.fc1"},
     .activation = Activation::kSilu},
};

// norm3 is not modulated.
constexpr Input kWan[] = {
    {.layers = {"blocks.#.cross_attn.q"}, .norm = Norm::kLayer, .norm_name = "blocks.#.norm3"},
    {.layers = {"blocks.#.ffn.2"},
     .norm = Norm::kLayer,
     .gate = {"blocks.#.ffn.0"},
     .activation = Activation::kGeluTanh},
};

constexpr Input kQwenImage[] = {
    {.layers = {"transformer_blocks.#.img_mlp.net.2"},
     .norm = Norm::kLayer,
     .gate = {"transformer_blocks.#.img_mlp.net.0.proj"},
     .activation = Activation::kGeluTanh},
    {.layers = {"transformer_blocks.#.txt_mlp.net.2"},
     .norm = Norm::kLayer,
     .gate = {"transformer_blocks.#.txt_mlp.net.0.proj"},
     .activation = Activation::kGeluTanh},
};

// Z-Image and Lumina 2. The blocks of context_refiner are not modulated; with fewer value heads the joined
// rows are no thirds, and the shapes do not fit.
constexpr Input kZImage[] = {
    {.layers = {"context_refiner.#.attention.qkv"},
     .norm = Norm::kRms,
     .norm_name = "context_refiner.#.attention_norm1"},
    {.layers = {"context_refiner.#.attention.out"},
     .norm = Norm::kRms,
     .norm_name = "context_refiner.#.attention_norm1",
     .values = {"context_refiner.#.attention.qkv", 2, 3}},
    {.layers = {"context_refiner.#.feed_forward.w1", "context_refiner.#.feed_forward.w3"},
     .norm = Norm::kRms,
     .norm_name = "context_refiner.#.ffn_norm1"},
    {.layers = {"context_refiner.#.feed_forward.w2"},
     .norm = Norm::kRms,
     .norm_name = "context_refiner.#.ffn_norm1",
     .gate = {"context_refiner.#.feed_forward.w1"},
     .up = {"context_refiner.#.feed_forward.w3"},
     .activation = Activation::kSilu},
    {.layers = {"noise_refiner.#.feed_forward.w2"},
     .norm = Norm::kRms,
     .norm_name = "noise_refiner.#.ffn_norm1",
     .gate = {"noise_refiner.#.feed_forward.w1"},
     .up = {"noise_refiner.#.feed_forward.w3"},
     .activation = Activation::kSilu},
    {.layers = {"layers.#.feed_forward.w2"},
     .norm = Norm::kRms,
     .norm_name = "layers.#.ffn_norm1",
     .gate = {"layers.#.feed_forward.w1"},
     .up = {"layers.#.feed_forward.w3"},
     .activation = Activation::kSilu},
};

constexpr Input kSd3[] = {
    {.layers = {"joint_blocks.#.x_block.mlp.fc2"},
     .norm = Norm::kLayer,
     .gate = {"joint_blocks.#.x_block.mlp.fc1"},
     .activation = Activation::kGeluTanh},
    {.layers = {"joint_blocks.#.context_block.mlp.fc2"},
     .norm = Norm::kLayer,
     .gate = {"joint_blocks.#.context_block.mlp.fc1"},
     .activation = Activation::kGeluTanh},
};

constexpr Input kLtx[] = {
    {.layers = {"transformer_blocks.#.ff.net.2"},
     .norm = Norm::kRms,
     .gate = {"transformer_blocks.#.ff.net.0.proj"},
     .activation = Activation::kGeluTanh},
};

// Cosmos Predict 2 and Anima.
constexpr Input kCosmos[] = {
    {.layers = {"blocks.#.mlp.layer2"},
     .norm = Norm::kLayer,
     .gate = {"blocks.#.mlp.layer1"},
     .activation = Activation::kGelu},
};

constexpr Family kFamilies[] = {
    {{"encoder.layer.#.attention.output.LayerNorm.weight"}, {}, kBert},
    {{}, {}, kOpenClip},
    {{}, {}, kClip},
    {{}, {}, kT5},
    {{"layers.#.pre_feedforward_layernorm.weight", "layers.#.layer_scalar"}, {}, kGemma4},
    {{"layers.#.pre_feedforward_layernorm.weight"}, {"layers.#.layer_scalar"}, kGemma},
    {{"layers.0.linear_attn.A_log"}, {}, kQwen35},
    {{"layers.#.input_layernorm.weight", "layers.#.post_attention_layernorm.weight"},
     {"layers.#.pre_feedforward_layernorm.weight", "layers.0.linear_attn.A_log"},
     kLlama},
    {{}, {}, kQwen25Vision},
    {{"transformer_blocks.#.norm3.weight"}, {}, kUnet},
    {{}, {}, kFlux},
    {{}, {}, kTokenRefiner},
    {{"blocks.#.modulation"}, {}, kWan},
    {{}, {}, kQwenImage},
    {{}, {}, kZImage},
    {{}, {}, kSd3},
    {{"transformer_blocks.#.scale_shift_table"}, {"transformer_blocks.#.norm3.weight"}, kLtx},
    {{"blocks.#.adaln_modulation_mlp.1.weight"}, {}, kCosmos},
};

struct HeadSize {
  int64_t hidden_size;
  int64_t values_size;
  int64_t head_size;
};

constexpr HeadSize kHeadSizes[] = {
    {2048, 256, 128},   // Qwen 2.5 3B
    {2304, 1024, 256},  // Gemma 2 2B
    {3584, 512, 128},   // Qwen 2.5 7B
    {4096, 1024, 128},  // Llama 3 8B
    {5120, 1024, 128},  // Mistral Small 24B
};

}  // namespace

std::span<const Family> families() { return kFamilies; }

int64_t head_size(int64_t hidden_size, int64_t values_size) {
  const auto* row = std::ranges::find_if(kHeadSizes, [&](const HeadSize& known) {
    return known.hidden_size == hidden_size && known.values_size == values_size;
  });
  return row == std::end(kHeadSizes) ? 0 : row->head_size;
}

}  // namespace ctq::calibrate
