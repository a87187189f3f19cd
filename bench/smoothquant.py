#!/usr/bin/env python3
"""SmoothQuant on real weights: the model's deviation when the inputs are INT8 too.

    bench/smoothquant.py BINARY SHARED

MiniLM has a norm after each sum, which the residual reads as well, so nothing can be folded into it. Here each of these
norms is written twice, under the names of CLIP's text encoder: once for the residual, and once, as `layer_norm1` and
`layer_norm2`, for the linear layers alone. That is the same network, and one whose norms can be smoothed. A smoothed file
replaces the linear layers and their norms; the residual keeps the original ones.

Printed per alpha: `float`, the largest change of the sentence embeddings by smoothing a float32 file without quantizing
it; `model_dev` of INT8 row with dynamic INT8 inputs, for round to nearest
and with calibration data. SHARED holds verify/minilm_eval.py, whose texts, tokenizer and definitions are used.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

BINARY, SHARED = sys.argv[1], Path(sys.argv[2])
sys.path.insert(0, str(SHARED / "verify"))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import check_output as co  # noqa: E402
import minilm_eval as me  # noqa: E402

LINEAR_NAMES = {"attention.self.query": "self_attn.q_proj", "attention.self.key": "self_attn.k_proj",
                "attention.self.value": "self_attn.v_proj", "attention.output.dense": "self_attn.out_proj",
                "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2"}
PREFIX = "text_model.encoder.layers."


def clip_name(name: str) -> str:
    _, _, block, rest = name.split(".", 3)
    return f"{PREFIX}{block}.{LINEAR_NAMES[rest]}"


def norm_before(name: str) -> tuple[str, str] | None:
    """MiniLM's norm in front of a linear layer, and what it is called in the file."""
    _, _, block, rest = name.split(".", 3)
    if rest.startswith("attention.self."):
        source = "embeddings.LayerNorm" if block == "0" else f"encoder.layer.{int(block) - 1}.output.LayerNorm"
        return source, f"{PREFIX}{block}.layer_norm1"
    if rest == "intermediate.dense":
        return f"encoder.layer.{block}.attention.output.LayerNorm", f"{PREFIX}{block}.layer_norm2"
    return None


class Bench:
    def __init__(self, folder: Path):
        self.folder, self.mini = folder, me.MiniLM()
        self.texts = me.texts(160, held_out=True)
        self.weights = {k: v.to(torch.bfloat16).float() for k, v in self.mini.weights.items() if v.is_floating_point()}
        self.reference = self.embed({}, None)
        rows = {}
        for name, x in self.mini.inputs(me.texts(192, held_out=False)).items():
            pick = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:4096]
            rows[clip_name(name) + ".rows"] = x[pick].to(torch.bfloat16).contiguous()
            rows[clip_name(name) + ".channel_max"] = x.abs().amax(0)
        save_file(rows, folder / "cal.safetensors", metadata={"format": "ctq-calibration", "version": "1"})
        for dtype, file in ((torch.bfloat16, "bf16"), (torch.float32, "f32")):
            tensors = {}
            for name in me.NAMES:
                for part in ("weight", "bias"):
                    tensors[f"{clip_name(name)}.{part}"] = self.weights[f"{name}.{part}"].to(dtype)
                    if found := norm_before(name):
                        tensors[f"{found[1]}.{part}"] = self.weights[f"{found[0]}.{part}"].to(dtype)
            self.plain = tensors
            save_file({k: v.clone() for k, v in tensors.items()}, folder / f"{file}.safetensors", metadata={"format": "pt"})

    def embed(self, files: dict, quantize) -> torch.Tensor:
        """files: the tensors of a converted file, decoded. Linear layers read the file's norms."""
        def factor(name):  # input of the file's layer / input of MiniLM's, channel by channel
            if not (found := norm_before(name)) or not files:
                return 1, 0
            w, b = self.weights[found[0] + ".weight"], self.weights[found[0] + ".bias"]
            gain = files[found[1] + ".weight"] / w
            return gain, files[found[1] + ".bias"] - b * gain

        factors = {n: factor(n) for n in me.NAMES}

        def act(name, x):
            gain, shift = factors[name]
            x = x * gain + shift
            return quantize(name, x) if quantize else x

        override = {f"{n}.{p}": files[f"{clip_name(n)}.{p}"] for n in me.NAMES for p in ("weight", "bias")} if files else {}
        return torch.cat([self.mini.embed(self.texts[i:i + 16], override, act=act)
                          for i in range(0, len(self.texts), 16)])

    def convert(self, source: str, *options: str) -> dict:
        output = self.folder / "out.safetensors"
        command = [BINARY, "-i", str(self.folder / f"{source}.safetensors"), "-o", str(output), "--comfy_quant", "--int8",
                   "--scaling_mode", "row", "--client", "any", *options]  # ComfyUI reads no scales under CLIP's names
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        reader = co.Decoder(co.Checkpoint(str(output)), "any", torch.float32)
        shapes = {clip_name(n): tuple(self.weights[n + ".weight"].shape) for n in me.NAMES}
        files = {k: reader.ck.get(k).float() for k in reader.ck.entries if k.endswith((".weight", ".bias"))}
        for layer, shape in shapes.items():
            if (found := reader.layers.get(layer)) is not None and found.origin != "raw":
                files[layer + ".weight"] = reader.decode(found, shape).float()
        return files

    def deviation(self, files: dict) -> float:
        return (1 - (self.embed(files, me.input_quantizer("int8", {})) * self.reference).sum(-1)).mean().item()


def main():
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        data = ("--calibration-data", f"{folder}/cal.safetensors")
        print(f"{'':12s} {'float':>9s} {'rtn':>10s} {'gptq':>10s}")
        print(f"{'no smoothing':12s} {'':>9s} {bench.deviation(bench.convert('bf16', '--simple')):10.3e} "
              f"{bench.deviation(bench.convert('bf16', *data)):10.3e}")
        for alpha in ("0.5", "0.6", "0.7", "0.8"):
            smooth = ("--smoothquant", "--smoothquant-alpha", alpha)
            # A layer must be quantized for its input to be smoothed: of these the float weights are put back.
            kept = bench.convert("f32", *smooth, *data, "--simple", "--bias-correction", "off",
                                 "--exclude-layers", "k_proj|v_proj|fc2")
            for name in me.NAMES:
                layer, weight = clip_name(name), bench.weights[name + ".weight"]
                if layer.endswith(("q_proj", "fc1")):
                    source, norm = norm_before(name)
                    kept[layer + ".weight"] = weight / (kept[norm + ".weight"] / bench.weights[source + ".weight"])
                elif layer.endswith("out_proj"):
                    value = name.replace("output.dense", "self.value") + ".bias"
                    kept[layer + ".weight"] = weight * (bench.weights[value] / kept[layer.replace("out_proj", "v_proj.bias")])
            change = (bench.embed(kept, None) - bench.embed(bench.plain, None)).abs().max().item()
            figures = [bench.deviation(bench.convert("bf16", *smooth, *more))
                       for more in ((*data, "--simple", "--bias-correction", "off"), data)]
            print(f"alpha {alpha:6s} {change:9.1e} {figures[0]:10.3e} {figures[1]:10.3e}")


main()
