"""Runs the commands of README.md's first example on a small model: readme_examples.py README.md BINARY SCRATCH_FOLDER"""
import json
import pathlib
import re
import struct
import subprocess
import sys

readme, binary, scratch = map(pathlib.Path, sys.argv[1:])
scratch.mkdir(parents=True, exist_ok=True)
header = json.dumps({"blocks.0.to_q.weight": {"dtype": "BF16", "shape": [128, 128], "data_offsets": [0, 32768]}}).encode()
(scratch / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\x3c\x3d" * 16384)

rows = json.dumps({"blocks.0.to_q.rows": {"dtype": "BF16", "shape": [300, 128], "data_offsets": [0, 76800]}}).encode()
(scratch / "recorded.safetensors").write_bytes(struct.pack("<Q", len(rows)) + rows + bytes(i * 7 % 64 + (61 if i % 2 else 0) for i in range(76800)))

commands = []
for block in re.findall(r"```sh\n(.*?)```", readme.read_text("utf-8"), re.S):
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("convert_to_quant "):
            commands.append(line.split("#")[0].split())
assert commands, "README.md has no convert_to_quant command in a ```sh block"
for words in commands:
    run = subprocess.run([binary, *words[1:]], cwd=scratch, capture_output=True, text=True)
    print("$", *words, "\n" + run.stdout + run.stderr)
    assert run.returncode == 0, f"exit code {run.returncode}"
print(f"{len(commands)} commands of the README work")
