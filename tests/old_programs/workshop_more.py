"""More models, arithmetic and checks, beside those of workshop.py, for the rows of the peer, of clip-g and of the FP8 programs.

Python's standard library alone.
"""

import bisect
import json
import math
import re
import struct

import workshop
from workshop import File, Tensor, count_of, ends, linear, norm, normal, note, numbers

# ------------------------------------------------------------------------------------------------------------- arithmetic


def f32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


POSITIVE = [workshop.e4m3(code) for code in range(127)]


def nearest_e4m3(value: float) -> int:
    """Code of the nearest E4M3 value, ties to even, saturating."""
    sign, size = (0x80 if math.copysign(1, value) < 0 else 0), min(abs(value), 448.0)
    above = bisect.bisect_left(POSITIVE, size)
    if POSITIVE[above] == size:
        return sign | above
    low, high = size - POSITIVE[above - 1], POSITIVE[above] - size
    return sign | (above if high < low or high == low and above % 2 == 0 else above - 1)


def cast_e4m3(values) -> bytes:
    known: dict = {}
    return bytes(known.setdefault(value, nearest_e4m3(value)) if value else nearest_e4m3(value) for value in values)


def largest(values) -> float:
    return max(map(abs, values))


def e8m0(byte: int) -> float:
    return 2.0 ** (byte - 127)


E2M1 = (0, 0.5, 1, 1.5, 2, 3, 4, 6)


