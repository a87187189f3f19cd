#!/usr/bin/env python3
"""Speed and memory of clip-g, beside `cp` of the same file.

    bench/clip_g.py [--runs 5] [--folder DIR] [--binary build/release/convert_to_quant]

Makes a float16 checkpoint with the names and shapes of a full-size OpenCLIP text encoder (32 blocks of width 1280, 1.39 GB), reads it once so that
it lies in the page cache, then runs `cp`, the analysis and two conversions in turn, and prints the median of each, its ratio to `cp`, and the largest
resident memory (mapped input included). Needs Python's standard library only, and about three times the file's size of free disk.
"""
import argparse
import json
import random
import shutil
import statistics
import struct
import tempfile
from pathlib import Path

from round_to_nearest import run

WIDTH = 1280
OUTSIDE = {"token_embedding.weight": [49408, WIDTH], "positional_embedding": [77, WIDTH], "text_projection": [WIDTH, WIDTH],
           "ln_final.weight": [WIDTH], "ln_final.bias": [WIDTH]}
BLOCK = {"attn.in_proj_weight": [3 * WIDTH, WIDTH], "attn.in_proj_bias": [3 * WIDTH], "attn.out_proj.weight": [WIDTH, WIDTH],
         "attn.out_proj.bias": [WIDTH], "mlp.c_fc.weight": [4 * WIDTH, WIDTH], "mlp.c_fc.bias": [4 * WIDTH],
         "mlp.c_proj.weight": [WIDTH, 4 * WIDTH], "mlp.c_proj.bias": [WIDTH], "ln_1.weight": [WIDTH], "ln_1.bias": [WIDTH],
         "ln_2.weight": [WIDTH], "ln_2.bias": [WIDTH]}


def make_checkpoint(path: Path) -> None:
    rng = random.Random(0)
    chunk = struct.pack(f"<{1 << 20}e", *(rng.gauss(0, 0.02) for _ in range(1 << 20)))
    shapes = dict(OUTSIDE)
    for block in range(32):
        shapes.update({f"transformer.resblocks.{block}.{name}": shape for name, shape in BLOCK.items()})
    entries, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, end]}
        at = end
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        while at > 0:
            f.write(chunk[:at])
            at -= min(at, len(chunk))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        source, output = folder / "clip_g.safetensors", folder / "out.safetensors"
        make_checkpoint(source)
        convert = [args.binary, "clip-g", str(source), "-o", str(output)]
        commands = {
            "cp": ["cp", str(source), str(folder / "copy.safetensors")],
            "--analyze": [args.binary, "clip-g", str(source), "--analyze"],
            "convert": convert,
            "--split-attn-qkv q8,kv8 --attn-out-fp8": [*convert, "--split-attn-qkv", "q8,kv8", "--attn-out-fp8"],
        }
        results = {name: [] for name in commands}
        for _ in range(args.runs):
            for name, command in commands.items():
                results[name].append(run(command))
                for made in (output, folder / "copy.safetensors"):
                    made.unlink(missing_ok=True)
        print(f"{source.stat().st_size / 1e9:.2f} GB\n| | median s | min | max | / `cp` | peak resident MiB |\n|---|---|---|---|---|---|")
        copy = statistics.median(seconds for seconds, _ in results["cp"])
        for name, runs in results.items():
            seconds = [each for each, _ in runs]
            median = statistics.median(seconds)
            print(f"| `{name}` | {median:.2f} | {min(seconds):.2f} | {max(seconds):.2f} | {median / copy:.2f} | {max(m for _, m in runs) >> 20} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
