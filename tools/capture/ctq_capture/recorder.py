"""Hooks on the linear layers of a module that count what goes into them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass, field

import torch
from torch import nn

from .container import Item, read_checkpoint_header, write_safetensors
from .names import CheckpointNames, with_prefix
from .statistics import InputStatistics

log = logging.getLogger("ctq_capture")

FINGERPRINT_VALUES = 64
COMPILED = (
    ". The module is compiled, and what runs in a compiled graph is not recorded: "
    "record without torch.compile"
)


def is_linear(module: nn.Module) -> bool:
    """nn.Linear, what derives from it, and linear layers of other libraries that have its attributes.

    The weight may be None, as in layers that load it when they are called. What only wraps a linear layer, to
    add an adapter, is not one: the layer within it is.
    """
    if isinstance(module, nn.Linear):
        return True
    sizes = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    if "Linear" not in type(module).__name__ or not all(isinstance(size, int) for size in sizes):
        return False
    weight = getattr(module, "weight", False)
    return (weight is None or getattr(weight, "ndim", 0) == 2) and not any(
        is_linear(child) for child in module.modules() if child is not module
    )


def is_quantized(layer: nn.Module) -> bool:
    """Whether the weight of a linear layer is codes: ComfyUI's QuantizedTensor, integers or 8-bit floats."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return False
    codes = not weight.dtype.is_floating_point or weight.dtype.itemsize < 2
    return codes or type(weight).__name__ == "QuantizedTensor"


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile has taken this module: torch.compile(module) or module.compile()."""
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    return in_place or type(module).__name__ == "OptimizedModule"


@dataclass(eq=False)
class Entry:
    """The statistics of one distinct input, under the name of the first layer that read it."""

    owner: "Layer"
    statistics: InputStatistics
    inputs: int = 0  # tensors counted


@dataclass(eq=False)
class Layer:
    name: str  # as in the checkpoint
    out_features: int
    in_features: int
    entry: Entry | None = None
    parted: bool = (
        False  # its owner has read an input that this layer has not: the next one opens its own entry
    )


@dataclass(eq=False)
class SeenInput:
    """A tensor that layers have read in this forward pass, and which entries have counted it for whom."""

    tensor: weakref.ref
    fingerprint: torch.Tensor | None
    counted: dict[Entry, set[Layer]] = field(default_factory=dict)


def _identity(x: torch.Tensor) -> tuple:
    """Equal for two tensors that are the same rows of the same memory, unless it was freed between."""
    layout = () if x.is_contiguous() else (tuple(x.shape), x.stride())
    version = None if x.is_inference() else x._version
    return x.data_ptr(), x.numel(), x.shape[-1], layout, x.dtype, x.device, version


def _fingerprint(x: torch.Tensor) -> torch.Tensor | None:
    """A few values of a tensor that counts no versions, by which a change in place shows."""
    if not x.is_inference():
        return None
    flat = x.reshape(-1)
    return flat[:: max(1, flat.numel() // FINGERPRINT_VALUES)].clone().view(torch.uint8)


class Recorder:
    """Records the inputs of all linear layers of a module in a calibration file (README.md has the layout).

    Layers that read the same tensor (q, k and v) share one entry. Memory: per entry `rows` rows of 2N bytes
    in host memory, and with `hessian` 4N² bytes on the module's device; plus, while the module runs, one
    input that is held a little longer than the module itself would.

    rows            size of the row sample of each distinct input, 0 for none
    hessian         whether to accumulate H = XᵀX / n
    seed            of the row samples
    prefix          of the names in the file, see names.with_prefix
    checkpoint      path of a checkpoint whose names the layers get where they are found in it
    source          free text for the file: what was run
    hessian_device  where H lives; by default on the device of the inputs
    autosave        path of a file that is written after a forward pass, at most every `autosave_seconds`
    row_mask        attribute; bool [...]: of inputs [..., N] with these leading dimensions, the rows to count

    Rows know the picture and the step, the forward pass within it, in which they were first seen. All passes
    are one picture unless begin_picture() says where the next one begins.

        with Recorder(rows=4096).attach(model) as recorder:
            model(batch)
        recorder.save("model.calibration.safetensors")
    """

    def __init__(
        self,
        *,
        rows: int = 4096,
        hessian: bool = False,
        seed: int = 0,
        prefix: str | None = None,
        checkpoint: str | os.PathLike | None = None,
        source: str = "",
        hessian_device: torch.device | str | None = None,
        autosave: str | os.PathLike | None = None,
        autosave_seconds: float = 60.0,
    ):
        if rows < 0:
            raise ValueError(f"rows: {rows} is negative")
        if rows == 0 and not hessian:
            raise ValueError("nothing to keep: rows is 0 and hessian is off")
        self.rows, self.hessian, self.seed, self.source = rows, hessian, seed, source
        self.row_mask: torch.Tensor | None = None
        self.samples = 0  # forward passes of the module
        self.quantized: list[str] = []  # names of layers whose weights are quantized
        self.layers: dict[str, Layer] = {}  # by module name
        self.unmatched: list[str] = []  # module names that the given checkpoint does not have
        self._prefix, self._hessian_device = prefix, hessian_device
        self._checkpoint = CheckpointNames(read_checkpoint_header(checkpoint)) if checkpoint else None
        self._autosave, self._autosave_seconds = autosave, autosave_seconds
        self._last_save = time.monotonic()
        self._lock = threading.RLock()
        self._hooks: list = []
        self._seen: dict[tuple, SeenInput] = {}
        self._picture, self._step, self._picture_used = 0, 0, False
        self._compiled = False  # a module is compiled, or a hook was met within a graph
        self._pass: list[SeenInput] | None = None  # of the present forward pass; None between passes
        self._held: torch.Tensor | None = None

    # Attaching

    def prepare(self, module: nn.Module) -> dict[str, nn.Module]:
        """Finds and names the linear layers of a module, without recording; returns them by module name.

        throws  ValueError when there are none, or others than those of the module prepared before
        """
        found = {name: m for name, m in module.named_modules() if is_linear(m)}
        shapes = {name: (int(m.out_features), int(m.in_features)) for name, m in found.items()}
        if not found:
            raise ValueError(f"{type(module).__name__} has no linear layer")
        if not self.layers:
            self._name_layers(shapes)
        elif {n: (layer.out_features, layer.in_features) for n, layer in self.layers.items()} != shapes:
            raise ValueError(f"{type(module).__name__} has other layers than the module recorded before")
        return found

    def attach(self, module: nn.Module) -> "Recorder":
        """Starts recording. A recorder may be attached again and again, to modules with the same layers.

        throws  ValueError as prepare()
        """
        self.detach()
        found = self.prepare(module)
        self._compiled |= any(is_compiled(m) for m in module.modules())
        quantized = sorted(self.layers[name].name for name, m in found.items() if is_quantized(m))
        if quantized and not self.quantized:
            log.warning(
                "%d of %d linear layers are quantized already: record the unquantized model (%s)",
                len(quantized),
                len(found),
                _some(quantized),
            )
        self.quantized = quantized
        self._hooks = [module.register_forward_pre_hook(self._before_pass)]
        for name, m in found.items():
            self._hooks.append(
                m.register_forward_pre_hook(self._layer_hook(self.layers[name]), with_kwargs=True)
            )
        self._hooks.append(module.register_forward_hook(self._after_pass))
        return self

    def begin_picture(self) -> None:
        """What follows belongs to a new picture (prompt, seed). The first one begins by itself."""
        with self._lock:
            if self._picture_used:
                self._picture, self._step, self._picture_used = self._picture + 1, 0, False

    def detach(self) -> None:
        """Stops recording; what was recorded stays."""
        for hook in self._hooks:
            hook.remove()
        with self._lock:
            self._hooks, self._held, self._pass = [], None, None
            self._seen.clear()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_) -> None:
        self.detach()

    def _name_layers(self, shapes: dict[str, tuple[int, int]]) -> None:
        names = with_prefix(shapes, self._prefix)
        if self._checkpoint is not None:
            matched, self.unmatched = self._checkpoint.match(shapes)
            names.update(matched)
            log.info("%d of %d layers found in the checkpoint", len(matched), len(shapes))
            if self.unmatched:
                log.warning(
                    "not in the checkpoint, recorded under their own names: %s", _some(self.unmatched)
                )
        if "" in names.values():
            raise ValueError("the module is itself a linear layer: give its name as prefix")
        if len(set(names.values())) < len(names):
            raise ValueError("two layers would get the same name")
        self.layers = {n: Layer(names[n], *shape) for n, shape in shapes.items()}

    # Counting

    def _before_pass(self, module, args) -> None:
        with self._lock:
            self._seen.clear()
            self._pass, self._held = [], None
            self._picture_used = True

    def _after_pass(self, module, args, output) -> None:
        """Not called for a pass that an error or an interrupt ended: what layers then lack says nothing."""
        with self._lock:
            counted = [item for seen in self._pass or () for item in seen.counted.items()]
            readers: dict[Entry, list[Layer]] = {}
            for layer in self.layers.values():
                readers.setdefault(layer.entry, []).append(layer)
            for entry, layers in counted:
                for layer in readers.get(entry, ()):
                    layer.parted |= layer not in layers
            self._seen.clear()
            self._pass, self._held = None, None
            self.samples += 1
            self._step += 1
            if self._autosave and time.monotonic() - self._last_save >= self._autosave_seconds:
                self.save(self._autosave, final=False)

    def _layer_hook(self, layer: Layer):
        def before_layer(module, args, kwargs) -> None:
            x = next((v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor)), None)
            if torch.compiler.is_compiling():
                self._compiled = True
                return
            if x is None:
                return
            # Everything made here must stay changeable after an inference_mode block of the caller has ended.
            with self._lock, torch.inference_mode(False), torch.no_grad():
                if type(x).__name__ == "QuantizedTensor":  # ComfyUI's, when a layer is fed codes and scales
                    x = x.dequantize()
                if x.is_floating_point() and x.numel() and x.ndim and x.shape[-1] == layer.in_features:
                    self._count(layer, x)

        return before_layer

    def _count(self, layer: Layer, x: torch.Tensor) -> None:
        """Adds x [..., N] to the entry of the layer, unless a layer that shares the entry has done so."""
        seen = self._find(x)
        if layer.entry is None:
            # An entry that holds more than this tensor holds inputs that this layer has not read.
            layer.entry = next((e for e in seen.counted if e.inputs == 1), None)
        elif layer.entry.owner is not layer and (layer.parted or layer.entry not in seen.counted):
            layer.entry = None
        layer.parted = False
        if layer.entry is None:
            layer.entry = Entry(
                layer,
                InputStatistics(
                    layer.in_features,
                    rows=self.rows,
                    hessian=self.hessian,
                    seed=self._seed_of(layer),
                    hessian_device=self._hessian_device,
                ),
            )
        readers = seen.counted.get(layer.entry)
        if readers is not None and (layer not in readers or layer.entry.owner is not layer):
            readers.add(layer)
            return
        seen.counted[layer.entry] = {layer}
        layer.entry.inputs += 1
        rows = x.detach().reshape(-1, layer.in_features)
        if self.row_mask is not None and self.row_mask.shape == x.shape[:-1]:
            rows = rows[self.row_mask.reshape(-1).to(rows.device)]
        self._picture_used = True
        layer.entry.statistics.add(rows, self._picture, self._step)

    def _find(self, x: torch.Tensor) -> SeenInput:
        """The record of the tensor in this pass, new when no layer has read it yet.

        Memory of a tensor that has died may hold another one, so a record counts only while its tensor lives.
        The last one is held: of `q(x.flatten(1)), k(x.flatten(1))` the caller keeps neither.
        """
        key, fingerprint = _identity(x), _fingerprint(x)
        seen = self._seen.get(key)
        if (
            seen is None
            or seen.tensor() is None
            or (fingerprint is not None and not torch.equal(fingerprint, seen.fingerprint))
        ):
            if len(self._seen) > 4096:  # layers called outside a forward pass of the module
                self._seen = {k: s for k, s in self._seen.items() if s.tensor() is not None}
            seen = self._seen[key] = SeenInput(weakref.ref(x), fingerprint)
            if self._pass is not None:
                self._pass.append(seen)
        self._held = seen.tensor()
        return seen

    def _seed_of(self, layer: Layer) -> int:
        """From the layer's name: the sample does not depend on the order in which layers are first called."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}\0{layer.name}".encode()).digest()[:7], "little")

    # Writing

    @property
    def recorded(self) -> list[Layer]:
        """Layers that have at least one counted row, sorted by name."""
        return sorted(
            (layer for layer in self.layers.values() if layer.entry and layer.entry.statistics.count),
            key=lambda layer: layer.name,
        )

    @property
    def uncalled(self) -> list[str]:
        """Names of the layers that have none."""
        recorded = set(self.recorded)
        return sorted(layer.name for layer in self.layers.values() if layer not in recorded)

    @property
    def pictures(self) -> int:
        return self._picture + self._picture_used

    def metadata(self, *, ranks: bool = True) -> dict[str, str]:
        """Header entries of the file. `ranks`: the effective ranks, too, which take their time."""
        recorded = self.recorded
        owners = [layer for layer in recorded if layer.entry.owner is layer]
        lines = sorted(f"{layer.name} {layer.out_features} {layer.in_features}\n" for layer in recorded)
        entries = {
            "format": "ctq-calibration",
            "version": "1",
            "source": self.source,
            "seed": str(self.seed),
            "samples": str(self.samples),
            "rows": str(self.rows),
            "counts": _json({layer.name: layer.entry.statistics.count for layer in owners}),
            "skipped": _json(
                {
                    layer.name: layer.entry.statistics.skipped
                    for layer in owners
                    if layer.entry.statistics.skipped
                }
            ),
            "shared": _json(
                {layer.name: layer.entry.owner.name for layer in recorded if layer.entry.owner is not layer}
            ),
            "uncalled": _json(self.uncalled),
            "layers_sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        }
        if self.rows:
            samples = {layer.name: layer.entry.statistics.sample for layer in owners}
            entries["distinct"] = _json({name: sample.distinct for name, sample in samples.items()})
            if ranks:
                entries["effective_ranks"] = _json(
                    {name: round(sample.effective_rank(), 2) for name, sample in samples.items()}
                )
        return entries

    def advice(self) -> list[str]:
        """What to record more of, a line for each kind of layer that needs it."""
        if not self.rows:
            return []
        samples = [layer.entry.statistics.sample for layer in self.recorded]
        repeating = sum(sample.repeats() for sample in samples)
        following = sum(sample.follows_steps() for sample in samples)
        lines = []
        if repeating:
            lines.append(
                f"{_layers(repeating)} only the conditioning (few distinct rows): "
                "record more prompts, not more steps"
            )
        if 0 < following < len(samples):  # of all layers: the rows come one by one, as when text is generated
            lines.append(
                f"{_layers(following)} only the time step (one or two rows a pass): "
                "record other numbers of steps"
            )
        return lines

    def save(self, path: str | os.PathLike, *, final: bool = True) -> None:
        """Writes the calibration file. An older file of that name is whole until the new one is.

        final   whether to add the effective ranks and log the summary; not while the model still runs
        throws  ValueError when no layer was called, OSError
        """
        with self._lock:
            owners = [layer for layer in self.recorded if layer.entry.owner is layer]
            if not owners:
                why = COMPILED if self._compiled else ""
                raise ValueError(f"no linear layer was called: nothing to write{why}")
            metadata = self.metadata(ranks=final)
            write_safetensors(path, [item for layer in owners for item in _items(layer)], metadata)
            self._last_save = time.monotonic()
            if final:
                self._log_summary(path, owners, metadata)

    def _log_summary(self, path: str | os.PathLike, owners: list[Layer], metadata: dict[str, str]) -> None:
        uncalled, skipped = self.uncalled, sum(layer.entry.statistics.skipped for layer in owners)
        log.info(
            "%s: %d layers, %d distinct inputs, %d samples of %d pictures",
            path,
            len(self.recorded),
            len(owners),
            self.samples,
            self.pictures,
        )
        if self.rows:
            distinct, ranks = (json.loads(metadata[key]).values() for key in ("distinct", "effective_ranks"))
            log.info(
                "an input has %d to %d distinct rows, of effective rank %.1f to %.1f",
                min(distinct),
                max(distinct),
                min(ranks),
                max(ranks),
            )
        for line in self.advice():
            log.info("%s", line)
        if uncalled:
            fused = len(set(uncalled) & set(self.quantized))
            why = f" ({fused} of them quantized: used without a call, it may be)" if fused else ""
            log.warning("never called, not in the file: %s%s", _some(uncalled), why)
        if self._compiled:
            log.warning("the recording may lack something%s", COMPILED)
        if skipped:
            log.warning("%d rows left out: not finite", skipped)


def _items(layer: Layer) -> list[Item]:
    name, statistics, n = layer.name, layer.entry.statistics, layer.in_features
    items: list[Item] = [
        (f"{name}.{kind}", torch.float32, (n,), lambda kind=kind: getattr(statistics, kind))
        for kind in ("mean", "second_moment", "channel_max", "channel_mean")
    ]
    items.append((f"{name}.input_scale", torch.float32, (), lambda: statistics.channel_max.max() / 127))
    sample = statistics.sample
    if sample is not None:
        items.append((f"{name}.rows", torch.bfloat16, (len(sample), n), sample.rows))
        of_rows = {"counts": sample.counts, "pictures": sample.pictures, "steps": sample.steps}
        items += [(f"{name}.row_{kind}", torch.int32, (len(sample),), of) for kind, of in of_rows.items()]
    if statistics.hessian is not None:
        items.append((f"{name}.hessian", torch.float32, (n, n), lambda: statistics.hessian))
    return items


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _layers(count: int) -> str:
    return f"{count} layers see" if count > 1 else "1 layer sees"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
