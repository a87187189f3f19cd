"""Conversions on the pretend GPU beside those on the CPU: conversions.py BINARY PRETEND_LIBRARY SCRATCH_FOLDER

Every option set is run on both. Codes are the CPU's, or differ where sums in another order came out on the other side of a tie, which are few. Then
what one large layer asks of the device, in launches and waits, is held to a budget.
"""
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

binary, library, scratch = map(Path, sys.argv[1:4])
scratch.mkdir(parents=True, exist_ok=True)
BYTES = {"BF16": 2, "F32": 4, "F16": 2, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1}

# Name: options; what part of the bytes may differ. RTN's are the same, bit for bit.
CASES = {
    "fp8 nearest": ("--format float8_e4m3fn --simple", 0),
    "fp8 rows nearest": ("--format float8_e4m3fn_rowwise --simple", 0),
    "int8 blocks nearest": ("--format int8_blockwise --block_size 32 --simple", 0),
    "nvfp4 nearest": ("--format nvfp4 --simple", 0),
    "mxfp8 nearest": ("--format mxfp8 --simple", 0),
    "convrot nearest": ("--format int8_tensorwise --scaling_mode row --convrot --convrot-group-size 64 --simple", 0),
    "fp8": ("--format float8_e4m3fn", 0.02),
    "fp8 blocks": ("--format float8_e4m3fn_blockwise --block_size 32", 0.02),
    "fp8 best": ("--format float8_e4m3fn --quality best", 0.02),
    "int8 rows": ("--format int8_tensorwise --scaling_mode row", 0.02),
    "nvfp4": ("--format nvfp4", 0.02),
    "mxfp8": ("--format mxfp8", 0.02),
    "convrot": ("--format int8_tensorwise --scaling_mode row --convrot --convrot-group-size 64", 0.02),
    "w4a4": ("--format convrot_w4a4 --convrot-group-size 64", 0.04),
    "w4a8": ("--format asym_w4a8_int8", 0.04),
    "awq": ("--format awq_w4a16", 0.02),
    "recorded": ("--format float8_e4m3fn --calibration-data ROWS", 0.02),
    "recorded nvfp4": ("--format nvfp4 --calibration-data ROWS", 0.02),
    "recorded convrot": ("--format int8_tensorwise --scaling_mode row --convrot --convrot-group-size 64 --calibration-data ROWS", 0.02),
    "quip": ("--format int8_tensorwise --optimizer quip", 0.05),
    "learned": ("--format float8_e4m3fn --optimizer original --num_iter 12", 0.05),
}
# Memory runs out at one allocation, now this one, now that: the conversion goes on in less of it, or on the CPU.
FAILING = {
    "fp8": "--format float8_e4m3fn",
    "nvfp4, recorded": "--format nvfp4 --calibration-data ROWS",
    "convrot": "--format int8_tensorwise --scaling_mode row --convrot --convrot-group-size 64",
    "time": "--format float8_e4m3fn --quality best --time 60s",
    "smoothquant": "--format int8_tensorwise --scaling_mode row --smoothquant --calibration-data ROWS",
    "max error": "--format float8_e4m3fn --max-error 0.03",
}
MOMENTS = 10
COMMON = "--comfy_quant --client any --bf16-compute off"
# Of one 4096 x 4096 layer: launches, and how often the host waits for a number or a tensor.
BUDGETS = {
    "fp8 nearest": ("--format float8_e4m3fn --simple", 10, 6),
    "fp8": ("--format float8_e4m3fn", 400, 13),
    "nvfp4 nearest": ("--format nvfp4 --simple", 20, 7),
    "nvfp4": ("--format nvfp4", 600, 14),
}


def save(path, shapes, seed):
    draw = random.Random(seed)
    header, data = {}, bytearray()
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        raw = bytearray(draw.randbytes(2 * count))
        raw[1::2] = bytes(raw[1::2]).translate(bytes(0x3C if i < 128 else 0xBC for i in range(256)))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))


def tensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    return {name: raw[8 + size + row["data_offsets"][0]:8 + size + row["data_offsets"][1]]
            for name, row in header.items() if name != "__metadata__"}


