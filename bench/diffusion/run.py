#!/usr/bin/env python3
"""What recorded inputs are worth on a diffusion transformer: a small one, trained here, with the kinds of layers that large ones have.

    bench/diffusion/run.py FOLDER [--binary build/release/convert_to_quant] [--formats FP8,NVFP4] [--pictures 12] [--repeat 16]
                           [--reuse] [--alone] [--json FILE]

The model draws a coloured shape at a place that its caption names: 6 blocks of width 256 with adaLN modulation, self attention and a
gated or a GELU MLP, every second one with cross attention to the caption; rectified flow on latents of 16 channels, patch 2. It
is trained once (minutes on two cores) and kept in FOLDER.

Its inputs are recorded with tools/capture for a few captions, 8 steps each; once as they come, and once with every picture made
--repeat times, which adds no information. Every linear layer is quantized, read back with `dequantize`, and scored on other
captions, other noise and 20 steps. Printed for each format and method: the relative error of the model's velocity, inputs of
layers unquantized; and the layers whose output is worse with recorded inputs than with plain rounding by more than --margin, with the
number of distinct rows that were recorded of their input. --alone adds the model's error with that one layer quantized.
Needs torch, safetensors and numpy. Results are the same in each run with the same --threads and machine.
"""
import argparse
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "capture"))
from ctq_capture import Recorder  # noqa: E402
from model import CAPTIONS, CHANNELS, TOKENS, Model, TextEncoder, linear_layers, seeded, train  # noqa: E402

RECORD_STEPS, SCORE_STEPS, FEW = 8, 20, 256
ANY = ["--client", "any"]
FORMATS = {
    "FP8": ["--fp8"],
    "INT8 row": ["--int8", "--scaling_mode", "row"],
    "INT8 ConvRot": ["--int8", "--scaling_mode", "row", "--convrot"],
    "NVFP4": ["--nvfp4", *ANY],
    "W4A8": ["--format", "asym_w4a8_int8", *ANY],
}


# Recording and scoring

@torch.no_grad()
def sample(model: nn.Module, encoder: TextEncoder, captions: torch.Tensor, steps: int, seed: int) -> list[tuple]:
    """Euler steps from noise; the arguments and the result of each call."""
    x, text, calls = torch.randn(len(captions), TOKENS, CHANNELS, generator=seeded(seed)), encoder(captions), []
    for step in range(steps):
        arguments = (x, torch.full((len(captions),), 1 - step / steps), *text)
        v = model(*arguments)
        calls.append((arguments, v))
        x = x - v / steps
    return calls


def record(model: nn.Module, encoder: TextEncoder, path: Path, pictures: int, repeat: int) -> None:
    with Recorder(rows=4096, source=f"{pictures} pictures, {repeat} times").attach(model) as recorder:
        for i, _ in itertools.product(range(pictures), range(repeat)):
            if hasattr(recorder, "begin_picture"):
                recorder.begin_picture()
            sample(model, encoder, CAPTIONS[i:i + 1], RECORD_STEPS, 1000 + i)
    recorder.save(path)


def distinct_rows(path: Path) -> dict[str, int]:
    """Of the rows that the file holds, by layer."""
    with safe_open(path, "pt") as file:
        shared = json.loads(file.metadata()["shared"])
        counts = {name.removesuffix(".rows"): len(torch.unique(file.get_tensor(name).view(torch.int16), dim=0))
                  for name in file.keys() if name.endswith(".rows")}
    return counts | {layer: counts[owner] for layer, owner in shared.items()}


class Score:
    """Errors of a quantized model on pictures of the unquantized one."""

    def __init__(self, model: nn.Module, encoder: TextEncoder, captions: torch.Tensor):
        self.model, self.layers, self.products = model, linear_layers(model), {}
        hooks = [layer.register_forward_pre_hook(self._hook(name)) for name, layer in self.layers.items()]
        self.calls = sample(model, encoder, captions, SCORE_STEPS, 77)
        for hook in hooks:
            hook.remove()

    def _hook(self, name):
        def add(_, args):
            x = F.pad(args[0].reshape(-1, args[0].shape[-1]), (0, 1), value=1).double()
            self.products[name] = self.products.get(name, 0) + x.T @ x
        return add

    def output_rel(self, name: str, tensors: dict) -> float:
        """||X E^T + e|| / ||X W^T||, e the change of the bias."""
        layer, xx = self.layers[name], self.products[name]
        weight = layer.weight.detach().double()
        e = torch.cat([tensors[name + ".weight"] - weight, (tensors[name + ".bias"] - layer.bias.detach())[:, None]], 1).double()
        return (((e @ xx) * e).sum() / ((weight @ xx[:-1, :-1]) * weight).sum()).sqrt().item()

    @torch.no_grad()
    def velocity_rel(self, tensors: dict, every: int = 1) -> float:
        """||v_q - v|| / ||v|| with these tensors in place of the model's."""
        wrong, whole = 0.0, 0.0
        for arguments, v in self.calls[::every]:
            wrong += (torch.func.functional_call(self.model, tensors, arguments) - v).square().sum().item()
            whole += v.square().sum().item()
        return (wrong / whole) ** 0.5


# The conversions

def run(*words) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, words))}\n{done.stderr[-2000:]}")
    return done.stdout


