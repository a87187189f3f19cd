#!/usr/bin/env python3
"""A LoRA merged before quantizing, beside one that a client patches into the quantized model.

    bench/diffusion/lora.py FOLDER [--binary build/release/convert_to_quant] [--rank 16] [--size 0.1] [--pictures 12]

FOLDER holds what run.py left: its trained model, and with --pictures its recording. The LoRA is random, of --rank, in every linear
layer of the blocks; its product has --size times the norm of the weight. What a client does with a LoRA beside a quantized file is
done here with the program itself: the weight is decoded, the product added, and the sum rounded to nearest again in the format of
the file. Printed for each format: the error of the layers' output against the merged model in float32, the root mean square over
the layers with a LoRA, rounded to nearest and with recorded inputs; and how much the second way adds.
"""
import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model import CAPTIONS, Model, TextEncoder, seeded
from run import FORMATS, Converter, Score


def make_lora(weights: dict[str, torch.Tensor], rank: int, size: float) -> tuple[dict, dict]:
    """The tensors of a file, and the products that are added."""
    tensors, products = {}, {}
    for i, (name, weight) in enumerate(sorted(weights.items())):
        generator = seeded(4000 + i)
        down, up = torch.randn(rank, weight.shape[1], generator=generator), torch.randn(weight.shape[0], rank, generator=generator)
        up *= size * weight.norm() / (up @ down).norm()
        layer = name.removesuffix(".weight")
        tensors |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
        products[name] = up @ down
    return tensors, products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    parser.add_argument("--formats", default="FP8,INT8 row,INT8 ConvRot,NVFP4")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--size", type=float, default=0.1)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = sorted(args.folder.glob("model-*.safetensors"))[0]
    stored = load_file(path)
    plain = {name: tensor.float() for name, tensor in stored.items()}
    blocks = {name: w for name, w in plain.items() if name.startswith("blocks.") and name.endswith(".weight") and w.ndim == 2}
    tensors, products = make_lora(blocks, args.rank, args.size)
    lora, patched = args.folder / "lora.safetensors", args.folder / "patched.safetensors"
    save_file(tensors, lora)
    model = Model().eval()
    model.load_state_dict(plain | {name: plain[name] + product for name, product in products.items()})
    score = Score(model, TextEncoder(), CAPTIONS[args.pictures:args.pictures + 8])
    convert = Converter(args.binary, args.folder, path, args.threads, score.layers)
    again = Converter(args.binary, args.folder, patched, args.threads, score.layers)
    recorded = ["--calibration-data", args.folder / f"inputs-{args.pictures}x1.safetensors"]

    def error(converted: dict) -> float:
        squares = [score.output_rel(name.removesuffix(".weight"), converted) ** 2 for name in products]
        return math.sqrt(sum(squares) / len(squares))

    print("| | merged, then quantized | quantized, then patched | adds | the same with recorded inputs | | |\n|---|---|---|---|---|---|---|")
    for kind in args.formats.split(","):
        cells = []
        for method in (["--simple"], recorded):
            merged = error(convert([*FORMATS[kind], *method, "--merge-lora", lora]))
            decoded = convert([*FORMATS[kind], *method])
            save_file(decoded | {name: decoded[name] + product for name, product in products.items()}, patched)
            beside = error(again([*FORMATS[kind], "--simple"]))
            cells += [f"{merged:.5f}", f"{beside:.5f}", f"{100 * (beside / merged - 1):+.0f} %"]
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
