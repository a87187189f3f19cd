"""Facts about text encoders at the size at which they are published, from a real ComfyUI, for the project's tests.

    python bench/clients/encoders.py --comfy TREE [--golden tests/golden] [--show] [NAME ...]

Every encoder is built on the meta device, all its weights are given FP8 codes, scales and markers, and ComfyUI loads that.
Where a quantized tensor is held then, ComfyUI reads codes. Written are encoders/NAME.txt (names, types and shapes of the
tensors) and encoders.json: whether it reads codes at all, in which tables and banks of experts, and which layers stay plain
('#' is a number).
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

import comfyui
import layout
from detection import DTYPES, kind_with_codes

META = torch.device("meta")
NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
Tensors = dict[str, torch.Tensor]


class Encoder(NamedTuple):
    family: str  # as this project calls it
    build: Callable[[], Tensors]
    clip_type: str = "STABLE_DIFFUSION"  # with which CLIPLoader takes it
    beside: str = ""  # the encoder that is loaded with it, by those that are never loaded alone
    attribute: str = ""  # where it is in what was loaded then


# --- building -----------------------------------------------------------------------------------------------------------


def _options() -> dict:
    return {"initial_device": META, "load_device": torch.device("cpu"), "offload_device": torch.device("cpu"),
            "dtype": torch.bfloat16}


def _empty(shape, dtype=torch.bfloat16) -> torch.Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device=META)


def _module(name: str):
    return importlib.import_module(f"comfy.{name}")


def _held(module: torch.nn.Module) -> Tensors:
    return {name: _empty(tensor.shape, torch.bfloat16 if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in module.state_dict().items()}


def _make(cls, **options) -> torch.nn.Module:
    return cls(device=META, dtype=torch.bfloat16, model_options={**_options(), **options})


def _transformer(model: torch.nn.Module) -> torch.nn.Module:
    return next((module.transformer for module in model.modules()
                 if isinstance(getattr(module, "transformer", None), torch.nn.Module)), model)


def cls(module: str, name: str, **options) -> Callable[[], Tensors]:
    """The transformer within an encoder's class."""
    return lambda: _held(_transformer(_make(getattr(_module(module), name), **options)))


def te(module: str, function: str = "te", **arguments) -> Callable[[], Tensors]:
    """The same, of the class that a function of comfy.text_encoders returns."""
    return lambda: _held(_transformer(_make(getattr(_module(f"text_encoders.{module}"), function)(**arguments))))


def gemma4(size: str) -> Callable[[], Tensors]:
    return lambda: te("gemma4", "gemma4_te", model_class=getattr(_module("text_encoders.gemma4"), f"Gemma4_{size}"))()


def more(build: Callable[[], Tensors], **tensors: torch.Tensor) -> Callable[[], Tensors]:
    return lambda: {**build(), **tensors}


def renamed(build: Callable[[], Tensors], *prefixes: tuple[str, str]) -> Callable[[], Tensors]:
    """With other prefixes, as the published file has them; the first that fits."""
    def run() -> Tensors:
        return {next((new + name[len(old):] for old, new in prefixes if name.startswith(old)), name): tensor
                for name, tensor in build().items()}
    return run


VISION = (("model.lm_head.", "lm_head."), ("model.", "model.language_model."), ("visual.", "model.visual."))


def openclip(build: Callable[[], Tensors]) -> Callable[[], Tensors]:
    """CLIP under OpenCLIP's names, with q, k and v joined."""
    outside = {"text_model.embeddings.position_embedding.weight": "positional_embedding",
               "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
               "text_model.final_layer_norm.weight": "ln_final.weight",
               "text_model.final_layer_norm.bias": "ln_final.bias", "text_projection.weight": "text_projection"}
    inside = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
              "mlp.fc2": "mlp.c_proj"}

    def run() -> Tensors:
        out = {}
        for name, tensor in build().items():
            found = re.match(r"text_model\.encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", name)
            if not found:
                out[outside[name]] = tensor
            elif "q_proj" in found[2]:
                out[f"transformer.resblocks.{found[1]}.attn.in_proj_{found[3]}"] = _empty(
                    (3 * tensor.shape[0], *tensor.shape[1:]))
            elif found[2] in inside:
                out[f"transformer.resblocks.{found[1]}.{inside[found[2]]}.{found[3]}"] = tensor
        return out
    return run


