// Models that look at images, which ComfyUI loads as it loads diffusion models. Few would be worth a preset.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kRtDetrSignatures[] = {
    {{"encoder.pan_blocks.1.cv4.conv", "decoder.query_pos_head"}},
};

constexpr Signature kDepthAnything3Signatures[] = {
    {{"backbone.embeddings.patch_embeddings.projection", "backbone.embeddings.position_embeddings"}},
};

constexpr std::string_view kDepthAnything3Configuring[] = {"cam_dec.fc_t"};

constexpr std::string_view kDepthAnything3ConfiguringRows[] = {"cam_enc.pose_branch.fc2"};

constexpr Signature kSam3Signatures[] = {
    {{"detector.backbone.vision_backbone.trunk.blocks.0.attn.qkv",
      "detector.transformer.decoder.query_embed"}},
};

constexpr std::string_view kSam3Tables[] = {"detector.transformer.decoder.query_embed",
                                            "detector.transformer.decoder.reference_points",
                                            "detector.transformer.decoder.presence_token",
                                            "detector.geometry_encoder.label_embed",
                                            "detector.geometry_encoder.cls_embed",
                                            "tracker.sam_mask_decoder.obj_score_token",
                                            "tracker.sam_mask_decoder.iou_token",
                                            "tracker.sam_mask_decoder.mask_tokens",
                                            "tracker.sam_prompt_encoder.point_embeddings.#",
                                            "tracker.sam_prompt_encoder.not_a_point_embed",
                                            "tracker.sam_prompt_encoder.no_mask_embed",
                                            "tracker.interactive_sam_mask_decoder.obj_score_token",
                                            "tracker.interactive_sam_mask_decoder.iou_token",
                                            "tracker.interactive_sam_mask_decoder.mask_tokens",
                                            "tracker.interactive_sam_prompt_encoder.point_embeddings.#",
                                            "tracker.interactive_sam_prompt_encoder.not_a_point_embed",
                                            "tracker.interactive_sam_prompt_encoder.no_mask_embed"};

}  // namespace

constinit const Family kRtDetr = {
    .name = "rt_detr",
    .title = "RT-DETR v4",
    .kind = Kind::kDiffusion,
    .signatures = kRtDetrSignatures,
};

constinit const Family kDepthAnything3 = {
    .name = "depth_anything3",
    .title = "Depth Anything 3",
    .kind = Kind::kDiffusion,
    .signatures = kDepthAnything3Signatures,
    .comfyui = {.configuring = kDepthAnything3Configuring,
                .configuring_rows = kDepthAnything3ConfiguringRows},
};

constinit const Family kSam3 = {
    .name = "sam3",
    .title = "SAM 3, 3.1",
    .kind = Kind::kDiffusion,
    .signatures = kSam3Signatures,
    .comfyui = {.tables = kSam3Tables},
};

}  // namespace ctq::families
