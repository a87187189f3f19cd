"""Compares `verify` with the reference checker on sound files and on damaged ones: verify_agreement.py BINARY SHARED_FOLDER SCRATCH_FOLDER

Every damage names what it breaks. Most show in headers and markers, where `verify --no-values` must see them too; some in values; and some only
beside the original. Prints "[skipped] ..." and ends well where the checker or its packages (torch, comfy-kitchen) are missing.
"""
import contextlib
import importlib.util
import io
import json
import math
import struct
import subprocess
import sys
from pathlib import Path

binary, shared, scratch = map(Path, sys.argv[1:])
checker = shared / "verify/check_output.py"
missing = [str(checker)] if not checker.exists() else []
missing += [p for p in ("torch", "comfy_kitchen", "safetensors") if importlib.util.find_spec(p) is None]
if missing:
    print("[skipped] not here:", ", ".join(missing))
    sys.exit(0)

sys.path.insert(0, str(checker.parent))
import check_output  # noqa: E402
import comfy_kitchen as kitchen  # noqa: E402
import comfy_kitchen.tensor as layouts  # noqa: E402
import torch  # noqa: E402

scratch.mkdir(parents=True, exist_ok=True)
E4M3, E5M2, U8 = torch.float8_e4m3fn, torch.float8_e5m2, torch.uint8
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int8: "I8", torch.int32: "I32", U8: "U8", E4M3: "F8_E4M3",
         E5M2: "F8_E5M2", torch.float64: "F64", torch.int64: "I64", torch.float8_e8m0fnu: "F8_E8M0"}
N, K = 64, 256
generator = torch.Generator().manual_seed(11)
weight = (torch.randn(N, K, generator=generator) * 0.02).bfloat16()
wide = weight.float()
rest = {"blk.to_q.bias": torch.zeros(N).bfloat16(), "norm.weight": torch.ones(N).bfloat16()}


