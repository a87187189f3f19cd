// The layer presets as tables. Printed by tools/make_presets.py: change that, or its input, not this file.
//
// The pattern lists are those of ThunderFun/convert_to_quant_QuIP_INT8 (`seed`) and
// silveroxides/convert_to_quant 1.3.4 (`peer`).
#include "ctq/plan/presets.h"

// clang-format off
namespace ctq::plan {
namespace {

constexpr std::string_view kBaseAvoid[] = {
    "norm", "bias", "embed_tokens", "lm_head", "shared", "patch_embedding", "audio_model.patch_embedding",
    "ref_conv", "control_adapter", "motion_encoder.enc.net_app", "face_encoder.conv", "pose_patch_embedding",
    "motion_encoder.enc.fc", "img_emb.proj", "k_norm", "q_norm", "motion_encoder.dec", "head.modulation",
    "casual_audio_encoder", "cond_encoder", "frame_packer", "norm_k", "norm_q", "tekken_model",
    "multi_modal_projector", "patch_conv", "ln_pre", "input_layernorm", "attention_norm",
    "post_attention_layernorm",
};
constexpr std::string_view kBaseAvoidPeer[] = {
    "norm", "bias", "embed_tokens", "lm_head", "shared", "patch_embedding", "audio_model.patch_embedding",
    "ref_conv", "control_adapter", "motion_encoder.enc.net_app", "face_encoder.conv", "pose_patch_embedding",
    "motion_encoder.enc.fc", "img_emb.proj", "k_norm", "q_norm", "motion_encoder.dec", "head.modulation",
    "casual_audio_encoder", "cond_encoder", "frame_packer", "norm_k", "norm_q", "tekken_model",
    "multi_modal_projector", "patch_conv", "ln_pre", "input_layernorm", "attention_norm",
    "post_attention_layernorm", "mm_input_projection_weight",
};
constexpr std::string_view kT5xxlRemove[] = {"decoder", "lm_head"};
constexpr std::string_view kVisualExclude[] = {"mlp.down_proj", "mlp.up_proj", "mlp.gate_proj"};
constexpr std::string_view kFlux2Highprec[] = {
    "stream_modulation", "guidance_in", "time_in", "final_layer", "img_in", "txt_in",
};
constexpr std::string_view kDistillationLargeHighprec[] = {
    "distilled_guidance_layer", "final_layer", "img_in", "txt_in",
};
constexpr std::string_view kDistillationSmallHighprec[] = {"distilled_guidance_layer"};
constexpr std::string_view kNerfLargeHighprec[] = {
    "distilled_guidance_layer", "nerf_blocks", "nerf_image_embedder", "txt_in",
};
constexpr std::string_view kNerfLargeHighprecPeer[] = {
    "distilled_guidance_layer", "nerf_blocks", "nerf_image_embedder", "txt_in", "_attn.proj",
};
constexpr std::string_view kNerfSmallHighprec[] = {
    "distilled_guidance_layer", "nerf_blocks", "nerf_image_embedder",
};
constexpr std::string_view kRadianceHighprec[] = {"img_in_patch", "nerf_final_layer_conv", "__x0__"};
constexpr std::string_view kWanHighprec[] = {
    "text_embedding", "time_embedding", "audio_model.text_embedding", "casual_audio_encoder", "frame_packer",
    "trainable_cond_mask", "cond_encoder", "audio_model.time_embedding", "time_projection",
    "video_model.time_projection", "head.head", "face_encoder.out_proj", "face_adapter", "audio_injector",
};
constexpr std::string_view kHunyuanExclude[] = {
    "layernorm", "img_attn_k_norm", "img_attn_q_norm", "txt_attn_k_norm", "txt_attn_q_norm", "norm1", "norm2",
    "vision_in.proj.0", "vision_in.proj.4", "img_in.proj", "cond_type_embedding",
};
constexpr std::string_view kQwenExclude[] = {"norm_added_k", "norm_added_q", "norm_k", "norm_q", "txt_norm"};
constexpr std::string_view kQwenHighprec[] = {
    "time_text_embed", "img_in", "norm_out", "proj_out", "transformer_blocks.0.img_mod.1", "txt_in",
};
constexpr std::string_view kZimageExclude[] = {
    "cap_embedder.0", "cap_pad_token", "attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2",
    "k_norm", "q_norm", "x_pad_token", "norm", "bias",
};
constexpr std::string_view kZimageHighprec[] = {
    "x_embedder", "clip_text_pooled_proj", "final_layer", "cap_embedder.1", "adaLN_modulation", "t_embedder",
    "time_text_embed", "pos_embed", "proj_out",
};
constexpr std::string_view kZimageExcludePeer[] = {
    "cap_embedder.0", "cap_pad_token", "attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2",
    "k_norm", "q_norm", "x_pad_token",
};
constexpr std::string_view kZimageHighprecPeer[] = {
    "x_embedder", "clip_text_pooled_proj", "final_layer", "cap_embedder.1", "adaLN_modulation", "t_embedder",
    "time_text_embed",
};
constexpr std::string_view kZimageRefinerHighprec[] = {"context_refiner", "noise_refiner"};
constexpr std::string_view kLoraExclude[] = {"alpha", "scale"};
constexpr std::string_view kGemma4Exclude[] = {
    "audio", "per_layer_input_gate", "per_layer_projection", "vision", "multi_modal_projector",
};
constexpr PreservedDtype kQwenVlmPreserveDtype[] = {{"bfloat16", ".*"}};
constexpr std::string_view kQwenVlmExclude[] = {
    ".layers.0.", "lm_head", "embed_tokens", "in_proj_a", "in_proj_b", "visual.", "mtp.",
};
constexpr std::string_view kAnimaHighprec[] = {
    "net.blocks.0.", "net.blocks.1.adaln_modulation", "final_layer", "llm_adapter", "t_embedder",
    "x_embedder",
};
constexpr std::string_view kLensHighprec[] = {
    "time_text_embed", "img_in", "norm_out", "proj_out", "img_mod.1", "txt_mod.1", "txt_in",
};
constexpr PreservedDtype kKrea2PreserveDtype[] = {
    {"float32", "(?:^|\\.)(?:first|last\\.linear|tmlp\\.(?:0|2)|tproj\\.1|txtfusion\\.projector|"
                "txtmlp\\.(?:1|3))\\.weight$"},
};
constexpr std::string_view kKrea2Highprec[] = {"firs", "las", "tml", "txtfusion", "last.modulatio", "tpro"};
constexpr std::string_view kIdeogram4Highprec[] = {
    "embed_image_indicator", "t_embedding", "llm_cond_proj", "adaln_proj", "final_layer", "input_proj",
};
constexpr std::string_view kMinimaxh3Highprec[] = {
    "audio_patch_proj", "condition_proj", "final_layer", "time_embedder", "token_refiner", "video_patch_proj",
};
constexpr std::string_view kBooguHighprec[] = {
    "image_index_embedding", "ref_image_patch_embedder", "time_caption_embed", "x_embedder",
    "norm_out.linear_1", "norm_out.linear_2",
};
constexpr std::string_view kLtxv2Highprec[] = {
    "scale_shift_table", "text_embedding_projection", "audio_vae", "audio_embeddings_connector",
    "adaln_single", "audio_adaln_single", "audio_patchify_proj", "audio_proj_out",
    "audio_prompt_adaln_single", "av_ca_a2v_gate_adaln_single", "av_ca_audio_scale_shift_adaln_single",
    "av_ca_v2a_gate_adaln_single", "av_ca_video_scale_shift_adaln_single", "patchify_proj", "proj_out",
    "prompt_adaln_single", "transformer_blocks.0.", "transformer_blocks.1.", "transformer_blocks.46.",
    "transformer_blocks.47.", "video_embeddings_connector", "vae.decoder", "vae.encoder", "vocoder",
    "to_gate_logits",
};

constexpr Preset kPresets[] = {
    {.name = "t5xxl",
     .help =
         "T5-XXL text encoder. Norm, bias, embedding and similar tensors stay unquantized; decoder and "
         "LM-head tensors are dropped from the output.",
     .category = "text",
     .from_seed = true,
     .text_encoder = true,
     .seed = PatternLists{.exclude = kBaseAvoid, .remove = kT5xxlRemove},
     .peer = PatternLists{.exclude = kBaseAvoidPeer, .remove = kT5xxlRemove}},
    {.name = "mistral",
     .help =
         "Mistral-family text encoder. Same protected list as t5xxl, nothing is dropped.",
     .category = "text",
     .from_seed = true,
     .text_encoder = true,
     .seed = PatternLists{.exclude = kBaseAvoid},
     .peer = PatternLists{.exclude = kBaseAvoidPeer}},
    {.name = "visual",
     .help =
         "Vision tower of a text/vision encoder. The three MLP projections (down, up, gate) stay "
         "unquantized.",
     .category = "text",
     .from_seed = true,
     .text_encoder = true,
     .seed = PatternLists{.exclude = kVisualExclude},
     .peer = PatternLists{.exclude = kVisualExclude}},
    {.name = "flux2",
     .help =
         "Flux.2 transformer. Modulation, guidance, time, input and final layers stay unquantized.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.highprec = kFlux2Highprec},
     .peer = PatternLists{.highprec = kFlux2Highprec}},
    {.name = "distillation_large",
     .help =
         "Chroma / distilled Flux, wide protection: distilled guidance, final layer, image and text input "
         "projections.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.highprec = kDistillationLargeHighprec},
     .peer = PatternLists{.highprec = kDistillationLargeHighprec}},
    {.name = "distillation_small",
     .help =
         "Chroma / distilled Flux, narrow protection: distilled guidance only.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.highprec = kDistillationSmallHighprec},
     .peer = PatternLists{.highprec = kDistillationSmallHighprec}},
    {.name = "nerf_large",
     .help =
         "Pixel-space (NeRF head) Chroma, wide protection: distilled guidance, NeRF blocks and image "
         "embedder, text input projection.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.highprec = kNerfLargeHighprec},
     .peer = PatternLists{.highprec = kNerfLargeHighprecPeer}},
    {.name = "nerf_small",
     .help =
         "Pixel-space (NeRF head) Chroma, narrow protection: distilled guidance, NeRF blocks and image "
         "embedder.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.highprec = kNerfSmallHighprec},
     .peer = PatternLists{.highprec = kNerfSmallHighprec}},
    {.name = "radiance",
     .help =
         "Chroma Radiance: patch input projection, final NeRF convolution and the __x0__ marker stay "
         "unquantized.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.highprec = kRadianceHighprec},
     .peer = PatternLists{.highprec = kRadianceHighprec}},
    {.name = "wan",
     .help =
         "WAN video transformer. Embeddings, time projection, head, audio/face/motion side networks and "
         "everything in the base avoid list stay unquantized.",
     .category = "video",
     .from_seed = true,
     .seed = PatternLists{.exclude = kBaseAvoid, .highprec = kWanHighprec},
     .peer = PatternLists{.exclude = kBaseAvoidPeer, .highprec = kWanHighprec}},
    {.name = "hunyuan",
     .help =
         "Hunyuan Video 1.5. Layer norms, attention q/k norms, vision input projection, image input "
         "projection and condition embedding stay unquantized.",
     .category = "video",
     .from_seed = true,
     .seed = PatternLists{.exclude = kHunyuanExclude},
     .peer = PatternLists{.exclude = kHunyuanExclude}},
    {.name = "qwen",
     .help =
         "Qwen-Image transformer. Added norms, time/text embedding, first-block image modulation, input "
         "and output projections stay unquantized.",
     .category = "image",
     .from_seed = true,
     .seed = PatternLists{.exclude = kQwenExclude, .highprec = kQwenHighprec},
     .peer = PatternLists{.exclude = kQwenExclude, .highprec = kQwenHighprec}},
    {.name = "zimage",
     .help =
         "Z-Image / Lumina-style transformer. Caption embedder, norms, pad tokens, x/t embedders, adaLN "
         "and final layer stay unquantized.",
     .category = "image",
     .from_seed = true,
     .seed = PatternLists{.exclude = kZimageExclude, .highprec = kZimageHighprec},
     .peer = PatternLists{.exclude = kZimageExcludePeer, .highprec = kZimageHighprecPeer}},
    {.name = "zimage_refiner",
     .help =
         "Z-Image, protecting the context and noise refiner stacks instead of the embedders and final "
         "layer.",
     .category = "image",
     .from_seed = true,
     .seed = PatternLists{.exclude = kZimageExclude, .highprec = kZimageRefinerHighprec},
     .peer = PatternLists{.exclude = kZimageExcludePeer, .highprec = kZimageRefinerHighprec}},
    {.name = "lora",
     .help =
         "A LoRA adapter file. Alpha and scale tensors stay as they are; the up/down (A/B) matrices are "
         "quantized.",
     .category = "diffusion",
     .from_seed = true,
     .seed = PatternLists{.exclude = kLoraExclude}},
    {.name = "gemma4",
     .help =
         "Gemma 4 text/multimodal encoder. Audio, vision, multimodal projector and per-layer "
         "input/projection tensors stay unquantized.",
     .category = "text",
     .peer = PatternLists{.exclude = kGemma4Exclude}},
    {.name = "qwen_vlm",
     .help =
         "Qwen vision-language encoders. First and last language layer, embeddings, LM head, MTP head, "
         "gated-delta in_proj a/b and the whole vision tower stay unquantized.",
     .category = "text",
     .text_encoder = true,
     .exclude_final_language_layer = true,
     .preserve_dtype = kQwenVlmPreserveDtype,
     .peer = PatternLists{.exclude = kQwenVlmExclude}},
    {.name = "qwen35",
     .help =
         "Old name of the Qwen vision-language preset.",
     .category = "text",
     .text_encoder = true,
     .alias_for = "qwen_vlm",
     .peer = PatternLists{}},
    {.name = "generic_text",
     .help =
         "Marks the file as a text encoder (input scales are then written for FP8) without protecting any "
         "layer by itself.",
     .category = "text",
     .text_encoder = true,
     .peer = PatternLists{}},
    {.name = "anima",
     .help =
         "Anima transformer. First block, second block adaLN, final layer, LLM adapter, t/x embedders "
         "stay unquantized.",
     .category = "diffusion",
     .peer = PatternLists{.highprec = kAnimaHighprec}},
    {.name = "lens",
     .help =
         "LENS transformer. Time/text embedding, image and text modulation, input and output projections "
         "stay unquantized.",
     .category = "diffusion",
     .peer = PatternLists{.highprec = kLensHighprec}},
    {.name = "krea2",
     .help =
         "Krea 2 transformer. First/last layers, time and text MLPs, text fusion and time projection stay "
         "unquantized.",
     .category = "diffusion",
     .preserve_dtype = kKrea2PreserveDtype,
     .peer = PatternLists{.highprec = kKrea2Highprec}},
    {.name = "ideogram4",
     .help =
         "Ideogram 4 transformer. Image indicator, time embedding, LLM condition projection, adaLN "
         "projection, final layer, input projection stay unquantized.",
     .category = "diffusion",
     .peer = PatternLists{.highprec = kIdeogram4Highprec}},
    {.name = "minimaxh3",
     .help =
         "MiniMax H3 video transformer. Patch, condition, time, token-refiner and final layers stay "
         "unquantized.",
     .category = "video",
     .peer = PatternLists{.highprec = kMinimaxh3Highprec}},
    {.name = "boogu",
     .help =
         "Boogu image transformer. Image index embedding, reference patch embedder, time/caption "
         "embedding, x embedder and output-norm linears stay unquantized.",
     .category = "image",
     .peer = PatternLists{.highprec = kBooguHighprec}},
    {.name = "ltxv2",
     .help =
         "LTX-Video 2. First two and last two blocks, adaLN/patchify/connector tensors, gate logits, VAE "
         "and vocoder stay unquantized.",
     .category = "video",
     .peer = PatternLists{.highprec = kLtxv2Highprec}},
};

constexpr PresetCategory kCategories[] = {
    {"text", "Text Encoders"},
    {"diffusion", "Diffusion Models (Flux-style)"},
    {"video", "Video Models"},
    {"image", "Image Models"},
};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

std::span<const PresetCategory> preset_categories() { return kCategories; }

}  // namespace ctq::plan
