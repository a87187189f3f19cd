// Kandinsky 5.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kKandinsky5Highprec[] = {"time_embeddings", "text_embeddings", "visual_embeddings",
                                                    "out_layer.modulation", "out_layer.out_layer"};

constexpr Signature kKandinsky5Signatures[] = {
    {{"visual_transformer_blocks.0.cross_attention", "visual_embeddings.in_layer",
      "text_embeddings.in_layer"}},
};

constexpr std::string_view kKandinsky5Configuring[] = {"visual_embeddings.in_layer"};

constexpr std::string_view kKandinsky5ConfiguringRows[] = {
    "visual_transformer_blocks.0.feed_forward.in_layer"};

}  // namespace

constinit const Preset kKandinsky5Preset = {.name = "kandinsky5",
                                            .help =
                                                "Kandinsky 5, video and image. Time, text and visual "
                                                "embeddings and the output layer stay unquantized.",
                                            .category = "video",
                                            .ours = PatternLists{.highprec = kKandinsky5Highprec}};

constinit const Family kKandinsky5 = {
    .name = "kandinsky5",
    .title = "Kandinsky 5, video and image",
    .kind = Kind::kDiffusion,
    .signatures = kKandinsky5Signatures,
    .preset = &kKandinsky5Preset,
    .comfyui = {.configuring = kKandinsky5Configuring,
                .configuring_rows = kKandinsky5ConfiguringRows,
                .encoders = inside::kQwen25_7b},
};

}  // namespace ctq::families
