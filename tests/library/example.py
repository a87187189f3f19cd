"""The library as another program has it: example.py SOURCE_DIR BUILD_DIR BINARY SCRATCH_FOLDER [CXX_FLAGS]

Installs it, builds examples/ against what was installed, and compares what the example writes with what the program writes."""
import json
import pathlib
import shutil
import struct
import subprocess
import sys

source, build, binary, scratch = map(pathlib.Path, sys.argv[1:5])
flags = " ".join(sys.argv[5:])
shutil.rmtree(scratch, ignore_errors=True)
scratch.mkdir(parents=True)


def run(*words, code=0):
    print("$", *words, flush=True)
    done = subprocess.run([str(word) for word in words], cwd=scratch, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout, flush=True)
    assert done.returncode == code, f"exit code {done.returncode}, not {code}"
    return done.stdout


prefix = scratch / "prefix"
run("cmake", "--install", build, "--prefix", prefix, "--component", "library")
headers = sorted(path.relative_to(prefix / "include").as_posix() for path in (prefix / "include").rglob("*.h"))
assert 0 < len(headers) <= 15, headers
assert headers == sorted(path.relative_to(source / "include").as_posix() for path in (source / "include").rglob("*.h")), headers

run("cmake", "-S", source / "examples", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_FLAGS={flags}")
run("cmake", "--build", "build")

values = [((i * 2654435761) >> 7) % 2001 / 1000 - 1 for i in range(128 * 128)]
tensors = {"blocks.0.to_q.weight": [128, 128], "blocks.0.to_q.bias": [128]}
header, data = {}, b""
for name, shape in tensors.items():
    size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + size]}
    data += struct.pack(f"<{size // 4}f", *values[: size // 4])
text = json.dumps(header).encode()
(scratch / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)

example = scratch / "build" / "convert"
said = run(example, "model.safetensors", "by_library.safetensors")
assert "blocks.0.to_q.weight: quantize float8_e4m3fn" in said, "no event of the layer"
assert "bytes in" in said and " dB" in said
run(binary, "-i", "model.safetensors", "-o", "by_program.safetensors", "--fp8", "--comfy_quant", "--report-quality")
assert (scratch / "by_library.safetensors").read_bytes() == (scratch / "by_program.safetensors").read_bytes(), "other bytes than the program's"
assert "argument input.path" not in run(example, "absent.safetensors", "out.safetensors", code=4)
assert "choose another name" in run(example, "model.safetensors", "model.safetensors", code=2)
print("the library works")