def ltx2_gemma4() -> Tensors:
    """The encoder of LTX-2, with the projections that its file carries."""
    gemma, lt = _module("text_encoders.gemma4"), _module("text_encoders.lt")
    model = _make(lt.ltxav_te(text_projection_type="dual_linear", text_encoder_key="gemma4", video_projection_dim=4096,
                              text_encoder_model=gemma.gemma4_text_encoder_model(gemma.Gemma4_12B),
                              audio_projection_dim=2048))
    beside = {f"text_embedding_projection.{k}": v for k, v in _held(model.text_embedding_projection).items()}
    return _held(model.gemma3_12b.transformer) | beside


def gpt_oss() -> Tensors:
    """Its banks of experts are parameters only once they were loaded."""
    out = {}
    for path, module in _transformer(_make(_module("text_encoders.gpt_oss").lens_te())).named_modules():
        held = {name: value.shape for name, value in module._parameters.items() if value is not None}
        if hasattr(module, "_orig_shape"):
            held = {"weight": module._orig_shape} | ({"bias": held["bias"]} if "bias" in held else {})
        out |= {f"{path}.{name}".lstrip("."): _empty(shape) for name, shape in held.items()}
    return out


PRUNED = ("embed_tokens_prefill", "embed_tokens_audio", "lm_head_pruned")


def minimax_music(whole: bool, **configuration) -> Callable[[], Tensors]:
    """The encoder and planner of MiniMax Music: with the whole vocabulary, or with the parts of it that are used."""
    def run() -> Tensors:
        model = _module("text_encoders.minimax_music").MiniMaxMusic3TEModel(
            device=META, model_options=_options(), projection_config=configuration)
        held = {**_held(model), "tokenizer_json": torch.zeros(4, dtype=torch.uint8)}
        if whole:
            return {name: t for name, t in held.items() if not any(part in name for part in PRUNED)}
        return {name: t for name, t in held.items() if not name.startswith(("model.embed_tokens.", "model.lm_head."))}
    return run


MERGED = {f"{where}merged_{what}": True for where in ("", "decoder_") for what in ("qkv", "mlp")}
SPIECE = torch.zeros(4, dtype=torch.uint8)
CLIP_L = cls("sd1_clip", "SD1ClipModel")
CLIP_G = cls("sdxl_clip", "SDXLRefinerClipModel")

