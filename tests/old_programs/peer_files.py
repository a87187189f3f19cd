"""The second half of peer.py: input scales, biases, layer configurations, and what reads or rewrites finished files."""

import json
import math
import re

from workshop import (
    File,
    Row,
    both,
    differs_from,
    ends,
    error_below,
    holds,
    kept,
    lacks,
    marked,
    quantized,
    refuses,
    same_as,
    says,
    writes,
)
from workshop_more import codes, f32, header_map, largest, lora, metadata_has, near, spread, token, when
import workshop
import workshop_more

PEER = "--profile peer"
S = f"{PEER} -i {{spare}} -o o.safetensors --simple"
C = f"{S} --comfy_quant"
Q, M = "blk.0.attn.to_q", "blk.0.mlp"
FP8 = "-i {spare} -o q.safetensors --fp8 --comfy_quant --simple"
META = f"{FP8} --save-quant-metadata"


def scalar(name: str, value: float):
    return when(
        lambda run: name in run.tensors
        and len(run.tensors[name].data) == 4
        and near(run.tensors[name].values()[0], value, 1e-5)
        or f"{name} is {run.tensors[name].values() if name in run.tensors else 'missing'}, not {value:.6g}"
    )


def percentile(values, share: float) -> float:
    """Nearest rank."""
    ordered = sorted(map(abs, values))
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def rows() -> dict:
    """Recorded inputs of the model `spare`."""
    return {f"{Q}": workshop.normal("in-q", (80, 128), "F32", 1.0), f"{M}": workshop.normal("in-m", (80, 256), "F32", 2.0)}


def recorded() -> dict:
    """The same with a mean, as a calibration file."""
    return {
        f"{name}.rows": workshop.numbers([value + 0.5 + (i % 5) for i, value in enumerate(tensor.values())], tensor.shape)
        for name, tensor in rows().items()
    }


ROWS_FILE = {"rows.safetensors": rows()}
RECORDED = {"cal.safetensors": recorded()}


def bias_moved(run):
    """The bias takes up the mean of what the codes change: plus (W - D) mean(x)."""
    held = run.tensors[f"{Q}.bias"].values()
    source, rows_in = run.source("spare"), recorded()[f"{Q}.rows"].rows()
    weight, decoded_rows = source[f"{Q}.weight"].rows(), workshop_more.scaled_rows(run, Q)
    mean = [sum(column) / len(rows_in) for column in zip(*rows_in)]
    wanted = [sum((a - b) * m for a, b, m in zip(x, y, mean)) for x, y in zip(weight, decoded_rows)]
    found = [a - b for a, b in zip(held, source[f"{Q}.bias"].values())]
    along = sum(a * b for a, b in zip(found, wanted)) / math.sqrt(sum(a * a for a in found) * sum(b * b for b in wanted))
    return None if along > 0.9 else f"cosine {along:.3f} to what would restore the mean"


def names_after(mode: str, suffix: str, model: str, switch: str, more: str = ""):
    """A mode of migrate, its default name, and the old switch."""
    return [
        Row(
            "cli 9",
            f"{switch}: the default output is <stem>{suffix}",
            f"{switch} -i {{{model}@}} {more}",
            writes(f"{model}{suffix}.safetensors"),
        ),
        Row(
            "cli 9",
            f"{switch} is migrate {mode}",
            f"{switch} -i {{{model}}} -o o.safetensors {more}",
            same_as(f"migrate {mode} -i {{{model}}} -o o.safetensors {more}", metadata=True),
        ),
    ]


TO_COMFY = "--convert-fp8-scaled -i {legacy_fp8} -o o.safetensors"
TO_INT8 = "--convert-int8-scaled -i {legacy_int8} -o o.safetensors --block_size 16"
ADD = "--legacy_input_add -i {legacy_fp8} -o o.safetensors"
CLEAN = "--cleanup-fp8-scaled -i {legacy_fp8} -o o.safetensors"
HYBRID = "--make-hybrid-mxfp8 -i q.safetensors -o o.safetensors"
MX = ("-i {spare} -o q.safetensors --mxfp8 --simple",)


def same_data(name: str, model: str, source: str = ""):
    return when(lambda run: run.tensors[name].data == run.source(model)[source or name].data or f"{name} has other bytes")


def covered(*layers: str):
    """Exactly these layers have a pair in the adapter."""

    def check(run):
        found = sorted(
            name[len("diffusion_model.") : -len(".lora_up.weight")] for name in run.tensors if name.endswith(".lora_up.weight")
        )
        return None if found == sorted(layers) else f"covers {found}"

    return when(check)


def product(run, layer: str) -> list[list[float]]:
    up, down = (
        run.tensors[f"diffusion_model.{layer}.lora_up.weight"].rows(),
        run.tensors[f"diffusion_model.{layer}.lora_down.weight"].rows(),
    )
    return [[sum(u * d for u, d in zip(row, column)) for column in zip(*down)] for row in up]


def brings_nearer(layer: str, model: str, quantized_name: str):
    """The decoded weight plus the adapter is nearer to the original than without."""

    def check(run):
        file = run.file(quantized_name)
        stand_in = type("Stand", (), {"tensors": file.tensors, "source": run.source})
        error = [
            [a - b for a, b in zip(x, y)]
            for x, y in zip(run.source(model)[f"{layer}.weight"].rows(), workshop_more.scaled_rows(stand_in, layer))
        ]
        left = [[a - b for a, b in zip(x, y)] for x, y in zip(error, product(run, layer))]
        before, after = (sum(v * v for row in matrix for v in row) for matrix in (error, left))
        return None if after < 0.9 * before else f"squared error {before:.3g} -> {after:.3g}"

    return when(check)


