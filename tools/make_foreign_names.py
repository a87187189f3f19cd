#!/usr/bin/env python3
"""Writes tests/golden/foreign_names.json: how small models of every family are called by the diffusers library and by ComfyUI's modules.

    make_foreign_names.py MODEL.safetensors ... > tests/golden/foreign_names.json

The models have ComfyUI's names; only names and shapes are read. Each becomes a model whose values tell their places, the library's own
converter renames, splits and swaps it, and the values then tell what came from where.

A row of the result: [the library's tensor, ours, part, parts, first half last].
"""
import argparse
import json
import re
import struct
import sys

import torch
from diffusers.loaders import single_file_utils as library

CONVERTERS = {
    "Flux.1": library.convert_flux_transformer_checkpoint_to_diffusers,
    "Flux.2": library.convert_flux2_transformer_checkpoint_to_diffusers,
    "Chroma": library.convert_chroma_transformer_checkpoint_to_diffusers,
    "Stable Diffusion 3": library.convert_sd3_transformer_checkpoint_to_diffusers,
    "AuraFlow": library.convert_auraflow_transformer_checkpoint_to_diffusers,
    "Lumina 2": library.convert_lumina2_to_diffusers,
    "Z-Image": library.convert_z_image_transformer_checkpoint_to_diffusers,
    "HunyuanVideo": library.convert_hunyuan_video_transformer_to_diffusers,
    "Wan": library.convert_wan_transformer_to_diffusers,
    "LTX-Video": library.convert_ltx_transformer_checkpoint_to_diffusers,
    "Mochi": library.convert_mochi_transformer_checkpoint_to_diffusers,
    "Krea 2": library.convert_krea2_transformer_checkpoint_to_diffusers,
}


# Rows that the converters take for granted, whatever the model's width.
FIXED_ROWS = {
    "Flux.1": [(r"single_blocks\.\d+\.linear1\.", 7 * 3072)],
    "Chroma": [(r"single_blocks\.\d+\.linear1\.", 7 * 3072)],
    "HunyuanVideo": [(r"single_blocks\.\d+\.linear1\.", 7 * 3072)],
    "Lumina 2": [(r"\.qkv\.", 2304 + 2 * 768)],
}


PUBLISHED = [(r"\.(img|txt)_attn\.qkv\.", r".\1_attn_qkv."), (r"\.(img|txt)_attn\.proj\.", r".\1_attn_proj."), (r"\.self_attn\.(qkv|proj)\.", r".self_attn_\1."),
             (r"\.(img|txt)_attn\.norm\.query_norm\.", r".\1_attn_q_norm."), (r"\.(img|txt)_attn\.norm\.key_norm\.", r".\1_attn_k_norm."),
             (r"^(single_blocks\.\d+)\.norm\.query_norm\.", r"\1.q_norm."), (r"^(single_blocks\.\d+)\.norm\.key_norm\.", r"\1.k_norm."),
             (r"mlp\.0\.", "mlp.fc1."), (r"mlp\.2\.", "mlp.fc2."), (r"_mod\.lin\.", "_mod.linear."), (r"\.modulation\.lin\.", ".modulation.linear."),
             (r"^txt_in\.t_embedder\.in_layer", "txt_in.t_embedder.mlp.0"), (r"^txt_in\.t_embedder\.out_layer", "txt_in.t_embedder.mlp.2"),
             (r"^txt_in\.c_embedder\.in_layer", "txt_in.c_embedder.linear_1"), (r"^txt_in\.c_embedder\.out_layer", "txt_in.c_embedder.linear_2"),
             (r"^(time|guidance)_in\.in_layer", r"\1_in.mlp.0"), (r"^(time|guidance)_in\.out_layer", r"\1_in.mlp.2")]


def published(name):
    """The name that HunyuanVideo was published with, which its converter knows."""
    for pattern, text in PUBLISHED:
        name = re.sub(pattern, text, name)
    return name


def shapes(path):
    """Of a safetensors file, or of a JSON object {name: shape}."""
    if path.endswith(".json"):
        with open(path) as file:
            return json.load(file)
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return {name: info["shape"] for name, info in header.items() if name != "__metadata__"}


def numbered(layout):
    """Tensors of the layout's rows, each value naming its place: first the tensor's number, then the row."""
    names, tensors = sorted(layout), {}
    for index, name in enumerate(names):
        shape = layout[name]
        rows = torch.arange(shape[0], dtype=torch.int64) + (index << 32)
        tensors[name] = rows.reshape([-1] + [1] * (len(shape) - 1))
    return names, tensors


def rows_of(names, tensors, converted):
    found = {}
    for foreign, value in converted.items():
        flat = value.reshape(-1)
        name, rows = names[int(flat[0]) >> 32], flat & 0xFFFFFFFF
        whole = tensors[name].numel()
        half = whole // 2
        swapped = flat.numel() == whole and whole > 1 and int(rows[0]) == half and int(rows[-1]) == half - 1
        found.setdefault(name, []).append((int(rows[0]) if not swapped else 0, foreign, swapped))
    result = []
    for name, pieces in found.items():
        pieces.sort()
        result += [[foreign, name, part, len(pieces), swapped] for part, (_, foreign, swapped) in enumerate(pieces)]
    return sorted(result)


def ends(rows):
    """Without the blocks between the first and the last."""
    def block(row):
        found = re.search(r"(?:^|\.)((?:[a-z_]*blocks|layers)\.)(\d+)\.", row[0])
        return (row[0][:found.end(1)], int(found[2])) if found else ("", 0)
    last = {}
    for run, number in map(block, rows):
        last[run] = max(last.get(run, 0), number)
    return [row for row in rows if block(row)[1] in (0, last[block(row)[0]])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="TITLE=MODEL.safetensors")
    result = {}
    for word in parser.parse_args().models:
        title, path = word.split("=")
        layout = {name: shape or [1] for name, shape in shapes(path).items()}
        if title in ("Flux.1", "Flux.2", "Chroma"):  # the published name, which ComfyUI reads as well
            layout = {re.sub(r"((query|key)_norm|distilled_guidance_layer\.norms\.\d+)\.weight$", r"\1.scale", name): shape for name, shape in layout.items()}
        for pattern, rows in FIXED_ROWS.get(title, []):
            layout = {name: [rows] + shape[1:] if re.search(pattern, name) else shape for name, shape in layout.items()}
        names, tensors = numbered(layout)
        given = {published(name) if title == "HunyuanVideo" else name: value for name, value in tensors.items()}
        result[title] = ends(rows_of(names, tensors, CONVERTERS[title](given)))
    json.dump(result, sys.stdout, indent=None, separators=(",", ":"))


if __name__ == "__main__":
    main()