ENCODERS = {
    "clip_l": Encoder("clip", CLIP_L),
    "long_clip_l": Encoder("clip", cls("sd1_clip", "SD1ClipModel",
                                       clip_l_model_config={"max_position_embeddings": 248})),
    "clip_l_openclip": Encoder("clip", openclip(CLIP_L)),
    "clip_g": Encoder("clip", CLIP_G),
    "clip_g_openclip": Encoder("clip", openclip(CLIP_G)),
    "clip_h": Encoder("clip", cls("text_encoders.sd2_clip", "SD2ClipModel")),
    "t5xxl": Encoder("t5", te("pixart_t5", "pixart_te")),
    "umt5xxl": Encoder("t5", te("wan"), "WAN"),
    "t5xxl_old": Encoder("t5", te("cosmos")),
    "t5xl_pile": Encoder("t5_xl", cls("text_encoders.aura_t5", "AuraT5Model")),
    "mt5xl": Encoder("t5_xl", cls("text_encoders.hydit", "MT5XLModel"), "HUNYUAN_DIT", "hydit_bert", "mt5xl"),
    "t5base": Encoder("t5_base", cls("text_encoders.sa_t5", "SAT5Model")),
    "umt5base": Encoder("t5_base", more(cls("text_encoders.ace", "AceT5Model"), spiece_model=SPIECE)),
    "byt5_glyph": Encoder("byt5", cls("text_encoders.hunyuan_image", "ByT5SmallModel"), "HUNYUAN_IMAGE", "qwen25_7b",
                          "byt5_small"),
    "t5gemma": Encoder("t5_gemma", cls("text_encoders.sa3", "SAT5GemmaModel")),
    "hydit_bert": Encoder("bert", cls("text_encoders.hydit", "HyditBertModel"), "HUNYUAN_DIT", "mt5xl", "hydit_clip"),
    "jina_clip_2": Encoder("jina_clip", cls("text_encoders.jina_clip_2", "JinaClip2TextModelWrapper")),
    "llama3_8b": Encoder("llama", te("hidream", "hidream_clip", clip_l=False, clip_g=False, t5=False, llama=True)),
    "qwen25_3b": Encoder("qwen25", te("omnigen2")),
    "qwen25_7b": Encoder("qwen25_vl", te("qwen_image")),
    "qwen3_06b": Encoder("qwen3", te("anima")),
    "qwen3_2b_ovis": Encoder("qwen3", te("ovis")),
    "qwen3_4b": Encoder("qwen3", te("z_image")),
    "qwen3_8b": Encoder("qwen3", te("ideogram4")),
    "qwen3vl_4b": Encoder("qwen3_vl", renamed(te("qwen3vl", model_type="qwen3vl_4b"), *VISION)),
    "qwen3vl_8b": Encoder("qwen3_vl", renamed(te("qwen3vl", model_type="qwen3vl_8b"), *VISION)),
    "qwen3vl_32b": Encoder("qwen3_vl", te("minimax")),
    "qwen35_08b": Encoder("qwen35", renamed(te("qwen35", model_type="qwen35_08b"), *VISION)),
    "gemma2_2b": Encoder("gemma2", te("lumina2")),
    "gemma3_4b": Encoder("gemma3", te("lumina2", model_type="gemma3_4b")),
    "gemma3_4b_vision": Encoder("gemma3", te("lumina2", model_type="gemma3_4b_vision")),
    "gemma3_12b": Encoder("gemma3", te("lt", "gemma3_te")),
    "gemma4_e2b": Encoder("gemma4", gemma4("E2B")),
    "gemma4_12b": Encoder("gemma4_large", gemma4("12B")),
    "ltxav_gemma4_12b": Encoder("gemma4_large", ltx2_gemma4),
    "mistral3_24b": Encoder("mistral", te("flux", "flux2_te", pruned=False)),
    "mistral3_24b_pruned": Encoder("mistral", te("flux", "flux2_te", pruned=True)),
    "ministral3_3b": Encoder("mistral", te("ernie")),
    "gpt_oss_20b": Encoder("gpt_oss", gpt_oss),
    "minimax_music": Encoder("minimax_music", minimax_music(True), "MINIMAX"),
    "minimax_music_pruned": Encoder("minimax_music", minimax_music(False), "MINIMAX"),
    "minimax_music_merged": Encoder("minimax_music", minimax_music(False, **MERGED), "MINIMAX"),
}


# --- loading ------------------------------------------------------------------------------------------------------------


class NoTokenizer:
    """In place of tokenizers, some of which the file has to carry."""

    def __init__(self, *args, **kwargs):
        pass

    def state_dict(self):
        return {}


def prepare() -> None:
    """Makes ComfyUI build encoders without tokenizers, and all of them on the device that it is told."""
    import comfy.sd
    init = comfy.sd.CLIP.__init__

    @functools.wraps(init)
    def without_tokenizer(self, target=None, *args, **kwargs):
        if target is not None:
            target.tokenizer = NoTokenizer
        init(self, target, *args, **kwargs)

    comfy.sd.CLIP.__init__ = without_tokenizer
    hydit = _module("text_encoders.hydit")
    for one in (hydit.HyditBertModel, hydit.MT5XLModel):  # these are always built on their default device
        one.__init__.__defaults__ = (META, *one.__init__.__defaults__[1:])


def quantized(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """All matrices, and banks of experts, with FP8 codes, a scale and a marker; and their names."""
    out, names = {}, []
    for name, tensor in tensors.items():
        bank = tensor.ndim == 3 and "experts" in name
        if not (tensor.ndim == 2 or bank) or not name.endswith(".weight") or not tensor.is_floating_point():
            out[name] = tensor
            continue
        marker = {"format": "float8_e4m3fn"} | ({"num_experts": tensor.shape[0]} if bank else {})
        layer = name.removesuffix(".weight")
        out[name] = _empty(tensor.shape, torch.float8_e4m3fn)
        out[f"{layer}.weight_scale"] = _empty(tensor.shape[:1] if bank else (), torch.float32)
        out[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps(marker).encode()), dtype=torch.uint8)
        names.append(name)
    return out, names


