"""Configurations of ComfyUI's diffusion models: the shortest that a small model needs, and those of published models.

A configuration is what ComfyUI's detection (comfy/model_detection.py) derives from a file of that model; classes are those of
comfy.supported_models. A configuration of a published model that was not at hand says so: names and roles hold all the same.
"""

from __future__ import annotations

import torch


def flux(**more):
    """A Flux.1 of two heads, with what differs given."""
    return {"image_model": "flux", "axes_dim": [16, 56, 56], "num_heads": 2, "mlp_ratio": 4.0, "theta": 10000,
            "out_channels": 16, "qkv_bias": True, "txt_ids_dims": [], "in_channels": 16, "hidden_size": 256,
            "context_in_dim": 512, "patch_size": 2, "vec_in_dim": 768, "depth": 1, "depth_single_blocks": 2,
            "guidance_embed": True, "yak_mlp": False, "txt_norm": False, **more}


def flux2(**more):
    return {**flux(image_model="flux2", axes_dim=[32] * 4, mlp_ratio=3.0, theta=2000, out_channels=128, in_channels=128,
                   qkv_bias=False, txt_ids_dims=[3], patch_size=1, vec_in_dim=None),
            "global_modulation": True, "mlp_silu_act": True, "ops_bias": False, "default_ref_method": "index",
            "ref_index_scale": 10.0, **more}


def wan(**more):
    return {"image_model": "wan2.1", "dim": 256, "out_dim": 16, "num_heads": 2, "ffn_dim": 512, "num_layers": 2,
            "patch_size": (1, 2, 2), "freq_dim": 256, "window_size": (-1, -1), "qk_norm": True, "cross_attn_norm": True,
            "eps": 1e-6, "in_dim": 16, "model_type": "t2v", **more}


def hunyuan(**more):
    return {"image_model": "hunyuan_video", "in_channels": 16, "patch_size": [1, 2, 2], "out_channels": 16,
            "vec_in_dim": 768, "axes_dim": [16, 56, 56], "meanflow": False, "context_in_dim": 512, "hidden_size": 256,
            "mlp_ratio": 4.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "theta": 256, "qkv_bias": True,
            "byt5": False, "guidance_embed": True, "use_cond_type_embedding": False, "vision_in_dim": None,
            "meanflow_sum": False, **more}


def unet(**more):
    return {"use_checkpoint": False, "image_size": 32, "use_spatial_transformer": True, "legacy": False,
            "adm_in_channels": None, "in_channels": 4, "out_channels": 4, "model_channels": 320,
            "use_temporal_resblock": False, "use_temporal_attention": False, **more}


# --- published models ---------------------------------------------------------------------------------------------------


def _with(base, **more):
    return {**base, **more}


_flux = flux(hidden_size=3072, num_heads=24, context_in_dim=4096, depth=19, depth_single_blocks=38)
_four_levels = dict(num_res_blocks=[2] * 4, channel_mult=[1, 2, 4, 4], transformer_depth=[1] * 6 + [0, 0],
    transformer_depth_output=[1] * 9 + [0] * 3, transformer_depth_middle=1)
_sd2 = dict(context_dim=1024, use_linear_in_transformer=True, **_four_levels)
_two_levels = dict(context_dim=2048, use_linear_in_transformer=True, adm_in_channels=2816, num_classes="sequential",
    channel_mult=[1, 2, 4], num_res_blocks=[2, 2, 2])
_sdxl = dict(transformer_depth=[0, 0, 2, 2, 10, 10], transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10],
    transformer_depth_middle=10, **_two_levels)
_video = dict(extra_ff_mix_layer=True, use_spatial_context=True, merge_strategy="learned_with_images",
    merge_factor=0.0, video_kernel_size=[3, 1, 1], use_temporal_resblock=True, use_temporal_attention=True,
    disable_temporal_crossattention=False, in_channels=8, num_classes="sequential", **_sd2)
_chroma = {**{k: v for k, v in _flux.items() if k not in ("guidance_embed", "yak_mlp", "txt_norm")},
    "image_model": "chroma", "in_channels": 64, "out_channels": 64, "in_dim": 64, "out_dim": 3072, "hidden_dim": 5120,
    "n_layers": 5, "vec_in_dim": None}
_radiance = {**_chroma, "image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3, "patch_size": 16,
    "nerf_hidden_size": 64, "nerf_mlp_ratio": 4, "nerf_depth": 4, "nerf_max_freqs": 8, "nerf_tile_size": 512,
    "nerf_final_head_type": "conv", "nerf_embedder_dtype": torch.float32, "use_x0": False,
    "use_sequential_txt_ids": False}


