"""Kills conversions at random moments and starts them again: resume_after_kill.py BINARY SCRATCH_FOLDER [MOMENTS [SEED]]

A model of 12 layers with recorded inputs is rounded by GPTQ, biases are corrected and errors measured. Every moment is a run into an empty folder
that gets SIGKILL, for some twice, and is then started anew without a signal. Whatever the moment: no file has a final name before it is whole, the
end is the bytes and the quality report of a run that nobody disturbed, and nothing else is left (but for the report's own temporary file).
"""
import json
import random
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

binary, scratch = map(Path, sys.argv[1:3])
moments = int(sys.argv[3]) if len(sys.argv) > 3 else 6
seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
print("seed", seed)
draw = random.Random(seed)
WIDTH, LAYERS, ROWS = 512, 12, 600
SIGNS = bytes(0x3C if i < 128 else 0xBC for i in range(256))  # the upper half of a bfloat16 of magnitude 0.01 to 0.03


def bf16(count):
    raw = bytearray(draw.randbytes(2 * count))
    raw[1::2] = bytes(raw[1::2]).translate(SIGNS)
    return bytes(raw)


def alike(rows, columns):
    """Rows of which eight neighbouring columns go together, so that errors can cancel and GPTQ has a gain."""
    raw = bytearray(draw.randbytes(2 * rows * columns))
    signs = draw.randbytes(rows * columns // 8).translate(SIGNS)
    raw[1::2] = bytes(sign for sign in signs for _ in range(8))
    return bytes(raw)


def save(path, shapes):
    header, data = {}, b""
    for name, shape in shapes.items():
        raw = alike(*shape) if name.endswith(".rows") else bf16(shape[0] * (shape[1] if len(shape) > 1 else 1))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def command(folder, *more):
    return [binary, "-i", scratch / "m.safetensors", "-o", folder / "o.safetensors", "--quality-json", folder / "q.json", "--calibration-data",
            scratch / "rows.safetensors", "--fp8", "--comfy_quant", "--optimizer", "gptq", "--bias-correction", "on", "--threads", "1", *more]


def finish(folder, *more):
    done = subprocess.run(command(folder, *more), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def result(folder):
    """All files, hidden ones too; of the quality report what does not tell the time."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".q.json.")}
    report = json.loads(files.pop("q.json"), object_hook=lambda row: {key: row[key] for key in row if key != "seconds"})
    return files, report["layers"]


def kill(folder, after, *more):
    run = subprocess.Popen(command(folder, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    run.kill()
    run.wait()


scratch.mkdir(parents=True, exist_ok=True)
save(scratch / "m.safetensors", {f"blk.{i}.{name}": shape for i in range(LAYERS)
                                 for name, shape in (("w.weight", [WIDTH, WIDTH]), ("w.bias", [WIDTH]), ("norm.weight", [WIDTH]))})
save(scratch / "rows.safetensors", {f"blk.{i}.w.rows": [ROWS, WIDTH] for i in range(LAYERS)})

resumed = 0
for more in [], ["--max-shard-size", "1MB"]:
    folder = scratch / "undisturbed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start = time.monotonic()
    finish(folder, *more)
    seconds = time.monotonic() - start
    expected = result(folder)
    assert len(expected[1]) == LAYERS and not any(row["optimizer"]["guarded"] for row in expected[1]), expected[1]
    for moment in range(moments // 2):
        folder = scratch / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for _ in range(draw.choice([1, 1, 2])):
            kill(folder, draw.uniform(0, 1.1 * seconds), *more)
            for path in folder.iterdir():
                assert path.name.startswith(".") or path.name == "q.json" or path.read_bytes() == expected[0][path.name], path
        said = finish(folder, *more)
        resumed += "resuming: " in said
        assert result(folder) == expected, (seed, moment, sorted(path.name for path in folder.iterdir()))
print(f"{moments // 2 * 2} moments, {resumed} times resumed")
assert resumed > 0 or moments < 6, "no run went on from where another was killed"