def kinds(name: str, tensors: Tensors) -> dict[str, str]:
    """What holds each weight once ComfyUI has loaded it as codes: "Linear", "Embedding", "MoEExperts", or ""."""
    import comfy.sd
    import comfy.utils
    encoder = ENCODERS[name]
    files, names = [], []
    for one in [tensors, ENCODERS[encoder.beside].build()] if encoder.beside else [tensors]:
        codes, weights = quantized(one)
        files.append(comfy.utils.convert_old_quants(codes, model_prefix="", metadata={})[0])
        names = names or weights
    with comfyui.heard(), META:
        clip = comfy.sd.load_text_encoder_state_dicts(files, clip_type=comfy.sd.CLIPType[encoder.clip_type],
                                                      model_options=_options())
    root = clip.cond_stage_model
    held = _holders(getattr(root, encoder.attribute) if encoder.attribute else root)
    return {weight: _find(held, weight) for weight in names}


def _holders(root: torch.nn.Module) -> dict[str, str]:
    from comfy.quant_ops import QuantizedTensor
    found = {}
    for path, module in root.named_modules():
        for leaf, value in module._parameters.items():
            if value is not None:
                codes = isinstance(value.data, QuantizedTensor) or isinstance(value, QuantizedTensor)
                found[f"{path}.{leaf}"] = kind_with_codes(module) if codes else ""
    return found


LOADED_AS = (("model.language_model.", "model."), ("model.visual.", "visual."), ("lm_head.", "model.lm_head."),
             ("text_embedding_projection.aggregate_embed.", "text_embedding_projection."), ("", ""))


def _find(held: dict[str, str], weight: str) -> str:
    """By the end of the name: above it are the wrappers of the encoder."""
    for stored, loaded in LOADED_AS:
        if weight.startswith(stored):
            name = loaded + weight[len(stored):]
            match = next((kind for path, kind in held.items() if path == name or path.endswith(f".{name}")), None)
            if match is not None:
                return match
    return ""


def fact(name: str, tensors: Tensors) -> dict:
    """An entry of encoders.json."""
    def layers(kind: str) -> list[str]:
        return sorted({NUMBER.sub("#", weight.removesuffix(".weight")) for weight, one in found.items() if one == kind})

    found = kinds(name, tensors)
    if "Linear" not in found.values():
        return {"reads": False}
    return {"reads": True} | {word: layers(kind) for word, kind in (("tables", "Embedding"), ("banks", "MoEExperts"), ("plain", "")) if layers(kind)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfy", type=Path, required=True, help="a ComfyUI tree")
    parser.add_argument("--golden", type=Path, default=Path(__file__).parents[2] / "tests" / "golden")
    parser.add_argument("--show", action="store_true", help="print the facts, write nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ENCODERS))
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in ENCODERS]:
        parser.error(f"no such encoder: {', '.join(unknown)}")
    comfyui.start(args.comfy)
    prepare()
    target = args.golden / "encoders.json"
    known, failed = json.loads(target.read_text("utf-8")) if target.is_file() else {}, 0
    for name in args.names or ENCODERS:
        try:
            tensors = ENCODERS[name].build()
            known[name] = fact(name, tensors)
        except Exception as error:  # a tree that lacks the encoder
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed += 1
            continue
        print(f"{name}: {json.dumps(known[name])}", flush=True)
        if not args.show:
            (args.golden / "encoders").mkdir(parents=True, exist_ok=True)
            entries = [layout.Entry(DTYPES[t.dtype], tuple(t.shape), key) for key, t in tensors.items()]
            layout.write(args.golden / "encoders" / f"{name}.txt", ENCODERS[name].family, entries)
            lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(known[key])}" for key in sorted(known))
            target.write_text(f"{{\n{lines}\n}}\n", "utf-8")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