def _wan14(**more):
    return wan(**{**dict(dim=5120, num_heads=40, ffn_dim=13824, num_layers=40), **more})


def _wan13(**more):
    return wan(**{**dict(dim=1536, num_heads=12, ffn_dim=8960, num_layers=30), **more})


_hunyuan = dict(hidden_size=3072, num_heads=24, context_in_dim=4096, depth=20, depth_single_blocks=40)
_hunyuan15 = dict(vec_in_dim=None, guidance_embed=False, in_channels=65, out_channels=32, byt5=True,
    use_cond_type_embedding=True, vision_in_dim=1152, meanflow_sum=True, context_in_dim=3584, patch_size=[1, 1, 1],
    hidden_size=2048, num_heads=16, depth=54, depth_single_blocks=0)
_cosmos7 = {"image_model": "cosmos", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
    "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 4096, "block_config": "FA-CA-MLP",
    "concat_padding_mask": True, "pos_emb_cls": "rope3d", "pos_emb_learnable": False, "pos_emb_interpolation": "crop",
    "block_x_format": "THWBD", "affline_emb_norm": True, "use_adaln_lora": True, "adaln_lora_dim": 256,
    "num_blocks": 28, "num_heads": 32, "extra_per_block_abs_pos_emb": True, "rope_h_extrapolation_ratio": 1.0,
    "rope_w_extrapolation_ratio": 1.0, "rope_t_extrapolation_ratio": 2.0,
    "extra_per_block_abs_pos_emb_type": "learnable"}
_cosmos14 = _with(_cosmos7, model_channels=5120, num_blocks=36, num_heads=40, rope_h_extrapolation_ratio=2.0,
    rope_w_extrapolation_ratio=2.0, extra_h_extrapolation_ratio=2.0, extra_w_extrapolation_ratio=2.0,
    extra_t_extrapolation_ratio=2.0)


def _predict2(image_model, channels, blocks, heads, in_channels, h, t):
    return {"image_model": image_model, "max_img_h": 240, "max_img_w": 240, "max_frames": 128,
        "in_channels": in_channels, "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1,
        "model_channels": channels, "concat_padding_mask": True, "crossattn_emb_channels": 1024,
        "pos_emb_cls": "rope3d", "pos_emb_learnable": True, "pos_emb_interpolation": "crop", "min_fps": 1,
        "max_fps": 30, "use_adaln_lora": True, "adaln_lora_dim": 256, "num_blocks": blocks, "num_heads": heads,
        "extra_per_block_abs_pos_emb": False, "rope_h_extrapolation_ratio": h, "rope_w_extrapolation_ratio": h,
        "rope_t_extrapolation_ratio": t, "extra_h_extrapolation_ratio": 1.0, "extra_w_extrapolation_ratio": 1.0,
        "extra_t_extrapolation_ratio": 1.0, "rope_enable_fps_modulation": False}


def _lumina(**more):
    return {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 2304, "cap_feat_dim": 2304,
        "n_layers": 26, "qk_norm": True, "n_heads": 24, "n_kv_heads": 8, "axes_dims": [32, 32, 32],
        "axes_lens": [300, 512, 512], "rope_theta": 10000.0, "ffn_dim_multiplier": 4.0, **more}


_zimage = _lumina(dim=3840, cap_feat_dim=2560, n_layers=30, n_heads=30, n_kv_heads=30, axes_dims=[32, 48, 48],
    axes_lens=[1536, 512, 512], rope_theta=256.0, ffn_dim_multiplier=8.0 / 3.0, z_image_modulation=True,
    time_scale=1000.0, pad_tokens_multiple=32)


def _sd3(depth, pos, qk=None, attn2=()):
    out = {"in_channels": 16, "patch_size": 2, "out_channels": 16, "depth": depth, "input_size": None,
        "adm_in_channels": 2048, "num_patches": pos * pos, "pos_embed_max_size": pos,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": depth
        * 64}}, "pos_embed_scaling_factor": None, "x_block_self_attn_layers": list(attn2)}
    return {**out, "qk_norm": qk} if qk else out


_ltxv = {"image_model": "ltxv", "num_layers": 28, "attention_head_dim": 64, "cross_attention_dim": 2048,
    "use_keyframes_abs_pos_embedding": False}
_ltx2 = {"image_model": "ltxav", "num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096,
    "use_keyframes_abs_pos_embedding": False}
