// Stable Diffusion 1 and 2, and what has their U-Net.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kSd15Highprec[] = {"time_embed.", "label_emb."};

constexpr Signature kSdX4Signatures[] = {
    {{"label_emb.weight", "input_blocks.4.1.transformer_blocks.0.attn2.to_k", "output_blocks.0.0"}},
};

// Its labels are a table of torch's own, which reads no codes.
constexpr std::string_view kSdX4Plain[] = {"label_emb"};

constexpr std::string_view kSdX4Configuring[] = {"input_blocks.4.1.transformer_blocks.0.attn2.to_k"};

constexpr Signature kSd15Signatures[] = {
    {{"input_blocks.1.1.transformer_blocks.0.attn2.to_k", "time_embed.0", "output_blocks.0.0"},
     {"input_blocks.1.1.time_stack"}},
};

// The width of the text that the first cross attention takes decides which of them it is.
constexpr std::string_view kSd15Configuring[] = {"input_blocks.1.1.transformer_blocks.0.attn2.to_k",
                                                 "label_emb.0.0"};

// The second half of a GEGLU's rows is its gate.
constexpr Input kUnetInputs[] = {
    {.layers = {"transformer_blocks.#.attn1.to_q", "transformer_blocks.#.attn1.to_k",
                "transformer_blocks.#.attn1.to_v"},
     .norm = {Norm::kLayer, "transformer_blocks.#.norm1"}},
    {.layers = {"transformer_blocks.#.attn1.to_out.0"},
     .norm = {Norm::kLayer, "transformer_blocks.#.norm1"},
     .values = {"transformer_blocks.#.attn1.to_v"}},
    {.layers = {"transformer_blocks.#.attn2.to_q"}, .norm = {Norm::kLayer, "transformer_blocks.#.norm2"}},
    {.layers = {"transformer_blocks.#.ff.net.0.proj"}, .norm = {Norm::kLayer, "transformer_blocks.#.norm3"}},
    {.layers = {"transformer_blocks.#.ff.net.2"},
     .norm = {Norm::kLayer, "transformer_blocks.#.norm3"},
     .gate = {"transformer_blocks.#.ff.net.0.proj", 1, 2},
     .up = {"transformer_blocks.#.ff.net.0.proj", 0, 2},
     .activation = Activation::kGelu},
};

}  // namespace

constinit const Structure kUnetStructure = {.present = {"transformer_blocks.#.norm3.weight"},
                                            .inputs = kUnetInputs};

constinit const Preset kSd15Preset = {
    .name = "sd15",
    .help = "Stable Diffusion 1.x, 2.x. The time and label embeddings stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kSd15Highprec}};

constinit const Family kSdX4 = {
    .name = "sd_x4",
    .title = "Stable Diffusion x4 upscaler",
    .kind = Kind::kDiffusion,
    .signatures = kSdX4Signatures,
    .preset = &kSd15Preset,
    .structures = {&kUnetStructure},
    .comfyui = {.plain = kSdX4Plain, .configuring = kSdX4Configuring},
};

constinit const Family kSd15 = {
    .name = "sd15",
    .title = "Stable Diffusion 1.x, 2.x, unCLIP, Lotus, Zero123",
    .kind = Kind::kDiffusion,
    .signatures = kSd15Signatures,
    .preset = &kSd15Preset,
    .structures = {&kUnetStructure},
    .comfyui = {.configuring = kSd15Configuring},
};

}  // namespace ctq::families
