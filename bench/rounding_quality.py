#!/usr/bin/env python3
"""Error and time of every optimizer on a real encoder, beside the learned rounding of the Python program convert-to-quant.

    bench/rounding_quality.py [--runs 3] [--peer FILE] [--shared DIR] [--binary build/release/convert_to_quant] [--only TEXT]

Converts all-MiniLM-L6-v2 (36 linear layers, BF16) with each row below, in turn, and scores every file with the evaluator in the shared folder: mean
weight_rel, subspace_rel, output_rel over the layers and model_dev of the whole model, on texts that nothing has seen. --peer names the
program's own executable (convert-to-quant==1.3.4 with prodigy-plus-schedule-free and scipy in a virtual environment of its own); it runs
once, at its defaults, as it takes minutes. Needs the Python packages that the evaluator names. Skipped with a message without the folder.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

FP8, ROW = ["--fp8"], ["--int8", "--scaling_mode", "row"]
LEARNED = ["--num_iter", "200"]
ROWS = {
    "FP8 rtn": [*FP8, "--quality", "fast"],
    "FP8 auto (default)": FP8,
    "FP8 best": [*FP8, "--quality", "best"],
    "FP8 implied": [*FP8, "--optimizer", "implied"],
    "FP8 direct": [*FP8, "--optimizer", "direct"],
    "FP8 direct, subspace": [*FP8, "--optimizer", "direct", "--objective", "subspace"],
    **{f"FP8 {name}, 200 iterations": [*FP8, "--optimizer", name, *LEARNED] for name in ("original", "adamw", "radam", "prodigy")},
    "FP8 original, defaults": [*FP8, "--profile", "seed"],
    "INT8 row rtn": [*ROW, "--quality", "fast"],
    "INT8 row auto (default)": ROW,
    "INT8 row best": [*ROW, "--quality", "best"],
    "INT8 row implied": [*ROW, "--optimizer", "implied"],
    "INT8 row direct": [*ROW, "--optimizer", "direct"],
    "INT8 row original, 200 iterations": [*ROW, "--optimizer", "original", *LEARNED],
}
PEER_ROWS = {"FP8 peer": [], "INT8 row peer": ["--int8", "--scaling_mode", "row"]}


def timed(command: list[str]) -> float:
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}\n{done.stdout[-2000:]}")
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", help="the peer's executable; without it only our rows are run")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--only", default="", help="rows whose name holds this")
    args = parser.parse_args()
    evaluator = args.shared / "verify" / "minilm_eval.py"
    if not evaluator.exists():
        print(f"skipped: {evaluator} is not there")
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    model = args.folder / "minilm.safetensors"
    subprocess.run([sys.executable, evaluator, "model", model], check=True)

    ours = {name: flags for name, flags in ROWS.items() if args.only in name}
    files = {name: args.folder / f"{i}.safetensors" for i, name in enumerate([*ours, *PEER_ROWS])}
    seconds = {name: [] for name in ours}
    for _ in range(args.runs):
        for name, flags in ours.items():
            seconds[name].append(timed([args.binary, "-i", model, "-o", files[name], "--comfy_quant", "-q", "--progress", "none", *flags]))
    for name, flags in PEER_ROWS.items() if args.peer else ():
        if args.only in name:
            seconds[name] = [timed([args.peer, "-i", model, "-o", files[name], "--comfy_quant", *flags])]

    scored = subprocess.run([sys.executable, evaluator, "score", "--json", *(files[name] for name in seconds)], check=True,
                            stdout=subprocess.PIPE, text=True)
    scores = json.loads(scored.stdout)
    base = {kind: scores[str(files[f"{kind} rtn"])]["model_dev"] for kind in ("FP8", "INT8 row") if f"{kind} rtn" in seconds}
    print(f"| | weight_rel | subspace_rel | output_rel | model_dev | seconds |\n|{'---|' * 6}")
    for name, runs in seconds.items():
        score = scores[str(files[name])]
        before = base.get("FP8" if name.startswith("FP8") else "INT8 row")
        change = f" ({100 * (score['model_dev'] / before - 1):+.1f} %)" if before else ""
        print(f"| {name} | {score['weight_rel']:.5f} | {score['subspace_rel']:.6f} | {score['output_rel']:.5f} | "
              f"{score['model_dev']:.3e}{change} | {statistics.median(runs):.2f} |")


if __name__ == "__main__":
    main()