_ltx23 = {"apply_gated_attention": True, "cross_attention_adaln": True, "caption_proj_before_connector": True,
    "caption_projection_first_linear": False, "connector_apply_gated_attention": True,
    "connector_num_attention_heads": 32, "connector_num_layers": 8, "audio_connector_attention_head_dim": 64,
    "audio_connector_num_attention_heads": 32}


def _pixart(**more):
    return {"num_heads": 16, "patch_size": 2, "hidden_size": 1152, "in_channels": 4, "depth": 28,
        "image_model": "pixart_sigma", "micro_condition": False, "input_size": 128, "pe_interpolation": 2,
        "model_max_length": 300, **more}


def _kandinsky(**more):
    return {"image_model": "kandinsky5", "model_dim": 1792, "axes_dims": (16, 24, 24), "time_dim": 512,
        "ff_dim": 7168, "visual_embed_dim": 132, "num_text_blocks": 2, "num_visual_blocks": 32, **more}


def _cogvideox(**more):
    return {"image_model": "cogvideox", "num_attention_heads": 48, "attention_head_dim": 64, "time_embed_dim": 512,
        "num_layers": 42, "in_channels": 16, "patch_size": 2, "text_embed_dim": 4096,
        "use_learned_positional_embeddings": False, "use_rotary_positional_embeddings": True, **more}


def _qwen(**more):
    return {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60, **more}


_hunyuan3d = {"image_model": "hunyuan3d2", "in_channels": 64, "context_in_dim": 1536, "hidden_size": 1024,
    "mlp_ratio": 4.0, "num_heads": 16, "depth": 16, "depth_single_blocks": 32, "qkv_bias": True,
    "guidance_embed": False}


def _seedvr2(**more):
    return {"image_model": "seedvr2", "vid_dim": 3072, "heads": 24, "num_layers": 36, "mm_layers": 10,
        "norm_eps": 1e-5, "rope_type": "rope3d", "rope_dim": 64, "mlp_type": "swiglu", **more}


def _depth_anything(**more):
    return {"image_model": "DepthAnything3", "backbone_name": "vitl", "alt_start": -1, "rope_start": -1,
        "qknorm_start": -1, "cat_token": False, "head_dim_in": 1024, "head_features": 256,
        "head_out_channels": [256, 512, 1024, 1024], "head_type": "dpt", "head_output_dim": 1,
        "head_use_sky_head": True, "out_layers": [4, 11, 17, 23], "has_cam_enc": False, "has_cam_dec": False, **more}


_hidream = {"image_model": "hidream", "attention_head_dim": 128, "axes_dims_rope": [64, 32, 32],
    "caption_channels": [4096, 4096], "max_resolution": [128, 128], "in_channels": 16,
    "llama_layers": list(range(32)) + [31] * 16, "num_attention_heads": 20, "num_routed_experts": 4,
    "num_activated_experts": 2, "num_layers": 16, "num_single_layers": 32, "out_channels": 16, "patch_size": 2,
    "text_emb_dim": 2048}
_ace = {"audio_model": "ace", "attention_head_dim": 128, "in_channels": 8, "inner_dim": 2560, "max_height": 16,
    "max_position": 32768, "max_width": 32768, "mlp_ratio": 2.5, "num_attention_heads": 20, "num_layers": 24,
    "out_channels": 8, "patch_size": [16, 1], "rope_theta": 1000000.0, "speaker_embedding_dim": 512,
    "text_embedding_dim": 768, "ssl_encoder_depths": [8, 8], "ssl_latent_dims": [1024, 768], "ssl_names": ["mert",
    "m-hubert"], "lyric_encoder_vocab_size": 6693, "lyric_hidden_size": 1024}
_omnigen2 = {"image_model": "omnigen2", "axes_dim_rope": [40, 40, 40], "axes_lens": [1024, 1664, 1664],
    "ffn_dim_multiplier": None, "hidden_size": 2520, "in_channels": 16, "multiple_of": 256, "norm_eps": 1e-05,
    "num_attention_heads": 21, "num_kv_heads": 7, "num_layers": 32, "num_refiner_layers": 2, "out_channels": None,
    "patch_size": 2, "text_feat_dim": 2048, "timestep_scale": 1000.0}
_mochi = {"image_model": "mochi_preview", "depth": 48, "patch_size": 2, "num_heads": 24, "hidden_size_x": 3072,
    "hidden_size_y": 1536, "mlp_ratio_x": 4.0, "mlp_ratio_y": 4.0, "learn_sigma": False, "in_channels": 12,
    "qk_norm": True, "qkv_bias": False, "out_bias": True, "attn_drop": 0.0, "patch_embed_bias": True,
    "posenc_preserve_area": True, "timestep_mlp_bias": True, "attend_to_padding": False, "timestep_scale": 1000.0,
    "use_t5": True, "t5_feat_dim": 4096, "t5_token_length": 256, "rope_theta": 10000.0}
