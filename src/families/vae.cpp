// What turns latents into pictures or sound, and back.
#include "rows.h"

namespace ctq::families {
namespace {

// Of video, since 0.31: the transformer in its decoder reads scales, the layers around it do not.
constexpr Signature kMinimaxH3VaeSignatures[] = {
    {{"decoder.transformer_blocks.0.scale1", "encoder.down.5.block.0.conv1"}},
};

constexpr std::string_view kMinimaxH3VaePlain[] = {"decoder.x_embedder", "decoder.proj_out", "encoder.*"};

constexpr Signature kVaeSignatures[] = {
    {{"decoder.conv_in", "decoder.conv_out"}},             // Stable Diffusion, Flux, LTX, Hunyuan
    {{"decoder.middle.0.residual.0.gamma"}},               // Wan
    {{"decoder.up_blocks.0.res_blocks.0.conv1.conv"}},     // LTX-Video
    {{"decoder.unpatcher3d"}},                             // Cosmos
    {{"decoder.blocks.2.blocks.3.stack.5"}},               // Mochi
    {{"encoder.layers.4.layers.1.attn_block.attn.qkv"}},   // Mochi's encoder
    {{"decoder.layers.1.layers.0.beta"}},                  // Stable Audio
    {{"decoder.layers.3.transformers.0.pre_norm.alpha"}},  // Stable Audio 3
    {{"vquantizer.codebook"}},                             // Stable Cascade, stage A
    {{"taesd_decoder.1"}},                                 // small approximations
    {{"decoder.22.bias", "decoder.1.bias"}},               // the same of video
    {{"geo_decoder.cross_attn_decoder.ln_1"}},             // Hunyuan3D
    {{"shape_dec.blocks.1.16.to_subdiv"}},                 // TRELLIS.2
    {{"txt_dec.blocks.3.4.conv2"}},
    {{"gs.base_offset_scale", "octree.out_proj"}},            // TripoSplat
    {{"student.dconv_encoder.proj_out"}},                     // Mage-Flow
    {{"dec_in_proj", "decoder.model.0.weight_g"}},            // MiniMax Music 3
    {{"pre_block.attn.zero_k_bias"}},                         // MiniMax H3, of sound
    {{"vocoder.backbone.channel_layers.0.0"}},                // ACE-Step
    {{"vocoder.activation_post.downsample.lowpass.filter"}},  // MMAudio
    {{"vocoder.resblocks.0.convs1.0"}},                       // LTX-2, of sound
    {{"vocoder.vocoder.resblocks.0.convs1.0"}},
};

}  // namespace

constinit const Family kMinimaxH3Vae = {
    .name = "minimax_h3_vae",
    .title = "the video VAE of MiniMax H3",
    .kind = Kind::kVae,
    .signatures = kMinimaxH3VaeSignatures,
    .comfyui = {.plain = kMinimaxH3VaePlain},
};

constinit const Family kVae = {
    .name = "vae",
    .title = "a VAE",
    .kind = Kind::kVae,
    .signatures = kVaeSignatures,
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
