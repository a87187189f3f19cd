// Wan 2.1 and 2.2, with all that is built on them.
#include "base_avoid.h"
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kWanHighprec[] = {
    "text_embedding",
    "time_embedding",
    "audio_model.text_embedding",
    "casual_audio_encoder",
    "frame_packer",
    "trainable_cond_mask",
    "cond_encoder",
    "audio_model.time_embedding",
    "time_projection",
    "video_model.time_projection",
    "head.head",
    "face_encoder.out_proj",
    "face_adapter",
    "audio_injector",
};

constexpr Signature kWanSignatures[] = {
    {{"head.modulation", "head.head", "time_projection.1", "text_embedding.0", "blocks.0.cross_attn"}},
};

// Animate's motion encoder has layers of its own.
constexpr std::string_view kWanPlain[] = {"motion_encoder.*"};

constexpr std::string_view kWanTables[] = {"trainable_cond_mask"};

constexpr std::string_view kWanConfiguringRows[] = {"blocks.0.ffn.0", "head.head"};

// norm3 is not modulated.
constexpr Input kWanInputs[] = {
    {.layers = {"blocks.#.cross_attn.q"}, .norm = {Norm::kLayer, "blocks.#.norm3"}},
    modulated_mlp("blocks.#.ffn.2", {"blocks.#.ffn.0"}, Activation::kGeluTanh),
};

}  // namespace

constinit const Structure kWanStructure = {.present = {"blocks.#.modulation"}, .inputs = kWanInputs};

constinit const Preset kWanPreset = {
    .name = "wan",
    .help =
        "WAN video transformer. Embeddings, time projection, head, audio/face/motion side networks and "
        "everything in the base avoid list stay unquantized.",
    .category = "video",
    .from_seed = true,
    .seed = PatternLists{.exclude = kBaseAvoid, .highprec = kWanHighprec},
    .peer = PatternLists{.exclude = kBaseAvoidPeer, .highprec = kWanHighprec}};

constinit const Family kWan = {
    .name = "wan",
    .title = "Wan 2.1, 2.2: T2V, I2V, Fun, VACE, Camera, S2V, HuMo, Animate, SCAIL, Dancer",
    .kind = Kind::kDiffusion,
    .signatures = kWanSignatures,
    .preset = &kWanPreset,
    .structures = {&kWanStructure},
    .comfyui = {.plain = kWanPlain,
                .tables = kWanTables,
                .configuring_rows = kWanConfiguringRows,
                .encoders = inside::kUmt5xxl},
};

}  // namespace ctq::families
