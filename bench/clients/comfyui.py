"""A ComfyUI tree, given by its path, as a library on the CPU: its own loaders, one step or one encoding, every weight.

start() comes before everything else here: only then can `comfy` be imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import sys
import traceback
from pathlib import Path

import torch

FORMATS = {  # of a QuantizedTensor's layout, by the word that a file has for it
    "TensorCoreFP8E4M3Layout": "float8_e4m3fn", "TensorCoreFP8Layout": "float8_e4m3fn",
    "TensorCoreFP8E5M2Layout": "float8_e5m2", "TensorWiseINT8Layout": "int8_tensorwise", "TensorCoreNVFP4Layout": "nvfp4",
    "TensorCoreMXFP8Layout": "mxfp8", "TensorCoreConvRotW4A4Layout": "convrot_w4a4",
    "AsymW4A8Int8Layout": "asym_w4a8_int8", "TensorCoreAWQW4A16Layout": "awq_w4a16",
}
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
CODES = (*FLOAT8, torch.int8, torch.uint8)
TOKENIZERS = ("spiece_model", "tekken_model", "tokenizer_json")  # read, and called unexpected all the same
LARGEST_ERROR = {False: 0.1, True: 0.2}  # of the weights, relative; True: some layer has 4 bits
LARGEST_OUTPUT_ERROR = {False: 0.45, True: 0.9}  # random weights: an output may be off by a good part
FOUR_BITS = {"nvfp4", "convrot_w4a4", "asym_w4a8_int8", "awq_w4a16"}
CLIP_TOKENS = 77  # as many positions as CLIP has


def start(tree: Path) -> str:
    """Makes `comfy` importable and returns the tree's version, "0.33.0" ("" where it has none)."""
    tree = tree.resolve()
    if not (tree / "comfy" / "sd.py").is_file():
        raise FileNotFoundError(f"{tree}: not a ComfyUI tree (it has no comfy/sd.py)")
    sys.path.insert(0, str(tree))
    arguments, sys.argv = sys.argv, [sys.argv[0], "--cpu"]
    try:
        with heard():
            import comfy.options
            comfy.options.enable_args_parsing()
            import comfy.sd  # noqa: F401
    finally:
        sys.argv = arguments
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    version = tree / "comfyui_version.py"
    found = re.search(r'__version__ = "([^"]+)"', version.read_text("utf-8")) if version.is_file() else None
    return found[1] if found else ""


