"""What the rows of all programs share: models, runs, and checks to put together.

A row is a command line of an old program, as this program takes it, and what was documented of it. Every row runs in an empty
folder of its own. In the words of a command `{flux}` is the path of a made file (see MODELS), `{flux@}` a copy of it in the row's
folder, named `flux.safetensors`, for what is written beside its input. All other paths are relative to that folder; the output is
usually `o.safetensors`. Python's standard library alone.
"""

import json
import os
import random
import re
import shlex
import shutil
import struct
import subprocess
import threading
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple

LIMIT_S = 120  # of a command
ELEMENT_BYTES = {
    "BF16": 2,
    "F16": 2,
    "F32": 4,
    "F64": 8,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
}


# ---------------------------------------------------------------------------------------------------------------- values


class Tensor(NamedTuple):
    dtype: str
    shape: tuple
    data: bytes

    def values(self) -> list:
        """Its elements as numbers, row by row."""
        count = len(self.data) // ELEMENT_BYTES[self.dtype]
        if self.dtype == "BF16":
            words = struct.unpack(f"<{count}H", self.data)
            return list(struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(word << 16 for word in words))))
        if self.dtype == "F8_E4M3":
            return [e4m3(code) for code in self.data]
        letter = {"F16": "e", "F32": "f", "F64": "d", "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U8": "B", "BOOL": "?"}
        return list(struct.unpack(f"<{count}{letter[self.dtype]}", self.data))

    def rows(self) -> list[list]:
        values, columns = self.values(), self.shape[-1]
        return [values[i : i + columns] for i in range(0, len(values), columns)]

    def json(self) -> dict:
        return json.loads(self.data)


def e4m3(code: int) -> float:
    sign, exponent, fraction = (-1 if code & 0x80 else 1), (code >> 3) & 15, code & 7
    if code & 0x7F == 0x7F:
        return float("nan")
    return sign * (fraction * 2.0**-9 if exponent == 0 else (8 + fraction) * 2.0 ** (exponent - 10))


def encode(values, dtype: str) -> bytes:
    """Python floats as elements of `dtype`, rounded to nearest, ties to even."""
    values = list(values)
    if dtype == "BF16":
        words = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
        return struct.pack(f"<{len(words)}H", *((w + 0x7FFF + ((w >> 16) & 1)) >> 16 for w in words))
    return struct.pack(f"<{len(values)}{ {'F16': 'e', 'F32': 'f', 'F64': 'd'}[dtype]}", *values)


def count_of(shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def numbers(values, shape=None, dtype: str = "F32") -> Tensor:
    values = list(values)
    return Tensor(dtype, (len(values),) if shape is None else tuple(shape), encode(values, dtype))


def normal(name: str, shape, dtype: str = "BF16", deviation: float = 0.02) -> Tensor:
    """Of about normal shape, seeded by `name`."""
    draw = random.Random(name)
    return numbers((deviation * draw.gauss(0, 1) for _ in range(count_of(shape))), shape, dtype)


def note(value) -> Tensor:
    """A marker: JSON in bytes."""
    data = json.dumps(value).encode()
    return Tensor("U8", (len(data),), data)


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(tensor.data)]}
        at += len(tensor.data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensor.data for tensor in tensors.values()))


class File(NamedTuple):
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read(path: Path) -> File:
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    return File(
        {
            name: Tensor(
                entry["dtype"],
                tuple(entry["shape"]),
                data[8 + size + entry["data_offsets"][0] : 8 + size + entry["data_offsets"][1]],
            )
            for name, entry in header.items()
        },
        metadata,
    )


# ---------------------------------------------------------------------------------------------------------------- models


def linear(tensors: dict, name: str, rows: int, columns: int, dtype: str = "BF16", bias: bool = True) -> None:
    tensors[f"{name}.weight"] = normal(f"{name}.weight", (rows, columns), dtype)
    if bias:
        tensors[f"{name}.bias"] = normal(f"{name}.bias", (rows,), dtype, 0.1)


def norm(tensors: dict, name: str, width: int, dtype: str = "BF16") -> None:
    draw = random.Random(name)
    tensors[name] = numbers((1 + 0.2 * draw.gauss(0, 1) for _ in range(width)), None, dtype)