def tiled(rows: int, columns: int, row: int, column: int) -> int:
    """Place of a block scale in the order of tensor cores, whose tiles are of 128 rows and 4 columns."""
    tile = (row // 128) * (-(-columns // 4)) + column // 4
    return tile * 512 + (row % 32) * 16 + (row % 128) // 32 * 4 + column % 4


def nvfp4_values(run, layer: str, shape) -> list[list[float]]:
    codes, scales = run.tensors[f"{layer}.weight"], run.tensors[f"{layer}.weight_scale"].data
    whole, width, padded = run.tensors[f"{layer}.weight_scale_2"].values()[0], shape[1], codes.shape[1] * 2
    out = []
    for row in range(shape[0]):
        line = []
        for column in range(width):
            byte = codes.data[(row * padded + column) // 2]
            code = byte >> 4 if column % 2 == 0 else byte & 15  # the even element is in the high half
            scale = workshop.e4m3(scales[tiled(shape[0], padded // 16, row, column // 16)])
            line.append((-1 if code & 8 else 1) * E2M1[code & 7] * scale * whole)
        out.append(line)
    return out


def mxfp8_values(run, layer: str, shape) -> list[list[float]]:
    codes, scales = run.tensors[f"{layer}.weight"], run.tensors[f"{layer}.weight_scale"].data
    padded = codes.shape[1]
    return [
        [
            workshop.e4m3(codes.data[row * padded + column]) * e8m0(scales[tiled(shape[0], padded // 32, row, column // 32)])
            for column in range(shape[1])
        ]
        for row in range(shape[0])
    ]


def relative(rows, source) -> float:
    """Squared error over the square of what it should be."""
    wanted = source.rows()
    return sum((a - b) ** 2 for x, y in zip(rows, wanted) for a, b in zip(x, y)) / sum(b * b for y in wanted for b in y)


H4 = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))


def rotated(rows, group: int) -> list[list[float]]:
    """Runs of `group` columns times the regular Hadamard matrix of that size, which undoes itself."""

    def run_of(values):
        step = 1
        while step < len(values):
            out = list(values)
            for start in range(0, len(values), 4 * step):
                for i in range(step):
                    four = [values[start + i + k * step] for k in range(4)]
                    for j in range(4):
                        out[start + i + j * step] = sum(H4[k][j] * four[k] for k in range(4))
            values, step = out, 4 * step
        return [value / math.sqrt(group) for value in values]

    return [[v for at in range(0, len(row), group) for v in run_of(row[at : at + group])] for row in rows]


def scaled_rows(run, layer: str) -> list[list[float]]:
    values, columns = workshop.decoded(run, layer), run.tensors[f"{layer}.weight"].shape[1]
    return [values[i : i + columns] for i in range(0, len(values), columns)]


# ----------------------------------------------------------------------------------------------------------------- models


def codes(name: str, shape, dtype: str = "F8_E4M3", largest_code: int = 126) -> Tensor:
    """Codes at random, with the largest one in every row."""
    import random

    draw = random.Random(name)
    width = shape[-1]
    if dtype == "I8":
        values = [draw.randint(-127, 127) for _ in range(count_of(shape))]
        values[::width] = [127] * (len(values) // width)
        return Tensor(dtype, tuple(shape), struct.pack(f"<{len(values)}b", *values))
    data = bytearray(draw.randrange(largest_code + 1) | draw.choice((0, 0x80)) for _ in range(count_of(shape)))
    data[::width] = bytes([largest_code] * (len(data) // width))
    return Tensor(dtype, tuple(shape), bytes(data))


def token(elements: int) -> Tensor:
    """The `scaled_fp8` of legacy files."""
    return Tensor("F8_E4M3", (elements,), bytes(elements))


def spread(name: str, count: int, around: float = 0.001) -> list[float]:
    import random

    draw = random.Random(name)
    return [f32(around * (1 + draw.random())) for _ in range(count)]


def legacy_fp8(elements: int = 1) -> dict[str, Tensor]:
    """Scaled FP8 of every shape of scale, one layer in high precision with a dummy scale, one input scale."""
    return {
        "scaled_fp8": token(elements),
        "blk.0.one.weight": codes("one", (64, 128)),
        "blk.0.one.scale_weight": numbers([0.002], ()),
        "blk.0.one.scale_input": numbers([0.5], ()),
        "blk.0.one.bias": normal("one.bias", (64,), "F16"),
        "blk.0.rows.weight": codes("rows", (64, 128)),
        "blk.0.rows.scale_weight": numbers(spread("rows", 64)),
        "blk.0.blocks.weight": codes("blocks", (64, 128)),
        "blk.0.blocks.scale_weight": numbers(spread("blocks", 8), (2, 4)),
        "blk.0.runs.weight": codes("runs", (64, 128)),
        "blk.0.runs.scale_weight": numbers(spread("runs", 256), (64, 4, 1)),
        "blk.0.high.weight": normal("high", (64, 128), "F16"),
        "blk.0.high.scale_weight": numbers([1.0], (1,)),
    }


def legacy_plain() -> dict[str, Tensor]:
    """Scaled FP8 with one scale per weight alone."""
    return {name: tensor for name, tensor in legacy_fp8().items() if not re.search(r"rows|blocks|runs|high", name)} | {
        "blk.1.one.weight": codes("one1", (64, 128)),
        "blk.1.one.scale_weight": numbers([0.004], (1,)),
    }


def legacy_int8() -> dict[str, Tensor]:
    """INT8 with scales of every shape, in the legacy names. 512 rows and 256 columns, as rows and columns were once mixed up."""
    return {
        "blk.0.one.weight": codes("i1", (64, 32), "I8"),
        "blk.0.one.scale_weight": numbers([0.01], ()),
        "blk.0.rows.weight": codes("i2", (64, 32), "I8"),
        "blk.0.rows.scale_weight": numbers(spread("i2", 64), (64, 1)),
        "blk.0.flat.weight": codes("i3", (64, 32), "I8"),
        "blk.0.flat.scale_weight": numbers(spread("i3", 64)),
        "blk.0.tiles.weight": codes("i4", (64, 32), "I8"),
        "blk.0.tiles.scale_weight": numbers(spread("i4", 8), (4, 2)),
        "blk.0.norm.weight": normal("norm", (32,), "F16"),
    }


def spare() -> dict[str, Tensor]:
    """Two layers, float16, of which one has a bias; a table, a norm and a convolution."""
    tensors: dict[str, Tensor] = {}
    linear(tensors, "blk.0.attn.to_q", 128, 128, "F16")
    linear(tensors, "blk.0.mlp", 128, 256, "F16", False)
    norm(tensors, "blk.0.norm.weight", 128, "F16")
    tensors["blk.0.conv.weight"] = normal("conv16", (8, 4, 3, 3), "F16")
    return tensors


def wide() -> dict[str, Tensor]:
    """Widths for rotation: 256 divides one, 64 another, 16 a third, and 4 alone the last."""
    tensors: dict[str, Tensor] = {}
    for name, width in (("w256", 256), ("w192", 192), ("w48", 48), ("w20", 20), ("w1024", 1024), ("w30", 30)):
        linear(tensors, f"blk.0.{name}", 32, width, "F32", False)
    return tensors


def unlike() -> dict[str, Tensor]:
    """Aspect ratios and blocks, for what a LoRA covers."""
    tensors: dict[str, Tensor] = {}
    for name, shape in (
        ("blocks.0.square", (64, 64)),
        ("blocks.0.other", (32, 112)),
        ("blocks.0.attn.proj", (32, 112)),
        ("blocks.0.thin", (16, 128)),
        ("blocks.1.square", (64, 64)),
        ("blocks.2.square", (64, 64)),
        ("embed.square", (64, 64)),
    ):
        linear(tensors, name, *shape, "F32", False)
    return tensors


def outliers() -> dict[str, Tensor]:
    """An OpenCLIP text encoder of three blocks, whose second has values beyond 448."""
    tensors = encoder(3)
    name = "transformer.resblocks.1.mlp.c_fc.weight"
    values = tensors[name].values()
    values[5], values[9], values[11] = 500.0, -470.0, 448.0
    return tensors | {name: numbers(values, tensors[name].shape, "F16")}


def not_numbers() -> dict[str, Tensor]:
    """The same with NaN in a bias, and an infinity in a weight that becomes FP8."""
    tensors = encoder(3)
    for name, value in (
        ("transformer.resblocks.0.attn.in_proj_bias", math.nan),
        ("transformer.resblocks.1.mlp.c_fc.weight", math.inf),
    ):
        values = tensors[name].values()
        values[3] = value
        tensors[name] = numbers(values, tensors[name].shape, "F16")
    return tensors


def encoder(blocks: int, width: int = 16, deviation=lambda block, part: 0.05) -> dict[str, Tensor]:
    tensors = {
        "token_embedding.weight": normal("token", (24, width), "F16"),
        "positional_embedding": normal("pos", (8, width), "F16"),
        "text_projection": normal("projection", (width, width), "F16"),
        "ln_final.weight": numbers([1.0] * width, None, "F16"),
    }
    for block in range(blocks):
        p = f"transformer.resblocks.{block}."
        thirds = [normal(f"{p}{part}", (width, width), "F16", deviation(block, part)).data for part in "qkv"]
        tensors[f"{p}attn.in_proj_weight"] = Tensor("F16", (3 * width, width), b"".join(thirds))
        tensors[f"{p}attn.in_proj_bias"] = normal(f"{p}in_proj_bias", (3 * width,), "F16")
        for part, shape in (
            ("attn.out_proj", (width, width)),
            ("mlp.c_fc", (4 * width, width)),
            ("mlp.c_proj", (width, 4 * width)),
        ):
            tensors[f"{p}{part}.weight"] = normal(f"{p}{part}", shape, "F16", deviation(block, part))
            tensors[f"{p}{part}.bias"] = normal(f"{p}{part}.bias", (shape[0],), "F16")
        tensors[f"{p}ln_1.weight"] = numbers([1.0] * width, None, "F16")
    return tensors


def apart() -> dict[str, Tensor]:
    """Four blocks whose q, k and v are tensors of their own already."""
    tensors = encoder(4)
    for block in range(4):
        p = f"transformer.resblocks.{block}.attn."
        weight, bias = tensors.pop(f"{p}in_proj_weight"), tensors.pop(f"{p}in_proj_bias")
        for i, part in enumerate("qkv"):
            size = len(weight.data) // 3
            tensors[f"{p}{part}_proj.weight"] = Tensor("F16", (16, 16), weight.data[i * size : (i + 1) * size])
            tensors[f"{p}{part}_proj.bias"] = Tensor("F16", (16,), bias.data[i * 32 : (i + 1) * 32])
    return tensors


def tiny_values(block, part):
    """Block 2 has small values everywhere, 3 in its output projection alone, 4 in k alone."""
    small = {2: True, 3: part == "attn.out_proj", 4: part == "k"}
    return 0.0012 if small.get(block, False) else 0.05


def distilled() -> dict[str, Tensor]:
    """Layers that the lists of the FP8 programs name, and small and odd ones; float16."""
    tensors: dict[str, Tensor] = {}
    for name in (
        "distilled_guidance_layer.in_proj",
        "final_layer.linear",
        "img_in",
        "txt_in",
        "blocks.0.attn.to_q",
        "blocks.0.attn.to_k",
        "blocks.0.mlp",
    ):
        linear(tensors, name, 64, 64, "F16")
    linear(tensors, "blocks.0.narrow", 16, 128, "F16", False)
    linear(tensors, "blocks.0.few", 32, 16, "F16", False)
    norm(tensors, "blocks.0.norm.weight", 64, "F16")
    tensors["blocks.0.conv.weight"] = normal("conv-d", (64, 24, 3, 3), "F16")
    tensors["blocks.0.zero.weight"] = Tensor("F16", (64, 64), bytes(64 * 64 * 2))
    return tensors


def lora(model: dict[str, Tensor], names, rank: int = 4, prefix: str = "", style: str = "lora_A lora_B") -> dict[str, Tensor]:
    down, up = style.split()
    made = {}
    for name in names:
        rows, columns = model[f"{name}.weight"].shape
        made[f"{prefix}{name}.{down}.weight"] = normal(f"{name}.down", (rank, columns), "F32", 0.1)
        made[f"{prefix}{name}.{up}.weight"] = normal(f"{name}.up", (rows, rank), "F32", 0.1)
    return made


for maker in (legacy_fp8, legacy_plain, legacy_int8, spare, wide, unlike, outliers, not_numbers, apart, distilled):
    workshop.model(maker.__name__, maker, {"made": "for rows", "format": "pt"})
for count in (12, 32):
    workshop.model(f"clip{count}", lambda count=count: encoder(count), {"made": "for rows"})
workshop.model("weak", lambda: encoder(8, 32, tiny_values))
workshop.model("token2", lambda: legacy_fp8(2))


# ----------------------------------------------------------------------------------------------------------------- checks


def dtypes(**wanted: str):
    """`F16=names` with names parted by blanks."""
    return workshop.both(*(workshop.holds(name, dtype) for dtype, names in wanted.items() for name in names.split()))


def counts(dtype: str, pattern: str, number: int):
    """So many tensors of this type have a name that the pattern finds."""

    def check(run):
        found = [name for name, tensor in run.tensors.items() if tensor.dtype == dtype and re.search(pattern, name)]
        return ends(0)(run) or (None if len(found) == number else f"{len(found)} tensors of {dtype}, not {number}")

    return check


def metadata_has(**entries):
    def check(run):
        if run.code:
            return ends(0)(run)
        wrong = [key for key, value in entries.items() if run.metadata.get(key) != value]
        return f"header's {wrong[0]} is {run.metadata.get(wrong[0])!r}" if wrong else None

    return check


def header_map(run) -> dict:
    return json.loads(run.metadata["_quantization_metadata"])


def number_in(text: str, pattern: str) -> float:
    """The number that the first group of the pattern finds."""
    found = re.search(pattern, text, re.M)
    if not found:
        raise AssertionError(f"no {pattern!r}")
    return float(found[1].replace(",", ""))


def when(check):
    """A plain function of a run that ended well, giving true for right, or a text that says what is wrong."""

    def checked(run):
        problem = ends(0)(run)
        if problem:
            return problem
        found = check(run)
        return None if found is True or found is None else "not so" if found is False else found

    return checked


def near(found: float, wanted: float, share: float = 1e-3) -> bool:
    return abs(found - wanted) <= share * abs(wanted) + 1e-12


__all__ = [name for name in globals() if not name.startswith("_")]
