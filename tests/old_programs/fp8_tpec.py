"""What the documents of the TPEC program and of its window promised, as `convert_to_quant fp8` keeps it."""

import json
import math

from workshop import Row, both, differs_from, ends, holds, kept, lacks, quantized, refuses, same_as, says, writes
from workshop_more import cast_e4m3, counts, f32, largest, metadata_has, near, token, when
import workshop
import workshop_more

IN = "fp8 --input {distilled} --output o.safetensors"
T5 = "fp8 --input {t5} --output o.safetensors --t5xxl"
NAME = "distilled_float8_e4m3fn_scaled_learned"
FAST = " --num_iter 0"


def scale_is(layer: str, model: str):
    """One float: the largest magnitude over 448."""

    def check(run):
        tensor = run.tensors.get(f"{layer}.scale_weight")
        if tensor is None or tensor.dtype != "F32" or len(tensor.data) != 4:
            return "no float32 scale_weight of one element"
        return near(tensor.values()[0], largest(run.source(model)[f"{layer}.weight"].values()) / 448, 1e-6)

    return when(check)


def leading(rows, steps: int = 200):
    """Left and right leading singular vectors, by power iteration."""
    v = [1.0 + 0.01 * i for i in range(len(rows[0]))]
    for _ in range(steps):
        u = [sum(a * b for a, b in zip(row, v)) for row in rows]
        v = [sum(rows[i][j] * u[i] for i in range(len(rows))) for j in range(len(v))]
        size = math.sqrt(sum(x * x for x in v))
        v = [x / size for x in v]
    u = [sum(a * b for a, b in zip(row, v)) for row in rows]
    size = math.sqrt(sum(x * x for x in u))
    return [x / size for x in u], v


def along(run, layer: str, u, v) -> float:
    error = [
        [a - b for a, b in zip(x, y)]
        for x, y in zip(workshop_more.scaled_rows(run, layer), run.source("distilled")[f"{layer}.weight"].rows())
    ]
    return abs(sum(ui * sum(e * vj for e, vj in zip(row, v)) for ui, row in zip(u, error)))


def smaller_along_leading_direction(run):
    layer = "blocks.0.mlp"
    u, v = leading(run.source("distilled")[f"{layer}.weight"].rows())
    plain = run.other(f"{IN} --method rtn")
    ours, nearest = along(run, layer, u, v), along(plain, layer, u, v)
    return None if ours < nearest / 2 else f"{ours:.3g} along the leading direction, {nearest:.3g} rounded to nearest"


def progress(run):
    lines = [json.loads(line) for line in run.err.splitlines() if line.startswith("{")]
    tensors = [line for line in lines if line["event"] == "tensor"]
    return (
        bool(tensors)
        and all(key in tensors[-1] for key in ("i", "n", "key", "decision", "eta_s"))
        and tensors[-1]["i"] == tensors[-1]["n"]
    )