def flux() -> dict[str, Tensor]:
    """Under Flux's names, 128 wide, one block of each kind."""
    width, tensors = 128, {}
    linear(tensors, "img_in", width, 64)
    linear(tensors, "time_in.in_layer", width, 256)
    linear(tensors, "time_in.out_layer", width, width)
    linear(tensors, "txt_in", width, 128)
    for stream in ("img", "txt"):
        block = f"double_blocks.0.{stream}"
        linear(tensors, f"{block}_mod.lin", 2 * width, width)
        linear(tensors, f"{block}_attn.qkv", 3 * width, width)
        norm(tensors, f"{block}_attn.norm.query_norm.scale", 32)
        linear(tensors, f"{block}_attn.proj", width, width)
        linear(tensors, f"{block}_mlp.0", 2 * width, width)
        linear(tensors, f"{block}_mlp.2", width, 2 * width)
    linear(tensors, "single_blocks.0.linear1", 2 * width, width)
    linear(tensors, "single_blocks.0.linear2", width, 2 * width)
    linear(tensors, "final_layer.linear", 64, width)
    return tensors


def two() -> dict[str, Tensor]:
    """Two layers alone, with biases, one square and one wide: what most rows need."""
    tensors = {}
    linear(tensors, "blk.0.attn", 128, 128)
    linear(tensors, "blk.0.mlp", 128, 256)
    norm(tensors, "blk.0.norm.weight", 128)
    return tensors


def odd() -> dict[str, Tensor]:
    """Shapes that fit no block of 128, and ones that are no matrices."""
    tensors = {}
    linear(tensors, "blk.0.fits", 128, 128)
    linear(tensors, "blk.0.odd", 96, 200)
    linear(tensors, "blk.0.small", 64, 64)
    tensors["blk.0.conv.weight"] = normal("conv", (8, 4, 3, 3))
    norm(tensors, "blk.0.norm.weight", 128)
    tensors["blk.0.table"] = normal("table", (128, 128))
    tensors["blk.0.count"] = Tensor("I64", (2,), struct.pack("<2q", 5, 7))
    return tensors


def t5() -> dict[str, Tensor]:
    """Float32, two blocks of an encoder, and a decoder and head that `--t5xxl` drops."""
    width, tensors = 128, {}
    tensors["shared.weight"] = normal("shared", (160, width), "F32")
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    for block in (0, 1):
        prefix = f"encoder.block.{block}."
        for name in "qkvo":
            linear(tensors, f"{prefix}layer.0.SelfAttention.{name}", width, width, "F32", False)
        norm(tensors, f"{prefix}layer.0.layer_norm.weight", width, "F32")
        for name in ("wi_0", "wi_1"):
            linear(tensors, f"{prefix}layer.1.DenseReluDense.{name}", 2 * width, width, "F32", False)
        linear(tensors, f"{prefix}layer.1.DenseReluDense.wo", width, 2 * width, "F32", False)
        norm(tensors, f"{prefix}layer.1.layer_norm.weight", width, "F32")
    norm(tensors, "encoder.final_layer_norm.weight", width, "F32")
    linear(tensors, "decoder.block.0.layer.0.SelfAttention.q", width, width, "F32", False)
    norm(tensors, "decoder.final_layer_norm.weight", width, "F32")
    linear(tensors, "lm_head", 160, width, "F32", False)
    return tensors


def clip_g() -> dict[str, Tensor]:
    """An OpenCLIP text encoder of four blocks, float16."""
    width, tensors = 64, {}
    tensors["token_embedding.weight"] = normal("token_embedding", (96, width), "F16")
    tensors["positional_embedding"] = normal("positional_embedding", (16, width), "F16")
    tensors["text_projection"] = normal("text_projection", (width, width), "F16")
    norm(tensors, "ln_final.weight", width, "F16")
    for block in range(4):
        prefix = f"transformer.resblocks.{block}."
        tensors[f"{prefix}attn.in_proj_weight"] = normal(f"{prefix}in_proj", (3 * width, width), "F16")
        tensors[f"{prefix}attn.in_proj_bias"] = normal(f"{prefix}in_proj_bias", (3 * width,), "F16")
        linear(tensors, f"{prefix}attn.out_proj", width, width, "F16")
        linear(tensors, f"{prefix}mlp.c_fc", 4 * width, width, "F16")
        linear(tensors, f"{prefix}mlp.c_proj", width, 4 * width, "F16")
        for name in ("ln_1", "ln_2"):
            norm(tensors, f"{prefix}{name}.weight", width, "F16")
    return tensors


