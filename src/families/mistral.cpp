// Mistral 3 and Ministral 3.
#include "base_avoid.h"
#include "rows.h"

namespace ctq::families {
namespace {

// Without the vision tower their names are Llama's, and the width tells them, as it tells ComfyUI.
constexpr Signature of_width(int64_t width) {
  return {.all = {"model.layers.0.post_attention_layernorm", "model.layers.0.self_attn.k_proj"},
          .none = {"model.layers.0.self_attn.q_norm", "model.layers.0.self_attn.k_proj.bias",
                   "model.layers.0.post_feedforward_layernorm"},
          .size = Size{"model.layers.0.post_attention_layernorm.weight", 0, width}};
}

constexpr Signature kMistralSignatures[] = {
    {{"tekken_model", "model.layers.0.self_attn.q_proj"}},
    {{"model.vision_tower.patch_conv", "model.vision_tower.ln_pre",
      "model.multi_modal_projector.patch_merger.merging_layer",
      "model.language_model.layers.0.self_attn.q_proj"}},
    {{"vision_tower.patch_conv", "vision_tower.ln_pre", "multi_modal_projector.patch_merger.merging_layer"}},
    of_width(5120),
    of_width(3072),
};

constexpr HeadSize kHeadSizes[] = {{5120, 1024, 128}};  // Small 24B

}  // namespace

constinit const Preset kMistralPreset = {
    .name = "mistral",
    .help = "Mistral-family text encoder. Same protected list as t5xxl, nothing is dropped.",
    .category = "text",
    .from_seed = true,
    .text_encoder = true,
    .seed = PatternLists{.exclude = kBaseAvoid},
    .peer = PatternLists{.exclude = kBaseAvoidPeer}};

constinit const Family kMistral = {
    .name = "mistral",
    .title = "Mistral 3, Ministral 3",
    .kind = Kind::kTextEncoder,
    .signatures = kMistralSignatures,
    .preset = &kMistralPreset,
    .structures = {&kLlamaStructure},
    .heads = kHeadSizes,
};

}  // namespace ctq::families
