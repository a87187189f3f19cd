// Which preset suits a checkpoint, by names that only its family has.
#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>

#include "ctq/plan/presets.h"

namespace ctq::plan {
namespace {

/// A fragment is a run of whole dotted parts: "img_in" is in "model.img_in.weight", but not in
/// "img_in_patch.weight".
struct Family {
  std::string_view preset;
  std::array<std::string_view, 5> all;        ///< each in some tensor name
  std::array<std::string_view, 2> none = {};  ///< in no tensor name
};

// Names as ComfyUI reads them, with any prefix. The first row that fits decides, so a family that adds to
// another's names stands before it.
constexpr Family kDiffusionModels[] = {
    {"flux2", {"double_stream_modulation_img.lin", "double_blocks.0", "single_blocks.0"}},
    {"nerf_large", {"distilled_guidance_layer", "nerf_blocks.0", "nerf_image_embedder", "img_in_patch"}},
    {"distillation_large",
     {"distilled_guidance_layer", "double_blocks.0", "single_blocks.0", "img_in", "txt_in"}},
    {"hunyuan",
     {"cond_type_embedding", "vision_in.proj", "txt_in.individual_token_refiner", "double_blocks.0"}},
    {"flux2",  // Flux.1
     {"double_blocks.0.img_attn.qkv", "single_blocks.0.linear1", "vector_in.in_layer", "time_in.in_layer",
      "final_layer.linear"},
     {"individual_token_refiner", "latent_in"}},
    {"wan", {"head.modulation", "head.head", "time_projection.1", "text_embedding.0", "blocks.0.cross_attn"}},
    {"minimaxh3", {"video_patch_proj", "audio_patch_proj", "condition_proj", "token_refiner.blocks.0"}},
    {"ltxv2",
     {"audio_adaln_single.linear", "adaln_single.emb.timestep_embedder.linear_1", "patchify_proj",
      "transformer_blocks.47"}},
    {"anima", {"llm_adapter.blocks.0.cross_attn.q_proj", "blocks.0.mlp.layer1", "x_embedder.proj.1"}},
    {"boogu",
     {"double_stream_layers.0.img_instruct_attn.processor.img_to_q", "single_stream_layers.0", "x_embedder",
      "time_caption_embed"}},
    {"zimage",  // and Lumina 2, whose names are the same
     {"cap_embedder.1", "noise_refiner.0.attention.k_norm", "context_refiner.0", "x_embedder",
      "final_layer"}},
    {"lens",
     {"transformer_blocks.0.img_mlp.w1", "transformer_blocks.0.attn.norm_added_q", "txt_norm", "img_in"}},
    {"qwen",  // block 59 is the last one; Mage-Flow has the same names and 12 blocks
     {"transformer_blocks.59", "transformer_blocks.0.img_mod.1", "txt_norm", "time_text_embed", "img_in"}},
    {"ideogram4", {"embed_image_indicator", "llm_cond_proj", "adaln_proj", "input_proj", "layers.0"}},
    {"krea2", {"txtfusion.projector", "txtfusion.layerwise_blocks.0", "blocks.0.attn.wq"}},
};

constexpr Family kTextEncoders[] = {
    {"t5xxl", {"encoder.block.23.layer.1.DenseReluDense.wi_1", "encoder.block.0.layer.0.SelfAttention.k"}},
    {"t5xxl", {"encoder.block.23.layer.1.DenseReluDense.wi", "encoder.block.0.layer.0.SelfAttention.k"}},
    {"gemma4",  // Gemma 3n has the per-layer inputs too, but no layer_scalar
     {"layers.0.per_layer_input_gate", "layers.0.per_layer_projection", "layers.0.layer_scalar"}},
    {"qwen_vlm",  // Qwen 3.5
     {"language_model.layers.0.linear_attn.A_log", "language_model.layers.0.linear_attn.in_proj_a"}},
    {"qwen_vlm",  // Qwen3-VL
     {"visual.deepstack_merger_list.0.norm", "visual.merger.linear_fc2", "layers.0.self_attn.q_norm"},
     {"audio_tower", "talker"}},
    {"qwen_vlm",  // Qwen2.5-VL
     {"visual.merger.ln_q", "visual.merger.mlp.0", "visual.blocks.0.attn.qkv", "layers.0.self_attn.k_proj"},
     {"audio_tower", "audio_encoder"}},
    {"mistral", {"tekken_model", "layers.0.self_attn.q_proj"}},
    {"mistral",
     {"vision_tower.patch_conv", "vision_tower.ln_pre", "multi_modal_projector.patch_merger.merging_layer",
      "layers.0.self_attn.q_proj"}},
};

/// Where a text encoder is one of several models, its preset must not decide over the others: that of t5xxl
/// drops every "decoder", a VAE's too.
constexpr std::string_view kOtherModels[] = {"diffusion_model", "first_stage_model", "model_ema", "vae"};

/// An adapter has its model's names, but only low-rank tensors, for which no preset is made.
constexpr std::string_view kAdapters[] = {"lora_A", "lora_B", "lora_up", "lora_down"};

bool has_fragment(std::string_view name, std::string_view fragment) {
  for (size_t at = name.find(fragment); at != std::string_view::npos; at = name.find(fragment, at + 1)) {
    const size_t end = at + fragment.size();
    if ((at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.')) return true;
  }
  return false;
}

bool any_has(std::span<const std::string> names, std::string_view fragment) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return has_fragment(name, fragment); });
}

bool any_has_one_of(std::span<const std::string> names, std::span<const std::string_view> fragments) {
  return std::any_of(fragments.begin(), fragments.end(), [&](std::string_view fragment) {
    return !fragment.empty() && any_has(names, fragment);
  });
}

std::string_view first_fit(std::span<const Family> families, std::span<const std::string> names) {
  for (const Family& family : families) {
    const bool fits = std::all_of(family.all.begin(), family.all.end(), [&](std::string_view fragment) {
      return fragment.empty() || any_has(names, fragment);
    });
    if (fits && !any_has_one_of(names, family.none)) return family.preset;
  }
  return {};
}

}  // namespace

std::string_view recognise_preset(std::span<const std::string> tensor_names) {
  if (any_has_one_of(tensor_names, kAdapters)) return {};
  const std::string_view diffusion = first_fit(kDiffusionModels, tensor_names);
  if (!diffusion.empty() || any_has_one_of(tensor_names, kOtherModels)) return diffusion;
  return first_fit(kTextEncoders, tensor_names);
}

}  // namespace ctq::plan