def sd() -> dict[str, Tensor]:
    """A few layers of a U-Net under a checkpoint's prefix, float16."""
    tensors, prefix = {}, "model.diffusion_model."
    linear(tensors, f"{prefix}time_embed.0", 128, 128, "F16")
    tensors[f"{prefix}input_blocks.0.0.weight"] = normal("input_blocks", (32, 4, 3, 3), "F16")
    block = f"{prefix}input_blocks.1.1.transformer_blocks.0."
    for name in ("to_q", "to_k", "to_v"):
        linear(tensors, f"{block}attn1.{name}", 128, 128, "F16", False)
    linear(tensors, f"{block}attn1.to_out.0", 128, 128, "F16")
    linear(tensors, f"{block}ff.net.2", 128, 256, "F16")
    norm(tensors, f"{block}norm1.weight", 128, "F16")
    return tensors


# Name -> (file name, what makes its tensors, header metadata). A module of rows may add its own with `model`.
MODELS: dict[str, tuple] = {}


def model(name: str, make: Callable[[], dict[str, Tensor]], metadata: dict[str, str] | None = None) -> None:
    MODELS[name] = (f"{name}.safetensors", make, metadata)


for maker in (flux, two, odd, t5, clip_g, sd):
    model(maker.__name__, maker, {"made": "for rows", "format": "pt"})


# ------------------------------------------------------------------------------------------------------------------ runs


@dataclass
class Row:
    """One documented thing. `args` is a command line without the program, or a list of words."""

    section: str
    thing: str
    args: str | list[str]
    check: Callable[["Run"], str | None]
    files: dict = field(default_factory=dict)  # name -> text, bytes, what JSON can hold, or tensors: made before
    before: tuple = ()  # command lines that run first in the same folder and must succeed
    env: dict = field(default_factory=dict)
    program: str = "convert_to_quant"  # another name makes a link of that name


