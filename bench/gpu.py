"""Time per layer on a GPU and on the CPU: bench/gpu.py BINARY [--devices cuda,cpu] [--layers N] [--shapes 4096x4096,3072x12288] [--runs N]

Models of one and of several equal layers are converted; what a further layer costs is the difference, so that starting, and opening the device, do not
count, while reading and writing do. Medians of the runs, devices in turn. Needs no network and no package; the name of the GPU is printed where
nvidia-smi tells it.
"""
import argparse
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

SETTINGS = {
    "FP8 to nearest": "--format float8_e4m3fn --simple",
    "FP8": "--format float8_e4m3fn",
    "FP8, recorded rows": "--format float8_e4m3fn --calibration-data ROWS",
    "INT8 ConvRot, recorded rows": "--format int8_tensorwise --scaling_mode row --convrot --calibration-data ROWS",
    "NVFP4 to nearest": "--format nvfp4 --simple",
    "NVFP4": "--format nvfp4",
    "NVFP4, recorded rows": "--format nvfp4 --calibration-data ROWS",
}
SIGNS = bytes(0x3C if i < 128 else 0xBC for i in range(256))  # the upper half of a bfloat16 of magnitude 0.01 to 0.03


def save(path, shapes, seed):
    """BF16 matrices by name, written piece by piece."""
    header, end = {}, 0
    for name, (rows, columns) in shapes.items():
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [end, end + 2 * rows * columns]}
        end += 2 * rows * columns
    text = json.dumps(header).encode()
    draw = random.Random(seed)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for rows, columns in shapes.values():
            for _ in range(rows):
                raw = bytearray(draw.randbytes(2 * columns))
                raw[1::2] = bytes(raw[1::2]).translate(SIGNS)
                file.write(raw)


def seconds(binary, model, output, options, device):
    command = [binary, "-i", model, "-o", output, "--comfy_quant", "--client", "any", "--device", device, *options.split()]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    taken = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    output.unlink()
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--devices", default="cuda,cpu")
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--shapes", default="4096x4096,3072x12288")
    parser.add_argument("--recorded", type=int, default=4096, help="rows of inputs")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="settings whose names hold this")
    arguments = parser.parse_args()
    devices = arguments.devices.split(",")
    if shutil.which("nvidia-smi"):
        print(subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip())
    print(f"{os.cpu_count()} cores; milliseconds for one more layer, medians of {arguments.runs}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for shape in arguments.shapes.split(","):
            rows, columns = map(int, shape.split("x"))
            names = [f"blocks.{i}.attn.q" for i in range(arguments.layers)]
            models = {count: folder / f"{count}.safetensors" for count in (1, arguments.layers)}
            for count, path in models.items():
                save(path, {f"{name}.weight": (rows, columns) for name in names[:count]}, seed=1)
            recording = folder / "rows.safetensors"
            save(recording, {f"{name}.rows": (arguments.recorded, columns) for name in names}, seed=2)
            print(f"\n{shape}: " + ", ".join(devices))
            for setting, options in SETTINGS.items():
                if arguments.only not in setting:
                    continue
                options = options.replace("ROWS", str(recording))
                times = {device: [] for device in devices}
                for _ in range(arguments.runs):
                    for device in devices:
                        some = {count: seconds(arguments.binary, path, folder / "o.safetensors", options, device) for count, path in models.items()}
                        times[device].append((some[arguments.layers] - some[1]) / (arguments.layers - 1))
                print(f"  {setting:30}" + "".join(f"{1000 * statistics.median(times[device]):12.1f}" for device in devices), flush=True)


main()