class Words(logging.Handler):
    """What ComfyUI says in its log."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record):
        self.lines.append(record.getMessage().strip())

    def strangers(self) -> list[str]:
        """Lines about tensors that it misses or did not expect."""
        said = [line for line in self.lines if re.search(r"(unet|clip) (missing|unexpected)", line)]
        return [line for line in said if not line.endswith("[])") and not any(f"['{own}']" in line for own in TOKENIZERS)]


@contextlib.contextmanager
def heard():
    """Collects the log, and keeps it from the terminal."""
    root, words = logging.getLogger(), Words()
    level, handlers = root.level, root.handlers[:]
    root.setLevel(logging.DEBUG)
    root.handlers = [words]
    try:
        yield words
    finally:
        root.setLevel(level)
        root.handlers = handlers


# --- loading ------------------------------------------------------------------------------------------------------------


def load(path: Path, spec: dict):
    """What ComfyUI's loader nodes call for a file of this kind (families.py writes specs): a model patcher, a CLIP, or a
    tuple of both from a whole checkpoint."""
    import comfy.sd
    if spec["kind"] == "text":
        options = spec.get("model_options", {})
        return comfy.sd.load_clip([str(path)], clip_type=comfy.sd.CLIPType[spec["clip_type"]], model_options=options)
    if spec["kind"] == "checkpoint":
        options = spec.get("te_model_options", {})
        model, clip, *_ = comfy.sd.load_checkpoint_guess_config(str(path), output_vae=False, te_model_options=options)
        return model, clip
    return comfy.sd.load_diffusion_model(str(path))


def parts(loaded) -> list[tuple[str, torch.nn.Module]]:
    """The modules of what was loaded, each with the prefix that its names get here."""
    import comfy.sd
    if isinstance(loaded, comfy.sd.CLIP):
        return [("", loaded.cond_stage_model)]
    if isinstance(loaded, tuple):
        return [("clip." if isinstance(part, comfy.sd.CLIP) else "", module)
                for part in loaded if part is not None for _, module in parts(part)]
    return [("", loaded.model.diffusion_model)]


def tensors(loaded) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    found = {}
    for prefix, root in parts(loaded):
        for path, module in root.named_modules():
            for leaf, value in [*module._parameters.items(), *module._buffers.items()]:
                if value is not None:
                    found[f"{prefix}{path}.{leaf}" if path else f"{prefix}{leaf}"] = value.data
    return found


def banks(loaded) -> dict[str, torch.nn.Module]:
    """Banks of experts by the names of their weights. ComfyUI decodes a bank one expert at a time, never as a whole."""
    return {f"{prefix}{path}.weight": module for prefix, root in parts(loaded) for path, module in root.named_modules()
            if hasattr(module, "expert_weight")}


# --- running ------------------------------------------------------------------------------------------------------------


def run(loaded, spec: dict) -> dict[str, torch.Tensor]:
    """What the networks put out for inputs that depend on nothing but `spec`."""
    import comfy.sd
    if isinstance(loaded, comfy.sd.CLIP):
        return encode(loaded, spec.get("vocabulary"))
    if isinstance(loaded, tuple):
        model, clip = loaded
        out = sample(model, spec["feed"])
        return out | {f"clip {name}": y for name, y in (run(clip, spec) if clip is not None else {}).items()}
    return sample(loaded, spec["feed"])


def encode(clip, vocabulary: int | None) -> dict[str, torch.Tensor]:
    """Each encoder of a CLIP object on random tokens: embeddings and, where there is one, the pooled vector."""
    from comfy.sd1_clip import SDClipModel
    clip.load_model()
    out = {}
    for name, encoder in clip.cond_stage_model.named_modules():
        if not isinstance(encoder, SDClipModel) and type(encoder).__name__ != "LensGptOssClipModel":
            continue
        known = encoder.transformer.get_input_embeddings().weight.shape[0]
        length = CLIP_TOKENS if type(encoder.transformer).__name__ == "CLIPTextModel" else 24
        generator = torch.Generator().manual_seed(5)
        tokens = torch.randint(3, min(known, vocabulary or known) - 4, (length,), generator=generator).tolist()
        end = getattr(encoder, "special_tokens", {}).get("end")
        if end is not None and end < known:
            tokens[-1] = end
        encoder.set_clip_options({"execution_device": torch.device("cpu")})
        with torch.no_grad():
            embeddings, pooled, *_ = encoder.encode_token_weights([[(token, 1.0) for token in tokens]])
        out[name] = embeddings
        if pooled is not None:
            out[f"{name} pooled"] = pooled
    return out


def sample(model, feed: dict) -> dict[str, torch.Tensor]:
    """One Euler step through ComfyUI's sampler: what the network itself put out in it."""
    import comfy.sample
    generator = torch.Generator().manual_seed(7)
    latent = torch.zeros(1, *feed["latent"])
    noise = torch.randn(latent.shape, generator=generator)
    context = torch.randn(1, *feed["context"], generator=generator)
    more = {key: _value(value, generator) for key, value in feed.items() if key not in ("latent", "context")}
    caught = {}

    def keep_first(module, inputs, output):
        caught.setdefault("output", (output[0] if isinstance(output, (list, tuple)) else output).detach().float().clone())

    hook = model.model.diffusion_model.register_forward_hook(keep_first)
    try:
        conditioning = [[context, more]]
        comfy.sample.sample(model, noise, 1, 1.0, "euler", "simple", conditioning, conditioning, latent, disable_pbar=True,
                            seed=1)
    finally:
        hook.remove()
    return caught