class Converter:
    def __init__(self, binary: str, folder: Path, model: Path, threads: int, layers):
        self.binary, self.folder, self.model, self.threads, self.layers = binary, folder, model, threads, layers

    def formats(self, flags: list[str]) -> dict[str, int]:
        """How many layers the plan writes in which format. Ends the run if it leaves one out."""
        plan = json.loads(run(self.binary, "-i", self.model, "--comfy_quant", *flags, "--dry-run", "--json"))
        found = {t["name"]: t for t in plan["tensors"]}
        counts: dict[str, int] = {}
        for layer in self.layers:
            t = found[layer + ".weight"]
            if t["decision"] != "quantize":
                sys.exit(f"{' '.join(flags)} leaves out {layer}: {t['reason']}")
            counts[t["format"]] = counts.get(t["format"], 0) + 1
        return counts

    def __call__(self, flags: list[str]) -> dict[str, torch.Tensor]:
        """The converted model, decoded to float32."""
        output, plain = self.folder / "out.safetensors", self.folder / "plain.safetensors"
        run(self.binary, "-i", self.model, "-o", output, "--comfy_quant", *flags, "--threads", self.threads, "-q", "--progress", "none",
            "--no-resume")
        run(self.binary, "dequantize", output, "-o", plain, "--dtype", "f32", "-q")
        return {name: tensor.float() for name, tensor in load_file(plain).items()}


def mean(ratios: list[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the trained model, recordings and outputs")
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    parser.add_argument("--formats", default=",".join(FORMATS), help="comma list")
    parser.add_argument("--pictures", type=int, default=12, help="recorded")
    parser.add_argument("--repeat", type=int, default=16, help="how often each is made in the second recording; 1: no second")
    parser.add_argument("--reuse", action="store_true", help="takes recordings that an earlier run left in FOLDER")
    parser.add_argument("--score-pictures", type=int, default=8)
    parser.add_argument("--train-steps", type=int, default=500)
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--margin", type=float, default=0.02, help="a layer counts as worse beyond this part")
    parser.add_argument("--alone", action="store_true", help="also the model's error with one layer quantized, of those listed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="all figures, layer by layer")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.folder.mkdir(parents=True, exist_ok=True)
    encoder, path = TextEncoder(), args.folder / f"model-{args.train_steps}.safetensors"
    if not path.exists():
        train(path, args.train_steps, encoder)
    if args.train_only:
        return
    model = Model().eval()
    model.load_state_dict({name: p.float() for name, p in load_file(path).items()})
    score = Score(model, encoder, CAPTIONS[args.pictures:args.pictures + args.score_pictures])
    convert = Converter(args.binary, args.folder, path, args.threads, score.layers)

    methods, distinct = {"plain": ["--simple"], "no data": []}, {}
    for repeat in dict.fromkeys((1, args.repeat)):
        name = "recorded" if repeat == 1 else f"recorded, {repeat} times"
        file = args.folder / f"inputs-{args.pictures}x{repeat}.safetensors"
        if not (args.reuse and file.exists()):
            record(model, encoder, file, args.pictures, repeat)
        methods[name], distinct[name] = ["--calibration-data", file], distinct_rows(file)

    results: dict[str, dict] = {}
    print(f"| velocity error | {' | '.join(methods)} |\n|{'---|' * (1 + len(methods))}")
    for kind in args.formats.split(","):
        result = results[kind] = {"formats": convert.formats(FORMATS[kind])}
        cells = []
        for method, flags in methods.items():
            tensors = convert([*FORMATS[kind], *flags])
            layers = {name: score.output_rel(name, tensors) for name in score.layers}
            own = result[method] = {"velocity_rel": score.velocity_rel(tensors), "output_rel": layers}
            plain = result["plain"]
            own["ratio"] = {name: rel / plain["output_rel"][name] for name, rel in layers.items()}
            if args.alone:
                own["alone"] = {name: score.velocity_rel({f"{name}.{part}": tensors[f"{name}.{part}"] for part in ("weight", "bias")}, 4)
                                for name in score.layers}
            change = f" ({100 * (own['velocity_rel'] / plain['velocity_rel'] - 1):+.1f} %)" if method != "plain" else ""
            cells.append(f"{own['velocity_rel']:.5f}{change}")
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)

    others = [method for method in methods if method != "plain"]
    print(f"\n| output error / plain's, geometric mean of {len(score.layers)} layers; worse by more than {100 * args.margin:g} % "
          f"| {' | '.join(others)} |\n|{'---|' * (1 + len(others))}")
    for kind, result in results.items():
        ratios = [list(result[method]["ratio"].values()) for method in others]
        cells = [f"{mean(r):.3f}; {sum(x > 1 + args.margin for x in r)}" for r in ratios]
        print(f"| {kind} | {' | '.join(cells)} |")
    few = {name for name, rows in distinct["recorded"].items() if rows < FEW}
    print(f"\n| the same, mean and worst of the {len(few)} layers with fewer than {FEW} distinct rows | {' | '.join(others)} |\n"
          f"|{'---|' * (1 + len(others))}")
    for kind, result in results.items():
        ratios = [[result[method]["ratio"][name] for name in sorted(few)] for method in others]
        print(f"| {kind} | {' | '.join(f'{mean(r):.3f}; {max(r, default=math.nan):.3f}' for r in ratios)} |")
    for (kind, result), method in itertools.product(results.items(), distinct):
        worse = {name: ratio for name, ratio in result[method]["ratio"].items() if ratio > 1 + args.margin}
        print(f"\n{kind}, {method}: {len(worse)} layers worse than plain")
        for name, ratio in sorted(worse.items(), key=lambda item: -item[1]):
            alone = f"  alone {result['plain']['alone'][name]:.5f} -> {result[method]['alone'][name]:.5f}" if args.alone else ""
            print(f"  {name:28s} {ratio:6.3f}  {distinct[method][name]:5d} distinct rows{alone}")
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items() if name not in ("json", "binary", "folder")}
        args.json.write_text(json.dumps({"settings": settings, "distinct_rows": distinct, "results": results}, indent=1))


if __name__ == "__main__":
    main()
