#!/usr/bin/env python3
"""Speed and memory of round-to-nearest conversion, beside `cp` of the same file.

    bench/round_to_nearest.py [--gigabytes 2] [--runs 5] [--only NAME]... [--folder DIR] [--binary build/release/convert_to_quant]

Makes a BF16 checkpoint with the layer shapes of a Flux-like model, reads it once so that it lies in the page cache, then runs `cp` and a
conversion to each format in turn, and prints the median of each, its ratio to `cp`, and the largest resident memory (mapped input included).
Needs Python's standard library only, and about twice the file's size of free disk.
"""
import argparse
import array
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import time
from pathlib import Path

SHAPES = {"img_attn.qkv": (9216, 3072), "img_attn.proj": (3072, 3072), "img_mlp.0": (12288, 3072), "img_mlp.2": (3072, 12288)}
FORMATS = {
    "FP8 per tensor": ["--fp8"],
    "INT8 per row": ["--int8", "--scaling_mode", "row"],
    "INT8 block 128": ["--int8"],
    "INT8 ConvRot": ["--int8", "--scaling_mode", "row", "--convrot"],
    "MXFP8": ["--mxfp8"],
    "NVFP4": ["--nvfp4"],
    "W4A4 ConvRot": ["--format", "convrot_w4a4"],
    "W4A8": ["--format", "asym_w4a8_int8"],
    "W4A16": ["--format", "awq_w4a16"],
}
LARGEST = 2 * max(rows * columns for rows, columns in SHAPES.values())


def make_checkpoint(path: Path, size: int) -> None:
    rng = random.Random(0)
    floats = array.array("f", (rng.gauss(0, 0.02) for _ in range(1 << 19)))
    chunk = array.array("H", (word >> 16 for word in array.array("I", floats.tobytes()))).tobytes()
    entries, at = {}, 0
    while at < size:
        block = len(entries) // (2 * len(SHAPES))
        for name, (rows, columns) in SHAPES.items():
            for role, shape in (("weight", [rows, columns]), ("bias", [rows])):
                end = at + 2 * rows * (columns if role == "weight" else 1)
                entries[f"double_blocks.{block}.{name}.{role}"] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
                at = end
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        while at > 0:
            f.write(chunk[:at])
            at -= min(at, len(chunk))


def run(command: list[str]) -> tuple[float, int]:
    """Wall seconds and largest resident memory in bytes."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", help="a format's name or the beginning of it; all without")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    source, target = args.folder / "source.safetensors", args.folder / "target.safetensors"
    make_checkpoint(source, int(args.gigabytes * 1e9))
    shutil.copyfile(source, target)

    convert = [args.binary, "-i", str(source), "-o", str(target), "--comfy_quant", "-q", "--simple"]
    commands = {"cp": ["cp", str(source), str(target)]}
    for name, options in FORMATS.items():
        if not args.only or any(name.startswith(wanted) for wanted in args.only):
            commands[name] = [*convert, *options]
    results = {name: [] for name in commands}
    for _ in range(args.runs):
        for name, command in commands.items():
            target.unlink(missing_ok=True)
            results[name].append(run(command))
    base = statistics.median(seconds for seconds, _ in results["cp"])
    print(f"{os.path.getsize(source) / 1e9:.2f} GB, {args.runs} runs each, {os.cpu_count()} cores; memory bound "
          f"{(256 * 2**20 + 3 * LARGEST) / 2**20:.0f} MiB")
    print(f"{'':16s} {'median s':>9s} {'min':>7s} {'max':>7s} {'/ cp':>6s} {'peak MiB':>9s}")
    for name, rows in results.items():
        seconds = [row[0] for row in rows]
        print(f"{name:16s} {statistics.median(seconds):9.2f} {min(seconds):7.2f} {max(seconds):7.2f} {statistics.median(seconds) / base:6.2f} "
              f"{max(row[1] for row in rows) / 2**20:9.0f}")
    shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
