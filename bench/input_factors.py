#!/usr/bin/env python3
"""SmoothQuant for NVFP4 on real weights: what factors of a layer's input (`pre_quant_scale`) are worth.

    bench/input_factors.py BINARY SHARED [ALPHA ...]

MiniLM has nothing that a factor could be folded into but the values before its attention outputs: the other layers can only
be smoothed by what their loader multiplies the input by. Printed per alpha: how many layers got factors; the mean
`output_rel` over all layers, and `model_dev`, with inputs quantized to NVFP4 as a GPU with FP4 products does, then with inputs
as they are. For round to nearest and with calibration data. Before that the same errors of one random layer [256, 256], round
to nearest, of whose input 8 channels are as many times larger than the rest as each line says. SHARED holds verify/minilm_eval.py, whose texts, tokenizer and
definitions are used.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

BINARY, SHARED = sys.argv[1], Path(sys.argv[2])
sys.path.insert(0, str(SHARED / "verify"))

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import minilm_eval as me  # noqa: E402

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
ALPHAS = sys.argv[3:] or ["0.25", "0.5", "0.75"]


def nvfp4(x: torch.Tensor) -> torch.Tensor:
    """Round to nearest in NVFP4 with its scales measured, [rows, columns]."""
    whole = x.abs().max() / (6 * 448)
    runs = x.reshape(-1, 16)
    scale = (runs.abs().amax(-1, keepdim=True) / 6 / whole).to(torch.float8_e4m3fn).float() * whole
    code = E2M1[torch.bucketize(runs.abs() / scale.clamp_min(1e-30), (E2M1[1:] + E2M1[:-1]) / 2)]
    return (code * runs.sign() * scale).reshape(x.shape)


def convert(folder: Path, *options: str) -> tuple[dict, dict]:
    """Weights and biases as the file's codes say, and factors of inputs."""
    output, plain = folder / "out.safetensors", folder / "plain.safetensors"
    for command in ((BINARY, "-i", folder / "model.safetensors", "-o", output, "--nvfp4", "--comfy_quant", "--client", "any",
                     "--calibration-data", folder / "cal.safetensors", *options),
                    (BINARY, "dequantize", output, "-o", plain, "--dtype", "f32")):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}\n{done.stderr}")
    file, end = load_file(output), ".pre_quant_scale"
    factors = {name.removesuffix(end): p.float() for name, p in file.items() if name.endswith(end)}
    weights = {name: w.float() for name, w in load_file(plain).items()}
    return {name: w / factors.get(name.removesuffix(".weight"), 1) for name, w in weights.items()}, factors


def one_layer(folder: Path, times: float) -> str:
    generator = torch.Generator().manual_seed(0)
    w, x = torch.randn(256, 256, generator=generator) * 0.02, torch.randn(1200, 256, generator=generator)
    x[:, torch.randperm(256, generator=generator)[:8]] *= times
    save_file({"blocks.0.a.weight": w}, folder / "model.safetensors")
    save_file({"blocks.0.a.rows": x[:600].to(torch.bfloat16)}, folder / "cal.safetensors")
    x, cells = x[600:], []
    for options in ((), ("--smoothquant",)):
        weights, factors = convert(folder, "--simple", *options)
        p, y = factors.get("blocks.0.a", 1), x @ w.T
        cells += [f"{((act @ weights['blocks.0.a.weight'].T - y).norm() / y.norm()).item():.4f}"
                  for act in (nvfp4(x * p), x * p)]
    return f"{times:4.0f} times  no smoothing: FP4 inputs {cells[0]} plain {cells[1]}  smoothed: {cells[2]} {cells[3]}"


class Bench:
    def __init__(self, folder: Path):
        self.folder, self.mini = folder, me.MiniLM()
        self.texts = me.texts(160, held_out=True)
        self.mini.weights |= {n + ".weight": self.mini.weights[n + ".weight"].to(torch.bfloat16).float() for n in me.NAMES}
        self.reference = self.embed({}, None)
        self.x = {n: x[::8] for n, x in self.mini.inputs(self.texts).items()}
        rows = {}
        for name, x in self.mini.inputs(me.texts(192, held_out=False)).items():
            pick = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:4096]
            rows[name + ".rows"] = x[pick].to(torch.bfloat16).contiguous()
        save_file(rows, folder / "cal.safetensors", metadata={"format": "ctq-calibration", "version": "1"})
        save_file({f"{n}.{p}": self.mini.weights[f"{n}.{p}"].to(torch.bfloat16) for n in me.NAMES for p in ("weight", "bias")},
                  folder / "model.safetensors", metadata={"format": "pt"})

    def embed(self, override: dict, act) -> torch.Tensor:
        return torch.cat([self.mini.embed(self.texts[i:i + 16], override, act=act) for i in range(0, len(self.texts), 16)])

    def figures(self, weights: dict, factors: dict, quantize: bool) -> tuple[float, float]:
        def act(name, x):
            x = x * factors.get(name, 1)
            return nvfp4(x.reshape(-1, x.shape[-1])).reshape(x.shape) if quantize else x

        errors = []
        for n in me.NAMES:
            if n.endswith(("attention.self.value", "attention.output.dense")):
                continue  # smoothing changes what lies between them
            y = self.x[n] @ self.mini.weights[n + ".weight"].T
            shift = weights[n + ".bias"] - self.mini.weights[n + ".bias"].to(torch.bfloat16).float()
            errors.append(((act(n, self.x[n]) @ weights[n + ".weight"].T + shift - y).norm() / (y - y.mean(0)).norm()).item())
        return sum(errors) / len(errors), (1 - (self.embed(weights, act) * self.reference).sum(-1)).mean().item()


def main():
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 10, 40, 100):
            print(one_layer(Path(folder), times), flush=True)
        bench = Bench(Path(folder))
        for rounding, options in (("round to nearest", ("--simple", "--bias-correction", "off")), ("recorded inputs", ())):
            for alpha in (None, *ALPHAS):
                smooth = ("--smoothquant", "--smoothquant-alpha", alpha) if alpha else ()
                weights, factors = convert(Path(folder), *options, *smooth)
                cells = [f"{rel:.5f} {dev:.3e}" for rel, dev in (bench.figures(weights, factors, q) for q in (True, False))]
                print(f"{rounding:18s} {'alpha ' + alpha if alpha else 'no smoothing':13s} {len(factors):3d} layers  "
                      f"FP4 inputs {cells[0]}  plain inputs {cells[1]}", flush=True)


if __name__ == "__main__":
    main()