_minimax = {"image_model": "minimax_h3", "num_layers": 50, "token_refiner_num_layers": 2, "hidden_size": 5376,
    "latents_dim": 24, "audio_latents_dim": 32, "attention_head_dim": 128, "num_attention_heads": 56,
    "ffn_hidden_size": 14336, "text_dim": 5120, "timestep_input_dim": 256, "time_embed_hidden_size": 5376,
    "time_embed_dim": 2688, "rope_inv_freq_len": 16}
_stable_audio = {"audio_model": "dit1.0", "global_cond_dim": 1536, "project_cond_tokens": False, "embed_dim": 1536,
    "timestep_features_type": "learned", "io_channels": 64, "input_concat_dim": 0, "depth": 24}

# Name: family as this project calls it, class, configuration.
PUBLISHED = {
    # LDM U-Nets
    "sd15_full": ("sd15", "SD15", unet(context_dim=768, use_linear_in_transformer=False, **_four_levels)),
    "sd20": ("sd15", "SD20", unet(**_sd2)),
    "sd21_unclip_l": ("sd15", "SD21UnclipL", unet(adm_in_channels=1536, num_classes="sequential", **_sd2)),
    "lotus_d": ("sd15", "LotusD", unet(adm_in_channels=4, num_classes="sequential", **_sd2)),
    "sd_x4": ("sd_x4", "SD_X4Upscaler", unet(model_channels=256, in_channels=7, context_dim=1024,
        use_linear_in_transformer=True, num_res_blocks=[2] * 4, channel_mult=[1, 2, 2, 4],
        transformer_depth=[0, 0] + [1] * 6, transformer_depth_output=[0] * 3 + [1] * 9, transformer_depth_middle=1)),
    "sdxl_refiner": ("sdxl", "SDXLRefiner", unet(model_channels=384, use_linear_in_transformer=True, context_dim=1280,
        adm_in_channels=2560, num_classes="sequential", num_res_blocks=[2] * 4, channel_mult=[1, 2, 4, 4],
        transformer_depth=[0, 0, 4, 4, 4, 4, 0, 0], transformer_depth_output=[0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
        transformer_depth_middle=4)),
    "sdxl_full": ("sdxl", "SDXL", unet(**_sdxl)),
    "ssd1b": ("sdxl", "SSD1B", unet(transformer_depth=[0, 0, 2, 2, 4, 4],
        transformer_depth_output=[0, 0, 0, 1, 1, 2, 10, 4, 4], transformer_depth_middle=-1, **_two_levels)),
    "vega": ("sdxl", "Segmind_Vega", unet(transformer_depth=[0, 0, 1, 1, 2, 2],
        transformer_depth_output=[0, 0, 0, 1, 1, 1, 2, 2, 2], transformer_depth_middle=-1, **_two_levels)),
    "koala_700m": ("sdxl", "KOALA_700M", unet(transformer_depth=[0, 2, 5],
        transformer_depth_output=[0, 0, 2, 2, 5, 5], transformer_depth_middle=-2, **_with(_two_levels,
        num_res_blocks=[1, 1, 1]))),
    "svd": ("svd", "SVD_img2vid", unet(**_with(_video, adm_in_channels=768))),
    "cascade_c_lite": ("cascade_c", "Stable_Cascade_C", {"stable_cascade_stage": "c", "c_cond": 1536,
        "c_hidden": [1536, 1536], "nhead": [24, 24], "blocks": [[4, 12], [12, 4]]}),
    "cascade_b_lite": ("cascade_b", "Stable_Cascade_B", {"stable_cascade_stage": "b",
        "c_hidden": [320, 576, 1152, 1152], "nhead": [-1, 9, 18, 18], "blocks": [[2, 4, 14, 4], [4, 14, 4, 2]],
        "block_repeat": [[1, 1, 1, 1], [2, 2, 2, 2]]}),
    # MMDiT and the like
    "sd3_medium": ("sd3", "SD3", _sd3(24, 192)),
    "sd35_large": ("sd3", "SD3", _sd3(38, 192, "rms")),
    "sd35_medium": ("sd3", "SD3", _sd3(24, 384, "rms", range(13))),
    "aura": ("auraflow", "AuraFlow", {"max_seq": 4096, "cond_seq_dim": 2048, "n_double_layers": 4, "n_layers": 36}),
    "pixart_alpha": ("pixart", "PixArtAlpha", _pixart(image_model="pixart_alpha", micro_condition=True,
        model_max_length=120)),
    "pixart_sigma": ("pixart", "PixArtSigma", _pixart()),
    "hunyuan_dit": ("hunyuan_dit", "HunyuanDiT", {"image_model": "hydit", "depth": 40, "hidden_size": 1408,
        "mlp_ratio": 4.3637}),
    "hunyuan_dit1": ("hunyuan_dit", "HunyuanDiT1", {"image_model": "hydit1", "depth": 40, "hidden_size": 1408,
        "mlp_ratio": 4.3637, "size_cond": True, "use_style_cond": True}),
    "flux_dev_full": ("flux", "Flux", _flux),
    "flux_fill": ("flux", "FluxInpaint", _with(_flux, in_channels=96)),
    "flux_schnell_full": ("flux", "FluxSchnell", _with(_flux, guidance_embed=False)),
    "flux_lite_8b": ("flux", "Flux", _with(_flux, depth=8)),
    "ovis_image": ("ovis_image", "FluxSchnell", _with(_flux, guidance_embed=False, vec_in_dim=None, context_in_dim=2048,
        yak_mlp=True, txt_norm=True, txt_ids_dims=[1, 2], depth=6, depth_single_blocks=27)),
    "longcat_image": ("longcat_image", "LongCatImage", _with(_flux, guidance_embed=False, vec_in_dim=None,
        context_in_dim=3584, txt_ids_dims=[1, 2], depth=10, depth_single_blocks=20)),
    "flux2_dev_full": ("flux2", "Flux2", flux2(hidden_size=6144, num_heads=48, context_in_dim=15360, depth=8,
        depth_single_blocks=48)),
    "flux2_klein_4b": ("flux2", "Flux2", flux2(hidden_size=3072, num_heads=24, context_in_dim=7680, depth=5,
        depth_single_blocks=20, guidance_embed=False)),
    "flux2_klein_9b": ("flux2", "Flux2", flux2(hidden_size=4096, num_heads=32, context_in_dim=12288, depth=8,
        depth_single_blocks=24, guidance_embed=False)),
    "lens": ("lens", "Lens", {"image_model": "lens", "in_channels": 128, "out_channels": 32, "num_layers": 48,
        "num_attention_heads": 24, "enc_hidden_dim": 2880, "multi_layer_encoder_feature": True,
        "selected_layer_index": (0, 1, 2, 3)}),
    "chroma_full": ("chroma", "Chroma", _chroma),
    "chroma_radiance": ("chroma_radiance", "ChromaRadiance", _radiance),
    "chroma_radiance_linear": ("chroma_radiance", "ChromaRadiance", _with(_radiance, nerf_final_head_type="linear")),
    "hidream": ("hidream", "HiDream", _hidream),
    "hidream_o1": ("hidream_o1", "HiDreamO1", {"image_model": "hidream_o1"}),
    "lumina2_full": ("lumina2", "Lumina2", _lumina()),
    "newbie": ("lumina2", "Lumina2", _lumina(n_layers=36, cap_feat_dim=2560, clip_text_dim=1024)),
    "zimage_full": ("zimage", "ZImage", _zimage),
    "zimage_omni": ("zimage", "ZImage", _with(_zimage, siglip_feat_dim=1152)),
    "zimage_pixel": ("zimage_pixel", "ZImagePixelSpace", _with(_zimage, image_model="zimage_pixel", patch_size=32,
        in_channels=3, decoder_in_channels=3072, decoder_hidden_size=3840, decoder_num_res_blocks=4,
        decoder_max_freqs=8)),
    "pixeldit": ("pixeldit", "PixelDiTT2I", {"image_model": "pixeldit_t2i"}),
    "pid": ("pid", "PiD", {"image_model": "pid", "lq_hidden_dim": 512, "lq_interval": 2, "lq_latent_channels": 16,
        "latent_spatial_down_factor": 8}),
    "pid15": ("pid", "PiD", {"image_model": "pid", "lq_hidden_dim": 1024, "lq_interval": 2, "lq_latent_channels": 16,
        "latent_spatial_down_factor": 8, "lq_latent_unpatchify_factor": 1, "lq_conv_padding_mode": "replicate",
        "lq_gate_per_token": True, "pit_lq_inject": True, "rope_ref_h": 2048, "rope_ref_w": 2048}),
    "omnigen2": ("omnigen2", "Omnigen2", _omnigen2),
    "boogu": ("boogu", "Boogu", {"image_model": "boogu", "hidden_size": 3360, "num_layers": 32,
        "num_double_stream_layers": 8, "num_refiner_layers": 2, "instruction_feat_dim": 4096}),
    "mage_flow": ("mage_flow", "MageFlow", {"image_model": "mage_flow", "in_channels": 128, "num_layers": 12}),
    "qwen_image_60": ("qwen_image", "QwenImage", _qwen()),
    "qwen_layered": ("qwen_image", "QwenImage", _qwen(use_additional_t_cond=True,
        default_ref_method="negative_index")),
    # Sizes are a guess; names and roles hold all the same.
    "joyimage": ("joyimage", "JoyImage", {"image_model": "joyimage", "in_channels": 16, "hidden_size": 4096,
        "patch_size": [1, 2, 2], "num_layers": 40, "num_attention_heads": 32, "text_dim": 4096}),
    "ideogram4": ("ideogram4", "Ideogram4", {"image_model": "ideogram4", "in_channels": 128, "num_layers": 34}),
    "krea2_full": ("krea2", "Krea2", {"image_model": "krea2", "features": 6144, "channels": 16, "patch": 2,
        "layers": 28, "heads": 48, "kvheads": 12, "txtlayers": 12, "txtdim": 2560}),
    "ernie_image": ("ernie_image", "ErnieImage", {"image_model": "ernie"}),
    "kandinsky5_lite": ("kandinsky5", "Kandinsky5", _kandinsky()),
    "kandinsky5_pro": ("kandinsky5", "Kandinsky5", _kandinsky(model_dim=4096, axes_dims=(32, 48, 48), time_dim=1024,
        ff_dim=16384, num_text_blocks=4, num_visual_blocks=60)),
    "kandinsky5_image": ("kandinsky5", "Kandinsky5Image", _kandinsky(model_dim=2560, axes_dims=(32, 48, 48),
        rope_scale_factor=(1.0, 1.0, 1.0), ff_dim=10240, visual_embed_dim=64, num_visual_blocks=50)),
    # video
    "mochi": ("mochi", "GenmoMochi", _mochi),
    "ltxv_2b": ("ltxv", "LTXV", _ltxv),
    "ltxv_13b": ("ltxv", "LTXV", _with(_ltxv, num_layers=48, attention_head_dim=128, cross_attention_dim=4096)),
    "ltxav": ("ltx2", "LTXAV", _ltx2),
    "ltxav_23": ("ltx2", "LTXAV", _with(_ltx2, **_ltx23)),
    "minimax_h3": ("minimax_h3", "MiniMaxH3", _minimax),
    # Sizes are a guess; names and roles hold all the same.
    "minimax_h3_curve": ("minimax_h3", "MiniMaxH3", _with({k: v for k, v in _minimax.items() if k not in
        ("timestep_input_dim", "time_embed_hidden_size")}, adaln_curve_grid=1001, time_embed_dim=64)),
    "hunyuan_video": ("hunyuan_video", "HunyuanVideo", hunyuan(**_hunyuan)),
    "skyreels_i2v": ("hunyuan_video", "HunyuanVideoSkyreelsI2V", hunyuan(**_with(_hunyuan, in_channels=32))),
    "hunyuan_image21": ("hunyuan_image", "HunyuanImage21", hunyuan(vec_in_dim=None, in_channels=64, out_channels=64,
        patch_size=[1, 1], axes_dim=[64, 64], byt5=True, guidance_embed=False, hidden_size=3584, num_heads=28,
        context_in_dim=3584, depth=20, depth_single_blocks=40)),
    "hunyuan_image21_distilled": ("hunyuan_image", "HunyuanImage21", hunyuan(vec_in_dim=None, in_channels=64,
        out_channels=64, patch_size=[1, 1], axes_dim=[64, 64], byt5=True, guidance_embed=True, meanflow=True,
        hidden_size=3584, num_heads=28, context_in_dim=3584, depth=20, depth_single_blocks=40)),
    "hunyuan_image21_refiner": ("hunyuan_image", "HunyuanImage21Refiner", hunyuan(vec_in_dim=None, in_channels=128,
        out_channels=64, patch_size=[1, 1, 1], guidance_embed=True, meanflow=True, hidden_size=3328, num_heads=26,
        context_in_dim=3584, depth=20, depth_single_blocks=40)),
    "hunyuan_video15": ("hunyuan_video15", "HunyuanVideo15", hunyuan(**_hunyuan15)),
    "cosmos_7b": ("cosmos", "CosmosT2V", _cosmos7),
    "cosmos_14b": ("cosmos", "CosmosT2V", _cosmos14),
    "cosmos_predict2_2b": ("cosmos_predict2", "CosmosT2IPredict2", _predict2("cosmos_predict2", 2048, 28, 16, 16, 4.0,
        1.0)),
    "cosmos_predict2_14b": ("cosmos_predict2", "CosmosT2IPredict2", _predict2("cosmos_predict2", 5120, 36, 40, 16,
        4.0, 1.0)),
    "anima": ("anima", "Anima", _predict2("anima", 2048, 28, 16, 16, 4.0, 1.0)),
    "wan_t2v_14b": ("wan", "WAN21_T2V", _wan14()),
    "wan_t2v_1_3b": ("wan", "WAN21_T2V", _wan13()),
    "wan_causal_1_3b": ("wan", "WAN21_CausalAR_T2V", _wan13(causal_ar=True)),
    "wan_i2v_14b": ("wan", "WAN21_I2V", _wan14(model_type="i2v", in_dim=36)),
    "wan_flf2v_14b": ("wan", "WAN21_I2V", _wan14(model_type="i2v", in_dim=36, flf_pos_embed_token_number=514)),
    "wan22_5b": ("wan", "WAN22_T2V", wan(dim=3072, num_heads=24, ffn_dim=14336, num_layers=30, in_dim=48,
        out_dim=48)),
    "wan_fun_control_14b": ("wan", "WAN21_FunControl2V", _wan14(model_type="i2v", in_dim=48, in_dim_ref_conv=16)),
    "wan_camera": ("wan", "WAN21_Camera", _wan14(model_type="camera", in_dim=32)),
    "wan22_camera": ("wan", "WAN22_Camera", _wan14(model_type="camera_2.2", in_dim=36)),
    "wan_vace_14b": ("wan", "WAN21_Vace", _wan14(model_type="vace", vace_in_dim=96, vace_layers=8)),
    "wan_vace_1_3b": ("wan", "WAN21_Vace", _wan13(model_type="vace", vace_in_dim=96, vace_layers=15)),
    "wan_s2v_14b": ("wan", "WAN22_S2V", _wan14(model_type="s2v")),
    "wan_humo_17b": ("wan", "WAN21_HuMo", _wan14(model_type="humo", in_dim=36)),
    "wan_animate_14b": ("wan", "WAN22_Animate", _wan14(model_type="animate", in_dim=36)),
    # Sizes are a guess; names and roles hold all the same.
    "wan_animate2": ("wan", "WAN_Animate2", _wan14(model_type="animate2", in_dim=36)),
    "wan_scail_14b": ("wan", "WAN21_SCAIL", _wan14(model_type="scail", in_dim=20)),
    "wan_scail2": ("wan", "WAN21_SCAIL2", _wan14(model_type="scail2", in_dim=20)),
    "wan_dancer": ("wan", "WAN22_WanDancer", _wan14(model_type="wandancer", in_dim=36)),
    "cogvideox_2b": ("cogvideox", "CogVideoX_T2V", _cogvideox(num_attention_heads=30, num_layers=30)),
    "cogvideox_5b": ("cogvideox", "CogVideoX_T2V", _cogvideox()),
    "cogvideox_5b_i2v": ("cogvideox", "CogVideoX_I2V", _cogvideox(in_channels=32, use_learned_positional_embeddings=True,
        use_rotary_positional_embeddings=False)),
    "cogvideox15_5b": ("cogvideox", "CogVideoX_T2V", _cogvideox(patch_size_t=2)),
    "cogvideox15_5b_i2v": ("cogvideox", "CogVideoX_I2V", _cogvideox(patch_size_t=2, in_channels=32, ofs_embed_dim=512)),
    "seedvr2_3b": ("seedvr2", "SeedVR2", {"image_model": "seedvr2", "vid_dim": 2560, "heads": 20, "num_layers": 32,
        "norm_eps": 1e-5, "mlp_type": "swiglu", "vid_out_norm": True}),
    "seedvr2_7b": ("seedvr2", "SeedVR2", _seedvr2()),
    "seedvr2_7b_separate": ("seedvr2", "SeedVR2", _seedvr2(mm_layers=36, mlp_type="normal")),
    # 3-D, audio, vision
    "hunyuan3d2": ("hunyuan3d", "Hunyuan3Dv2", _hunyuan3d),
    "hunyuan3d2_turbo": ("hunyuan3d", "Hunyuan3Dv2", _with(_hunyuan3d, guidance_embed=True)),
    "hunyuan3d2_mini": ("hunyuan3d", "Hunyuan3Dv2mini", _with(_hunyuan3d, depth=8, depth_single_blocks=16)),
    "hunyuan3d21": ("hunyuan3d21", "Hunyuan3Dv2_1", {"image_model": "hunyuan3d2_1", "in_channels": 64,
        "context_dim": 1024, "hidden_size": 2048, "mlp_ratio": 4.0, "num_heads": 16, "depth": 21, "qkv_bias": False,
        "guidance_cond_proj_dim": None}),
    "triposplat": ("triposplat", "TripoSplat", {"image_model": "triposplat"}),
    "trellis2": ("trellis2", "Trellis2", {"image_model": "trellis2", "resolution": 64, "init_txt_model": False,
        "txt_only": False}),
    "trellis2_texture": ("trellis2", "Trellis2", {"image_model": "trellis2", "resolution": 64, "init_txt_model": True,
        "txt_only": False}),
    "pixal3d": ("trellis2", "Trellis2", {"image_model": "trellis2", "resolution": 64, "init_txt_model": False,
        "txt_only": False, "image_attn_mode_shape": "proj", "proj_in_channels_shape": 2048,
        "image_attn_mode_structure": "proj", "proj_in_channels_structure": 1024}),
    "stable_audio": ("stable_audio", "StableAudio", _stable_audio),
    # Sizes are a guess; names and roles hold all the same.
    "stable_audio3": ("stable_audio", "StableAudio3", _with(_stable_audio, global_cond_dim=768, io_channels=256, num_heads=24,
        attn_kwargs={"qk_norm": "rms", "differential": False}, norm_type="rms_norm", timestep_features_type="expo",
        local_add_cond_dim=257, global_cond_shared_embed=True, global_cond_type="adaLN", num_memory_tokens=64)),
    # Sizes are a guess; names and roles hold all the same.
    "stable_audio3_diff": ("stable_audio", "StableAudio3", _with(_stable_audio, global_cond_dim=768, io_channels=256, num_heads=24,
        attn_kwargs={"qk_norm": "rms", "differential": True}, norm_type="rms_norm", timestep_features_type="expo",
        local_add_cond_dim=257, global_cond_shared_embed=True, global_cond_type="adaLN", num_memory_tokens=64)),
    "ace_step": ("ace_step", "ACEStep", _ace),
    "ace_step15": ("ace_step15", "ACEStep15", {"audio_model": "ace1.5", "hidden_size": 2048,
        "intermediate_size": 6144, "num_heads": 16, "encoder_hidden_size": 2048, "encoder_num_heads": 16,
        "encoder_intermediate_size": 6144, "num_dit_layers": 24}),
    "minimax_music3": ("minimax_music3", "MiniMaxMusic3", {"audio_model": "minimax_music3"}),
    "rt_detr_v4": ("rt_detr", "RT_DETR_v4", {"image_model": "RT_DETR_v4", "enc_h": 256}),
    "depth_anything3_mono": ("depth_anything3", "DepthAnything3", _depth_anything()),
    "depth_anything3_large": ("depth_anything3", "DepthAnything3", _depth_anything(alt_start=8, rope_start=8, qknorm_start=8,
        cat_token=True, head_dim_in=2048, head_type="dualdpt", head_output_dim=2, head_use_sky_head=False,
        out_layers=[11, 15, 19, 23], has_cam_enc=True, has_cam_dec=True, cam_dim_out=1024, cam_dec_dim_in=2048)),
    "sam3": ("sam3", "SAM3", {"image_model": "SAM3"}),
    "sam31": ("sam3", "SAM31", {"image_model": "SAM31"}),
}

# What the file's header must say ("config": {"transformer": ...}) for the class to be detected.
METADATA = {
    "ltxav_23": _ltx23,
    "wan_causal_1_3b": {"causal_ar": True},
    "wan_animate2": {"model_type": "animate2"},
}

# Shapes of tensors beside the diffusion model that its class asks for.
_seconds = {"embedding.0.weights": [128], "embedding.1.weight": [768, 257], "embedding.1.bias": [768]}
_seconds3 = {"conditioner.conditioners.seconds_total.embedder.embedding.1.weight": [768, 256],
             "conditioner.conditioners.seconds_total.embedder.embedding.1.bias": [768]}
_conditioning = {"positive_conditioning": [58, 5120], "negative_conditioning": [64, 5120]}
BESIDE = {
    "stable_audio": {f"conditioner.conditioners.{which}.embedder.{name}": shape
                     for which in ("seconds_start", "seconds_total") for name, shape in _seconds.items()},
    "stable_audio3": _seconds3, "stable_audio3_diff": _seconds3,
    "seedvr2_3b": _conditioning, "seedvr2_7b": _conditioning, "seedvr2_7b_separate": _conditioning,
}
