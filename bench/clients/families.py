"""Small, randomly initialised checkpoints of many model families, with the names that ComfyUI's own modules give them.

    python bench/clients/families.py --comfy TREE --out FOLDER [NAME ...]

Without names: all that are small. Each is as small as ComfyUI's detection still takes it for what it is: where that fixes a
width, only the depth is small. Beside NAME.safetensors (BF16) there is NAME.json: how to load it and what to feed it.

Weights are not plain noise: normal with 1/sqrt(fan_in), times a scale of its own for each input column (lognormal), and one
in ten thousand six times as large, so that formats differ by about as much as on trained weights. Norms are near one, biases
small. The same seed gives the same file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import zlib
from pathlib import Path

import torch

import comfyui
from configurations import flux, flux2, hunyuan, unet, wan

IMAGE, VIDEO = [16, 16, 16], [16, 2, 16, 16]

# Name: class of comfy.supported_models, its configuration, and what to feed. In a feed `latent` is a shape without the batch,
# `context` (tokens, width); the rest goes into the conditioning (comfyui._value).
DIFFUSION = {
    "flux": ("Flux", flux(), {"latent": IMAGE, "context": [16, 512], "pooled_output": [768], "guidance": 3.5}),
    "flux_schnell": ("FluxSchnell", flux(guidance_embed=False),
                     {"latent": IMAGE, "context": [16, 512], "pooled_output": [768]}),
    "flux2": ("Flux2", flux2(hidden_size=256, num_heads=2, context_in_dim=512, depth=1, depth_single_blocks=2),
              {"latent": [128, 8, 8], "context": [16, 512], "guidance": 3.5}),
    "wan_t2v": ("WAN21_T2V", wan(), {"latent": VIDEO, "context": [16, 4096]}),
    "wan22_5b": ("WAN22_T2V", wan(out_dim=48, in_dim=48), {"latent": [48, 2, 8, 8], "context": [16, 4096]}),
    "wan_i2v": ("WAN21_I2V", wan(model_type="i2v", in_dim=36), {"latent": VIDEO, "context": [16, 4096]}),
    "wan_vace": ("WAN21_Vace", wan(model_type="vace", vace_in_dim=96, vace_layers=1),
                 {"latent": VIDEO, "context": [16, 4096]}),
    "wan_animate": ("WAN22_Animate", wan(model_type="animate", in_dim=36, num_layers=5), {"latent": VIDEO, "context": [16, 4096]}),
    "hunyuan": ("HunyuanVideo", hunyuan(),
                {"latent": VIDEO, "context": [16, 512], "pooled_output": [768], "guidance": 6.0}),
    "hunyuan15": ("HunyuanVideo15",
                  hunyuan(vec_in_dim=None, guidance_embed=False, in_channels=65, out_channels=32, byt5=True,
                          use_cond_type_embedding=True, vision_in_dim=1152, meanflow_sum=True, context_in_dim=3584,
                          patch_size=[1, 1, 1]),
                  {"latent": [32, 2, 8, 8], "context": [16, 3584], "pooled_output": [768]}),
    "ltxv": ("LTXV", {"image_model": "ltxv", "num_layers": 2, "attention_head_dim": 16, "cross_attention_dim": 512,
                      "use_keyframes_abs_pos_embedding": False},
             {"latent": [128, 2, 8, 8], "context": [16, 4096], "attention_mask": {"ones": [16]}}),
    "sd3": ("SD3", {"in_channels": 16, "patch_size": 2, "out_channels": 16, "depth": 4, "input_size": None,
                    "adm_in_channels": 2048, "num_patches": 1024, "pos_embed_max_size": 32, "qk_norm": "rms",
                    "context_embedder_config": {"target": "torch.nn.Linear",
                                                "params": {"in_features": 4096, "out_features": 256}},
                    "pos_embed_scaling_factor": None, "x_block_self_attn_layers": []},
            {"latent": IMAGE, "context": [16, 4096], "pooled_output": [2048]}),
    "sd15": ("SD15", unet(context_dim=768, use_linear_in_transformer=False, num_res_blocks=[1, 1], channel_mult=[1, 2],
                          transformer_depth=[1, 1], transformer_depth_output=[1, 1, 1, 1], transformer_depth_middle=1),
             {"latent": [4, 16, 16], "context": [77, 768]}),
    "sdxl": ("SDXL", unet(context_dim=2048, use_linear_in_transformer=True, adm_in_channels=2816, num_classes="sequential",
                          num_res_blocks=[2, 2, 2], channel_mult=[1, 1, 1], transformer_depth=[0, 0, 2, 2, 10, 10],
                          transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10], transformer_depth_middle=10),
             {"latent": [4, 16, 16], "context": [77, 2048], "pooled_output": [1280]}),
    "pixart": ("PixArtSigma", {"num_heads": 16, "patch_size": 2, "hidden_size": 1152, "in_channels": 4, "depth": 1,
                               "image_model": "pixart_sigma", "micro_condition": False, "input_size": 32,
                               "pe_interpolation": 0, "model_max_length": 300},
               {"latent": [4, 64, 64], "context": [16, 4096]}),
    "krea2": ("Krea2", {"image_model": "krea2", "features": 512, "channels": 16, "patch": 2, "layers": 2, "heads": 4,
                        "kvheads": 2, "txtlayers": 12, "txtdim": 640},
              {"latent": IMAGE, "context": [16, 7680]}),
    "cogvideox": ("CogVideoX_T2V", {"image_model": "cogvideox", "num_attention_heads": 4, "attention_head_dim": 64,
                                    "time_embed_dim": 128, "num_layers": 2, "in_channels": 16, "patch_size": 2,
                                    "text_embed_dim": 512, "use_learned_positional_embeddings": False,
                                    "use_rotary_positional_embeddings": True},
                  {"latent": VIDEO, "context": [16, 512]}),
    "qwen_image": ("QwenImage", {"image_model": "qwen_image", "in_channels": 64, "num_layers": 1},
                   {"latent": [16, 1, 16, 16], "context": [16, 3584]}),
    "lumina2": ("Lumina2", {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 2304,
                            "cap_feat_dim": 2304, "n_layers": 1, "qk_norm": True, "n_heads": 24, "n_kv_heads": 8,
                            "axes_dims": [32, 32, 32], "axes_lens": [300, 512, 512], "rope_theta": 10000.0,
                            "ffn_dim_multiplier": 4.0},
                {"latent": IMAGE, "context": [16, 2304]}),
    "zimage": ("ZImage", {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 3840, "cap_feat_dim": 2560,
                          "n_layers": 1, "qk_norm": True, "n_heads": 30, "n_kv_heads": 30, "axes_dims": [32, 48, 48],
                          "axes_lens": [1536, 512, 512], "rope_theta": 256.0, "ffn_dim_multiplier": 8.0 / 3.0,
                          "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32},
               {"latent": IMAGE, "context": [16, 2560]}),
    "chroma": ("Chroma", {**{k: v for k, v in flux().items() if k not in ("guidance_embed", "yak_mlp", "txt_norm")},
                          "image_model": "chroma", "hidden_size": 3072, "num_heads": 24, "in_channels": 64,
                          "out_channels": 64, "in_dim": 64, "out_dim": 3072, "hidden_dim": 5120, "n_layers": 5,
                          "vec_in_dim": None, "depth": 1, "depth_single_blocks": 1},
               {"latent": IMAGE, "context": [16, 512]}),
}

_T5 = {"d_model": 128, "d_kv": 32, "num_heads": 4}
_QWEN = {"num_hidden_layers": 4, "vocab_size": 512, "intermediate_size": 512, "num_attention_heads": 4,
         "num_key_value_heads": 2}
# Name: module and class, file of its configuration in the tree, what is changed in it, CLIPType, and the word by which
# model_options takes the change. CLIP's loader takes no other configuration.
TEXT = {
    "clip_l": ("comfy.clip_model", "CLIPTextModel", "sd1_clip_config.json", {}, "STABLE_DIFFUSION", "clip_l"),
    "clip_g": ("comfy.clip_model", "CLIPTextModel", "clip_config_bigg.json", {}, "STABLE_DIFFUSION", "clip_g"),
    "t5xxl": ("comfy.text_encoders.t5", "T5", "text_encoders/t5_config_xxl.json", _T5, "MOCHI", "t5xxl"),
    "umt5xxl": ("comfy.text_encoders.t5", "T5", "text_encoders/umt5_config_xxl.json", {**_T5, "vocab_size": 1024}, "WAN",
                "umt5xxl"),
    "t5base": ("comfy.text_encoders.t5", "T5", "text_encoders/t5_config_base.json",
               {"num_layers": 2, "d_ff": 512, "vocab_size": 1024}, "STABLE_AUDIO", "t5base"),
    "qwen3_4b": ("comfy.text_encoders.llama", "Qwen3_4B", None, _QWEN, "STABLE_DIFFUSION", "qwen3_4b"),
    "qwen3_06b": ("comfy.text_encoders.llama", "Qwen3_06B", None, _QWEN, "STABLE_DIFFUSION", "qwen3_06b"),
    "gemma2_2b": ("comfy.text_encoders.llama", "Gemma2_2B", None, {**_QWEN, "hidden_size": 512}, "STABLE_DIFFUSION",
                  "gemma2_2b"),
    "llama3_8b": ("comfy.text_encoders.llama", "Llama2", None, {**_QWEN, "hidden_size": 512}, "HIDREAM", "llama"),
}
CARRY_TOKENIZER = {"umt5xxl", "gemma2_2b"}  # in the file itself
# GPT-OSS has a configuration of its own kind.
GPT_OSS = {"gpt_oss": {"vocab_size": 512, "hidden_size": 256, "intermediate_size": 192, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4,
                       "num_experts_per_tok": 2}}

# Name: diffusion model, text encoders by prefix, the VAE's prefix.
CHECKPOINTS = {
    "sd15_checkpoint": ("sd15", {"cond_stage_model.transformer.": "clip_l"}, "first_stage_model."),
    "flux_checkpoint": ("flux", {"text_encoders.clip_l.transformer.": "clip_l",
                                 "text_encoders.t5xxl.transformer.": "t5xxl"}, "vae."),
    "sd3_checkpoint": ("sd3", {"text_encoders.clip_l.transformer.": "clip_l", "text_encoders.clip_g.transformer.": "clip_g",
                               "text_encoders.t5xxl.transformer.": "t5xxl"}, "vae."),
}
LARGE = {"clip_g", "qwen_image", "lumina2", "zimage", "chroma", *CHECKPOINTS}  # half a gigabyte and more
SMALL = [name for name in (*DIFFUSION, *TEXT, *GPT_OSS) if name not in LARGE]
ALL = [*DIFFUSION, *TEXT, *GPT_OSS, *CHECKPOINTS]


def make(name: str, folder: Path) -> Path:
    """Writes NAME.safetensors and NAME.json; returns the former's path. comfyui.start() was called before."""
    from safetensors.torch import save_file
    build = (_diffusion if name in DIFFUSION else _text if name in TEXT else _gpt_oss if name in GPT_OSS
             else _checkpoint)
    tensors, spec = build(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file(tensors, path)
    path.with_suffix(".json").write_text(json.dumps(spec, indent=1) + "\n", "utf-8")
    return path


def _diffusion(name: str):
    import comfy.supported_models
    class_name, configuration, feed = DIFFUSION[name]
    config = getattr(comfy.supported_models, class_name)(configuration)
    config.set_inference_dtype(torch.bfloat16, None)
    model = config.get_model({}, "", device="cpu").diffusion_model
    _fill(model, seed=1)
    return _stored(model), {"kind": "diffusion", "feed": feed}


def _text(name: str):
    import comfy
    import comfy.ops
    module, class_name, file, changes, clip_type, word = TEXT[name]
    root = Path(comfy.ops.__file__).parent
    base = json.loads((root / file).read_text("utf-8")) if file else {}
    build = getattr(importlib.import_module(module), class_name)
    model = build({**base, **changes}, torch.bfloat16, "cpu", comfy.ops.disable_weight_init)
    _fill(model, seed=2, norms_near=0.0 if name.startswith("gemma") else 1.0)
    tensors = _stored(model)
    if name in CARRY_TOKENIZER:
        tensors["spiece_model"] = _tokenizer()
    vocabulary = changes.get("vocab_size") or base.get("vocab_size")
    return tensors, {"kind": "text", "clip_type": clip_type, "model_options": {f"{word}_model_config": changes},
                     "vocabulary": vocabulary}


def _gpt_oss(name: str):
    """Its layers have no weights until they were loaded."""
    import comfy.ops
    from comfy.text_encoders import gpt_oss
    changes = GPT_OSS[name]
    model = gpt_oss.GptOssModel(gpt_oss.GptOss20BConfig(**changes), "cpu", torch.bfloat16,
                                comfy.ops.mixed_precision_ops({}, torch.bfloat16))
    for module in model.modules():
        if hasattr(module, "_orig_shape"):
            module.weight = torch.nn.Parameter(torch.empty(module._orig_shape, dtype=torch.bfloat16))
    _fill(model, seed=2)
    options = {"gpt_oss_config": changes, "selected_layers": [0, 1], "txt_offset": 0}
    return _stored(model) | {"tokenizer_json": _word_tokenizer()}, {
        "kind": "text", "clip_type": "STABLE_DIFFUSION", "model_options": options, "vocabulary": changes["vocab_size"]}


def _checkpoint(name: str):
    import comfy.ldm.models.autoencoder
    model, encoders, vae_prefix = CHECKPOINTS[name]
    tensors, spec = _diffusion(model)
    tensors = {f"model.diffusion_model.{k}": v for k, v in tensors.items()}
    options = {}
    for prefix, encoder in encoders.items():
        more, how = _text(encoder)
        tensors |= {prefix + k: v for k, v in more.items()}
        options |= how["model_options"]
    vae = comfy.ldm.models.autoencoder.AutoencoderKL(embed_dim=4, ddconfig={
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0})
    _fill(vae, seed=3)
    tensors |= {vae_prefix + k: v for k, v in _stored(vae).items()}
    return tensors, {**spec, "kind": "checkpoint", "te_model_options": options, "vocabulary": 32000}


def _stored(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: (tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor).detach().contiguous()
            for name, tensor in module.state_dict().items()}


def _fill(module: torch.nn.Module, seed: int, norms_near: float = 1.0) -> None:
    """Random values for all parameters, and for buffers that hold none."""
    buffers = dict(module.named_buffers())
    for name, tensor in [*module.named_parameters(), *buffers.items()]:
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        if name in buffers:
            if tensor.isfinite().all() and 0 < tensor.abs().max() < 1e6:
                continue
            value = 0.02 * torch.randn(tensor.shape, generator=generator)
        else:
            value = _values(name, tensor.shape, generator, norms_near)
        with torch.no_grad():
            tensor.copy_(value)


def _values(name: str, shape: torch.Size, generator: torch.Generator, norms_near: float) -> torch.Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if len(shape) == 3 and ".experts." in name:
        return torch.stack([_values(name, shape[1:], generator, norms_near) for _ in range(shape[0])])
    if len(shape) >= 2 and leaf in ("weight", "in_proj_weight"):
        columns = torch.exp(0.4 * torch.randn(shape[1], generator=generator)).reshape(1, -1, *[1] * (len(shape) - 2))
        table = any(word in name for word in ("embed_tokens", "shared.", "_embedding.", "relative_attention_bias"))
        deviation = 0.05 if table else shape[1:].numel() ** -0.5
        if "SelfAttention.q." in name:  # T5 does not divide by the root of the head's width: its q is that much smaller
            deviation *= 0.15
        value = deviation * columns * torch.randn(shape, generator=generator)
        return torch.where(torch.rand(shape, generator=generator) < 1e-4, 6 * value, value)
    if len(shape) == 1 and leaf in ("weight", "scale", "gamma"):
        return norms_near + 0.1 * torch.randn(shape, generator=generator)
    return 0.02 * torch.randn(shape, generator=generator)


def _tokenizer() -> torch.Tensor:
    """A SentencePiece model of a few hundred pieces, as bytes."""
    import sentencepiece
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.txt"
        lines.write_text("\n".join(" ".join(f"w{i * k % 97}" for k in range(1, 12)) for i in range(2000)), "utf-8")
        sentencepiece.SentencePieceTrainer.train(input=str(lines), model_prefix=f"{folder}/spiece", vocab_size=200,
                                                 hard_vocab_limit=False, minloglevel=2)
        return torch.tensor(list((Path(folder) / "spiece.model").read_bytes()), dtype=torch.uint8)


def _word_tokenizer() -> torch.Tensor:
    """One of a few words, as the bytes of its JSON."""
    from tokenizers import Tokenizer, models
    text = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?")).to_str()
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfy", type=Path, required=True, help="a ComfyUI tree")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in ALL]:
        parser.error(f"no such family: {', '.join(unknown)}")
    comfyui.start(args.comfy)
    failed = 0
    for name in args.names or SMALL:
        try:
            print(make(name, args.out), flush=True)
        except Exception as error:  # a tree that lacks the family
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed += 1
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