ROWS = [
    # names
    Row(
        "26",
        "without an output the name is derived and lies beside the input",
        "fp8 --input {distilled@}",
        writes(f"{NAME}_svd.safetensors"),
    ),
    Row(
        "26",
        "--keep_distillation adds _nodistill to it",
        "fp8 --input {distilled@} --keep_distillation",
        writes(f"{NAME}_nodistill_svd.safetensors"),
    ),
    Row(
        "cli 12",
        "--t5xxl does not change the name",
        "fp8 --input {t5@} --t5xxl",
        writes("t5_float8_e4m3fn_scaled_learned_svd.safetensors"),
    ),
    Row("cli 4", "--output names the file, also without a folder (this failed after all the work)", IN, writes("o.safetensors")),
    Row(
        "cli 4",
        "the output's folder is made",
        "fp8 --input {distilled} --output new/folder/o.safetensors",
        writes("new/folder/o.safetensors"),
    ),
    Row("cli 4", "short forms -i and -o", "fp8 -i {distilled} -o o.safetensors", same_as(IN, metadata=True)),
    Row("cli 4", "tpec is the default method", f"{IN} --method tpec", same_as(IN, metadata=True)),
    # what is quantized
    Row(
        "2.4",
        "all 2-D weights become FP8 E4M3",
        IN,
        quantized("img_in", "final_layer.linear", "blocks.0.attn.to_q", "blocks.0.narrow", "blocks.0.few", dtype="F8_E4M3"),
    ),
    Row(
        "2.4",
        "norms and convolutions keep their bytes and get no scale (they were cast)",
        IN,
        both(kept("distilled", "blocks.0.norm.weight", "blocks.0.conv.weight"), lacks(r"(norm|conv)\.scale_weight")),
    ),
    Row(
        "2.4",
        "convolutions become FP8 without a scale when asked, and no loader looks for one",
        f"{IN} --quantize-conv",
        both(quantized("blocks.0.conv", dtype="F8_E4M3"), lacks(r"conv\.scale_weight")),
    ),
    Row(
        "2.4",
        "--quantize-conv with another format is refused",
        "-i {distilled} -o o.safetensors --int8 --quantize-conv",
        refuses(2, "quantize-conv.*goes with FP8"),
    ),
    Row("2.4", "biases keep their bytes", IN, kept("distilled", "img_in.bias", "blocks.0.mlp.bias")),
    Row(
        "2.4",
        "--keep_distillation keeps the four kinds of layers as they are",
        f"{IN} --keep_distillation",
        both(
            kept(
                "distilled",
                *(f"{name}.weight" for name in ("distilled_guidance_layer.in_proj", "final_layer.linear", "img_in", "txt_in")),
            ),
            quantized("blocks.0.mlp", dtype="F8_E4M3"),
        ),
    ),
    Row(
        "2.4",
        "layers kept so get no scale (one of 1.0 was written)",
        f"{IN} --keep_distillation",
        lacks(r"(img_in|txt_in|final_layer.linear|in_proj)\.scale_weight"),
    ),
    Row("2.4", "without it they are quantized", IN, quantized("txt_in", dtype="F8_E4M3")),
    Row("2.4", "--t5xxl leaves out decoder and lm_head", T5, lacks("decoder", "lm_head")),
    Row(
        "2.4",
        "without it they stay, quantized",
        "fp8 --input {t5} --output o.safetensors",
        quantized("lm_head", "decoder.block.0.layer.0.SelfAttention.q", dtype="F8_E4M3"),
    ),
    Row(
        "2.4",
        "--t5xxl keeps norm, embed_tokens and shared",
        T5,
        kept(
            "t5",
            "shared.weight",
            "encoder.embed_tokens.weight",
            "encoder.final_layer_norm.weight",
            "encoder.block.0.layer.0.layer_norm.weight",
        ),
    ),
    Row(
        "2.4",
        "--t5xxl quantizes the rest",
        T5,
        quantized("encoder.block.0.layer.0.SelfAttention.q", "encoder.block.1.layer.1.DenseReluDense.wo", dtype="F8_E4M3"),
    ),
    Row(
        "cli 4",
        "--t5xxl and --keep_distillation go together",
        "fp8 --input {distilled} --output o.safetensors --t5xxl --keep_distillation",
        both(kept("distilled", "img_in.weight", "txt_in.weight"), quantized("blocks.0.mlp", dtype="F8_E4M3")),
    ),
    Row(
        "cli 4",
        "dashes are taken for underscores",
        f"{IN} --keep-distillation",
        same_as(f"{IN} --keep_distillation", metadata=True),
    ),
    # what is written
    Row(
        "3.6",
        "scale_weight is one float32, the largest magnitude over 448",
        IN,
        both(scale_is("blocks.0.mlp", "distilled"), scale_is("img_in", "distilled")),
    ),
    Row(
        "23.1",
        "codes decode to the weight with that scale",
        IN,
        both(*(workshop.error_below(name, "distilled", 0.0012) for name in ("blocks.0.mlp", "blocks.0.attn.to_q"))),
    ),
    Row("23.1", "the marker scaled_fp8 has two elements", IN, holds("scaled_fp8", "F8_E4M3", (2,))),
    Row("23.1", "they are zero (they were whatever memory held)", IN, holds("scaled_fp8", data=bytes(2))),
    Row("23.1", "with --t5xxl it has none", T5, holds("scaled_fp8", "F8_E4M3", (0,))),
    Row(
        "23.1",
        "--t5xxl writes scale_input, a copy of the weight's scale",
        T5,
        when(
            lambda run: all(
                run.tensors[f"{name[:-len('.scale_weight')]}.scale_input"].data == tensor.data
                for name, tensor in run.tensors.items()
                if name.endswith(".scale_weight")
            )
        ),
    ),
    Row("23.1", "without it there is none", IN, lacks("scale_input")),
    Row(
        "23.1",
        "a weight of zeros: codes 0 and scale 1",
        IN,
        both(
            holds("blocks.0.zero.weight", "F8_E4M3", data=bytes(4096)),
            when(lambda run: run.tensors["blocks.0.zero.scale_weight"].values() == [1.0]),
        ),
    ),
    Row("23.1", "no markers of the newer layout", IN, lacks("comfy_quant", r"\.weight_scale")),
    Row("27", "the header's metadata stays (it was dropped)", IN, metadata_has(made="for rows")),
    Row(
        "cli 4",
        "--no-legacy writes the newer layout",
        f"{IN} --no-legacy",
        both(
            workshop.marked("blocks.0.mlp", format="float8_e4m3fn"),
            holds("blocks.0.mlp.weight_scale", "F32"),
            lacks("scale_weight", "scaled_fp8"),
        ),
    ),
    Row("cli 4", "--comfy_quant is the same", f"{IN} --comfy_quant", same_as(f"{IN} --no-legacy", metadata=True)),
    # rounding
    Row(
        "23.1",
        "learned codes are not those of rounding to nearest (they were)",
        IN,
        differs_from(f"{IN} --method rtn", only=r"weight$"),
    ),
    Row("23.1", "the error along the leading direction is smaller", IN, when(smaller_along_leading_direction)),
    Row(
        "23.1",
        "--num_iter 0 rounds to nearest",
        IN + FAST,
        both(
            same_as(f"{IN} --method rtn", only="weight"),
            when(
                lambda run: (
                    lambda values, scale: run.tensors["blocks.0.mlp.weight"].data
                    == cast_e4m3(f32(v * f32(1 / scale)) for v in values)
                )(run.source("distilled")["blocks.0.mlp.weight"].values(), run.tensors["blocks.0.mlp.scale_weight"].values()[0])
            ),
        ),
    ),
    Row("cli 4", "--num_iter is 500 unless said", f"{IN} --num_iter 500", same_as(IN, metadata=True)),
    Row("cli 4", "--num_iter 1 stops sooner", f"{IN} --num_iter 1", differs_from(IN, only="weight")),
    Row(
        "cli 4",
        "--num_iter 100 and 2000, the ends of the window's slider",
        f"{IN} --num_iter 2000",
        both(quantized("img_in", dtype="F8_E4M3"), lambda run: ends(0)(run.other(f"{IN} --num_iter 100"))),
    ),
    Row("cli 4", "--top_k is 1 unless said", f"{IN} --top_k 1", same_as(IN, metadata=True)),
    Row("cli 4", "--top_k uses more directions", f"{IN} --top_k 8", differs_from(IN, only="weight")),
    Row("cli 4", "--top_k beyond the smaller side", f"{IN} --top_k 500", quantized("blocks.0.few", dtype="F8_E4M3")),
    Row(
        "23.1",
        "the log says how far the loss went down and why it ended",
        IN,
        says(r"Processing \(FP8\): blocks\.0\.mlp\.weight.*tpec.* -> .*iterations \(\w"),
    ),
    Row(
        "cli 4",
        "--calib_samples is taken; a note says that it changes nothing",
        f"{IN} --calib_samples 3072",
        both(same_as(IN), says("note: --calib_samples has no effect")),
    ),
    Row(
        "cli 4",
        "--calib_samples 512 and 8192, the ends of the window's slider",
        f"{IN} --calib_samples 8192",
        both(same_as(IN), lambda run: ends(0)(run.other(f"{IN} --calib_samples 512"))),
    ),
    Row(
        "14",
        "biases change with recorded inputs only, towards the mean that was lost",
        f"{IN} --calibration-data means.safetensors",
        when(
            lambda run: (
                None
                if run.tensors["blocks.0.mlp.bias"] != run.source("distilled")["blocks.0.mlp.bias"]
                and run.tensors["img_in.bias"] == run.source("distilled")["img_in.bias"]
                else "bias as before, or another one changed"
            )
        ),
        files={
            "means.safetensors": {
                "blocks.0.mlp.mean": workshop.numbers([0.5 + 0.1 * (i % 7) for i in range(64)]),
                "blocks.0.mlp.second_moment": workshop.numbers([1.0 + 0.1 * (i % 7) for i in range(64)]),
            }
        },
    ),
    Row("cli 4", "a second run writes the same bytes", f"{IN} --no-resume", same_as(IN, metadata=True)),
    # log
    Row("26", "says what it does with each tensor, one of how many", IN, says(r"\(\d+/\d+\) Processing \(FP8\): img_in\.weight")),
    Row(
        "26",
        "says what it skips and why",
        f"{IN} --keep_distillation",
        says(r"\(\d+/\d+\) Skipping tensor: img_in\.weight \(Reason: .+\)"),
    ),
    Row(
        "23.1",
        "says how many weights were processed and tensors skipped",
        f"{IN} --keep_distillation",
        says(r"float8_e4m3fn \(tensor\) +6 weights", r"kept as they are +\d+ tensors"),
    ),
    Row(
        "23.1",
        "with --t5xxl the tensors that were left out are named",
        T5,
        says(r"[Rr]emov\w+.*decoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight"),
    ),
    Row("23.1", "and counted", T5, says(r"removed +3 tensors")),
    Row("23.1", "no tensor is printed in full", IN, both(says("img_in"), workshop.silent_about(r"tensor\(\[", r"dtype="))),
    Row("27", "-v says more", f"{IN} -v", when(lambda run: len(run.said) > len(run.other(IN).said))),
    Row("26", "progress for a window: JSON lines with tensor i of n and remaining time", f"{IN} --progress json", when(progress)),
    Row("26", "a line of progress for each tensor where there is no terminal", IN, says(r"\((\d+)/\1\)")),
    # before the start
    Row("26", "no input: refused before anything is done", "fp8", refuses(2, "--input")),
    Row(
        "26",
        "an input that is not there is refused, with an exit code (it was 0)",
        "fp8 --input none.safetensors",
        refuses(4, "none.safetensors"),
    ),
    Row("26", "output equals input is refused", "fp8 --input {distilled@} --output distilled.safetensors", refuses(2, "input")),
    Row(
        "26",
        "the same through a path that is written otherwise",
        "fp8 --input {distilled@} --output ./distilled.safetensors",
        refuses(2, "input"),
    ),
    Row(
        "26",
        "a file that is no model ends with an exit code that tells it from success",
        "fp8 --input junk.safetensors --output o.safetensors",
        refuses(4, "junk.safetensors"),
        files={"junk.safetensors": b"junk" * 9},
    ),
    Row("cli 4", "--calib_samples 0 is refused", f"{IN} --calib_samples 0", refuses(2, "--calib_samples")),
    Row("cli 4", "--num_iter -1 is refused", f"{IN} --num_iter -1", refuses(2, "--num_iter")),
    Row("cli 4", "--top_k 0 is refused", f"{IN} --top_k 0", refuses(2, "--top_k")),
    Row("cli 4", "an unknown method is refused with the list", f"{IN} --method none", refuses(2, "tpec", "adaround", "rtn")),
    Row(
        "cli 4",
        "options of the other program are noted with this method",
        f"{IN} --method tpec --lr 0.03 --reg_lambda 0.1",
        both(same_as(IN), says("note: --lr has no effect", "note: --reg_lambda has no effect")),
    ),
    Row(
        "cli 4",
        "an output of scaled FP8 is refused as an input",
        "fp8 --input {legacy_fp8} --output o.safetensors",
        refuses(4, "quantized"),
    ),
    Row(
        "cli 4",
        "--help lists its options",
        "fp8 --help",
        says(*(f"--{name}" for name in ("t5xxl", "keep_distillation", "calib_samples", "num_iter", "top_k", "method"))),
    ),
]
