#!/usr/bin/env python3
"""Round to nearest beside the published Python program, format by format.

    bench/peer_parity.py MODEL --peer PROGRAM [--binary build/release/convert_to_quant] [--folder build/bench]

Converts MODEL with `--simple` by both, measures both files with our `compare`, and prints the mean `weight_rel` and on how many layers ours
has the lower SQNR by more than a hundred-thousandth of a decibel (values half way between two codes go either way, for the programs divide
in different orders). Ends with 1 where there is such a layer. Needs Python's standard library only.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

TIES_DB = 1e-5
FORMATS = {
    "FP8 tensor": (["--scaling_mode", "tensor"], ["--fp8"]),
    "FP8 row": (["--scaling_mode", "row"], ["--fp8", "--scaling_mode", "row"]),
    "FP8 block 128": (["--scaling_mode", "block", "--block_size", "128"], ["--fp8", "--scaling_mode", "block", "--block_size", "128"]),
    "INT8 tensor": (["--int8", "--scaling_mode", "tensor"],) * 2,
    "INT8 row": (["--int8", "--scaling_mode", "row"],) * 2,
    "INT8 row ConvRot": (["--int8", "--scaling_mode", "row", "--convrot"],) * 2,
    "INT8 block 128": (["--int8", "--scaling_mode", "block", "--block_size", "128"],) * 2,
    "NVFP4": (["--nvfp4"],) * 2,
    "MXFP8": (["--mxfp8"],) * 2,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    output, report = args.folder / "parity.safetensors", args.folder / "parity.json"

    def layers(command: list[str]) -> dict[str, dict]:
        output.unlink(missing_ok=True)
        subprocess.run([*command, "-i", str(args.model), "-o", str(output)], check=True, capture_output=True)
        subprocess.run([args.binary, "compare", str(args.model), str(output), "--output-report", str(report)], check=True, capture_output=True)
        return {layer["name"]: layer for layer in json.loads(report.read_text())["files"][0]["layers"]}

    total = 0
    print(f"| format | layers | peer | ours | layers below the peer |\n|---|---|---|---|---|")
    for name, (peer_options, our_options) in FORMATS.items():
        peer = layers([args.peer, "--simple", *peer_options])
        ours = layers([args.binary, "--simple", "--comfy_quant", *our_options])
        below = [layer for layer, row in peer.items() if ours[layer]["sqnr_db"] < row["sqnr_db"] - TIES_DB]
        mean = [sum(row["weight_rel"] for row in rows.values()) / len(rows) for rows in (peer, ours)]
        print(f"| {name} | {len(peer)} | {mean[0]:.5f} | {mean[1]:.5f} | {len(below)} |")
        total += len(below)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