class Run:
    """What a command did: exit code, both streams, and its folder."""

    def __init__(self, bench: "Bench", folder: Path, args: list[str], code: int, out: str, err: str, given: set[str]):
        self.bench, self.folder, self.args, self.code, self.out, self.err, self.given = bench, folder, args, code, out, err, given
        self._read = {}

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def written(self) -> list[str]:
        """Names of the files that were not there before."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and str(path.relative_to(self.folder)) not in self.given
        )

    def file(self, name: str = "") -> File:
        """A safetensors file of the folder; without a name `o.safetensors`, or the one that was written."""
        if not name:
            made = [path for path in self.written if path.endswith(".safetensors")]
            name = "o.safetensors" if (self.folder / "o.safetensors").exists() or len(made) != 1 else made[0]
        if name not in self._read:
            self._read[name] = read(self.folder / name)
        return self._read[name]

    @property
    def tensors(self) -> dict[str, Tensor]:
        return self.file().tensors

    @property
    def metadata(self) -> dict[str, str]:
        return self.file().metadata

    def source(self, name: str) -> dict[str, Tensor]:
        """The tensors of a made model."""
        return read(self.bench.made(name)).tensors

    def marker(self, layer: str) -> dict:
        return self.tensors[f"{layer}.comfy_quant"].json()

    def other(self, args: str, files: dict | None = None, **more) -> "Run":
        """Another command, run once however many rows ask for it."""
        return self.bench.run(Row("", "", args, lambda _: None, files or {}, **more))


class Bench:
    """Runs commands in folders below `folder`, each different one once."""

    def __init__(self, binary: str, folder: Path):
        self.binary, self.folder = Path(binary).resolve(), folder
        self.lock, self.locks, self.runs = threading.Lock(), {}, {}
        kept = {name: value for name, value in os.environ.items() if not re.match("CTQ_|CUDA_|OMPI_|SLURM_|PMI_", name)}
        self.variables = kept | {
            "OMP_NUM_THREADS": "1",
            "CTQ_THREADS": "1",
            "CTQ_DEVICE": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }
        (folder / "models").mkdir(parents=True)

    def _lock(self, key):
        with self.lock:
            return self.locks.setdefault(key, threading.Lock())

    def made(self, name: str) -> Path:
        path = self.folder / "models" / MODELS[name][0]
        with self._lock(path):
            if not path.exists():
                write(path, MODELS[name][1](), MODELS[name][2])
        return path

    def words(self, args, folder: Path) -> list[str]:
        def place(match):
            source = self.made(match[1])
            if not match[2]:
                return str(source)
            shutil.copyfile(source, folder / source.name)
            return source.name

        names = "|".join(sorted(MODELS, key=len, reverse=True))
        return [re.sub(rf"\{{({names})(@?)\}}", place, word) for word in (shlex.split(args) if isinstance(args, str) else args)]

    def put(self, folder: Path, files: dict) -> None:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, str):
                path.write_text(content)
            elif isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values()):
                write(path, content)
            elif isinstance(content, File):
                write(path, content.tensors, content.metadata)
            else:
                path.write_text(json.dumps(content))

    def run(self, row: Row) -> Run:
        key = repr((row.args, row.files, row.before, row.env, row.program))
        with self._lock(key):
            if key not in self.runs:
                self.runs[key] = self._run(row)
            return self.runs[key]

    def _run(self, row: Row) -> Run:
        with self.lock:
            folder = self.folder / f"run{len(list(self.folder.iterdir()))}"
            folder.mkdir()
        self.put(folder, row.files)
        program = self.binary
        if row.program != "convert_to_quant":
            program = folder / row.program
            program.symlink_to(self.binary)
        for args in row.before:
            code, out, err = self.call([self.binary, *self.words(args, folder)], folder, row.env)
            if code:
                raise AssertionError(f"{args}: exit code {code}: {(err or out).strip()[-300:]}")
        words = self.words(row.args, folder)
        given = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        return Run(self, folder, words, *self.call([program, *words], folder, row.env), given)

    def call(self, words: list, folder: Path, env: dict) -> tuple[int, str, str]:
        try:
            done = subprocess.run(
                words, cwd=folder, env=self.variables | env, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"no end within {LIMIT_S} s"
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


# ---------------------------------------------------------------------------------------------------------------- checks
# Each makes a check: a function of a Run that returns None, or what is wrong.


def fault(run: Run) -> str:
    lines = [line for line in (run.err or run.out).strip().splitlines() if line and not line.startswith("Try '")]
    return lines[-1][:200] if lines else "silent"


def both(*checks):
    """All of them; the first that has something to say is heard."""

    def check(run):
        for one in checks:
            problem = one(run)
            if problem:
                return problem
        return None

    return check


def ends(code: int = 0):
    return lambda run: None if run.code == code else f"exit code {run.code}, not {code}: {fault(run)}"


def says(*texts: str, code: int = 0):
    """Ends with `code`, and each text (a regular expression) stands in what it says."""

    def check(run):
        missing = [text for text in texts if not re.search(text, run.said, re.M)]
        return ends(code)(run) or (f"does not say {missing[0]!r}: {fault(run)}" if missing else None)

    return check


def silent_about(*texts: str):
    def check(run):
        found = [match[0] for match in (re.search(text, run.said, re.M) for text in texts) if match]
        return f"says {found[0]!r}" if found else None

    return check


def refuses(code: int, *texts: str):
    """Ends with `code`, says why on standard error alone, and writes nothing."""

    def check(run):
        if run.code != code:
            return f"exit code {run.code}, not {code}: {fault(run)}"
        missing = [text for text in texts if not re.search(text, run.err)]
        return f"does not say {missing[0]!r}: {fault(run)}" if missing else f"wrote {run.written}" if run.written else None

    return check


def holds(name: str, dtype: str | None = None, shape=None, data: bytes | None = None):
    """The output has this tensor, of this type, shape and content."""

    def check(run):
        if run.code:
            return ends(0)(run)
        if name not in run.tensors:
            return f"no {name}"
        found = run.tensors[name]
        if dtype and found.dtype != dtype:
            return f"{name} is {found.dtype}, not {dtype}"
        if shape is not None and found.shape != tuple(shape):
            return f"{name} has shape {list(found.shape)}, not {list(shape)}"
        return f"{name} has other content" if data is not None and found.data != data else None

    return check


def lacks(*names: str):
    """No tensor of the output has a name that one of these regular expressions finds."""

    def check(run):
        if run.code:
            return ends(0)(run)
        found = [tensor for tensor in run.tensors for name in names if re.search(name, tensor)]
        return f"holds {found[0]}" if found else None

    return check


def marked(layer: str, **entries):
    """The layer's marker has these entries; None stands for an entry that must be absent."""

    def check(run):
        if run.code:
            return ends(0)(run)
        if f"{layer}.comfy_quant" not in run.tensors:
            return f"no {layer}.comfy_quant"
        found = run.marker(layer)
        wrong = [key for key, value in entries.items() if found.get(key) != value]
        return f"{layer}'s marker is {found}" if wrong else None

    return check


