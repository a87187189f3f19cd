// HunyuanVideo 1.5.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kHunyuanExclude[] = {
    "layernorm", "img_attn_k_norm",  "img_attn_q_norm",  "txt_attn_k_norm", "txt_attn_q_norm",     "norm1",
    "norm2",     "vision_in.proj.0", "vision_in.proj.4", "img_in.proj",     "cond_type_embedding",
};

constexpr std::string_view kHunyuanHighprecOurs[] = {"vision_in.proj.1", "vision_in.proj.3"};

constexpr Signature kHunyuanVideo15Signatures[] = {
    {{"cond_type_embedding", "vision_in.proj", "txt_in.individual_token_refiner", "double_blocks.0"}},
};

// The kinds of its conditions are a table of torch's own, which reads no codes.
constexpr std::string_view kHunyuanVideo15Plain[] = {"cond_type_embedding"};

constexpr std::string_view kHunyuanVideo15Configuring[] = {"txt_in.input_embedder"};

constexpr std::string_view kHunyuanVideo15ConfiguringRows[] = {"final_layer.linear"};

}  // namespace

constinit const Preset kHunyuanPreset = {
    .name = "hunyuan",
    .help =
        "Hunyuan Video 1.5. Layer norms, attention q/k norms, vision input projection, image input "
        "projection and condition embedding stay unquantized.",
    .category = "video",
    .from_seed = true,
    .seed = PatternLists{.exclude = kHunyuanExclude},
    .peer = PatternLists{.exclude = kHunyuanExclude},
    .ours = PatternLists{.highprec = kHunyuanHighprecOurs}};

constinit const Family kHunyuanVideo15 = {
    .name = "hunyuan_video15",
    .title = "HunyuanVideo 1.5",
    .kind = Kind::kDiffusion,
    .signatures = kHunyuanVideo15Signatures,
    .preset = &kHunyuanPreset,
    .structures = {&kFluxStructure, &kHunyuanVideoStructure},
    .comfyui = {.plain = kHunyuanVideo15Plain,
                .configuring = kHunyuanVideo15Configuring,
                .configuring_rows = kHunyuanVideo15ConfiguringRows,
                .encoders = inside::kQwen25_7b},
};

}  // namespace ctq::families
