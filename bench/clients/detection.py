"""What ComfyUI makes of a published diffusion model's names and shapes: modules on the meta device, which hold no memory.

comfyui.start() comes before everything here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re

import torch

import layout
from configurations import BESIDE, METADATA, PUBLISHED

DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64",
          torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64"}
BLOCK = re.compile(r"(?<![^.])\d+(?=\.\w+\.)")  # a number in a name, but not the module's own last one
ON_CPU = {"PixArtAlpha", "PixArtSigma", "RT_DETR_v4", "SD_X4Upscaler"}  # their constructors compute
ACE15_CODES = 8 * 8 * 8 * 5 * 5 * 5  # the product of its quantizer's levels, which it takes from a tensor

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass
class Facts:
    """Of one model. Names are without ".weight", and ranges where there are several."""

    name: str
    family: str
    detected: str  # the class
    tensors: list[layout.Entry]  # as the file stores them
    plain: list[str]  # 2-D weights of modules that read numbers only, or that it splits while it loads
    table: list[str]  # embeddings of the kind that reads codes
    columns: list[str]  # another number of columns makes another configuration, or none
    rows: list[str]  # the same of rows


def facts(name: str) -> Facts:
    """Throws where the tree lacks the class, or takes the model for another one."""
    family, class_name, configuration = PUBLISHED[name]
    beside = {key: torch.zeros(shape) for key, shape in BESIDE.get(name, {}).items()}
    model = _build(class_name, configuration, beside, quantized=False)
    held = dict(model.state_dict())
    plain, table = _kinds(held, model, _build(class_name, configuration, beside, quantized=True))
    stored = STORED[name](held) if name in STORED else held
    header = {"config": json.dumps({"transformer": METADATA[name]})} if name in METADATA else None
    detector = Detector({**stored, **beside}, header)
    columns, rows = detector.configuring()
    plain += layout.names((key, stored[key].shape) for key in detector.split(stored))
    return Facts(name, family, type(detector.model).__name__,
                 [layout.Entry(DTYPES[tensor.dtype], tuple(tensor.shape), key) for key, tensor in stored.items()],
                 _layers(plain), _layers(table), _layers(columns), _layers(rows))


def _layers(names: list[str]) -> list[str]:
    return [name.removesuffix(".weight") for name in names]


# --- modules ------------------------------------------------------------------------------------------------------------


def _build(class_name: str, configuration: dict, beside: Tensors, quantized: bool) -> torch.nn.Module:
    """The network, as ComfyUI builds it for a plain file, or for one with quantized layers."""
    import comfy.supported_models
    config = getattr(comfy.supported_models, class_name)(dict(configuration))
    if quantized:
        config.quant_config = {"mixed_ops": True}
    config.set_inference_dtype(torch.bfloat16, None)
    with torch.device("cpu" if class_name in ON_CPU else "meta"), _levels_of_ace15(class_name):
        return config.get_model(dict(beside), "", device="meta").diffusion_model


@contextlib.contextmanager
def _levels_of_ace15(class_name: str):
    item = torch.Tensor.item
    if class_name == "ACEStep15":
        torch.Tensor.item = lambda tensor: ACE15_CODES if tensor.is_meta else item(tensor)
    try:
        yield
    finally:
        torch.Tensor.item = item


def _kinds(held: Tensors, model: torch.nn.Module, quantized: torch.nn.Module) -> tuple[list[str], list[str]]:
    """Names of the 2-D weights that read plain numbers only, and of the tables that read codes."""
    modules = dict(model.named_modules(remove_duplicate=False))
    with_codes = dict(quantized.named_modules(remove_duplicate=False))
    plain: dict[str, list[str]] = {}  # by the module's type, so that a range is one of equals
    table = []
    for key, tensor in held.items():
        path, _, leaf = key.rpartition(".")
        if not tensor.is_floating_point() or leaf != "weight" or tensor.ndim < 2:
            continue
        kind = kind_with_codes(with_codes[path])
        if kind == "Embedding":
            table.append(key)
        elif not kind and tensor.ndim == 2:
            plain.setdefault(type(modules[path]).__qualname__, []).append(key)
    shapes = {key: held[key].shape for key in held}
    collapsed = [name for keys in plain.values() for name in layout.names((key, shapes[key]) for key in keys)]
    return collapsed, layout.names((key, shapes[key]) for key in table)


def kind_with_codes(module: torch.nn.Module) -> str:
    """"Linear", "Embedding", "MoEExperts": the class of ComfyUI's that reads codes and scales, of which it is one; or ""."""
    return next((base.__name__ for base in type(module).__mro__ if "mixed_precision_ops" in base.__qualname__), "")


# --- detection ----------------------------------------------------------------------------------------------------------


class Watched(dict):
    """A state dict that remembers which tensors were asked for."""

    def __init__(self, tensors: Tensors):
        super().__init__(tensors)
        self.read: set[str] = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)