def save(path, tensors, metadata=None):
    """As it is: also what no library would write."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, tensor in tensors.items():
        raw = tensor.contiguous().reshape(-1).view(U8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def text(words):
    return torch.tensor(list(words.encode()), dtype=U8)


def layer(conf, **sides):
    """A file with one quantized layer."""
    marker = {} if conf is None else {"blk.to_q.comfy_quant": text(json.dumps(conf))}
    return {**rest, **{f"blk.to_q.{role}": value for role, value in sides.items()}, **marker}


def base_files():
    scale = wide.abs().amax() / 448
    codes = (wide / scale).clamp(-448, 448).to(E4M3)
    row = wide.abs().amax(1, keepdim=True) / 127
    rows = (wide / row).round().to(torch.int8)
    blocks = wide.reshape(2, 32, 4, 64).abs().amax((1, 3)) / 127
    tiled = (wide / blocks.repeat_interleave(32, 0).repeat_interleave(64, 1)).round().to(torch.int8)
    turned, turned_by = layouts.TensorWiseINT8Layout.quantize(wide, per_channel=True, convrot=True, convrot_groupsize=64)
    fp4, fp4_by = layouts.TensorCoreNVFP4Layout.quantize(wide)
    mx, mx_by = layouts.TensorCoreMXFP8Layout.quantize(wide)
    w4, w4_scale = kitchen.quantize_convrot_w4a4_weight(wide, convrot_groupsize=256)
    a4, a4_rel, a4_row, _, a4_book = kitchen.quantize_w4a8_int8_weight(wide)
    group = wide.reshape(N, K // 64, 64)
    low, high = group.amin(2), group.amax(2)
    step = ((high - low) / 15).bfloat16()
    zero = (low.bfloat16().float() + 8 * step.float()).bfloat16()
    c = (((group - zero.float()[..., None]) / step.float()[..., None]).round() + 8).clamp(0, 15).reshape(N, K).to(torch.int16)
    awq = (c[:, 0::2] | c[:, 1::2] << 4).to(U8).view(torch.int8)
    return {
        "fp8": layer({"format": "float8_e4m3fn"}, weight=codes, weight_scale=scale),
        "e5m2": layer({"format": "float8_e5m2"}, weight=(wide / (wide.abs().amax() / 57344)).to(E5M2), weight_scale=wide.abs().amax() / 57344),
        "legacy": {**layer(None, weight=codes, scale_weight=scale.reshape(1)), "scaled_fp8": torch.zeros(2).to(E4M3)},
        "raw": layer(None, weight=wide.to(E4M3)),
        "int8": layer({"format": "int8_tensorwise"}, weight=rows, weight_scale=row),
        "convrot": layer({"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64}, weight=turned, weight_scale=turned_by.scale),
        "blockwise": layer({"format": "int8_blockwise", "group_size": 64}, weight=tiled, weight_scale=blocks),
        "axiswise": layer({"format": "int8_axiswise"}, weight=rows, weight_scale=row.reshape(N)),
        "nvfp4": layer({"format": "nvfp4", "orig_shape": [N, K]}, weight=fp4, weight_scale=fp4_by.block_scale, weight_scale_2=fp4_by.scale),
        "mxfp8": layer({"format": "mxfp8", "orig_shape": [N, K]}, weight=mx, weight_scale=mx_by.scale.view(U8)),
        "w4a4": layer({"format": "convrot_w4a4", "convrot_groupsize": 256}, weight=w4, weight_scale=w4_scale),
        "asym": layer({"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 256}, weight=a4, weight_s_rel=a4_rel.view(U8),
                      weight_s_channel=a4_row, **({} if a4_book is None else {"weight_codebook": a4_book})),
        "awq": layer({"format": "awq_w4a16", "group_size": 64}, weight=awq, weight_scale=step.t().contiguous(), weight_zeros=zero.t().contiguous()),
    }


X = "blk.to_q."
FILES = base_files()
original = scratch / "original.safetensors"
save(original, {**rest, X + "weight": weight})


def without(name, role):
    return {k: v for k, v in FILES[name].items() if k != X + role}


def put(name, role, change):
    """The file with one tensor changed or added."""
    tensors = dict(FILES[name])
    tensors[X + role] = change(tensors.get(X + role)) if callable(change) else change
    return tensors


def mark(name, **keys):
    """The file with keys of its marker set, or removed where None."""
    conf = json.loads(bytes(FILES[name][X + "comfy_quant"].tolist()))
    conf = {k: v for k, v in {**conf, **keys}.items() if v is not None}
    return put(name, "comfy_quant", text(json.dumps(conf)))


def first(tensor, value):
    changed = tensor.clone().reshape(-1)
    changed[0] = value
    return changed.reshape(tensor.shape)


def raw_byte(tensor, value):
    changed = tensor.clone().contiguous().view(U8)
    changed.reshape(-1)[7] = value
    return changed.view(tensor.dtype)


def header(*layers, **markers):
    return {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": markers or {layers[0]: layers[1]}})}


FP8_MAP = header("blk.to_q", {"format": "float8_e4m3fn"})
NAN, INF = math.nan, math.inf
HEADERS, VALUES, ORIGINAL = "headers", "values", "original"  # where a damage shows
# name, what the damage shows in, tensors, metadata
DAMAGES = [
    # markers
    ("fp8: marker is not JSON", HEADERS, put("fp8", "comfy_quant", text('{"format": "float8_e4m3fn"')), None),
    ("fp8: marker ends in a NUL", HEADERS, put("fp8", "comfy_quant", text('{"format": "float8_e4m3fn"}\0')), None),
    ("fp8: marker is a list", HEADERS, put("fp8", "comfy_quant", text('["float8_e4m3fn"]')), None),
    ("fp8: marker is I8", HEADERS, put("fp8", "comfy_quant", lambda t: t.view(torch.int8)), None),
    ("fp8: marker has two dimensions", HEADERS, put("fp8", "comfy_quant", lambda t: t.reshape(1, -1)), None),
    ("fp8: marker is no UTF-8", HEADERS, put("fp8", "comfy_quant", lambda t: first(t, 0xFF)), None),
    ("fp8: marker without format", HEADERS, mark("fp8", format=None, convrot=False), None),
    ("fp8: format is a number", HEADERS, mark("fp8", format=8), None),
    ("fp8: format of no program", HEADERS, mark("fp8", format="float8_e4m3"), None),
    ("fp8: no marker", HEADERS, without("fp8", "comfy_quant"), None),
    ("fp8: header map is not JSON", HEADERS, FILES["fp8"], {"_quantization_metadata": "{"}),
    ("fp8: header map without layers", HEADERS, FILES["fp8"], {"_quantization_metadata": "{}"}),
    ("fp8: header map names another format", HEADERS, FILES["fp8"], header("blk.to_q", {"format": "nvfp4"})),
    ("fp8: header map of a layer that is not there", HEADERS, FILES["fp8"], header("blk.to_k", {"format": "float8_e4m3fn"})),
    ("legacy: header map beside scaled_fp8", HEADERS, FILES["legacy"], FP8_MAP),
    # missing and misnamed tensors
    ("fp8: no weight", HEADERS, without("fp8", "weight"), None),
    ("fp8: no scale", HEADERS, without("fp8", "weight_scale"), None),
    ("int8: no scale", HEADERS, without("int8", "weight_scale"), None),
    ("nvfp4: no block scales", HEADERS, without("nvfp4", "weight_scale"), None),
    ("nvfp4: no tensor scale", HEADERS, without("nvfp4", "weight_scale_2"), None),
    ("mxfp8: no scales", HEADERS, without("mxfp8", "weight_scale"), None),
    ("w4a4: no scale", HEADERS, without("w4a4", "weight_scale"), None),
    ("asym: no group scales", HEADERS, without("asym", "weight_s_rel"), None),
    ("asym: no row scales", HEADERS, without("asym", "weight_s_channel"), None),
    ("awq: no zeros", HEADERS, without("awq", "weight_zeros"), None),
    ("awq: zeros under the name of comfy-quants", HEADERS, {**without("awq", "weight_zeros"), X + "weight_zero": FILES["awq"][X + "weight_zeros"]}, None),
    ("fp8: a scale of no layer", HEADERS, {**FILES["fp8"], "norm.weight_scale": torch.tensor(1.0)}, None),
    # types
    ("fp8: codes in U8", HEADERS, put("fp8", "weight", lambda t: t.view(U8)), None),
    ("fp8: weight is BF16", HEADERS, put("fp8", "weight", weight), None),
    ("fp8: E5M2 codes", HEADERS, put("fp8", "weight", lambda t: t.float().to(E5M2)), None),
    ("fp8: scale is I32", HEADERS, put("fp8", "weight_scale", torch.tensor(1, dtype=torch.int32)), None),
    ("int8: codes in U8", HEADERS, put("int8", "weight", lambda t: t.view(U8)), None),
    ("mxfp8: scales in E8M0", HEADERS, put("mxfp8", "weight_scale", lambda t: t.view(torch.float8_e8m0fnu)), None),
    ("mxfp8: scales in F32", HEADERS, put("mxfp8", "weight_scale", lambda t: t.float()), None),
    ("nvfp4: codes in I8", HEADERS, put("nvfp4", "weight", lambda t: t.view(torch.int8)), None),
    ("nvfp4: block scales in F32", HEADERS, put("nvfp4", "weight_scale", lambda t: t.float()), None),
    ("w4a4: codes in U8", HEADERS, put("w4a4", "weight", lambda t: t.view(U8)), None),
    ("awq: scales in I8", HEADERS, put("awq", "weight_scale", lambda t: t.to(torch.int8)), None),
    ("legacy: E5M2 codes", HEADERS, put("legacy", "weight", lambda t: t.float().to(E5M2)), None),
    ("legacy: a kept weight with a scale", HEADERS, put("legacy", "weight", weight), None),
    ("legacy: scale is U8", HEADERS, put("legacy", "scale_weight", lambda t: torch.ones(1, dtype=U8)), None),
    # shapes
    ("fp8: a scale per row", HEADERS, put("fp8", "weight_scale", lambda t: t.expand(N)), None),
    ("fp8: a scale with two dimensions", HEADERS, put("fp8", "weight_scale", lambda t: t.reshape(1, 1)), None),
    ("fp8: an empty scale", HEADERS, put("fp8", "weight_scale", torch.zeros(0)), None),
    ("fp8: two input scales", HEADERS, put("fp8", "input_scale", torch.ones(2)), None),
    ("int8: row scales without their second dimension", HEADERS, put("int8", "weight_scale", lambda t: t.reshape(N)), None),
    ("int8: a scale per column", HEADERS, put("int8", "weight_scale", lambda t: torch.ones(1, K)), None),
    ("int8: one row too few", HEADERS, put("int8", "weight_scale", lambda t: t[:-1]), None),
    ("nvfp4: block scales not padded", HEADERS, put("nvfp4", "weight_scale", lambda t: t[:N]), None),
    ("nvfp4: a pre_quant_scale per row", HEADERS, put("nvfp4", "pre_quant_scale", torch.ones(N)), None),
    ("mxfp8: scales not padded", HEADERS, put("mxfp8", "weight_scale", lambda t: t[:N]), None),
    ("asym: codebook of eight", HEADERS, put("asym", "weight_codebook", torch.linspace(-1, 1, 8)), None),
    ("asym: group scales transposed", HEADERS, put("asym", "weight_s_rel", lambda t: t.t()), None),
    ("awq: scales transposed", HEADERS, put("awq", "weight_scale", lambda t: t.t()), None),
    ("legacy: two scales", HEADERS, put("legacy", "scale_weight", torch.ones(2)), None),
    ("blockwise: scales that divide nothing", HEADERS, put("blockwise", "weight_scale", torch.ones(5, 3)), None),
    # parameters
    ("convrot: group of 8", HEADERS, mark("convrot", convrot_groupsize=8), None),
    ("convrot: group that does not divide", HEADERS, mark("convrot", convrot_groupsize=1024), None),
    ("convrot: group is text", HEADERS, mark("convrot", convrot_groupsize="64"), None),
    ("convrot: group 0", HEADERS, mark("convrot", convrot_groupsize=0), None),
    ("w4a4: group that does not divide", HEADERS, mark("w4a4", convrot_groupsize=1024), None),
    ("w4a4: activations in int2", HEADERS, mark("w4a4", linear_dtype="int2"), None),
    ("asym: groups of 24", HEADERS, mark("asym", group_size=24), None),
    ("asym: group is text", HEADERS, mark("asym", group_size="16"), None),
    ("asym: zero points", HEADERS, put("asym", "weight_correction", torch.zeros(N, 16)), None),
    ("awq: groups of 7", HEADERS, mark("awq", group_size=7), None),
    # values
    ("fp8: scale is NaN", VALUES, put("fp8", "weight_scale", torch.tensor(NAN)), None),
    ("fp8: scale is infinite", VALUES, put("fp8", "weight_scale", torch.tensor(INF)), None),
    ("fp8: scale is zero", VALUES, put("fp8", "weight_scale", torch.tensor(0.0)), None),
    ("fp8: scale is negative", VALUES, put("fp8", "weight_scale", lambda t: -t), None),
    ("fp8: input scale is NaN", VALUES, put("fp8", "input_scale", torch.tensor(NAN)), None),
    ("fp8: a NaN code", VALUES, put("fp8", "weight", lambda t: raw_byte(t, 0x7F)), None),
    ("e5m2: an infinite code", VALUES, put("e5m2", "weight", lambda t: raw_byte(t, 0x7C)), None),
    ("raw: a NaN code", VALUES, put("raw", "weight", lambda t: raw_byte(t, 0xFF)), None),
    ("legacy: scale is NaN", VALUES, put("legacy", "scale_weight", torch.tensor([NAN])), None),
    ("int8: one row scale is NaN", VALUES, put("int8", "weight_scale", lambda t: first(t, NAN)), None),
    ("int8: one row scale is negative", VALUES, put("int8", "weight_scale", lambda t: first(t, -1.0)), None),
    ("nvfp4: tensor scale is NaN", VALUES, put("nvfp4", "weight_scale_2", torch.tensor(NAN)), None),
    ("nvfp4: a NaN block scale", VALUES, put("nvfp4", "weight_scale", lambda t: raw_byte(t, 0x7F)), None),
    ("asym: a NaN row scale", VALUES, put("asym", "weight_s_channel", lambda t: first(t, NAN)), None),
    # what only the original shows
    ("nvfp4: nibbles swapped", ORIGINAL, put("nvfp4", "weight", lambda t: t << 4 | t >> 4), None),
    ("mxfp8: scales not swizzled", ORIGINAL, put("mxfp8", "weight_scale", lambda t: t.t().contiguous().reshape(t.shape)), None),
    ("convrot: another group", ORIGINAL, mark("convrot", convrot_groupsize=256), None),
    ("convrot: not said to be rotated", ORIGINAL, mark("convrot", convrot=None, convrot_groupsize=None), None),
    ("int8: rows upside down", ORIGINAL, put("int8", "weight", lambda t: t.flip(0)), None),
    ("fp8: scale is the multiplier", ORIGINAL, put("fp8", "weight_scale", lambda t: 1 / t), None),
    ("fp8: another norm", ORIGINAL, {**FILES["fp8"], "norm.weight": torch.zeros(N).bfloat16()}, None),
    ("fp8: a norm is lost", ORIGINAL, {k: v for k, v in FILES["fp8"].items() if k != "norm.weight"}, None),
]
SOUND = [(name, None, tensors, None) for name, tensors in FILES.items()]
SOUND += [("fp8 with a header map", None, FILES["fp8"], FP8_MAP), ("fp8 by the header map alone", None, without("fp8", "comfy_quant"), FP8_MAP),
          ("fp8 with an input scale", None, put("fp8", "input_scale", torch.tensor(0.02)), None),
          ("fp8 with a scale [1]", None, put("fp8", "weight_scale", lambda t: t.reshape(1)), None),
          ("int8 with one scale", None, put("int8", "weight_scale", torch.tensor(float(wide.abs().max() / 127))) |
           {X + "weight": (wide / (wide.abs().max() / 127)).round().to(torch.int8)}, None),
          ("convrot with nested parameters", None, mark("convrot", convrot=None, convrot_groupsize=None, params={"convrot": True, "convrot_groupsize": 64}), None),
          ("int8 as INT8-Fast marks it", None, mark("int8", format=None, per_row=True), None),
          ("int8 scales in BF16", None, put("int8", "weight_scale", lambda t: t.bfloat16()), None),
          ("legacy with an empty marker", None, {**FILES["legacy"], "scaled_fp8": torch.zeros(0).to(E4M3)}, None),
          ("asym groups of 16 by default", None, mark("asym", group_size=None), None)]


# What a real ComfyUI (0.33) loads as it is meant although the reference refuses it (docs/clients.md): a remark for verify.
READABLE = {"fp8: marker is I8", "fp8: marker has two dimensions", "fp8: E5M2 codes", "int8: codes in U8", "mxfp8: scales in E8M0", "nvfp4: codes in I8", "w4a4: codes in U8",
            "legacy: E5M2 codes", "fp8: a scale with two dimensions", "fp8: two input scales", "convrot: group is text", "asym: group is text", "fp8: input scale is NaN"}
# What only values show, although headers show a part of it.
BY_VALUE = {"legacy: a kept weight with a scale"}


def ours(path, client, *options):
    done = subprocess.run([str(binary), "verify", str(path), "--client", client, "--json", *options], capture_output=True, text=True)
    if done.returncode not in (0, 4) or not done.stdout.startswith("{"):
        sys.exit(f"exit code {done.returncode}: verify {path} {client} {options}\n{done.stdout}{done.stderr}")
    return done.returncode == 0, json.loads(done.stdout)


def reference(path, loader):
    report = io.StringIO()
    try:
        with contextlib.redirect_stdout(report):
            status = check_output.main([str(original), str(path), "--loader", loader, "--json"])
    except RuntimeError as error:  # of torch, at a tensor that it cannot view
        return False, {"errors": [str(error)]}
    return status == 0, json.loads(report.getvalue())


def only_ours_cannot_decode(report):
    return any("this version cannot decode" in remark["text"] for remark in report["remarks"])


faults, undecoded, damaged = [], 0, 0
for name, shows_in, tensors, metadata in SOUND + DAMAGES:
    path = scratch / "file.safetensors"
    save(path, tensors, metadata)
    for client, loader in (("comfyui", "stock"), ("custom", "custom")):
        theirs, their_report = reference(path, loader)
        mine, report = ours(path, client, "--original", str(original))
        if shows_in is not None and theirs and client == "comfyui":
            faults.append(f"{name}: the reference finds nothing wrong")
        if name in READABLE:
            if not mine or (client == "comfyui" and not report["remarks"]):
                faults.append(f"{name}, {client}: verify says {mine} {report['refused']}, remarks {report['remarks']}")
            continue
        if mine != theirs:
            if only_ours_cannot_decode(report) and shows_in in (VALUES, ORIGINAL):
                undecoded += 1
                continue
            faults.append(f"{name}, {client}: verify says {mine} {report['refused']}, the reference {theirs} {their_report['errors']}")
        if shows_in == HEADERS and client == "comfyui" and name not in BY_VALUE:
            alone, report = ours(path, client, "--no-values")
            if alone:
                faults.append(f"{name}: verify --no-values sees nothing")
    damaged += shows_in is not None
if undecoded:
    print(f"{undecoded} verdicts left out: formats that this version cannot decode")
print(f"{damaged} damaged and {len(SOUND)} sound files, two clients")
sys.exit("\n".join(faults) if faults else 0)
