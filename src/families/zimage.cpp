// Z-Image, and Lumina 2, which has its presets.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kZimageExclude[] = {
    "cap_embedder.0", "cap_pad_token", "attention_norm1", "attention_norm2", "ffn_norm1",
    "ffn_norm2",      "k_norm",        "q_norm",          "x_pad_token",     "norm",
    "bias",
};

constexpr std::string_view kZimageHighprec[] = {
    "x_embedder", "clip_text_pooled_proj", "final_layer", "cap_embedder.1", "adaLN_modulation",
    "t_embedder", "time_text_embed",       "pos_embed",   "proj_out",
};

constexpr std::string_view kZimageExcludePeer[] = {
    "cap_embedder.0", "cap_pad_token", "attention_norm1", "attention_norm2", "ffn_norm1",
    "ffn_norm2",      "k_norm",        "q_norm",          "x_pad_token",
};

constexpr std::string_view kZimageHighprecPeer[] = {
    "x_embedder", "clip_text_pooled_proj", "final_layer", "cap_embedder.1", "adaLN_modulation",
    "t_embedder", "time_text_embed",
};

constexpr std::string_view kZimageRefinerHighprec[] = {"context_refiner", "noise_refiner"};

constexpr Signature kZimageSignatures[] = {
    {{"cap_embedder.1", "noise_refiner.0.attention.k_norm", "context_refiner.0", "x_embedder",
      "final_layer"}},
};

constexpr Signature kZimagePixelSignatures[] = {
    {{"dec_net.cond_embed", "cap_embedder.1", "noise_refiner.0.attention.k_norm", "x_embedder"}},
};

constexpr Signature kLumina2Signatures[] = {
    {{"layers.0.adaLN_modulation.1", "cap_embedder.1", "noise_refiner.0.attention.k_norm",
      "context_refiner.0", "x_embedder", "final_layer"}},
};

// ComfyUI tells Lumina 2 from Z-Image by the rows.
constexpr std::string_view kZimageConfiguring[] = {"cap_embedder.1"};

constexpr std::string_view kZimagePixelConfiguring[] = {"cap_embedder.1", "x_embedder",
                                                        "dec_net.input_embedder.embedder.0"};

constexpr std::string_view kZimagePixelConfiguringRows[] = {"dec_net.cond_embed",
                                                            "dec_net.final_layer.linear"};

// The blocks of context_refiner are not modulated; with fewer value heads the joined rows are no thirds, and
// the shapes do not fit.
constexpr Input kZimageInputs[] = {
    {.layers = {"context_refiner.#.attention.qkv"},
     .norm = {Norm::kRms, "context_refiner.#.attention_norm1"}},
    {.layers = {"context_refiner.#.attention.out"},
     .norm = {Norm::kRms, "context_refiner.#.attention_norm1"},
     .values = {"context_refiner.#.attention.qkv", 2, 3}},
    {.layers = {"context_refiner.#.feed_forward.w1", "context_refiner.#.feed_forward.w3"},
     .norm = {Norm::kRms, "context_refiner.#.ffn_norm1"}},
    {.layers = {"context_refiner.#.feed_forward.w2"},
     .norm = {Norm::kRms, "context_refiner.#.ffn_norm1"},
     .gate = {"context_refiner.#.feed_forward.w1"},
     .up = {"context_refiner.#.feed_forward.w3"},
     .activation = Activation::kSilu},
    {.layers = {"noise_refiner.#.feed_forward.w2"},
     .norm = {Norm::kRms, "noise_refiner.#.ffn_norm1"},
     .gate = {"noise_refiner.#.feed_forward.w1"},
     .up = {"noise_refiner.#.feed_forward.w3"},
     .activation = Activation::kSilu},
    {.layers = {"layers.#.feed_forward.w2"},
     .norm = {Norm::kRms, "layers.#.ffn_norm1"},
     .gate = {"layers.#.feed_forward.w1"},
     .up = {"layers.#.feed_forward.w3"},
     .activation = Activation::kSilu},
};

// Conditioning multiplies what these norms give.
constexpr ModulatedInput kZimageModulated[] = {
    {.layers = {"layers.#.attention.qkv"}, .norm = "layers.#.attention_norm1"},
    {.layers = {"layers.#.feed_forward.w1", "layers.#.feed_forward.w3"}, .norm = "layers.#.ffn_norm1"},
    {.layers = {"noise_refiner.#.attention.qkv"}, .norm = "noise_refiner.#.attention_norm1"},
    {.layers = {"noise_refiner.#.feed_forward.w1", "noise_refiner.#.feed_forward.w3"},
     .norm = "noise_refiner.#.ffn_norm1"},
};

}  // namespace

constinit const Structure kZimageStructure = {.inputs = kZimageInputs, .modulated = kZimageModulated};

constinit const Preset kZimagePreset = {
    .name = "zimage",
    .help =
        "Z-Image / Lumina-style transformer. Caption embedder, norms, pad tokens, x/t embedders, adaLN "
        "and final layer stay unquantized.",
    .category = "image",
    .from_seed = true,
    .seed = PatternLists{.exclude = kZimageExclude, .highprec = kZimageHighprec},
    .peer = PatternLists{.exclude = kZimageExcludePeer, .highprec = kZimageHighprecPeer}};

constinit const Preset kZimageRefinerPreset = {
    .name = "zimage_refiner",
    .help =
        "Z-Image, protecting the context and noise refiner stacks instead of the embedders and final "
        "layer.",
    .category = "image",
    .from_seed = true,
    .seed = PatternLists{.exclude = kZimageExclude, .highprec = kZimageRefinerHighprec},
    .peer = PatternLists{.exclude = kZimageExcludePeer, .highprec = kZimageRefinerHighprec}};

constinit const Family kZimage = {
    .name = "zimage",
    .title = "Z-Image, Turbo, Omni",
    .kind = Kind::kDiffusion,
    .signatures = kZimageSignatures,
    .preset = &kZimagePreset,
    .structures = {&kZimageStructure},
    .comfyui = {.configuring = kZimageConfiguring, .encoders = inside::kQwen3_4b},
};

constinit const Family kZimagePixel = {
    .name = "zimage_pixel",
    .title = "Z-Image on pixels",
    .kind = Kind::kDiffusion,
    .signatures = kZimagePixelSignatures,
    .preset = &kZimagePreset,
    .structures = {&kZimageStructure},
    .comfyui = {.configuring = kZimagePixelConfiguring,
                .configuring_rows = kZimagePixelConfiguringRows,
                .encoders = inside::kQwen3_4b},
};

constinit const Family kLumina2 = {
    .name = "lumina2",
    .title = "Lumina 2, NewBie",
    .kind = Kind::kDiffusion,
    .signatures = kLumina2Signatures,
    .preset = &kZimagePreset,
    .structures = {&kZimageStructure},
    .comfyui = {.configuring = kZimageConfiguring, .encoders = inside::kGemma2},
};

}  // namespace ctq::families