def kept(model_name: str, *names: str):
    """These tensors are bytewise the model's."""

    def check(run):
        if run.code:
            return ends(0)(run)
        source = run.source(model_name)
        wrong = [name for name in names if run.tensors.get(name) != source[name]]
        return f"{wrong[0]} is not as in the model" if wrong else None

    return check


def quantized(*layers: str, dtype: str = "I8"):
    return both(*(holds(f"{layer}.weight", dtype) for layer in layers))


def same_as(args: str, files: dict | None = None, only: str = "", metadata: bool = False, **more):
    """The output's tensors (whose name `only` finds) are bytewise those of another command's."""

    def check(run):
        other = run.other(args, files, **more)
        for one in (run, other):
            if one.code:
                return ends(0)(one)
        names = [name for name in sorted(run.tensors.keys() | other.tensors.keys()) if re.search(only, name)]
        wrong = [name for name in names if run.tensors.get(name) != other.tensors.get(name)]
        if not names:
            return "nothing to compare"
        if wrong:
            return f"{wrong[0]} differs from that of {args}"
        return f"header differs from that of {args}" if metadata and run.metadata != other.metadata else None

    return check


def differs_from(args: str, files: dict | None = None, only: str = "", **more):
    """Some tensor differs from another command's."""

    def check(run):
        other = run.other(args, files, **more)
        for one in (run, other):
            if one.code:
                return ends(0)(one)
        names = [name for name in run.tensors.keys() | other.tensors.keys() if re.search(only, name)]
        return None if any(run.tensors.get(name) != other.tensors.get(name) for name in names) else f"as with {args}"

    return check


def writes(*names: str):
    """Ends well, and these are exactly the files that appeared."""
    return lambda run: ends(0)(run) or (None if run.written == sorted(names) else f"wrote {run.written}, not {sorted(names)}")


def decoded(run: Run, layer: str) -> list[float]:
    """A quantized weight's values: codes times scale, for scalar, per-row, block and row-block scales of either layout."""
    weight = run.tensors[f"{layer}.weight"]
    scale = run.tensors.get(f"{layer}.weight_scale") or run.tensors.get(f"{layer}.scale_weight")
    rows, columns = weight.shape
    codes = weight.values()
    if scale is None:
        return codes
    scales, shape = scale.values(), [size for size in scale.shape]
    if len(scales) == 1:
        return [code * scales[0] for code in codes]
    down = shape[0]
    across = count_of(shape[1:])
    return [
        code * scales[(i // columns) * down // rows * across + (i % columns) * across // columns] for i, code in enumerate(codes)
    ]


def square_error(run: Run, layer: str, model_name: str) -> float:
    """Squared error of a quantized weight over the weight's square."""
    source = run.source(model_name)[f"{layer}.weight"].values()
    return sum((a - b) ** 2 for a, b in zip(source, decoded(run, layer))) / sum(a * a for a in source)


def error_below(layer: str, model_name: str, bound: float):
    def check(run):
        error = ends(0)(run)
        if error:
            return error
        found = square_error(run, layer, model_name)
        return None if found < bound else f"{layer}: squared error {found:.3g} of the weight's, not below {bound:g}"

    return check