UNLIKE = "-i {unlike} -o q.safetensors --fp8 --comfy_quant --simple"
EXTRACT = "extract-lora -i {unlike} --quantized q.safetensors -o o.safetensors"
ROWS = [
    # ---------------------------------------------------------------------------------------------------- calibrate (5)
    Row(
        "cli 5",
        "statistics of a model: maximum and mean of magnitudes, and an input scale, per layer",
        "calibrate {spare} -o s.safetensors",
        both(
            when(
                lambda run: {f"{Q}.channel_max", f"{Q}.channel_mean", f"{Q}.input_scale"}
                <= set(run.file("s.safetensors").tensors)
            ),
            when(lambda run: run.file("s.safetensors").tensors[f"{M}.channel_max"].shape == (256,)),
        ),
    ),
    Row(
        "cli 5",
        "-i is taken as well as the word alone",
        "calibrate -i {spare} -o o.safetensors",
        same_as("calibrate {spare} -o o.safetensors"),
    ),
    Row(
        "cli 5",
        "--input is the long form",
        "calibrate --input {spare} --output o.safetensors",
        same_as("calibrate {spare} -o o.safetensors"),
    ),
    Row("cli 5", "the output is required", "calibrate {spare}", refuses(2, "--output")),
    Row("cli 5", "a missing model", "calibrate none.safetensors -o o.safetensors", refuses(4, "none.safetensors")),
    Row(
        "cli 5",
        "64 random rows unless said",
        "calibrate {spare} -o o.safetensors --samples 64",
        same_as("calibrate {spare} -o o.safetensors", metadata=True),
    ),
    Row(
        "cli 5",
        "--samples changes the statistics",
        "calibrate {spare} -o o.safetensors --samples 8",
        differs_from("calibrate {spare} -o o.safetensors"),
    ),
    Row("cli 5", "--samples 0 is refused", "calibrate {spare} -o o.safetensors --samples 0", refuses(2, "--samples")),
    Row(
        "cli 5",
        "the seed is 42 unless said",
        "calibrate {spare} -o o.safetensors --seed 42",
        same_as("calibrate {spare} -o o.safetensors", metadata=True),
    ),
    Row(
        "cli 5",
        "--seed changes them",
        "calibrate {spare} -o o.safetensors --seed 7",
        differs_from("calibrate {spare} -o o.safetensors"),
    ),
    Row(
        "cli 5",
        "--json, bare: JSON, with .json added to the name",
        "calibrate {spare} -o s --json",
        when(
            lambda run: set(json.loads((run.folder / "s.json").read_text())[Q]) >= {"channel_max", "channel_mean", "input_scale"}
        ),
    ),
    Row(
        "cli 5",
        "a name in .json does the same",
        "calibrate {spare} -o s.json",
        when(lambda run: len(json.loads((run.folder / "s.json").read_text())[M]["channel_max"]) == 256),
    ),
    Row(
        "cli 5",
        "--json=PATH: the input scales alone",
        "calibrate {spare} -o s.safetensors --json=i.json",
        when(lambda run: isinstance(json.loads((run.folder / "i.json").read_text())[Q], float)),
    ),
    Row(
        "cli 5",
        "--lora: rows from a LoRA's A matrices, for the layers that it has",
        "calibrate {spare} -o o.safetensors --lora l.safetensors",
        both(differs_from("calibrate {spare} -o o.safetensors", only=r"to_q"), says("1 of 2 layers")),
        files={"l.safetensors": lora(workshop_more.spare(), [Q], style="lora_A lora_B")},
    ),
    Row(
        "12",
        "--lora: names of a LoRA with underscores and a prefix",
        "calibrate {spare} -o o.safetensors --lora l.safetensors",
        differs_from("calibrate {spare} -o o.safetensors", only=r"to_q"),
        files={
            "l.safetensors": {
                f"lora_unet_blk_0_attn_to_q.{side}.weight": tensor
                for side, tensor in (
                    ("lora_down", workshop.normal("d", (4, 128), "F32", 1.0)),
                    ("lora_up", workshop.normal("u", (128, 4), "F32", 1.0)),
                )
            }
        },
    ),
    Row(
        "cli 5",
        "--lora: a missing file",
        "calibrate {spare} -o o.safetensors --lora none.safetensors",
        refuses(4, "none.safetensors"),
    ),
    Row(
        "cli 5",
        "--lora: nothing matches",
        "calibrate {spare} -o o.safetensors --lora l.safetensors",
        refuses(1, "lora|LoRA"),
        files={"l.safetensors": lora({"other.weight": workshop.normal("o", (8, 128))}, ["other"], style="lora_A lora_B")},
    ),
    Row(
        "cli 5",
        "--activations: statistics of real rows",
        "calibrate {spare} -o o.safetensors --activations rows.safetensors",
        when(lambda run: near(run.tensors[f"{Q}.channel_max"].values()[3], max(abs(row[3]) for row in rows()[Q].rows()), 1e-5)),
        files=ROWS_FILE,
    ),
    Row(
        "cli 5",
        "--activations of another width are refused",
        "calibrate {spare} -o o.safetensors --activations rows.safetensors",
        refuses(4, "to_q"),
        files={"rows.safetensors": {Q: workshop.normal("w", (8, 100), "F32")}},
    ),
    Row(
        "cli 5",
        "-q prints warnings and errors alone",
        "calibrate {spare} -o o.safetensors --activations rows.safetensors -q",
        when(lambda run: run.out == "" and (run.folder / "o.safetensors").exists()),
        files=ROWS_FILE,
    ),
    Row("cli 5", "random rows are said to say nothing of the model", "calibrate {spare} -o o.safetensors", says("random rows")),
    Row(
        "cli 5",
        "--patch: input scales for the layers of a quantized model, and a mark in their JSON",
        "calibrate q.safetensors --patch --activations rows.safetensors -o o.safetensors",
        both(holds(f"{Q}.input_scale", "F32"), marked(Q, format="float8_e4m3fn", input_scale_calibrated=True)),
        before=(FP8,),
        files=ROWS_FILE,
    ),
    Row(
        "13",
        "--patch: the scale is a percentile, 99.9, of the input's magnitudes over 448 (it was the output's)",
        "calibrate q.safetensors --patch --activations rows.safetensors -o o.safetensors",
        scalar(f"{Q}.input_scale", percentile(rows()[Q].values(), 99.9) / 448),
        before=(FP8,),
        files=ROWS_FILE,
    ),
    Row(
        "cli 5",
        "--percentile 100 is the largest magnitude",
        "calibrate q.safetensors --patch --activations rows.safetensors -o o.safetensors --percentile 100",
        scalar(f"{Q}.input_scale", largest(rows()[Q].values()) / 448),
        before=(FP8,),
        files=ROWS_FILE,
    ),
    Row("cli 5", "--percentile 0 is refused", "calibrate {spare} -o o.safetensors --percentile 0", refuses(2, "--percentile")),
    Row(
        "cli 12",
        "--patch: the default output is <stem>_calibrated",
        "calibrate q.safetensors --patch --activations rows.safetensors",
        writes("q_calibrated.safetensors"),
        before=(FP8,),
        files=ROWS_FILE,
    ),
    Row(
        "cli 5",
        "--patch: all other tensors keep their bytes, and the header its entries",
        "calibrate q.safetensors --patch --activations rows.safetensors -o o.safetensors",
        both(
            same_as(FP8.replace("q.safetensors", "o.safetensors"), only=r"weight$|weight_scale|bias"),
            metadata_has(made="for rows"),
        ),
        before=(FP8,),
        files=ROWS_FILE,
    ),
    Row(
        "cli 5",
        "--patch of a file without quantized layers",
        "calibrate {spare} --patch --activations rows.safetensors -o o.safetensors",
        refuses(4, "quantized"),
        files=ROWS_FILE,
    ),
    Row(
        "cli 5",
        "--actcal is calibrate --patch",
        "--actcal -i q.safetensors --activations rows.safetensors -o o.safetensors",
        same_as(
            "calibrate q.safetensors --patch --activations rows.safetensors -o o.safetensors",
            before=(FP8,),
            files=ROWS_FILE,
            metadata=True,
        ),
        before=(FP8,),
        files=ROWS_FILE,
    ),
    Row(
        "cli 5",
        "--actcal-percentile",
        "--actcal -i q.safetensors --calibration-data rows.safetensors -o o.safetensors --actcal-percentile 100",
        scalar(f"{Q}.input_scale", largest(recorded()[f"{Q}.rows"].values()) / 448),
        before=(FP8,),
        files={"rows.safetensors": recorded()},
    ),
    *(
        Row(
            "cli 5",
            f"{option} is taken with --actcal",
            f"--actcal -i q.safetensors --activations rows.safetensors -o o.safetensors {option} {value}",
            holds(f"{Q}.input_scale", "F32"),
            before=(FP8,),
            files=ROWS_FILE,
        )
        for option, value in (("--actcal-samples", "64"), ("--actcal-seed", "42"), ("--actcal-device", "cpu"))
    ),
    Row(
        "cli 5",
        "--actcal without recorded inputs is refused with the way to get them (it measured random ones)",
        "--actcal -i q.safetensors -o o.safetensors",
        refuses(2, "--activations", "--calibration-data"),
        before=(FP8,),
    ),
    Row(
        "cli 5",
        "--actcal-lora alone is refused: input scales are measured, of recorded inputs",
        "--actcal -i q.safetensors -o o.safetensors --actcal-lora l.safetensors",
        refuses(2, "--activations"),
        before=(FP8,),
        files={"l.safetensors": lora(workshop_more.spare(), [Q, M], style="lora_A lora_B")},
    ),
    # ------------------------------------------------------------------------------------------------- input scales (13)
    Row(
        "13",
        "--input_scale: 1.0 for every FP8 layer, one element",
        f"{C} --input_scale",
        both(scalar(f"{Q}.input_scale", 1), scalar(f"{M}.input_scale", 1)),
    ),
    Row("13", "without it none", C, lacks("input_scale")),
    Row(
        "13",
        "--input_scale with INT8 blocks (it was always written there)",
        f"{C} --int8 --scaling_mode block --input_scale",
        scalar(f"{Q}.input_scale", 1),
    ),
    Row(
        "13",
        "a text-encoder preset writes no copy of the weight's scale as input scale in this layout",
        f"{PEER} -i {{t5}} -o o.safetensors --simple --comfy_quant --t5xxl",
        lacks("input_scale"),
    ),
    Row(
        "13",
        "--input-scales from JSON, for NVFP4",
        f"{S} --nvfp4 --input-scales i.json",
        both(scalar(f"{Q}.input_scale", 0.015), lacks(r"mlp\.input_scale")),
        files={"i.json": {Q: 0.015}},
    ),
    Row(
        "13",
        "--input-scales from another quantized file",
        f"{S} --nvfp4 --input-scales i.safetensors",
        scalar(f"{Q}.input_scale", 0.25),
        files={
            "i.safetensors": {
                f"{Q}.weight": codes("x", (128, 128)),
                f"{Q}.weight_scale": workshop.numbers([1.0], ()),
                f"{Q}.comfy_quant": workshop.note({"format": "float8_e4m3fn"}),
                f"{Q}.input_scale": workshop.numbers([0.25], ()),
            }
        },
    ),
    Row(
        "13",
        "--input-scales for FP8 too (it was for NVFP4 alone)",
        f"{C} --input-scales i.json",
        scalar(f"{Q}.input_scale", 0.015),
        files={"i.json": {Q: 0.015}},
    ),
    Row(
        "cli 2.1",
        "--input-scales of another kind of file is refused",
        f"{C} --input-scales i.txt",
        refuses(2, "--input-scales"),
        files={"i.txt": "x"},
    ),
    Row("cli 2.1", "--input-scales that is missing", f"{C} --input-scales none.json", refuses(4, "none.json")),
    # --------------------------------------------------------------------------------------------------------- bias (14)
    Row("14", "without recorded inputs biases keep their bytes (noise was added)", C, kept("spare", f"{Q}.bias")),
    Row("14", "learned too", f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --num_iter 10", kept("spare", f"{Q}.bias")),
    Row(
        "14",
        "with recorded inputs the bias restores the mean output (it moved the other way)",
        f"{C} --calibration-data cal.safetensors",
        when(bias_moved),
        files=RECORDED,
    ),
    Row(
        "14",
        "the same for rotated rows",
        f"{C} --int8 --scaling_mode row --convrot --calibration-data cal.safetensors",
        when(lambda run: run.tensors[f"{Q}.bias"] != run.source("spare")[f"{Q}.bias"]),
        files=RECORDED,
    ),
    Row("14", "a layer without a bias gets none", f"{C} --calibration-data cal.safetensors", lacks(r"mlp\.bias"), files=RECORDED),
    Row(
        "14",
        "--bias-correction off",
        f"{C} --calibration-data cal.safetensors --bias-correction off",
        kept("spare", f"{Q}.bias"),
        files=RECORDED,
    ),
    # ----------------------------------------------------------------------------------------------- layer configuration
    *(
        Row(
            "16",
            f"format {name}",
            f"{C} --layer-config c.json --client any",
            both(marked(M, format=name), marked(Q, format="float8_e4m3fn")),
            files={"c.json": {"mlp": {"format": name}}},
        )
        for name in (
            "float8_e4m3fn",
            "float8_e4m3fn_rowwise",
            "float8_e4m3fn_blockwise",
            "float8_e4m3fn_block3d",
            "int8_blockwise",
            "int8_tensorwise",
            "nvfp4",
            "mxfp8",
            "hybrid_mxfp8",
        )
    ),
    Row(
        "16",
        "the format's name fixes the shape of the scale (rows got one scale)",
        f"{C} --layer-config c.json",
        holds(f"{M}.weight_scale", "F32", (128,)),
        files={"c.json": {"mlp": {"format": "float8_e4m3fn_rowwise"}}},
    ),
    Row(
        "16",
        "a scaling mode that contradicts the format is refused",
        f"{C} --layer-config c.json",
        refuses(2, "scaling_mode"),
        files={"c.json": {"mlp": {"format": "float8_e4m3fn_rowwise", "scaling_mode": "block"}}},
    ),
    Row(
        "16",
        "block_size, full_precision_matrix_mult and simple in an entry",
        f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --num_iter 10 --layer-config c.json",
        both(
            marked(M, format="float8_e4m3fn_blockwise", group_size=32, full_precision_matrix_mult=True),
            marked(Q, full_precision_matrix_mult=None),
            same_as(f"{C} --scaling_mode block --block_size 32", only=r"mlp\.weight"),
        ),
        files={
            "c.json": {
                "mlp": {"format": "float8_e4m3fn_blockwise", "block_size": 32, "full_precision_matrix_mult": True, "simple": True}
            }
        },
    ),
    Row(
        "16",
        "skip: the layer stays",
        f"{C} --layer-config c.json",
        both(kept("spare", f"{M}.weight"), says(r"Skipping tensor: blk\.0\.mlp\.weight")),
        files={"c.json": {"mlp": {"skip": True}}},
    ),
    Row(
        "16",
        "_default takes the rest; other keys with an underscore are comments",
        f"{C} --layer-config c.json",
        both(marked(Q, format="nvfp4"), marked(M, format="mxfp8")),
        files={"c.json": {"_note": "x", "mlp": {"format": "mxfp8", "_shape": [1]}, "_default": {"format": "nvfp4"}}},
    ),
    Row(
        "16",
        "_default does not override exclusion (it did)",
        f"{C} --layer-config c.json --exclude-layers mlp",
        both(kept("spare", f"{M}.weight"), marked(Q, format="nvfp4")),
        files={"c.json": {"_default": {"format": "nvfp4"}}},
    ),
    Row(
        "16",
        "patterns are searched for; --fullmatch wants the whole name",
        f"{C} --layer-config c.json --fullmatch",
        marked(M, format="float8_e4m3fn"),
        files={"c.json": {"mlp": {"format": "nvfp4"}}},
    ),
    Row(
        "16",
        "--fullmatch with a whole name",
        f"{C} --layer-config c.json --fullmatch",
        marked(M, format="nvfp4"),
        files={"c.json": {"blk\\.\\d+\\.mlp": {"format": "nvfp4"}}},
    ),
    Row(
        "16",
        "of several patterns the most specific decides, whatever the order",
        f"{C} --layer-config c.json",
        marked(M, format="nvfp4"),
        files={"c.json": {"mlp": {"format": "mxfp8"}, "blk\\.0\\.mlp": {"format": "nvfp4"}}},
    ),
    Row(
        "16",
        "an empty format is refused",
        f"{C} --layer-config c.json",
        refuses(2, "mlp"),
        files={"c.json": {"mlp": {"format": ""}}},
    ),
    Row("16", "no JSON", f"{C} --layer-config c.json", refuses(2, "c.json"), files={"c.json": "{"}),
    Row("16", "a missing file", f"{C} --layer-config none.json", refuses(4, "none.json")),
    Row(
        "16",
        "a template: <stem>_layer_config_template.json, with an entry per layer and _shape",
        f"{PEER} -i {{spare@}} --dry-run create-template",
        both(
            writes("spare_layer_config_template.json"),
            when(
                lambda run: (
                    lambda found: sum("_shape" in entry for entry in found.values() if isinstance(entry, dict)) == 2
                    and "_exclusions" in found
                    and "_default" in found
                )(json.loads((run.folder / "spare_layer_config_template.json").read_text()))
            ),
        ),
    ),
    Row(
        "16",
        "a template loads as it is and gives the same file (it was refused)",
        f"{C} --layer-config t.json",
        same_as(C),
        before=(f"{PEER} -i {{spare}} --comfy_quant --simple --dry-run create-template -o t.json",),
    ),
    Row(
        "17",
        "--dry-run analyze prints the plan and writes nothing (it converted)",
        f"{PEER} -i {{spare@}} --comfy_quant --dry-run analyze",
        both(writes(), says(r"blk\.0\.mlp\.weight.*\[128, 256\].*F16.*float8_e4m3fn")),
    ),
    # ------------------------------------------------------------------------------------------------------- edit (8, 24)
    Row(
        "cli 8",
        "--edit-quant --add-keys sets a key in every marker",
        "--edit-quant -i q.safetensors -o o.safetensors --add-keys \"'full_precision_matrix_mult': true\"",
        both(marked(Q, format="float8_e4m3fn", full_precision_matrix_mult=True), marked(M, full_precision_matrix_mult=True)),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "edit is the same command",
        "edit -i q.safetensors -o o.safetensors --add-keys \"'full_precision_matrix_mult': true\"",
        same_as(
            "--edit-quant -i q.safetensors -o o.safetensors --add-keys \"'full_precision_matrix_mult': true\"",
            before=(FP8,),
            metadata=True,
        ),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "--add-keys: booleans, numbers and text, several at once",
        "--edit-quant -i q.safetensors -o o.safetensors --add-keys \"'a': false, 'group_size': 64, 'c': 'text', 'd': 1.5\"",
        marked(Q, a=False, group_size=64, c="text", d=1.5),
        before=(FP8,),
    ),
    Row(
        "24",
        "--add-keys: text with a comma, and lists, stay whole (they were cut)",
        "--edit-quant -i q.safetensors -o o.safetensors --add-keys \"'a': 'x, y', 'b': [1, 2]\"",
        marked(Q, a="x, y", b=[1, 2]),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "--add-keys: a JSON object",
        ["--edit-quant", "-i", "q.safetensors", "-o", "o.safetensors", "--add-keys", '{"a": 1}'],
        marked(Q, a=1),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "--add-keys that cannot be read is refused",
        "--edit-quant -i q.safetensors -o o.safetensors --add-keys nonsense",
        refuses(2, "--add-keys"),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "--remove-keys deletes JSON keys",
        "--edit-quant -i q.safetensors -o o.safetensors --remove-keys full_precision_matrix_mult,none",
        both(marked(Q, format="float8_e4m3fn", full_precision_matrix_mult=None)),
        before=(f"{FP8} -fpmm",),
    ),
    Row(
        "cli 8",
        "--quant-filter selects layers by a pattern",
        "--edit-quant -i q.safetensors -o o.safetensors --quant-filter mlp --add-keys \"'a': 1\"",
        both(marked(M, a=1), marked(Q, a=None)),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "a bad --quant-filter is refused (exit code 0)",
        "--edit-quant -i q.safetensors -o o.safetensors --quant-filter [ --add-keys \"'a': 1\"",
        refuses(2, "--quant-filter"),
        before=(FP8,),
    ),
    Row(
        "24",
        "the header's entry is edited alike",
        "--edit-quant -i q.safetensors -o o.safetensors --quant-filter mlp --add-keys \"'a': 1\"",
        when(lambda run: header_map(run)["layers"][M]["a"] == 1 and "a" not in header_map(run)["layers"][Q]),
        before=(META,),
    ),
    Row(
        "cli 8",
        "--save-quant-metadata makes the header's entry from the markers",
        "--edit-quant -i q.safetensors -o o.safetensors --save-quant-metadata",
        when(lambda run: header_map(run)["layers"][Q] == run.marker(Q)),
        before=(FP8,),
    ),
    Row(
        "24",
        "--save-quant-metadata keeps rotation (it was lost)",
        "--edit-quant -i q.safetensors -o o.safetensors --save-quant-metadata",
        when(lambda run: header_map(run)["layers"][M].get("convrot_groupsize") == 256),
        before=("-i {spare} -o q.safetensors --int8 --scaling_mode row --convrot --comfy_quant --simple",),
    ),
    Row(
        "24",
        "layers that only the header names get their tensor",
        "--edit-quant -i h.safetensors -o o.safetensors --save-quant-metadata",
        marked("x", format="float8_e4m3fn"),
        files={
            "h.safetensors": File(
                {"x.weight": codes("x", (32, 32)), "x.weight_scale": workshop.numbers([0.1], ())},
                {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": {"x": {"format": "float8_e4m3fn"}}})},
            )
        },
    ),
    Row(
        "cli 8",
        "weights and scales keep their bytes",
        "--edit-quant -i q.safetensors -o o.safetensors --add-keys \"'a': 1\"",
        same_as(FP8.replace("q.safetensors", "o.safetensors"), only=r"weight$|weight_scale|bias"),
        before=(FP8,),
    ),
    Row(
        "cli 12",
        "the default output is <stem>_edited",
        "--edit-quant -i q.safetensors --add-keys \"'a': 1\"",
        writes("q_edited.safetensors"),
        before=(FP8,),
    ),
    Row(
        "24",
        "summary: layers in all, edited, outside the filter, and counts per key",
        "--edit-quant -i q.safetensors -o o.safetensors --quant-filter mlp --add-keys \"'a': 1\"",
        says(r"1 of 2 marked layers edited, 1 outside the filter", r"set 'a' in 1 layers"),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "nothing to edit is refused (exit code 0)",
        "--edit-quant -i q.safetensors -o o.safetensors",
        refuses(2, "nothing to edit"),
        before=(FP8,),
    ),
    Row(
        "cli 8",
        "a file without markers",
        "--edit-quant -i {spare} -o o.safetensors --add-keys \"'a': 1\"",
        refuses(4, "marker|quantized|comfy_quant"),
    ),
    Row(
        "cli 8",
        "output equals input is refused",
        "--edit-quant -i q.safetensors -o q.safetensors --add-keys \"'a': 1\"",
        refuses(2, "input"),
        before=(FP8,),
    ),
    # --------------------------------------------------------------------------------------------------- migrate (9, 24)
    *names_after("fp8-scaled", "_fp8mixed", "legacy_fp8", "--convert-fp8-scaled"),
    Row(
        "24",
        "one scale becomes float8_e4m3fn; codes and scale keep their bytes",
        TO_COMFY,
        both(
            marked("blk.0.one", format="float8_e4m3fn"),
            same_data("blk.0.one.weight", "legacy_fp8"),
            same_data("blk.0.one.weight_scale", "legacy_fp8", "blk.0.one.scale_weight"),
        ),
    ),
    Row("24", "scale_input becomes input_scale", TO_COMFY, both(scalar("blk.0.one.input_scale", 0.5), lacks("scale_input"))),
    Row(
        "24",
        "a scale per row: float8_e4m3fn_rowwise",
        TO_COMFY,
        both(marked("blk.0.rows", format="float8_e4m3fn_rowwise"), holds("blk.0.rows.weight_scale", "F32", (64,))),
    ),
    Row(
        "24",
        "two dimensions: float8_e4m3fn_blockwise, with the edge as group_size",
        TO_COMFY,
        marked("blk.0.blocks", format="float8_e4m3fn_blockwise", group_size=32),
    ),
    Row(
        "24",
        "three dimensions: float8_e4m3fn_block3d",
        TO_COMFY,
        marked("blk.0.runs", format="float8_e4m3fn_block3d", group_size=32),
    ),
    Row(
        "24",
        "one dimension that stands for square blocks",
        "--convert-fp8-scaled -i f.safetensors -o o.safetensors",
        marked("x", format="float8_e4m3fn_blockwise", group_size=32),
        files={
            "f.safetensors": {
                "scaled_fp8": token(1),
                "x.weight": codes("flat", (64, 128)),
                "x.scale_weight": workshop.numbers(spread("flat", 8)),
            }
        },
    ),
    Row(
        "24",
        "dummy scales of high-precision layers go, their weights stay",
        TO_COMFY,
        both(lacks(r"high\.(scale|weight_scale|comfy)"), same_data("blk.0.high.weight", "legacy_fp8")),
    ),
    Row("24", "scaled_fp8 goes", TO_COMFY, lacks("scaled_fp8", "scale_weight")),
    Row(
        "24",
        "a scaled_fp8 of two elements means products in high precision",
        "--convert-fp8-scaled -i {token2} -o o.safetensors",
        marked("blk.0.one", full_precision_matrix_mult=True),
    ),
    Row(
        "cli 9",
        "--full-precision-mm marks all layers so",
        f"{TO_COMFY} --full-precision-mm",
        marked("blk.0.rows", full_precision_matrix_mult=True),
    ),
    Row(
        "cli 9",
        "--input_scale adds 1.0 where there is none",
        f"{TO_COMFY} --input_scale",
        both(scalar("blk.0.rows.input_scale", 1), scalar("blk.0.one.input_scale", 0.5)),
    ),
    Row(
        "cli 9",
        "--hp-filter: layers that must not be FP8; all well",
        f"{TO_COMFY} --hp-filter high",
        same_as(TO_COMFY, metadata=True),
    ),
    Row("cli 9", "--hp-filter: one that is ends the run with the list", f"{TO_COMFY} --hp-filter rows", refuses(1, "blk.0.rows")),
    Row(
        "cli 9",
        "a file without scaled_fp8 (exit code 0)",
        "--convert-fp8-scaled -i {spare} -o o.safetensors",
        refuses(4, "scaled_fp8"),
    ),
    Row(
        "24",
        "nested params of a marker move up",
        "--convert-fp8-scaled -i f.safetensors -o o.safetensors",
        marked("y", group_size=64, params=None),
        files={
            "f.safetensors": {
                "scaled_fp8": token(1),
                "x.weight": codes("p", (64, 64)),
                "x.scale_weight": workshop.numbers([1.0], ()),
                "y.weight": codes("py", (64, 64)),
                "y.weight_scale": workshop.numbers([1.0], (1, 1)),
                "y.comfy_quant": workshop.note({"format": "float8_e4m3fn_blockwise", "params": {"group_size": 64}}),
            }
        },
    ),
    Row("cli 9", "metadata of the header stay", TO_COMFY, metadata_has(made="for rows")),
    Row(
        "cli 9",
        "--save-quant-metadata with it",
        f"{TO_COMFY} --save-quant-metadata",
        when(lambda run: header_map(run)["layers"]["blk.0.one"] == {"format": "float8_e4m3fn"}),
    ),
    *names_after("int8-scaled", "_int8_comfy", "legacy_int8", "--convert-int8-scaled", "--block_size 16"),
    Row(
        "24",
        "INT8, one scale: int8_tensorwise (it became blockwise)",
        TO_INT8,
        both(marked("blk.0.one", format="int8_tensorwise", group_size=None), same_data("blk.0.one.weight", "legacy_int8")),
    ),
    Row(
        "24",
        "INT8, [M, 1]: a scale per row (rows and columns were confused)",
        TO_INT8,
        both(marked("blk.0.rows", format="int8_tensorwise"), holds("blk.0.rows.weight_scale", "F32", (64, 1))),
    ),
    Row(
        "24",
        "INT8, [M]: a scale per row",
        TO_INT8,
        both(marked("blk.0.flat", format="int8_tensorwise"), holds("blk.0.flat.weight_scale", "F32", (64, 1))),
    ),
    Row(
        "24",
        "INT8, two dimensions: int8_blockwise",
        TO_INT8,
        both(marked("blk.0.tiles", format="int8_blockwise", group_size=16), holds("blk.0.tiles.weight_scale", "F32", (4, 2))),
    ),
    Row(
        "cli 9",
        "INT8: --block_size where it cannot be derived",
        "--convert-int8-scaled -i f.safetensors -o o.safetensors --block_size 32",
        marked("x", format="int8_blockwise", group_size=32),
        files={"f.safetensors": {"x.weight": codes("b", (64, 128), "I8"), "x.scale_weight": workshop.numbers(spread("b", 8))}},
    ),
    Row("cli 9", "INT8: --input_scale", f"{TO_INT8} --input_scale", scalar("blk.0.rows.input_scale", 1)),
    Row(
        "cli 9",
        "INT8: --save-quant-metadata",
        f"{TO_INT8} --save-quant-metadata",
        when(lambda run: header_map(run)["layers"]["blk.0.tiles"]["format"] == "int8_blockwise"),
    ),
    Row(
        "cli 9",
        "INT8: a file without INT8 layers (it crashed)",
        "--convert-int8-scaled -i {spare} -o o.safetensors",
        refuses(4, "INT8"),
    ),
    Row("24", "INT8: other tensors stay", TO_INT8, same_data("blk.0.norm.weight", "legacy_int8")),
    *names_after("add-input-scale", "_with_input_scale", "legacy_plain", "--legacy_input_add"),
    Row(
        "cli 9",
        "--legacy_input_add: 1.0 for layers without one, and scaled_fp8 of one element",
        "--legacy_input_add -i {token2} -o o.safetensors",
        both(scalar("blk.0.rows.scale_input", 1), scalar("blk.0.one.scale_input", 0.5), holds("scaled_fp8", "F8_E4M3", (1,))),
    ),
    Row(
        "cli 9",
        "--legacy_input_add: a file without scaled_fp8",
        "--legacy_input_add -i {spare} -o o.safetensors",
        refuses(4, "scaled_fp8"),
    ),
    Row(
        "cli 2.1",
        "--legacy-input-add with dashes",
        "--legacy-input-add -i {legacy_plain} -o o.safetensors",
        same_as("--legacy_input_add -i {legacy_plain} -o o.safetensors", metadata=True),
    ),
    *names_after("cleanup-fp8", "_cleaned", "legacy_fp8", "--cleanup-fp8-scaled"),
    Row(
        "cli 9",
        "--cleanup-fp8-scaled drops scales whose weight is not FP8",
        CLEAN,
        both(
            lacks(r"high\.scale"), same_data("blk.0.high.weight", "legacy_fp8"), same_data("blk.0.one.scale_weight", "legacy_fp8")
        ),
    ),
    Row("cli 9", "--cleanup-fp8-scaled sets scaled_fp8, of no element unless said", CLEAN, holds("scaled_fp8", "F8_E4M3", (0,))),
    Row("cli 9", "--scaled-fp8-marker 2", f"{CLEAN} --scaled-fp8-marker 2", holds("scaled_fp8", "F8_E4M3", (2,))),
    Row("cli 9", "--scaled-fp8-marker 1 is refused", f"{CLEAN} --scaled-fp8-marker 1", refuses(2, "--scaled-fp8-marker")),
    Row("cli 9", "--cleanup-fp8-scaled --input_scale", f"{CLEAN} --input_scale", scalar("blk.0.rows.scale_input", 1)),
    Row(
        "cli 9",
        "--make-hybrid-mxfp8: weight_scalar, the largest block scale, and the format's name",
        HYBRID,
        both(
            marked(Q, format="hybrid_mxfp8"),
            when(
                lambda run: near(
                    run.tensors[f"{Q}.weight_scalar"].values()[0],
                    workshop_more.e8m0(max(run.tensors[f"{Q}.weight_scale"].data)),
                    1e-6,
                )
            ),
        ),
        before=MX,
    ),
    Row(
        "cli 9",
        "--make-hybrid-mxfp8: codes keep their bytes",
        HYBRID,
        same_as(MX[0].replace("q.safetensors", "o.safetensors"), only=r"weight$|weight_scale$"),
        before=MX,
    ),
    Row(
        "cli 9",
        "--tensor-scales takes them from a tensor-wise FP8 model",
        f"{HYBRID} --tensor-scales f.safetensors",
        when(
            lambda run: run.tensors[f"{Q}.weight_scalar"].values()
            == run.file("f.safetensors").tensors[f"{Q}.weight_scale"].values()
        ),
        before=(*MX, FP8.replace("q.safetensors", "f.safetensors")),
    ),
    Row(
        "cli 12",
        "--make-hybrid-mxfp8: the default output is <stem>_hybrid",
        "--make-hybrid-mxfp8 -i q.safetensors",
        writes("q_hybrid.safetensors"),
        before=MX,
    ),
    Row(
        "cli 9",
        "--make-hybrid-mxfp8: a file without mxfp8",
        "--make-hybrid-mxfp8 -i q.safetensors -o o.safetensors",
        refuses(4, "mxfp8"),
        before=(FP8,),
    ),
    Row(
        "cli 1",
        "two modes at once are refused (the first was taken)",
        "--convert-fp8-scaled --edit-quant -i {legacy_fp8} -o o.safetensors",
        refuses(2, "does not go with"),
    ),
    Row(
        "cli 9",
        "output equals input is refused",
        "--cleanup-fp8-scaled -i {legacy_fp8@} -o legacy_fp8.safetensors",
        refuses(2, "input"),
    ),
    # ---------------------------------------------------------------------------------------------- extract-lora (10, 24)
    Row(
        "24",
        "the adapter's names: diffusion_model.<layer>.lora_up and lora_down, float32, without alpha",
        EXTRACT,
        both(
            holds("diffusion_model.blocks.0.square.lora_up.weight", "F32", (64, 32)),
            holds("diffusion_model.blocks.0.square.lora_down.weight", "F32", (32, 64)),
            lacks("alpha"),
        ),
        before=(UNLIKE,),
    ),
    Row(
        "24",
        "it brings the decoded weight nearer to the original",
        EXTRACT,
        brings_nearer("blocks.0.square", "unlike", "q.safetensors"),
        before=(UNLIKE,),
    ),
    Row(
        "24",
        "covered: block 0 alone, aspect ratio below 3, to 4 for attention and in block 0; none without an index",
        EXTRACT,
        covered("blocks.0.square", "blocks.0.other", "blocks.0.attn.proj"),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10", "the rank is 32 unless said", f"{EXTRACT} --lora-rank 32", same_as(EXTRACT, before=(UNLIKE,)), before=(UNLIKE,)
    ),
    Row(
        "cli 10",
        "--lora-rank",
        f"{EXTRACT} --lora-rank 5",
        holds("diffusion_model.blocks.0.square.lora_up.weight", "F32", (64, 5)),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-rank beyond the smaller side is the smaller side",
        f"{EXTRACT} --lora-rank 500",
        holds("diffusion_model.blocks.0.square.lora_up.weight", "F32", (64, 64)),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-depth 2: two blocks",
        f"{EXTRACT} --lora-depth 2",
        covered("blocks.0.square", "blocks.0.other", "blocks.0.attn.proj", "blocks.1.square"),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-depth is 1 unless said",
        f"{EXTRACT} --lora-depth 1",
        same_as(EXTRACT, before=(UNLIKE,)),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-ar-threshold: aspect ratios below it alone",
        f"{EXTRACT} --lora-ar-threshold 2",
        covered("blocks.0.square"),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-target is covered whatever the rest says",
        f"{EXTRACT} --lora-target 'thin|embed'",
        covered("blocks.0.square", "blocks.0.other", "blocks.0.attn.proj", "blocks.0.thin", "embed.square"),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "a bad --lora-target is refused (it warned)",
        f"{EXTRACT} --lora-target [",
        refuses(2, "--lora-target"),
        before=(UNLIKE,),
    ),
    Row("cli 10", "--lora-rank 0 is refused", f"{EXTRACT} --lora-rank 0", refuses(2, "--lora-rank"), before=(UNLIKE,)),
    Row("cli 10", "--lora-depth -1 is refused", f"{EXTRACT} --lora-depth -1", refuses(2, "--lora-depth"), before=(UNLIKE,)),
    Row(
        "cli 10",
        "--lora-ar-threshold -1 is refused",
        f"{EXTRACT} --lora-ar-threshold -1",
        refuses(2, "--lora-ar-threshold"),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-dtype f16",
        f"{EXTRACT} --lora-dtype f16",
        holds("diffusion_model.blocks.0.square.lora_up.weight", "F16"),
        before=(UNLIKE,),
    ),
    Row(
        "cli 10",
        "--lora-output is the same as -o",
        "extract-lora -i {unlike} --quantized q.safetensors --lora-output o.safetensors",
        same_as(EXTRACT, before=(UNLIKE,)),
        before=(UNLIKE,),
    ),
    Row(
        "cli 12",
        "the default name is <quantized stem>_lora",
        "extract-lora -i {unlike} --quantized q.safetensors",
        writes("q_lora.safetensors"),
        before=(UNLIKE,),
    ),
    *(
        Row(
            "cli 10",
            f"--extract-lora at the end of a run, {name} (for FP8 and INT8 nothing was written)",
            f"-i {{unlike}} -o q.safetensors --comfy_quant --simple {flags} --extract-lora --lora-rank 8",
            when(
                lambda run: run.written == ["q.safetensors", "q_lora.safetensors"]
                and run.file("q_lora.safetensors").tensors["diffusion_model.blocks.0.square.lora_up.weight"].shape == (64, 8)
            ),
        )
        for name, flags in (
            ("FP8", "--fp8"),
            ("INT8 rows", "--int8 --scaling_mode row"),
            ("NVFP4", "--nvfp4"),
            ("MXFP8", "--mxfp8"),
        )
    ),
    Row(
        "cli 10",
        "--extract-lora with --lora-output",
        "-i {unlike} -o q.safetensors --comfy_quant --simple --fp8 --extract-lora --lora-output l.safetensors",
        writes("l.safetensors", "q.safetensors"),
    ),
    Row(
        "cli 10",
        "the options without --extract-lora are refused",
        "-i {unlike} -o q.safetensors --comfy_quant --simple --fp8 --lora-rank 8",
        refuses(2, "--lora-rank"),
    ),
    # ----------------------------------------------------------------------------------------------------- compare (peer)
    Row(
        "cli 7",
        "compare: the measuring script's spellings and report",
        "compare --base {spare} --quantized q.safetensors --top-layers 1 --output-report r.json",
        both(
            says(r"SQNR", r"blk\.0\.(mlp|attn\.to_q)"),
            when(lambda run: len(json.loads((run.folder / "r.json").read_text())["files"][0]["layers"]) == 2),
        ),
        before=(FP8,),
    ),
    Row(
        "cli 7",
        "--original is --base",
        "compare --original {spare} --quantized q.safetensors",
        when(
            lambda run: "SQNR" in run.out
            and run.out == run.other("compare --base {spare} --quantized q.safetensors", before=(FP8,)).out
        ),
        before=(FP8,),
    ),
    Row(
        "cli 7",
        "--layers-to-compare takes parts of names",
        "compare --base {spare} --quantized q.safetensors --layers-to-compare mlp,none --output-report r.json",
        when(
            lambda run: [layer["name"] for layer in json.loads((run.folder / "r.json").read_text())["files"][0]["layers"]] == [M]
        ),
        before=(FP8,),
    ),
]
