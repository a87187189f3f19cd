"""Runs the commands of a page's ```sh blocks on small models: readme_examples.py PAGE.md BINARY SCRATCH_FOLDER

A file that the page names and that MODELS has is made with its family's tensor names. A pattern or preset of the page that fits none of them is an error."""
import json
import pathlib
import re
import shlex
import struct
import subprocess
import sys

readme, binary, scratch = map(pathlib.Path, sys.argv[1:])
scratch.mkdir(parents=True, exist_ok=True)
MODELS = {
    "model": ["blocks.0.to_q"],
    "flux1-dev": ["double_blocks.0.img_attn.qkv", "single_blocks.0.linear1", "vector_in.in_layer", "time_in.in_layer", "img_in", "final_layer.linear"],
    "wan2.2": ["blocks.0.cross_attn.q", "head.head", "time_projection.1", "text_embedding.0"],
    "qwen-image": ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.img_mod.1", "txt_in", "proj_out"],
    "chroma": ["distilled_guidance_layer.layers.0.in_layer", "double_blocks.0.img_attn.qkv", "single_blocks.0.linear1", "img_in", "txt_in", "final_layer.linear"],
    "t5xxl": ["encoder.block.0.layer.0.SelfAttention.k", "encoder.block.0.layer.1.DenseReluDense.wi_1", "shared", "decoder.block.0.layer.0.SelfAttention.k"],
    "clip_l": ["text_model.encoder.layers.0.self_attn.q_proj", "text_model.encoder.layers.0.mlp.fc1", "text_model.embeddings.token_embedding", "text_model.embeddings.position_embedding", "text_projection"],
}


def make_model(path, layers):
    tensors = {f"{layer}.weight": {"dtype": "BF16", "shape": [128, 128], "data_offsets": [i * 32768, (i + 1) * 32768]} for i, layer in enumerate(layers)}
    header = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x3c\x3d" * 16384 * len(layers))


for stem, layers in MODELS.items():
    make_model(scratch / f"{stem}.safetensors", layers)

rows = json.dumps({"blocks.0.to_q.rows": {"dtype": "BF16", "shape": [300, 128], "data_offsets": [0, 76800]}}).encode()
(scratch / "recorded.safetensors").write_bytes(struct.pack("<Q", len(rows)) + rows + bytes(i * 7 % 64 + (61 if i % 2 else 0) for i in range(76800)))

commands = []
for block in re.findall(r"```sh\n(.*?)```", readme.read_text("utf-8"), re.S):
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("convert_to_quant "):
            commands.append(shlex.split(line, comments=True))
assert commands, f"{readme} has no convert_to_quant command in a ```sh block"
for words in commands:
    run = subprocess.run([binary, *words[1:]], cwd=scratch, capture_output=True, text=True)
    print("$", *words, "\n" + run.stdout + run.stderr)
    assert run.returncode == 0, f"exit code {run.returncode}"
    if "model.safetensors" not in words:
        assert not re.search("matches no candidate|protects nothing", run.stdout + run.stderr), "a preset or pattern fits no tensor"
print(f"{len(commands)} commands of {readme} work")
