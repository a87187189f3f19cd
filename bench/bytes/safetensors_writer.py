"""Writes safetensors files of made-up values, the same bytes on every machine.

Values come from a table of 65,536 numbers of about normal shape, made with integers alone and indexed by Python's Mersenne
Twister, whose `randbytes` is defined bit by bit. Only additions, products and `struct`'s roundings touch a float, which IEEE
754 fixes; nothing here calls the mathematical library.
"""
import json
import random
import struct
from array import array
from pathlib import Path

ELEMENT_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


def _splitmix(state: int) -> int:
    state = (state * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) & 0xFFFFFFFFFFFFFFFF
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return state ^ (state >> 31)


def _normal_table() -> list[float]:
    """Sums of four 16-bit parts of a hash: standard deviation 1, largest magnitude 3.46."""
    table = []
    for i in range(1 << 16):
        bits = _splitmix(i)
        total = sum((bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) - 131070
        table.append(total * 27 / (1 << 20))  # 65536 * sqrt(4 / 12) = 37837.2, and 2^20 / 27 = 38836.1
    return table


NORMAL = _normal_table()


def encode(values, dtype: str) -> bytes:
    """Python floats as elements of `dtype`, rounded to nearest, ties to even."""
    if dtype == "BF16":
        words = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
        return struct.pack(f"<{len(words)}H", *((w + 0x7FFF + ((w >> 16) & 1)) >> 16 for w in words))
    return struct.pack(f"<{len(values)}{ {'F16': 'e', 'F32': 'f', 'F64': 'd'}[dtype]}", *values)


class Tensor:
    def __init__(self, dtype: str, shape: list[int], data: bytes):
        count = 1
        for size in shape:
            count *= size
        assert len(data) == count * ELEMENT_BYTES[dtype], (dtype, shape, len(data))
        self.dtype, self.shape, self.data = dtype, list(shape), bytes(data)


_CODES = {}


def _codes(dtype: str, deviation: float) -> array:
    """The table, scaled and encoded, as integers of the element's size."""
    if (dtype, deviation) not in _CODES:
        words = array({2: "H", 4: "I", 8: "Q"}[ELEMENT_BYTES[dtype]])
        words.frombytes(encode([deviation * value for value in NORMAL], dtype))
        _CODES[dtype, deviation] = words
    return _CODES[dtype, deviation]


def normal(name: str, shape: list[int], dtype: str = "BF16", deviation: float = 0.02, outlier_columns: int = 0) -> Tensor:
    """Seeded by `name`. Every fifth row is twice as large; `outlier_columns` columns are sixteen times as large."""
    source = random.Random(f"bytes {name}")
    columns = shape[-1] if shape else 1
    count = 1
    for size in shape:
        count *= size
    picks = array("H")
    picks.frombytes(source.randbytes(2 * count))
    plain, large, outlier = (_codes(dtype, deviation * factor) for factor in (1, 2, 16))
    words = array(plain.typecode, map(plain.__getitem__, picks))
    if len(shape) == 2:
        for row in range(0, shape[0], 5):
            run = slice(row * columns, (row + 1) * columns)
            words[run] = array(plain.typecode, map(large.__getitem__, picks[run]))
        for column in sorted(source.sample(range(columns), outlier_columns)):
            words[column::columns] = array(plain.typecode, map(outlier.__getitem__, picks[column::columns]))
    return Tensor(dtype, shape, words.tobytes())


def around_one(name: str, size: int, dtype: str = "BF16") -> Tensor:
    """Weights of a norm: about 1, a few of them much larger."""
    source = random.Random(f"bytes {name}")
    return Tensor(dtype, [size], encode([(6.0 if i % 37 == 5 else 1.0) + 0.2 * NORMAL[source.getrandbits(16)]
                                         for i in range(size)], dtype))


def of_bytes(dtype: str, shape: list[int], name: str, allowed=range(256)) -> Tensor:
    """Codes at random, each of `allowed` as likely as any other."""
    allowed = bytes(allowed)
    count = ELEMENT_BYTES[dtype]
    for size in shape:
        count *= size
    table = bytes(allowed[i * len(allowed) // 256] for i in range(256))
    return Tensor(dtype, shape, random.Random(f"bytes {name}").randbytes(count).translate(table))


def floats(values, shape: list[int] | None = None, dtype: str = "F32") -> Tensor:
    return Tensor(dtype, [len(values)] if shape is None else shape, encode(list(values), dtype))


def text(value: str) -> Tensor:
    return Tensor("U8", [len(value)], value.encode())


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, at + len(tensor.data)]}
        at += len(tensor.data)
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed)
        for tensor in tensors.values():
            file.write(tensor.data)


def write_shards(folder: Path, stem: str, tensors: dict[str, Tensor], shards: int) -> None:
    """Tensors dealt out in turn, and an index."""
    folder.mkdir(parents=True)
    weight_map = {}
    for shard in range(shards):
        file = f"{stem}-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensor for i, (name, tensor) in enumerate(tensors.items()) if i % shards == shard}
        write(folder / file, part, {"format": "pt"})
        weight_map.update({name: file for name in part})
    total = sum(len(tensor.data) for tensor in tensors.values())
    (folder / f"{stem}.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1))