class Detector:
    """ComfyUI's detection on one file's names and shapes, and on changes of them."""

    def __init__(self, tensors: Tensors, header: dict | None):
        self.tensors, self.header = tensors, header
        watched = Watched(tensors)
        self.configuration, self.model = self._detect(watched)
        if self.model is None:
            raise ValueError("not detected")
        self.read = watched.read

    def configuring(self) -> tuple[list[str], list[str]]:
        """Names of weights whose number of columns, and of rows, the configuration depends on. Tried are those that
        detection read, and of weights that differ in a block's number the first."""
        columns, rows, tried = [], [], set()
        for key, tensor in self.tensors.items():
            pattern = BLOCK.sub("#", key)
            if tensor.ndim != 2 or not tensor.is_floating_point() or not key.endswith(".weight"):
                continue
            if key not in self.read and pattern in tried:
                continue
            tried.add(pattern)
            n, k = tensor.shape
            if self._changes(key, (n, k // 2), torch.uint8) or self._changes(key, (n, k + 32), torch.float8_e4m3fn):
                columns.append(key)
            if any(self._changes(key, (n + more, k), torch.float8_e4m3fn) for more in (32, 16)):
                rows.append(key)
        return columns, rows

    def split(self, stored: Tensors) -> list[str]:
        """Names of weights that do not stay together with their scale and marker while ComfyUI renames what it loads."""
        broken, tried = set(), set()
        for key, tensor in stored.items():
            pattern = BLOCK.sub("#", key)
            if tensor.ndim == 2 and key.endswith(".weight") and pattern not in tried:
                tried.add(pattern)
                if not self._stays_together(stored, key.removesuffix(".weight")):
                    broken.add(pattern)
        return [key for key in stored if BLOCK.sub("#", key) in broken]

    def _stays_together(self, stored: Tensors, layer: str) -> bool:
        weight = torch.empty(stored[layer + ".weight"].shape, dtype=torch.float8_e4m3fn, device="meta")
        quantized = {**stored, layer + ".weight": weight, layer + ".weight_scale": torch.zeros(()),
                     layer + ".comfy_quant": torch.zeros(30, dtype=torch.uint8)}
        try:
            loaded = self.model.process_unet_state_dict(quantized)
        except Exception:  # it handles the scale as if it were a weight
            return False
        markers = [key.removesuffix(".comfy_quant") for key in loaded if key.endswith(".comfy_quant")]
        return len(markers) == 1 and {markers[0] + ".weight", markers[0] + ".weight_scale"} <= loaded.keys()

    def _changes(self, key: str, shape: tuple[int, int], dtype: torch.dtype) -> bool:
        """Whether another model is detected where this tensor has this shape."""
        try:
            configuration, model = self._detect({**self.tensors, key: torch.empty(shape, dtype=dtype, device="meta")})
        except Exception:  # no model that it knows has such a shape
            return True
        return type(model) is not type(self.model) or _text(configuration) != _text(self.configuration)

    def _detect(self, tensors: dict):
        import comfy.model_detection
        configuration = comfy.model_detection.detect_unet_config(tensors, "", metadata=self.header)
        if configuration is None:
            return None, None
        return configuration, comfy.model_detection.model_config_from_unet_config(configuration, tensors)


def _text(configuration: dict) -> dict[str, str]:
    return {key: str(value) for key, value in configuration.items()}


# --- files that store other tensors than the modules hold ---------------------------------------------------------------


def _joined(parts: list[str], to: str, only: str = ""):
    """X.q.weight, X.k.weight and X.v.weight are one X.in_proj_weight in the file."""
    def stored(held: Tensors) -> Tensors:
        out = dict(held)
        for key in held:
            for leaf in ("weight", "bias"):
                base = key.removesuffix(f".{parts[0]}.{leaf}")
                if base == key or not key.startswith(only):
                    continue
                members = [f"{base}.{part}.{leaf}" for part in parts]
                if all(member in held for member in members):
                    rows, *rest = held[key].shape
                    for member in members:
                        del out[member]
                    out[f"{base}.{to}_{leaf}"] = held[key].new_empty((rows * len(parts), *rest))
        return out
    return stored


def _pixel_blocks(prefix: str):
    """Of PixelDiT and PiD: two modulations are one in the file."""
    def stored(held: Tensors) -> Tensors:
        out = {}
        for key, tensor in held.items():
            if "pixel_blocks." in key and ".adaLN_modulation_msa." in key:
                rows, *rest = tensor.shape
                out[prefix + key.replace("_msa.", ".0.")] = tensor.new_empty((rows * 2, *rest))
            elif "pixel_blocks." not in key or ".adaLN_modulation_mlp." not in key:
                out[prefix + key] = tensor
        return out
    return stored


STORED = {
    "pixeldit": _pixel_blocks("core."), "pid": _pixel_blocks(""), "pid15": _pixel_blocks(""),
    "cascade_c_lite": _joined(["to_q", "to_k", "to_v"], "in_proj"),
    "cascade_b_lite": _joined(["to_q", "to_k", "to_v"], "in_proj"),
    "wan_dancer": _joined(["q_proj", "k_proj", "v_proj"], "in_proj", only="music_encoder"),
}