def convert(source, output, options, device, fail_at=0):
    counts = scratch / "counts.json"
    counts.unlink(missing_ok=True)
    environment = dict(os.environ)
    if device != "cpu":
        environment |= {"LD_PRELOAD": str(library), "CTQ_PRETEND_COUNTS": str(counts), "CTQ_PRETEND_FAIL": str(fail_at)}
    done = subprocess.run([binary, "-i", source, "-o", output, "--device", device, *COMMON.split(), *options.split()],
                          capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{options} --device {device}: exit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-3000:]}"
    return json.loads(counts.read_text()) if counts.exists() else {}


def different(a, b):
    """The part of the bytes of each tensor that differs, the largest."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    largest = 0.0
    for name in a:
        assert len(a[name]) == len(b[name]), name
        if a[name] == b[name] or name.endswith("_scale"):
            continue
        largest = max(largest, sum(x != y for x, y in zip(a[name], b[name])) / len(a[name]))
    return largest


def main():
    wanted = sys.argv[4:]
    faults = []
    small, rows = scratch / "small.safetensors", scratch / "rows.safetensors"
    layers = {"blocks.0.attn.q": [96, 256], "blocks.0.mlp.up": [160, 256], "blocks.0.mlp.down": [64, 1280], "blocks.1.attn.q": [33, 128]}
    save(small, {f"{name}.weight": shape for name, shape in layers.items()} | {"blocks.1.attn.q.bias": [33]}, seed=1)
    save(rows, {f"{name}.rows": [300, shape[1]] for name, shape in layers.items()}, seed=3)
    for name, (options, most) in CASES.items():
        options = options.replace("ROWS", str(rows))
        if wanted and name not in wanted:
            continue
        cpu, gpu = scratch / "cpu.safetensors", scratch / "gpu.safetensors"
        try:
            convert(small, cpu, options, "cpu")
            counted = convert(small, gpu, options, "pretend")
            found = different(tensors(cpu), tensors(gpu))
        except AssertionError as error:
            faults.append(f"{name}: {error}")
            print(faults[-1][:600])
            continue
        launches = sum(counted["launches"].values())
        print(f"{name}: {found:.4%} of the bytes differ, {launches} launches")
        if launches == 0:
            faults.append(f"{name}: nothing was done on the device")
        if found > most:
            faults.append(f"{name}: {found:.2%} of the bytes differ from the CPU's, more than {most:.2%}")
    for name, options in FAILING.items():
        if wanted and f"failing {name}" not in wanted:
            continue
        options = options.replace("ROWS", str(rows))
        whole = scratch / "whole.safetensors"
        try:
            allocations = convert(small, whole, options, "pretend")["allocations"]
            largest = 0.0
            for i in range(MOMENTS):
                moment = 1 + i * (allocations - 1) // (MOMENTS - 1)
                convert(small, scratch / "failed.safetensors", options, "pretend", moment)
                largest = max(largest, different(tensors(whole), tensors(scratch / "failed.safetensors")))
            print(f"failing {name}: {MOMENTS} of {allocations} allocations, {largest:.4%} of the bytes differ")
            if largest > 0.05:
                faults.append(f"failing {name}: {largest:.2%} of the bytes differ")
        except AssertionError as error:
            faults.append(f"failing {name}, allocation {moment}: {error}")
            print(faults[-1][:900])
    large = scratch / "large.safetensors"
    save(large, {"blocks.0.attn.q.weight": [4096, 4096]}, seed=2)
    for name, (options, most_launches, most_waits) in BUDGETS.items():
        if wanted and name not in wanted:
            continue
        counted = convert(large, scratch / "gpu.safetensors", options, "pretend")
        launches, moved = sum(counted["launches"].values()), counted["transfers"]
        waits = moved.get("waits", 0) + moved.get("down", 0)
        print(f"{name}, 4096 x 4096: {launches} launches, {waits} waits, {moved.get('up', 0)} transfers, peak {counted['peak'] >> 20} MiB")
        print("  " + ", ".join(f"{count} {what.removeprefix('aten::')}" for what, count in sorted(counted["launches"].items(), key=lambda row: -row[1])[:24]))
        if launches > most_launches or waits > most_waits:
            faults.append(f"{name}: {launches} launches of {most_launches}, {waits} waits of {most_waits}")
    for fault in faults:
        print("FAULT", fault)
    return bool(faults)


sys.exit(main())
