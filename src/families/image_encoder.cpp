// Encoders of images and of sound that stand alone: CLIP vision, SigLIP, DINO, Whisper.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kClipVisionSignatures[] = {
    {{"vision_model.encoder.layers.0.layer_norm1", "vision_model.embeddings.patch_embedding"}},
    {{"visual.transformer.resblocks.0.attn"}},
    {{"transformer.resblocks.0.attn", "class_embedding", "conv1"}},
};

constexpr Signature kDinoSignatures[] = {
    {{"encoder.layer.0.layer_scale2.lambda1"}},
    {{"layer.0.attention.o_proj", "layer.0.norm1", "embeddings.patch_embeddings"}},
};

constexpr Signature kAudioEncoderSignatures[] = {
    {{"encoder.layer_norm", "feature_projection.projection", "encoder.layers.0.attention.k_proj"}},
    {{"encoder.embed_positions", "encoder.layers.0.self_attn.k_proj", "encoder.conv1"}},
};

}  // namespace

constinit const Family kClipVision = {
    .name = "clip_vision",
    .title = "CLIP vision, SigLIP",
    .kind = Kind::kVision,
    .signatures = kClipVisionSignatures,
    .structures = {&kClipStructure, &kOpenClipStructure},
};

constinit const Family kDino = {
    .name = "dino",
    .title = "DINOv2, DINOv3",
    .kind = Kind::kVision,
    .signatures = kDinoSignatures,
};

constinit const Family kAudioEncoder = {
    .name = "audio_encoder",
    .title = "wav2vec 2, Whisper",
    .kind = Kind::kVision,
    .signatures = kAudioEncoderSignatures,
};

}  // namespace ctq::families
