#!/usr/bin/env python3
"""Memory and time of a layer with all of it at once, and under the least --max-memory that does.

    bench/memory.py BINARY [ROWSxCOLUMNS ...]

Per layer, format and optimizer: the peak (resident, without mapped files) and seconds without a limit; then the least limit
that the program names when it is given too little, and peak and seconds under it. A peak above its limit ends the script
with exit code 1. Weights are normal; the second moment is that of 1024 normal rows, stored as such, or as rows of 8 pictures
("rows"), which are held back in more ways than any others.
"""
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

BINARY = sys.argv[1]
SHAPES = [tuple(map(int, shape.split("x"))) for shape in sys.argv[2:] or ["6144x1536", "1536x6144"]]
FORMATS = {"FP8": ["--fp8"], "INT8 row": ["--int8", "--scaling_mode", "row"],
           "INT8 ConvRot": ["--int8", "--scaling_mode", "row", "--convrot"], "NVFP4": ["--nvfp4"]}
OPTIMIZERS = {"rtn": ["--simple"], "direct": ["--optimizer", "direct"], "auto": ["--optimizer", "auto"],
              "best": ["--quality", "best"], "quip": ["--optimizer", "quip"],
              "adamw": ["--optimizer", "adamw", "--num_iter", "3"],
             "auto, rows": ["--optimizer", "auto"], "best, rows": ["--quality", "best"]}
RECORDED = {"auto": "hessian", "best": "hessian", "quip": "hessian", "auto, rows": "rows", "best, rows": "rows"}
UNITS = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}


class Layer:
    def __init__(self, folder: Path, rows: int, columns: int):
        self.model = folder / f"{rows}x{columns}.safetensors"
        self.recorded = {kind: folder / f"{rows}x{columns}_{kind}.safetensors" for kind in ("hessian", "rows")}
        self.output = folder / "out.safetensors"
        x = torch.randn(1024, columns, generator=torch.Generator().manual_seed(1))
        w = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        save_file({"blocks.0.fc.weight": (w * 0.02).bfloat16()}, self.model)
        metadata = {"format": "ctq-calibration", "version": "1"}
        save_file({"blocks.0.fc.hessian": x.t() @ x / len(x)}, self.recorded["hessian"], metadata=metadata)
        pictures = torch.arange(len(x), dtype=torch.int32) % 8
        save_file({"blocks.0.fc.rows": x.bfloat16(), "blocks.0.fc.row_pictures": pictures}, self.recorded["rows"], metadata=metadata)

    def convert(self, options: list[str], optimizer: str, limit: str = "") -> tuple[subprocess.CompletedProcess, float]:
        words = [BINARY, "-i", self.model, "-o", self.output, "--comfy_quant", "--no-resume", *options, *OPTIMIZERS[optimizer]]
        if optimizer in RECORDED:
            words += ["--calibration-data", self.recorded[RECORDED[optimizer]]]
        if limit:
            words += ["--max-memory", limit]
        start = time.monotonic()
        run = subprocess.run(words, capture_output=True, text=True)
        return run, time.monotonic() - start


def peak(run: subprocess.CompletedProcess) -> float:
    if run.returncode != 0:
        sys.exit(run.stderr)
    number, unit = re.search(r"peak memory ([\d.]+) (\w+)", run.stdout).groups()
    return float(number) * UNITS[unit]


def steps(run: subprocess.CompletedProcess) -> str:
    found = re.search(r"\d+ segments|absmax scales", run.stdout)
    return found.group() if found else ""


def main() -> int:
    kept = True
    print("| layer | format | optimizer | peak, MiB | s | least limit, MiB | peak, MiB | s | steps |\n|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows, columns in SHAPES:
            layer = Layer(Path(folder), rows, columns)
            for name, options in FORMATS.items():
                for optimizer in OPTIMIZERS:
                    free, free_seconds = layer.convert(options, optimizer)
                    refused, _ = layer.convert(options, optimizer, "125M")
                    named = re.search(r"give (\d+) MiB", refused.stderr)
                    least = int(named.group(1)) if named else 125
                    bound, seconds = layer.convert(options, optimizer, f"{least}M")
                    kept = kept and peak(bound) <= least
                    print(f"| {rows} x {columns} | {name} | {optimizer} | {peak(free):.0f} | {free_seconds:.1f} | {least} | "
                          f"{peak(bound):.0f} | {seconds:.1f} | {steps(bound)} |", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