def _value(value, generator):
    """A list is the shape of a random tensor, {"ones": shape} of one of ones; all else goes as it is."""
    if isinstance(value, list):
        return torch.randn(1, *value, generator=generator)
    return torch.ones(1, *value["ones"]) if isinstance(value, dict) else value


# --- comparing ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    """What became of a file. It loads where `why` is empty: it was loaded and run, and means what the original does."""

    why: str = ""
    layers: dict[str, int] = dataclasses.field(default_factory=dict)  # that multiply with codes, by format
    weight_error: float = 0.0  # ||W' - W|| / ||W|| over all weights that were stored as codes
    output_error: float = 0.0  # the same of the network's output, the largest of several

    @property
    def loads(self) -> bool:
        return not self.why


def judge(path: Path, spec: dict, original: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> Verdict:
    """Loads and runs a file, and compares it with its original's tensors() and run()."""
    verdict = Verdict()
    with heard() as words:
        try:
            loaded = load(path, spec)
            if loaded is None:
                return Verdict("the model is not detected")
            changed = _compare_weights(original, tensors(loaded), banks(loaded), verdict)
            _compare_outputs(outputs, run(loaded, spec), verdict)
        except Exception as error:  # whatever it throws is the verdict
            verdict.why = f"{type(error).__name__}: {error} ({_place(error)})"
            return verdict
    few_bits = bool(FOUR_BITS & verdict.layers.keys())
    if strangers := words.strangers():
        verdict.why = strangers[0]
    elif changed:
        verdict.why = f"{len(changed)} kept tensors differ: {changed[0]}"
    elif not verdict.weight_error <= LARGEST_ERROR[few_bits]:
        verdict.why = f"weights off by {verdict.weight_error:.3g}"
    elif not verdict.output_error <= LARGEST_OUTPUT_ERROR[few_bits]:
        verdict.why = f"output off by {verdict.output_error:.3g}"
    return verdict


def _decoded(value, bank: torch.nn.Module | None) -> torch.Tensor:
    if bank is None:
        return value.dequantize().float()
    return torch.stack([bank.expert_weight(i).dequantize().float() for i in range(bank.num_experts)])


def _compare_weights(before: dict, after: dict, banks: dict, verdict: Verdict) -> list[str]:
    """Fills in layers and weight_error. Returns what is wrong with the tensors that are not codes."""
    from comfy.quant_ops import QuantizedTensor
    changed = [f"{name} is gone" for name in before if name not in after]
    error = size = 0.0
    for name, value in after.items():
        quantized = isinstance(value, QuantizedTensor)
        if quantized:
            word = FORMATS.get(value._layout_cls, str(value._layout_cls))
            verdict.layers[word] = verdict.layers.get(word, 0) + 1
        if name not in before:
            if not name.endswith((".input_scale", ".pre_quant_scale")):
                changed.append(f"{name} is not in the original")
            continue
        old = before[name].float()
        new = _decoded(value, banks.get(name)) if quantized else value.float()
        factors = after.get(f"{name.removesuffix('.weight')}.pre_quant_scale") if quantized else None
        if factors is not None:  # the input is multiplied by them
            new = new * factors.float()
        if new.shape != old.shape:
            changed.append(f"{name} has shape {list(new.shape)}, not {list(old.shape)}")
        elif quantized or value.dtype in CODES and before[name].is_floating_point():
            error += float((new - old).double().square().sum())
            size += float(old.double().square().sum())
        elif not torch.equal(new.nan_to_num(), old.nan_to_num()):
            changed.append(f"{name} changed")
    verdict.weight_error = (error / size) ** 0.5 if size else 0.0
    return changed


def _compare_outputs(before: dict, after: dict, verdict: Verdict) -> None:
    for name, y in before.items():
        if name not in after or after[name].shape != y.shape:
            raise ValueError(f"output {name!r} has another shape")
        y, z = y.double(), after[name].double()
        error = float((z - y).norm() / y.norm())
        verdict.output_error = max(verdict.output_error, error if error == error else float("inf"))


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(frame.filename)}, {frame.name}"
