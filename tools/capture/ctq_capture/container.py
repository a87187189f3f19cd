"""The safetensors container: headers read, files written whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

DTYPE_NAMES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float64: "F64",
    torch.int32: "I32",
}
MAX_HEADER_BYTES = 100_000_000  # the format's own limit

Shapes = dict[str, tuple[int, ...]]
Item = tuple[str, torch.dtype, tuple[int, ...], Callable[[], torch.Tensor]]


class ContainerError(ValueError):
    """A file that is not what it should be; the message names it."""


def read_header(path: str | os.PathLike) -> tuple[Shapes, dict[str, str]]:
    """Tensor shapes by name, and the metadata. Reads no tensor. Throws ContainerError, OSError."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if length < 2 or length > MAX_HEADER_BYTES or 8 + length > size:
            raise ContainerError(f"{path}: not a safetensors file, or cut off")
        try:
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            shapes = {name: tuple(info["shape"]) for name, info in header.items()}
            end = max((info["data_offsets"][1] for info in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ContainerError(f"{path}: the header is not that of a safetensors file ({error})") from None
    if 8 + length + end > size:
        raise ContainerError(f"{path}: cut off ({size} bytes, the header asks for {8 + length + end})")
    return shapes, metadata


def read_checkpoint_header(path: str | os.PathLike) -> Shapes:
    """Tensor shapes of a checkpoint: one safetensors file, or the index (.json) of a sharded one."""
    path = Path(path)
    if path.suffix != ".json":
        return read_header(path)[0]
    try:
        shards = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ContainerError(f"{path}: not the index of a sharded checkpoint") from None
    return {name: shape for shard in shards for name, shape in read_header(path.parent / shard)[0].items()}


def write_safetensors(path: str | os.PathLike, items: Iterable[Item], metadata: dict[str, str]) -> None:
    """Writes tensors beside `path`, then renames: a file of that name is whole, an older one stays till then.

    items     (name, element type, shape, function that gives the tensor when its turn comes)
    metadata  strings only, as the format asks
    throws    OSError; nothing is left behind
    """
    items = sorted(items, key=lambda item: item[0])
    header: dict = {"__metadata__": metadata}
    end = 0
    for name, dtype, shape, _ in items:
        begin, end = end, end + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{os.fspath(path)}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name, dtype, shape, tensor_of in items:
                tensor = tensor_of().detach().cpu().contiguous()
                if tensor.dtype != dtype or tuple(tensor.shape) != tuple(shape):
                    raise AssertionError(
                        f"{name}: announced {dtype} {shape}, got {tensor.dtype} {tuple(tensor.shape)}"
                    )
                if tensor.numel():
                    file.write((ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(os.path.abspath(path)))


def _sync_folder(folder: str) -> None:
    """Makes the rename itself durable, where the system can."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder, some network drives cannot sync one
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
