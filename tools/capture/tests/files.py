"""Reads a calibration file back, by the format's definition and not by the writer's code."""

import json
import struct

import torch

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "I32": torch.int32}


def read_back(path):
    """Tensors by name and metadata; fails on gaps, overlaps and trailing bytes."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(bytes(data[8 : 8 + length]))
    metadata = header.pop("__metadata__")
    tensors, at = {}, 0
    for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = info["data_offsets"]
        dtype, count = DTYPES[info["dtype"]], torch.Size(info["shape"]).numel()
        assert begin == at and end - begin == count * dtype.itemsize, name
        flat = (
            torch.frombuffer(data, dtype=dtype, count=count, offset=8 + length + begin)
            if count
            else torch.empty(0)
        )
        tensors[name] = flat.view(info["shape"]).clone()
        at = end
    assert 8 + length + at == len(data)
    return tensors, metadata
