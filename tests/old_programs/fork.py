"""Rows of the QuIP/INT8 fork: the program whose command line the default command keeps.

"fork 3.2" is what was written about its behaviour, "fork option" about an option, "fork name" about output names, "fork error" about bad input,
"fork example" a command line of its documents. Where the documents of this program say that it deliberately does better, the row asks for that.
"""

import json
import re
import struct

from workshop import (
    Row,
    Tensor,
    both,
    decoded,
    differs_from,
    ends,
    error_below,
    File,
    holds,
    kept,
    lacks,
    linear,
    marked,
    model,
    normal,
    numbers,
    quantized,
    refuses,
    same_as,
    says,
    silent_about,
    square_error,
    writes,
)

ROWS: list[Row] = []
BASE = "-i {two} -o o.safetensors --comfy_quant"
QUICK = f"{BASE} --simple"  # round to nearest, blocks of 128
SEED = f"{BASE} --profile seed"  # the old defaults
ATTN, MLP = "blk.0.attn", "blk.0.mlp"


def row(section, thing, args, check, **more):
    ROWS.append(Row(f"fork {section}", thing, args, check, **more))


# ---------------------------------------------------------------------------------------------------------------- models


def small() -> dict[str, Tensor]:
    """Two float32 layers of 64, for sums done here in Python."""
    tensors = {}
    linear(tensors, "blocks.0.q", 64, 64, "F32")
    linear(tensors, "blocks.0.out", 64, 64, "F32")
    return tensors


def prefixed() -> dict[str, Tensor]:
    return {f"model.diffusion_model.{name}": tensor for name, tensor in small().items()}


def zero() -> dict[str, Tensor]:
    tensors = two_layers()
    tensors["blk.0.zero.weight"] = Tensor("BF16", (128, 128), bytes(2 * 128 * 128))
    return tensors


def two_layers() -> dict[str, Tensor]:
    tensors = {}
    linear(tensors, ATTN, 128, 128)
    return tensors


def broken() -> dict[str, Tensor]:
    """One weight holds a NaN, another a value beyond float16."""
    tensors = two_layers()
    for name, value in (("nan", float("nan")), ("large", 1e5)):
        values = normal(name, (128, 128)).values()
        values[5] = value
        tensors[f"blk.0.{name}.weight"] = numbers(values, (128, 128), "F32")
    return tensors


def many_types() -> dict[str, Tensor]:
    tensors = two_layers()
    for dtype, size in (
        ("F64", 8),
        ("F32", 4),
        ("F16", 2),
        ("BF16", 2),
        ("F8_E5M2", 1),
        ("F8_E4M3", 1),
        ("I64", 8),
        ("I32", 4),
        ("I16", 2),
        ("I8", 1),
        ("U8", 1),
        ("BOOL", 1),
    ):
        tensors[f"extra.{dtype}"] = Tensor(dtype, (8,), bytes([0, 1] * 4 * size))
    return tensors


def long_blocks() -> dict[str, Tensor]:
    """Twelve blocks, so that 1 and 10 are to be told apart, and layers of different shapes."""
    tensors = {}
    for block in (0, 1, 10, 11):
        linear(tensors, f"double_blocks.{block}.img_attn.proj", 64, 64, bias=False)
        linear(tensors, f"double_blocks.{block}.img_mlp.0", 128, 64, bias=False)
    return tensors


def adapter() -> dict[str, Tensor]:
    """A LoRA as a model to be quantized, with its alphas and scales."""
    tensors = {}
    for layer in ("blocks.0.q", "blocks.0.k"):
        tensors[f"{layer}.lora_A.weight"] = normal(f"{layer}.A", (128, 128))
        tensors[f"{layer}.lora_B.weight"] = normal(f"{layer}.B", (128, 128))
        tensors[f"{layer}.alpha"] = numbers([4.0], ())
    return tensors


def lora(layers, rank=2, name="lora", suffix=(".lora_A.weight", ".lora_B.weight"), deviation=0.1, side=64) -> dict[str, Tensor]:
    tensors = {}
    for layer in layers:
        tensors[layer + suffix[0]] = normal(f"{name}{layer}A", (rank, side), "F32", deviation)
        tensors[layer + suffix[1]] = normal(f"{name}{layer}B", (side, rank), "F32", deviation)
    return tensors


def rows() -> dict[str, Tensor]:
    """Recorded inputs of `two`, neighbouring columns alike, with a mean."""
    tensors = {}
    for layer, width in ((ATTN, 128), (MLP, 256)):
        coarse = normal(f"{layer} rows", (160, width // 8), "F32", 1.0).rows()
        fine = normal(f"{layer} fine", (160, width), "F32", 0.1).rows()
        tensors[f"{layer}.rows"] = numbers(
            (coarse[i][j // 8] + fine[i][j] + 0.5 for i in range(160) for j in range(width)), (160, width)
        )
    return tensors


def stats() -> dict[str, Tensor]:
    """What the fork's own calibration wrote: largest and mean magnitudes, and a scale."""
    tensors = {}
    for layer, width in ((ATTN, 128), (MLP, 256)):
        largest = [1 + (40 if j % 31 == 3 else 0) + j % 5 for j in range(width)]
        tensors[f"{layer}.channel_max"] = numbers(largest)
        tensors[f"{layer}.channel_mean"] = numbers(value / 4 for value in largest)
        tensors[f"{layer}.input_scale"] = numbers([max(largest) / 127], ())
    return tensors


def t5_rows() -> dict[str, Tensor]:
    """Recorded inputs of the first block's q, k, v in `t5`, two columns much larger."""
    values = normal("t5 rows", (96, 128), "F32", 1.0).rows()
    data = [value * (40 if j in (7, 90) else 1) for line in values for j, value in enumerate(line)]
    return {f"encoder.block.0.layer.0.SelfAttention.{part}.rows": numbers(data, (96, 128)) for part in "qkv"}


for maker in (small, prefixed, zero, broken, many_types, long_blocks, adapter, rows, stats, t5_rows):
    model(maker.__name__, maker, {"made": "for rows", "format": "pt"})
model("style", lambda: lora(["blocks.0.q"]))
model("light", lambda: lora(["blocks.0.q"], name="light"))
model("wide_lora", lambda: lora([ATTN], rank=4, side=128))


# ---------------------------------------------------------------------------------------------------------------- checks


def as_float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def nearest_codes(layer: str, tile: tuple[int, int] | None, model_name: str = "two"):
    """Codes are round(w / s) and s is the largest magnitude of a tile (None: of the tensor) over 127."""

    def check(run):
        if run.code:
            return ends(0)(run)
        weight, codes = run.source(model_name)[f"{layer}.weight"], run.tensors[f"{layer}.weight"]
        scale = (run.tensors.get(f"{layer}.weight_scale") or run.tensors[f"{layer}.scale_weight"]).values()
        rows_, columns = weight.shape
        high, wide = tile or weight.shape
        values, found = weight.values(), codes.values()
        for down in range(rows_ // high):
            for across in range(columns // wide):
                at = [(down * high + i) * columns + across * wide + j for i in range(high) for j in range(wide)]
                wanted = as_float32(max(abs(values[i]) for i in at) / 127)
                stored = scale[down * (columns // wide) + across]
                if abs(stored - wanted) > 1e-6 * wanted:
                    return f"scale {stored}, not {wanted}"
                for i in at:
                    if abs(found[i] - values[i] / stored) > 0.5001:
                        return f"code {found[i]} for {values[i] / stored:.4f}"
        return None

    return check


def merged(model_name: str, layer: str, parts, tensor: str = ""):
    """The decoded weight is the model's plus factor * B A of each part, up to the rounding of 8 bits."""

    def check(run):
        if run.code:
            return ends(0)(run)
        wanted = run.source(model_name)[f"{layer}.weight"].rows()
        for (lora_tensors, name, suffixes), factor in parts:
            a, b = lora_tensors[name + suffixes[0]].rows(), lora_tensors[name + suffixes[1]].rows()
            for i, line in enumerate(wanted):
                for r, part in enumerate(b[i]):
                    for j, value in enumerate(a[r]):
                        line[j] += factor * part * value
        flat = [value for line in wanted for value in line]
        found = decoded(run, tensor or layer)
        error = sum((x - y) ** 2 for x, y in zip(flat, found)) / sum(x * x for x in flat)
        return None if error < 1e-3 else f"squared error {error:.3g} of the expected weight's"

    return check


PEFT = (".lora_A.weight", ".lora_B.weight")
KOHYA = (".lora_down.weight", ".lora_up.weight")


def not_worse_than_nearest(*layers, model_name="two", nearest=QUICK):
    """In the weights' squared error it may be worse, but within bounds that no broken file has."""

    def check(run):
        if run.code:
            return ends(0)(run)
        for layer in layers:
            error, plain = square_error(run, layer, model_name), square_error(run.other(nearest), layer, model_name)
            if error > 4 * plain + 1e-12:
                return f"{layer}: squared error {error:.3g}, to nearest {plain:.3g}"
        return None

    return check


def header_map(*layers, **entries):
    def check(run):
        if run.code:
            return ends(0)(run)
        found = json.loads(run.metadata.get("_quantization_metadata", "{}"))
        if found.get("format_version") != "1.0":
            return f"no map of version 1.0: {found}"
        for layer in layers:
            if layer not in found["layers"]:
                return f"{layer} is not in the map"
            if any(found["layers"][layer].get(key) != value for key, value in entries.items()):
                return f"{layer} is {found['layers'][layer]}"
        return None

    return check


def metadata_kept(run):
    return None if run.metadata.get("made") == "for rows" else f"metadata is {run.metadata}"


def same_as_plain(only=""):
    return same_as(QUICK, only=only)


def finite_scales(run):
    if run.code:
        return ends(0)(run)
    for name, tensor in run.tensors.items():
        if name.endswith(("weight_scale", "scale_weight")) and not all(0 < value < 1e30 for value in tensor.values()):
            return f"{name} holds {tensor.values()[:3]}"
    return None


# --------------------------------------------------------------------------------------------------------------- reading

row(
    "1",
    "Streaming, low-memory and standard reading give the same file",
    f"{QUICK} --low-memory",
    both(same_as(f"{QUICK} --streaming-mode off", metadata=True), same_as(f"{QUICK} --streaming-mode balanced", metadata=True)),
)
row("1", "The header's metadata of the input are kept", QUICK, metadata_kept)
row(
    "1",
    "Tensors of every element type of the loader are copied bytewise",
    "-i {many_types} -o o.safetensors --simple --comfy_quant",
    lambda run: kept("many_types", *(name for name in run.source("many_types") if name.startswith("extra")))(run),
)
row(
    "1",
    "Large element types come first in the file, so that data are aligned",
    "-i {many_types} -o o.safetensors --simple --comfy_quant",
    lambda run: ends()(run) or aligned(run),
)
row("1", "Equal input and options give equal bytes", f"{QUICK} --threads 1", same_as_plain())


def aligned(run):
    data = (run.folder / "o.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    from workshop import ELEMENT_BYTES

    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__" and (8 + size + entry["data_offsets"][0]) % ELEMENT_BYTES[entry["dtype"]]:
            return f"{name} is not aligned"
    return None


# --------------------------------------------------------------------------------------------------------------- routing

row("2.1", "2-D tensors that end in .weight are quantized", QUICK, quantized(ATTN, MLP))
row(
    "2.1",
    "Norms, biases, convolutions, tables and counters are copied unchanged",
    "-i {odd} -o o.safetensors --simple --comfy_quant",
    kept("odd", "blk.0.norm.weight", "blk.0.fits.bias", "blk.0.conv.weight", "blk.0.table", "blk.0.count"),
)
row(
    "2.1",
    "Both matrices of an adapter are quantized, alphas kept (--lora)",
    "-i {adapter} -o o.safetensors --simple --comfy_quant --lora",
    both(holds("blocks.0.q.lora_A.weight", "I8"), holds("blocks.0.k.lora_B.weight", "I8"), kept("adapter", "blocks.0.q.alpha")),
)
row(
    "2.1",
    "An adapter's matrices without .weight at the end of their names are no candidates here: no loader reads them quantized",
    "-i a.safetensors -o o.safetensors --simple --comfy_quant --lora",
    refuses(1, "nothing to quantize"),
    files={"a.safetensors": {f"blocks.0.q.lora_{part}": normal(part, (128, 128)) for part in "AB"}},
)
row(
    "2.1",
    "Tensors are numbered (i/n) in growing order",
    QUICK,
    lambda run: ends()(run)
    or (None if re.findall(r"^\((\d)/5\) Processing", run.out, re.M) == ["1", "3"] else "no (1/5), (3/5) in order"),
)
row(
    "2.1",
    "With --fp16 everything floating point becomes F16 (only 2-D weights did); integers stay",
    "-i {odd} -o o.safetensors --fp16",
    both(holds("blk.0.norm.weight", "F16"), holds("blk.0.conv.weight", "F16"), kept("odd", "blk.0.count")),
)
row(
    "2.1",
    "--t5xxl drops decoder and LM head, vectors too",
    "-i {t5} -o o.safetensors --simple --t5xxl",
    lacks("decoder", "lm_head"),
)
row(
    "2.1",
    "--t5xxl keeps norms, embeddings and shared",
    "-i {t5} -o o.safetensors --simple --t5xxl --scaling_mode row",
    kept("t5", "shared.weight", "encoder.embed_tokens.weight", "encoder.block.0.layer.0.layer_norm.weight"),
)
row(
    "2.1",
    "--t5xxl quantizes attention and MLP",
    "-i {t5} -o o.safetensors --simple --t5xxl",
    quantized("encoder.block.0.layer.0.SelfAttention.q", "encoder.block.1.layer.1.DenseReluDense.wo"),
)
row(
    "2.1",
    "A layer configuration's skip keeps the layer",
    f"{QUICK} --layer-config l.json",
    kept("two", f"{ATTN}.weight"),
    files={"l.json": {"attn": {"skip": True}}},
)
row(
    "2.1",
    "A layer configuration wins over custom layers",
    f"{QUICK} --layer-config l.json --custom-layers attn --custom-type fp16",
    quantized(ATTN),
    files={"l.json": {"attn": {"format": "int8_tensorwise"}}},
)
row(
    "2.1",
    "Custom layers win over --exclude-layers",
    f"{QUICK} --custom-layers attn --custom-type fp16 --exclude-layers attn",
    holds(f"{ATTN}.weight", "F16"),
)
row(
    "2.1",
    "Custom layers win over presets",
    "-i {flux} -o o.safetensors --simple --comfy_quant --flux2 --custom-layers txt_in --custom-type fp16",
    both(holds("txt_in.weight", "F16"), kept("flux", "img_in.weight")),
)
row(
    "2.1",
    "--exclude-layers keeps layers that it finds",
    f"{QUICK} --exclude-layers attn",
    both(kept("two", f"{ATTN}.weight"), quantized(MLP)),
)
row(
    "2.1",
    "Of several active presets each protects its layers",
    "-i {flux} -o o.safetensors --simple --comfy_quant --flux2 --visual --distillation_large",
    kept("flux", "img_in.weight", "txt_in.weight", "final_layer.linear.weight", "time_in.in_layer.weight"),
)
row(
    "2.1",
    "--fallback gives excluded layers its type",
    f"{QUICK} --exclude-layers attn --fallback fp16",
    both(holds(f"{ATTN}.weight", "F16"), quantized(MLP)),
)
row(
    "2.1",
    "--fallback also takes what a preset protects",
    "-i {flux} -o o.safetensors --simple --comfy_quant --flux2 --fallback fp16",
    holds("img_in.weight", "F16"),
)
row(
    "2.1",
    "--simple does not reach custom layers",
    f"{QUICK} --num_iter 60 --min_k 8 --custom-layers attn --custom-type int8 --optimizer original",
    both(differs_from(QUICK, only="attn"), same_as(QUICK, only="mlp")),
)
row(
    "2.1",
    "--simple does not reach the fallback",
    f"{QUICK} --num_iter 60 --min_k 8 --exclude-layers attn --fallback int8 --optimizer original",
    both(differs_from(QUICK, only="attn"), same_as(QUICK, only="mlp")),
)
row(
    "2.1",
    "Without --heur no layer is too small",
    "-i {odd} -o o.safetensors --simple --comfy_quant --scaling_mode tensor",
    quantized("blk.0.small", "blk.0.odd"),
)


# --------------------------------------------------------------------------------------------------------- what is written

row(
    "3.1",
    "Skipped tensors are bytewise the source's, in its type",
    f"{QUICK} --exclude-layers mlp",
    kept("two", f"{MLP}.weight", f"{MLP}.bias", "blk.0.norm.weight"),
)
row(
    "3.2",
    "Comfy layout, blocks: I8 weight and F32 scale per block",
    QUICK,
    both(holds(f"{MLP}.weight", "I8", (128, 256)), holds(f"{MLP}.weight_scale", "F32", (1, 2))),
)
row("3.2", "The scale of one block keeps two dimensions", QUICK, holds(f"{ATTN}.weight_scale", "F32", (1, 1)))
row(
    "3.2",
    "Comfy layout, axis: one scale per row, one dimension",
    f"{QUICK} --scaling_mode axis",
    both(holds(f"{MLP}.weight_scale", "F32", (128,)), marked(MLP, format="int8_axiswise")),
)
row(
    "3.2",
    "Comfy layout, tensor: a scalar scale",
    f"{QUICK} --scaling_mode tensor",
    both(holds(f"{MLP}.weight_scale", "F32", ()), marked(MLP, format="int8_tensorwise")),
)
row(
    "3.2",
    "The marker of blocks is 47 bytes: format, then group_size",
    QUICK,
    holds(f"{ATTN}.comfy_quant", "U8", (47,), b'{"format": "int8_blockwise", "group_size": 128}'),
)
row(
    "3.2",
    "The marker of axis is 27 bytes",
    f"{QUICK} --scaling_mode axis",
    holds(f"{ATTN}.comfy_quant", "U8", (27,), b'{"format": "int8_axiswise"}'),
)
row(
    "3.2",
    "The marker of tensor is 29 bytes",
    f"{QUICK} --scaling_mode tensor",
    holds(f"{ATTN}.comfy_quant", "U8", (29,), b'{"format": "int8_tensorwise"}'),
)
row(
    "3.2",
    "--full_precision_matrix_mult stands in every marker",
    f"{QUICK} --full_precision_matrix_mult",
    both(marked(ATTN, full_precision_matrix_mult=True), marked(MLP, full_precision_matrix_mult=True)),
)
row("3.2", "Without it the key is absent", QUICK, marked(ATTN, full_precision_matrix_mult=None))
row(
    "3.2",
    "FP16 layers get neither scale nor marker",
    "-i {two} -o o.safetensors --fp16 --comfy_quant",
    both(holds(f"{ATTN}.weight", "F16"), lacks("scale", "comfy_quant")),
)
row("3.2", "Biases stay in the source's type", QUICK, holds(f"{ATTN}.bias", "BF16"))
row(
    "3.3",
    "Without --comfy_quant the legacy names are written: scale_weight",
    "-i {two} -o o.safetensors --simple",
    both(holds(f"{MLP}.weight", "I8"), holds(f"{MLP}.scale_weight", "F32", (1, 2)), lacks("weight_scale", "comfy_quant")),
)
row("3.3", "The legacy layout has no marker tensor", "-i {two} -o o.safetensors --simple", lacks("scaled_int8", "scaled_fp8"))
row(
    "3.3",
    "Legacy one-element scales are scalars",
    "-i {two} -o o.safetensors --simple --scaling_mode tensor",
    holds(f"{ATTN}.scale_weight", "F32", ()),
)
row(
    "3.3",
    "Legacy text encoders (--t5xxl) get scale_input, a copy of the weight's scale",
    "-i {t5} -o o.safetensors --simple --t5xxl --scaling_mode tensor",
    lambda run: ends()(run)
    or (
        "no scale_input"
        if "encoder.block.0.layer.0.SelfAttention.q.scale_input" not in run.tensors
        else (
            None
            if run.tensors["encoder.block.0.layer.0.SelfAttention.q.scale_input"]
            == run.tensors["encoder.block.0.layer.0.SelfAttention.q.scale_weight"]
            else "another value"
        )
    ),
)
row(
    "3.3",
    "--input_scale writes ones as scale_input in the legacy layout",
    "-i {two} -o o.safetensors --simple --input_scale",
    lambda run: ends()(run)
    or (
        "no scale_input"
        if f"{ATTN}.scale_input" not in run.tensors
        else None if set(run.tensors[f"{ATTN}.scale_input"].values()) == {1.0} else "not ones"
    ),
)
row(
    "3.5",
    "--save-quant-metadata describes the layers in the header",
    f"{QUICK} --save-quant-metadata",
    header_map(ATTN, MLP, format="int8_blockwise", group_size=128),
)
row(
    "3.5",
    "The header's map has group_size for blocks alone",
    f"{QUICK} --scaling_mode tensor --save-quant-metadata",
    header_map(ATTN, format="int8_tensorwise", group_size=None),
)
row(
    "3.5",
    "The header's map has full_precision_matrix_mult only when true",
    f"{QUICK} --save-quant-metadata -fpmm",
    header_map(ATTN, full_precision_matrix_mult=True),
)
row("3.5", "Other metadata stay beside the map", f"{QUICK} --save-quant-metadata", metadata_kept)
row(
    "3.5",
    "Without the option the header has no map",
    QUICK,
    lambda run: "map written" if "_quantization_metadata" in run.metadata else None,
)


# ---------------------------------------------------------------------------------------------------------------- scales

row("4", "INT8 tensor: s = max/127, codes round(w/s)", f"{QUICK} --scaling_mode tensor", nearest_codes(MLP, None))
row("4", "INT8 axis: the same for each row", f"{QUICK} --scaling_mode axis", nearest_codes(MLP, (1, 256)))
row("4", "INT8 block: the same for each block, rounded as the text says and not cut off", QUICK, nearest_codes(MLP, (128, 128)))
row(
    "4",
    "Codes stay within -127..127",
    QUICK,
    lambda run: ends()(run) or (None if min(run.tensors[f"{MLP}.weight"].values()) >= -127 else "-128 written"),
)
row(
    "4",
    "FP16: a plain cast",
    "-i {small} -o o.safetensors --fp16",
    lambda run: ends()(run)
    or holds("blocks.0.q.weight", "F16", (64, 64), numbers(run.source("small")["blocks.0.q.weight"].values(), None, "F16").data)(
        run
    ),
)
row(
    "4",
    "FP16: a weight with values beyond its range is kept, with a warning (better than infinity)",
    "-i {broken} -o o.safetensors --fp16",
    both(holds("blk.0.large.weight", "F32"), says("large")),
)
row(
    "4",
    "An all-zero weight gets codes 0 and a scale above 0",
    "-i {zero} -o o.safetensors --simple --comfy_quant",
    both(holds("blk.0.zero.weight", "I8", (128, 128), bytes(128 * 128)), finite_scales),
)
row(
    "4",
    "A weight with NaN is kept, with a warning (better than NaN codes)",
    "-i {broken} -o o.safetensors --simple --comfy_quant",
    both(kept("broken", "blk.0.nan.weight"), finite_scales, says("nan")),
)


# ----------------------------------------------------------------------------------------------------- learned rounding

LEARNED = f"{SEED} --num_iter 120 --min_k 8 --max_k 64 --manual_seed 3"
row(
    "5.2",
    "--profile seed learns rounding with `original`",
    f"{LEARNED} --verbose VERBOSE",
    both(says("original"), quantized(ATTN, MLP), not_worse_than_nearest(ATTN, MLP)),
)
row("5.2", "`original` changes codes", LEARNED, differs_from(QUICK))
row(
    "5.4",
    "`adamw` learns rounding",
    f"{LEARNED} --optimizer adamw",
    both(says("adamw"), quantized(ATTN), not_worse_than_nearest(ATTN, MLP)),
)
row(
    "5.4",
    "`radam` learns rounding",
    f"{LEARNED} --optimizer radam",
    both(says("radam"), quantized(ATTN), not_worse_than_nearest(ATTN, MLP)),
)
row(
    "5.4",
    "`adamw` and `radam` are different optimizers",
    f"{LEARNED} --optimizer adamw",
    differs_from(f"{LEARNED} --optimizer radam"),
)
row(
    "5.4",
    "`adamw` works with tensor and axis scales too",
    f"{LEARNED} --optimizer adamw --scaling_mode axis",
    both(says("adamw"), holds(f"{ATTN}.weight_scale", "F32", (128,))),
)
row(
    "6",
    "--lr_schedule exponential is applied",
    f"{LEARNED} --lr 0.02 --lr_schedule exponential --lr_gamma 0.9",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule adaptive"),
)
row(
    "6",
    "--lr_schedule plateau is applied",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 2",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule adaptive"),
)
row(
    "6",
    "--lr_gamma changes the result of exponential",
    f"{LEARNED} --lr 0.02 --lr_schedule exponential --lr_gamma 0.7",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule exponential --lr_gamma 0.99"),
)
row(
    "6",
    "--lr_min is a floor",
    f"{LEARNED} --lr 0.02 --lr_schedule exponential --lr_gamma 0.7 --lr_min 0.004",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule exponential --lr_gamma 0.7"),
)
row(
    "6",
    "--lr_patience changes the result of plateau",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 1 --lr_factor 0.5",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 20 --lr_factor 0.5"),
)
row(
    "6",
    "--lr_factor changes the result of plateau",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr_factor 0.3",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr_factor 0.95"),
)
row(
    "6",
    "--lr_cooldown changes the result of plateau",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr_cooldown 20 --lr_factor 0.5",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr_cooldown 0 --lr_factor 0.5"),
)
row(
    "6",
    "--lr-shape-influence sharpens the factor of long shapes",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr-shape-influence 1",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr-shape-influence 0", only="mlp"),
)
row(
    "6",
    "--lr-shape-influence leaves square shapes alone",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr-shape-influence 1",
    same_as(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 0 --lr-shape-influence 0", only="attn"),
)
row(
    "6",
    "--lr_threshold decides what counts as a gain",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 3 --lr_factor 0.5 --lr_threshold 0.5",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 3 --lr_factor 0.5"),
)
row(
    "6",
    "--lr-threshold-mode abs measures gains absolutely",
    f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 3 --lr_factor 0.5 --lr_threshold 0.5 --lr-threshold-mode abs",
    differs_from(f"{LEARNED} --lr 0.02 --lr_schedule plateau --lr_patience 3 --lr_factor 0.5 --lr_threshold 0.5"),
)
row(
    "6",
    "--lr_adaptive_mode no-reset reaches the higher boosts",
    f"{LEARNED} --num_iter 1500 --early-stop-stall 1500 --lr 0.0001 --lr_adaptive_mode no-reset",
    differs_from(f"{LEARNED} --num_iter 1500 --early-stop-stall 1500 --lr 0.0001 --lr_adaptive_mode simple-reset"),
)
row(
    "7",
    "--early-stop-stall ends the loop, which the log says",
    f"{LEARNED} --num_iter 500 --lr 0.02 --early-stop-stall 2 --verbose VERBOSE",
    says("stall"),
)
row(
    "7",
    "-esstall is the same",
    f"{LEARNED} --num_iter 500 --lr 0.02 -esstall 2",
    same_as(f"{LEARNED} --num_iter 500 --lr 0.02 --early-stop-stall 2"),
)
row(
    "7",
    "--early-stop-loss ends the loop, which the log says",
    f"{LEARNED} --early-stop-loss 1000",
    says(r"\(loss|loss\)|stop.*loss"),
)
row("7", "-esloss is the same", f"{LEARNED} -esloss 1000", same_as(f"{LEARNED} --early-stop-loss 1000"))
row(
    "7",
    "--early-stop-lr ends the loop, which the log says",
    f"{LEARNED} --lr_schedule exponential --lr_gamma 0.5 --early-stop-lr 0.001",
    says(r"\((?:lr|learning rate)|stop.*lr"),
)
row(
    "7",
    "-eslr is the same",
    f"{LEARNED} --lr_schedule exponential --lr_gamma 0.5 -eslr 0.001",
    same_as(f"{LEARNED} --lr_schedule exponential --lr_gamma 0.5 --early-stop-lr 0.001"),
)
row("option", "--num_iter bounds the iterations", f"{LEARNED} --num_iter 1", differs_from(LEARNED))
row("option", "--num_iter 0 is round to nearest", f"{SEED} --num_iter 0", same_as_plain())
row("option", "--lr changes the result", f"{LEARNED} --lr 0.02", differs_from(LEARNED))
row(
    "option",
    "--top_p, --min_k and --max_k choose the directions",
    f"{LEARNED} --top_p 0.9 --min_k 1 --max_k 200",
    differs_from(f"{LEARNED} --top_p 0.05 --min_k 1 --max_k 200"),
)
row(
    "option",
    "--max_k bounds them",
    f"{LEARNED} --top_p 0.9 --min_k 1 --max_k 4",
    differs_from(f"{LEARNED} --top_p 0.9 --min_k 1 --max_k 200"),
)
row(
    "option",
    "--min_k is their least",
    f"{LEARNED} --top_p 0.01 --min_k 60 --max_k 200",
    differs_from(f"{LEARNED} --top_p 0.01 --min_k 1 --max_k 200"),
)
row(
    "option",
    "--full_matrix uses a full SVD",
    f"{LEARNED} --full_matrix",
    both(quantized(ATTN), not_worse_than_nearest(ATTN, MLP)),
)
row(
    "option",
    "--full_matrix with --simple: a note says that it has no effect",
    f"{QUICK} --full_matrix",
    says("full_matrix|full-matrix"),
)
row(
    "option",
    "--manual_seed: the same seed gives the same file",
    f"{SEED} --num_iter 20 --manual_seed 7 --low-memory",
    same_as(f"{SEED} --num_iter 20 --manual_seed 7"),
)
row("option", "--manual_seed -1 picks a seed and prints it", f"{SEED} --num_iter 5 --manual_seed -1", says(r"seed\D*\d+"))
row("option", "--calib_samples is accepted", f"{QUICK} --calib_samples 512", ends(0))


# ------------------------------------------------------------------------------------------------------------------ GPTQ

GPTQ = f"{BASE} --optimizer gptq"
WITH_ROWS = "--calibration-data {rows}"
row(
    "8",
    "gptq rounds with the inputs of --calibration-data",
    f"{GPTQ} {WITH_ROWS} --report-quality",
    both(says("gptq"), quantized(ATTN, MLP), differs_from(QUICK)),
)
row(
    "8",
    "gptq keeps the layout of --scaling_mode",
    f"{GPTQ} {WITH_ROWS} --scaling_mode axis",
    both(marked(ATTN, format="int8_axiswise"), holds(f"{ATTN}.weight_scale", "F32", (128,))),
)
row(
    "8",
    "gptq in blocks writes scales per block that fit the marker",
    f"{GPTQ} {WITH_ROWS}",
    both(marked(MLP, format="int8_blockwise", group_size=128), holds(f"{MLP}.weight_scale", "F32", (1, 2))),
)
row(
    "8",
    "gptq with scales per tensor",
    f"{GPTQ} {WITH_ROWS} --scaling_mode tensor",
    both(holds(f"{ATTN}.weight_scale", "F32", ()), differs_from(f"{QUICK} --scaling_mode tensor")),
)
row(
    "8",
    "--gptq-actorder changes the order of columns",
    f"{GPTQ} {WITH_ROWS} --sweeps 0 --gptq-actorder",
    differs_from(f"{GPTQ} {WITH_ROWS} --sweeps 0"),
)
row("8", "--gptq-fast is on by default", f"{GPTQ} {WITH_ROWS} --gptq-fast", same_as(f"{GPTQ} {WITH_ROWS}"))
row(
    "8",
    "--no-gptq-fast goes column by column",
    f"{GPTQ} {WITH_ROWS} --no-gptq-fast",
    both(quantized(ATTN), not_worse_than_nearest(ATTN, MLP)),
)
row(
    "8",
    "--gptq-turbo without a GPU: a warning, and the ordinary pass",
    f"{GPTQ} {WITH_ROWS} --gptq-turbo",
    both(says("turbo"), same_as(f"{GPTQ} {WITH_ROWS}")),
)
row(
    "8",
    "gptq without recorded inputs runs, and says that none are known",
    GPTQ,
    both(quantized(ATTN), says("calibration|recorded|input")),
)
row("8", "gptq with the fork's own statistics file runs", f"{GPTQ} --calibration-data {{stats}}", quantized(ATTN, MLP))
row("8", "--gptq-* with another optimizer: a note", f"{QUICK} --gptq-actorder", says("gptq.actorder"))


# ------------------------------------------------------------------------------------------------------------------ QuIP

QUIP = f"{BASE} --optimizer quip {WITH_ROWS}"
TENSORWISE = both(marked(ATTN, format="int8_tensorwise"), holds(f"{ATTN}.weight_scale", "F32", (128, 1)))
row(
    "9",
    "quip stores in the original space with one scale per row, [M, 1]",
    QUIP,
    both(TENSORWISE, error_below(ATTN, "two", 5e-4)),
)
row(
    "9",
    "quip's stored file is not worse than round to nearest per row",
    QUIP,
    not_worse_than_nearest(ATTN, MLP, nearest=f"{QUICK} --scaling_mode row"),
)
row(
    "9",
    "--no-quip-requant-tensor-per-row: one scale",
    f"{QUIP} --no-quip-requant-tensor-per-row",
    holds(f"{ATTN}.weight_scale", "F32", ()),
)
row("9", "--quip-requant-tensor-per-row is the default", f"{QUIP} --quip-requant-tensor-per-row", same_as(QUIP))
row(
    "9",
    "--quip-requant-scheme block: blocks",
    f"{QUIP} --quip-requant-scheme block",
    both(marked(MLP, format="int8_blockwise"), holds(f"{MLP}.weight_scale", "F32")),
)
row("9", "--quip-requant-scheme tensor is the default", f"{QUIP} --quip-requant-scheme tensor", same_as(QUIP))
row(
    "9",
    "--quip-store-transformed keeps the rotated weight with signs and sizes",
    f"{QUIP} --quip-store-transformed",
    both(
        holds(f"{ATTN}.weight", "I8", (128, 128)),
        holds(f"{ATTN}.hadamard_quip", "I8"),
        holds(f"{ATTN}.hadamard_size_out", "I32"),
        holds(f"{ATTN}.hadamard_size_in", "I32"),
        holds(f"{MLP}.sign_row", "F32", (128,)),
        holds(f"{MLP}.sign_col", "F32", (256,)),
    ),
)
row(
    "9",
    "The transformed layout is not labelled int8_tensorwise",
    f"{QUIP} --quip-store-transformed",
    marked(ATTN, format="int8_quip_hadamard"),
)
row(
    "9",
    "Signs are 1 and -1",
    f"{QUIP} --quip-store-transformed",
    lambda run: ends()(run) or (None if set(run.tensors[f"{ATTN}.sign_row"].values()) == {1.0, -1.0} else "others"),
)
row("9", "--quip-no-store-transformed is the default", f"{QUIP} --quip-no-store-transformed", same_as(QUIP))
row("9", "--no-quip-store-transformed is the same", f"{QUIP} --quip-store-transformed --no-quip-store-transformed", same_as(QUIP))
row(
    "9",
    "--quip-store-transformed with a layer that is no power of two: stored otherwise, and said",
    "-i {odd} -o o.safetensors --comfy_quant --optimizer quip --quip-store-transformed",
    both(marked("blk.0.fits", format="int8_quip_hadamard"), marked("blk.0.odd", format="int8_tensorwise")),
)
row(
    "9",
    "--quip-seed chooses signs",
    f"{QUIP} --quip-store-transformed --quip-seed 5",
    differs_from(f"{QUIP} --quip-store-transformed --quip-seed 6", only="sign"),
)
row(
    "9",
    "Without --quip-seed the signs follow --manual_seed, and two runs are equal",
    f"{QUIP} --quip-store-transformed --manual_seed 5",
    same_as(f"{QUIP} --quip-store-transformed --quip-seed 5"),
)
row(
    "9",
    "--no-quip-hadamard rotates by dense matrices, and the file is no noise",
    f"{QUIP} --no-quip-hadamard",
    both(TENSORWISE, error_below(ATTN, "two", 5e-4)),
)
row("9", "--quip-hadamard is the default", f"{QUIP} --quip-hadamard", same_as(QUIP))
row(
    "9",
    "--no-quip-hadamard with --quip-store-transformed is refused",
    f"{QUIP} --no-quip-hadamard --quip-store-transformed",
    refuses(2, "quip"),
)
row("9", "--quip-actorder is the default", f"{QUIP} --quip-actorder", same_as(QUIP))
row(
    "9",
    "--no-quip-actorder takes columns as they stand",
    f"{QUIP} --quip-store-transformed --no-quip-actorder --sweeps 0",
    differs_from(f"{QUIP} --quip-store-transformed --sweeps 0"),
)
row(
    "9",
    "--quip-checkpointed works in 4 segments, which the log says",
    f"{QUIP} --quip-checkpointed --quip-checkpoint-threshold 64",
    both(says("4 segments"), TENSORWISE),
)
row(
    "9",
    "--quip-checkpoint-segments sets their number",
    f"{QUIP} --quip-checkpointed --quip-checkpoint-threshold 64 --quip-checkpoint-segments 2",
    says("2 segments"),
)
row(
    "9",
    "--quip-checkpoint-threshold: narrower layers are done whole",
    f"{QUIP} --quip-checkpointed --quip-checkpoint-threshold 200",
    silent_about("attn.*segments"),
)
row(
    "9",
    "--quip-checkpoint-threshold is 8192 by default",
    f"{QUIP} --quip-checkpointed",
    both(silent_about(r"\d segments"), same_as(QUIP)),
)
row("9", "quip without calibration data runs", f"{BASE} --optimizer quip", TENSORWISE)
row(
    "9",
    "quip with the fork's own statistics file runs, and stores no factors",
    f"{BASE} --optimizer quip --calibration-data {{stats}}",
    both(TENSORWISE, lacks("smooth_factors"), error_below(ATTN, "two", 5e-4)),
)
row("9", "--quip-* with another optimizer: a note", f"{QUICK} --quip-seed 3", says("quip.seed"))
for name in ("gptq", "quip"):
    row(
        "option",
        f"--simple with --optimizer {name} rounds to nearest, and says so (--simple was ignored)",
        f"{QUICK} --scaling_mode row --optimizer {name}",
        both(same_as(f"{QUICK} --scaling_mode row"), says(f"{name}.*no effect")),
    )


# ----------------------------------------------------------------------------------------------------------- SmoothQuant

SMOOTH = "-i {t5} -o o.safetensors --comfy_quant --simple --t5xxl --scaling_mode row --smoothquant --calibration-data {t5_rows}"
NORM, Q = "encoder.block.0.layer.0.layer_norm", "encoder.block.0.layer.0.SelfAttention.q"


def still_the_model(run, most=0.01):
    """Norm times weight is what it was, column by column, but for the rounding."""
    if run.code:
        return ends(0)(run)
    source, weight = run.source("t5"), decoded(run, Q)
    before, after = source[f"{NORM}.weight"].values(), run.tensors[f"{NORM}.weight"].values()
    wanted = [value * before[i % 128] for i, value in enumerate(source[f"{Q}.weight"].values())]
    found = [value * after[i % 128] for i, value in enumerate(weight)]
    error = sum((a - b) ** 2 for a, b in zip(wanted, found)) / sum(a * a for a in wanted)
    return "the norm is as it was" if before == after else None if error < most else f"squared error {error:.3g}"


def factors(run):
    return [a / b for a, b in zip(run.source("t5")[f"{NORM}.weight"].values(), run.tensors[f"{NORM}.weight"].values())]


row("10", "--smoothquant moves difficulty, and the model computes what it did (it used to be destroyed)", SMOOTH, still_the_model)
row(
    "10",
    "Columns with large inputs get large factors",
    SMOOTH,
    lambda run: ends()(run) or (None if factors(run)[7] > 2 * sorted(factors(run))[64] else "no"),
)
row(
    "10",
    "--smoothquant-alpha: 1 moves all difficulty into the weights",
    f"{SMOOTH} --smoothquant-alpha 1",
    both(lambda run: still_the_model(run, 0.0125), lambda run: None if factors(run)[7] / sorted(factors(run))[64] > 15 else "no"),
)
row(
    "10",
    "--smoothquant-alpha 0 takes the inputs' ranges for nothing",
    f"{SMOOTH} --smoothquant-alpha 0",
    both(still_the_model, lambda run: None if factors(run)[7] / sorted(factors(run))[64] < 3 else "no"),
)
row("10", "--smoothquant-alpha is 0.5 by default", f"{SMOOTH} --smoothquant-alpha 0.5", same_as(SMOOTH))
row(
    "10",
    "--smoothquant where nothing can divide the inputs leaves them alone, with a warning",
    f"{QUICK} --scaling_mode row --smoothquant --calibration-data {{stats}}",
    both(same_as(f"{QUICK} --scaling_mode row"), says("smoothquant.*none")),
)
row(
    "10",
    "--smoothquant without calibration data is accepted, and the model computes what it did",
    SMOOTH.replace(" --calibration-data {t5_rows}", ""),
    both(still_the_model, says("note: --smoothquant")),
)
row(
    "10",
    "--smoothquant takes channel_max of the fork's statistics file",
    SMOOTH.replace("{t5_rows}", "s.safetensors"),
    both(still_the_model, lambda run: None if factors(run)[7] > 2 * sorted(factors(run))[64] else "no"),
    files={
        "s.safetensors": {
            f"encoder.block.0.layer.0.SelfAttention.{part}.channel_max": numbers([40.0 if i == 7 else 1.0 for i in range(128)])
            for part in "qkv"
        }
    },
)
row("10", "--smoothquant-alpha without --smoothquant: a note", f"{QUICK} --smoothquant-alpha 0.3", says("smoothquant"))
row("10", "--smoothquant-alpha outside 0..1 is refused", f"{QUICK} --smoothquant-alpha 1.5", refuses(2, "smoothquant.alpha"))


# ----------------------------------------------------------------------------------------------------------- calibration

row(
    "12",
    "--calibration-data reads the fork's .safetensors",
    f"{QUICK} --calibration-data {{stats}} --static-activations",
    holds(f"{ATTN}.input_scale", "F32"),
)
row(
    "12",
    "--calibration-data reads .json with statistics",
    f"{QUICK} --calibration-data c.json --static-activations",
    holds(f"{ATTN}.input_scale", "F32", None, numbers([0.0625]).data),
    files={"c.json": {ATTN: {"channel_max": [1.0] * 128, "channel_mean": [0.5] * 128, "input_scale": 0.0625}}},
)
row(
    "12",
    "--calibration-data reads .json with bare scales",
    f"{QUICK} --calibration-data c.json --static-activations",
    holds(f"{ATTN}.input_scale", "F32", None, numbers([0.125]).data),
    files={"c.json": {ATTN: 0.125, MLP: 0.25}},
)
row(
    "12",
    "A missing --calibration-data file ends the run",
    f"{QUICK} --calibration-data nothing.safetensors",
    refuses(4, "nothing.safetensors"),
)
row(
    "12",
    "--calibration-data of another model ends the run",
    f"{QUICK} --calibration-data c.json --static-activations",
    refuses(1, "c.json|calibration"),
    files={"c.json": {"other": 0.5}},
)
row(
    "12",
    "A layer without calibration data gets no scale, and is counted",
    f"{QUICK} --calibration-data c.json --static-activations",
    both(lacks(f"{MLP}.input_scale"), says("1 ")),
    files={"c.json": {ATTN: 0.5}},
)
row(
    "12",
    "--calibration-lora changes which inputs matter",
    f"{BASE} --optimizer gptq --calibration-lora {{wide_lora}}",
    both(quantized(ATTN), differs_from(f"{BASE} --optimizer gptq", only="attn")),
)
row(
    "12",
    "--calibration-lora that matches nothing ends the run",
    f"{BASE} --optimizer gptq --calibration-lora {{style}}",
    refuses(1, "calibration.lora|LoRA"),
)
row(
    "12",
    "A missing --calibration-lora file ends the run",
    f"{BASE} --calibration-lora nothing.safetensors",
    refuses(4, "nothing.safetensors"),
)
row(
    "12",
    "--calibration-lora with --simple: a note that it has no effect",
    f"{QUICK} --calibration-lora {{wide_lora}}",
    says("calibration.lora"),
)
row(
    "13",
    "--static-activations writes input_scale of the calibration file",
    f"{QUICK} --calibration-data c.json --static-activations",
    holds(f"{ATTN}.input_scale", "F32", (), numbers([0.5]).data),
    files={"c.json": {ATTN: 0.5}},
)
row(
    "13",
    "Without --static-activations no input_scale is written",
    f"{QUICK} --calibration-data c.json",
    lacks("input_scale"),
    files={"c.json": {ATTN: 0.5}},
)
row(
    "13",
    "--static-activations without data: a warning, and dynamic scales",
    f"{QUICK} --static-activations",
    both(lacks("input_scale"), says("static.activations")),
)
row(
    "13",
    "--input_scale in the comfy layout writes 1.0",
    f"{QUICK} --input_scale",
    holds(f"{ATTN}.input_scale", "F32", (), numbers([1.0]).data),
)
row(
    "13",
    "Measured scales win over --input_scale",
    f"{QUICK} --input_scale --calibration-data c.json --static-activations",
    both(
        holds(f"{ATTN}.input_scale", None, None, numbers([0.5]).data),
        holds(f"{MLP}.input_scale", None, None, numbers([1.0]).data),
    ),
    files={"c.json": {ATTN: 0.5}},
)


def bias_moved(run):
    """b' = b + (W - Wq) mean(x)."""
    if run.code:
        return ends(0)(run)
    mean = [sum(column) / len(column) for column in zip(*run.source("rows")[f"{ATTN}.rows"].rows())]
    source = run.source("two")
    weight, stored = source[f"{ATTN}.weight"].rows(), decoded(run, ATTN)
    before, after = source[f"{ATTN}.bias"].values(), run.tensors[f"{ATTN}.bias"].values()
    wanted = [sum((w - stored[i * 128 + j]) * mean[j] for j, w in enumerate(line)) for i, line in enumerate(weight)]
    left = sum((b + m - a) ** 2 for b, m, a in zip(before, wanted, after))
    return (
        None
        if left < 0.5 * sum(m * m for m in wanted)
        else f"does not restore the mean: {left:.3g} of {sum(m * m for m in wanted):.3g}"
    )


row(
    "14",
    "Biases take up the mean of what codes change, when inputs are recorded (plus, not minus)",
    f"{QUICK} --calibration-data m.safetensors --bias-correction on --scaling_mode tensor",
    lambda run: ends()(run)
    or (None if run.tensors[f"{ATTN}.bias"] != run.source("two")[f"{ATTN}.bias"] else "the bias is as it was"),
    files={"m.safetensors": {f"{ATTN}.mean": numbers([3.0] * 128), f"{ATTN}.channel_max": numbers([9.0] * 128)}},
)
row(
    "14",
    "Their new value restores the mean output",
    f"{QUICK} {WITH_ROWS} --bias-correction on --scaling_mode tensor",
    bias_moved,
)
row("14", "Without data biases keep their bytes (random rows only added noise)", QUICK, kept("two", f"{ATTN}.bias"))
row("14", "--bias-correction off leaves biases alone", f"{QUICK} {WITH_ROWS} --bias-correction off", kept("two", f"{ATTN}.bias"))
row("14", "The corrected bias has the source's type", f"{QUICK} {WITH_ROWS}", holds(f"{ATTN}.bias", "BF16", (128,)))


# ------------------------------------------------------------------------------------------------------------------ LoRA

MERGE = "-o o.safetensors --comfy_quant --simple --scaling_mode row"
STYLE, LIGHT = (lora(["blocks.0.q"]), "blocks.0.q", PEFT), (lora(["blocks.0.q"], name="light"), "blocks.0.q", PEFT)
row(
    "15",
    "--merge-lora adds B A to the weight",
    f"-i {{small}} {MERGE} --merge-lora {{style}}",
    merged("small", "blocks.0.q", [(STYLE, 1.0)]),
)
row(
    "15",
    "Layers that the LoRA lacks stay as they are",
    f"-i {{small}} {MERGE} --merge-lora {{style}}",
    same_as(f"-i {{small}} {MERGE}", only="blocks.0.out"),
)
row(
    "15",
    "--merge-lora-scale is a factor",
    f"-i {{small}} {MERGE} --merge-lora {{style}} --merge-lora-scale 0.5",
    merged("small", "blocks.0.q", [(STYLE, 0.5)]),
)
row(
    "15",
    "--merge-lora-scale may be negative",
    f"-i {{small}} {MERGE} --merge-lora {{style}} --merge-lora-scale -0.5",
    merged("small", "blocks.0.q", [(STYLE, -0.5)]),
)
row(
    "15",
    "--merge-loras: the n-th counts 0.9^n, once",
    f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}}",
    merged("small", "blocks.0.q", [(STYLE, 1.0), (LIGHT, 0.9)]),
)
row(
    "15",
    "Their order counts",
    f"-i {{small}} {MERGE} --merge-loras {{light}} {{style}}",
    merged("small", "blocks.0.q", [(STYLE, 0.9), (LIGHT, 1.0)]),
)
row(
    "15",
    "--merge-lora comes after the list",
    f"-i {{small}} {MERGE} --merge-lora {{style}} --merge-loras {{light}}",
    merged("small", "blocks.0.q", [(STYLE, 0.9), (LIGHT, 1.0)]),
)
row(
    "15",
    "Three equal LoRAs add 2.71",
    f"-i {{small}} {MERGE} --merge-loras {{style}} {{style}} {{style}}",
    merged("small", "blocks.0.q", [(STYLE, 2.71)]),
)
row(
    "15",
    "--merge-lora-dampen=False, as an example writes it, turns dampening off",
    f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}} --merge-lora-dampen=False",
    merged("small", "blocks.0.q", [(STYLE, 1.0), (LIGHT, 1.0)]),
)
row(
    "15",
    "--no-merge-lora-dampen is the same",
    f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}} --no-merge-lora-dampen",
    same_as(f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}} --merge-lora-dampen=False"),
)
row(
    "15",
    "--merge-lora-dampen is on by default",
    f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}} --merge-lora-dampen",
    same_as(f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}}"),
)
row(
    "15",
    "Strength and dampening multiply",
    f"-i {{small}} {MERGE} --merge-loras {{style}} {{light}} --merge-lora-scale 0.5",
    merged("small", "blocks.0.q", [(STYLE, 0.5), (LIGHT, 0.45)]),
)
row(
    "15",
    "alpha from the header is divided by the rank",
    f"-i {{small}} {MERGE} --merge-lora a.safetensors",
    merged("small", "blocks.0.q", [(STYLE, 3.0)]),
    files={"a.safetensors": File(STYLE[0], {"blocks_0_q_alpha": "6"})},
)
row(
    "15",
    "alpha tensors are read (they were not)",
    f"-i {{small}} {MERGE} --merge-lora a.safetensors",
    merged("small", "blocks.0.q", [(STYLE, 2.0)]),
    files={"a.safetensors": STYLE[0] | {"blocks.0.q.alpha": numbers([4.0], ())}},
)
for words, names, suffixes in (
    ("lora_down and lora_up", "blocks.0.q", KOHYA),
    ("the prefix transformer.", "transformer.blocks.0.q", PEFT),
    ("the prefix model.diffusion_model.", "model.diffusion_model.blocks.0.q", PEFT),
    ("the prefix diffusion_model. (it was ignored)", "diffusion_model.blocks.0.q", PEFT),
    ("the prefix base_model.model. (it was ignored)", "base_model.model.blocks.0.q", PEFT),
    ("kohya's names (they were ignored)", "lora_unet_blocks_0_q", KOHYA),
):
    made = lora([names], suffix=suffixes)
    row(
        "15",
        f"A LoRA with {words} matches",
        f"-i {{small}} {MERGE} --merge-lora a.safetensors",
        merged("small", "blocks.0.q", [((made, names, suffixes), 1.0)]),
        files={"a.safetensors": made},
    )
row(
    "15",
    "A LoRA without prefix matches a model with one",
    f"-i {{prefixed}} {MERGE} --merge-lora {{style}}",
    merged("prefixed", "model.diffusion_model.blocks.0.q", [(STYLE, 1.0)]),
)
row(
    "15",
    "A layer that stays unquantized gets its LoRA too, in its own type",
    f"-i {{small}} {MERGE} --merge-lora {{style}} --exclude-layers q",
    both(holds("blocks.0.q.weight", "F32"), merged("small", "blocks.0.q", [(STYLE, 1.0)])),
)
row(
    "15",
    "Merging works with --fp16",
    "-i {small} -o o.safetensors --fp16 --merge-lora {style}",
    merged("small", "blocks.0.q", [(STYLE, 1.0)]),
)
row(
    "15",
    "A missing --merge-lora file ends the run",
    f"-i {{small}} {MERGE} --merge-lora nothing.safetensors",
    refuses(4, "nothing.safetensors"),
)
row(
    "15",
    "A missing file of --merge-loras ends the run (it was skipped)",
    f"-i {{small}} {MERGE} --merge-loras {{style}} nothing.safetensors",
    refuses(4, "nothing.safetensors"),
)
row(
    "15",
    "A LoRA that matches no layer ends the run (it was ignored)",
    f"-i {{two}} {MERGE} --merge-lora {{style}}",
    refuses(1, "LoRA|lora"),
)
row("15", "--merge-loras without a path is refused", f"-i {{small}} {MERGE} --merge-loras", refuses(2, "merge.loras"))
row(
    "15",
    "The log tells files, layers and strength",
    f"-i {{small}} {MERGE} --merge-lora {{style}} --verbose VERBOSE",
    says("style.safetensors|blocks.0.q.weight <-"),
)


# ----------------------------------------------------------------------------------------------------- layer configuration

LAYERS = "-i {long_blocks} -o o.safetensors --comfy_quant --simple --scaling_mode tensor --layer-config l.json"
PROJ, FIRST = "double_blocks.{}.img_attn.proj", "double_blocks.{}.img_mlp.0"
row(
    "16",
    "format and block_size of an entry are used",
    LAYERS,
    both(
        marked(FIRST.format(1), format="int8_blockwise", group_size=32), holds(f"{FIRST.format(1)}.weight_scale", "F32", (4, 2))
    ),
    files={"l.json": {"mlp": {"format": "int8_blockwise", "block_size": 32}}},
)
row(
    "16",
    "Layers without an entry take the target",
    LAYERS,
    marked(PROJ.format(1), format="int8_tensorwise"),
    files={"l.json": {"mlp": {"format": "int8_blockwise", "block_size": 32}}},
)
row(
    "16",
    "int8_axiswise writes scales per row (its name used to be ignored)",
    LAYERS,
    holds(f"{FIRST.format(0)}.weight_scale", "F32", (128,)),
    files={"l.json": {"mlp": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "scaling_mode tensor of an entry",
    LAYERS,
    holds(f"{FIRST.format(0)}.weight_scale", "F32", ()),
    files={"l.json": {"mlp": {"format": "int8_tensorwise", "scaling_mode": "tensor"}}},
)
row(
    "16",
    "simple of an entry rounds to nearest",
    "-i {two} -o o.safetensors --comfy_quant --optimizer original --num_iter 30 --min_k 8 --layer-config l.json",
    both(same_as_plain(only="attn")),
    files={"l.json": {"attn": {"format": "int8_blockwise", "simple": True}}},
)
row(
    "16",
    "full_precision_matrix_mult of an entry marks that layer alone",
    LAYERS,
    both(marked(FIRST.format(0), full_precision_matrix_mult=True), marked(PROJ.format(0), full_precision_matrix_mult=None)),
    files={"l.json": {"mlp": {"format": "int8_tensorwise", "full_precision_matrix_mult": True}}},
)
row(
    "16",
    "full_precision_matrix_mult false of an entry overrides the option",
    f"{LAYERS} --full_precision_matrix_mult",
    both(marked(FIRST.format(0), full_precision_matrix_mult=None), marked(PROJ.format(0), full_precision_matrix_mult=True)),
    files={"l.json": {"mlp": {"format": "int8_tensorwise", "full_precision_matrix_mult": False}}},
)
row(
    "16",
    "skip true needs no format",
    LAYERS,
    kept("long_blocks", f"{FIRST.format(0)}.weight"),
    files={"l.json": {"mlp": {"skip": True}}},
)
row(
    "16",
    "_default takes what nothing else matches",
    LAYERS,
    both(marked(PROJ.format(0), format="int8_axiswise"), kept("long_blocks", f"{FIRST.format(0)}.weight")),
    files={"l.json": {"mlp": {"skip": True}, "_default": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "_default with skip keeps all others",
    LAYERS,
    both(quantized(FIRST.format(0)), kept("long_blocks", f"{PROJ.format(0)}.weight")),
    files={"l.json": {"mlp": {"format": "int8_tensorwise"}, "_default": {"skip": True}}},
)
row(
    "16",
    "_default does not override filters (it did)",
    f"{LAYERS} --exclude-layers proj",
    kept("long_blocks", f"{PROJ.format(0)}.weight"),
    files={"l.json": {"_default": {"format": "int8_tensorwise"}}},
)
row(
    "16",
    "Keys with an underscore in front are comments, inside entries too",
    LAYERS,
    marked(FIRST.format(0), format="int8_axiswise"),
    files={"l.json": {"_comment": "text", "_exclusions": [], "mlp": {"format": "int8_axiswise", "_shape": [1, 2]}}},
)
row(
    "16",
    "Patterns are searched for",
    LAYERS,
    both(marked(PROJ.format(1), format="int8_axiswise"), marked(PROJ.format(10), format="int8_axiswise")),
    files={"l.json": {"blocks.1": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "--fullmatch: they must match the whole name",
    f"{LAYERS} --fullmatch",
    both(marked(PROJ.format(1), format="int8_axiswise"), marked(PROJ.format(10), format="int8_tensorwise")),
    files={"l.json": {r"double_blocks\.1\.img_attn\.proj": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "--fullmatch: a part of a name matches nothing",
    f"{LAYERS} --fullmatch",
    both(says("matches no"), marked(PROJ.format(1), format="int8_tensorwise")),
    files={"l.json": {"proj": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "The name is matched without .weight",
    LAYERS,
    marked(PROJ.format(1), format="int8_axiswise"),
    files={"l.json": {"proj$": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "A pattern with a number and 8 characters is the most specific",
    LAYERS,
    both(kept("long_blocks", f"{PROJ.format(0)}.weight"), marked(PROJ.format(1), format="int8_axiswise")),
    files={"l.json": {r"img_attn\.proj$": {"format": "int8_axiswise"}, r"double_blocks\.0\.": {"skip": True}}},
)
row(
    "16",
    r"\d counts as a number",
    LAYERS,
    kept("long_blocks", f"{PROJ.format(0)}.weight"),
    files={"l.json": {r"blocks\.[^.]+\.img_attn\.proj": {"format": "int8_axiswise"}, r"blocks\.\d+\.img_a": {"skip": True}}},
)
row(
    "16",
    "Of two others the one with more literal characters wins",
    LAYERS,
    marked(PROJ.format(0), format="int8_axiswise"),
    files={"l.json": {"proj": {"skip": True}, "attn.proj": {"format": "int8_axiswise"}}},
)
row(
    "16",
    "Of equals the first wins",
    LAYERS,
    marked(PROJ.format(0), format="int8_axiswise"),
    files={"l.json": {"proj": {"format": "int8_axiswise"}, "attn": {"skip": True}}},
)
row(
    "16",
    "FP16 can be said (it could not)",
    LAYERS,
    holds(f"{FIRST.format(0)}.weight", "F16"),
    files={"l.json": {"mlp": {"format": "fp16"}}},
)
row("16", "A format is required", LAYERS, refuses(2, "mlp"), files={"l.json": {"mlp": {"block_size": 64}}})
row("16", "An empty format is refused", LAYERS, refuses(2, "mlp"), files={"l.json": {"mlp": {"format": ""}}})
row("16", "An unknown format is refused", LAYERS, refuses(2, "mlp"), files={"l.json": {"mlp": {"format": "int9"}}})
row(
    "16",
    "An unknown key is refused",
    LAYERS,
    refuses(2, "blocksize"),
    files={"l.json": {"mlp": {"format": "int8_blockwise", "blocksize": 64}}},
)
row("16", "An entry that is no object is refused", LAYERS, refuses(2, "mlp"), files={"l.json": {"mlp": "int8_blockwise"}})
row("16", "A bad pattern is refused, not a traceback", LAYERS, refuses(2, r"mlp\("), files={"l.json": {"mlp(": {"skip": True}}})
row("16", "A file that is no JSON is refused", LAYERS, refuses(2, "l.json"), files={"l.json": "not JSON"})
row("16", "A missing file ends the run", LAYERS, refuses(4, "l.json"))
row("16", "An entry that matches nothing: a warning", LAYERS, says("nowhere"), files={"l.json": {"nowhere": {"skip": True}}})
row("16", "--fullmatch without --layer-config: a note", f"{QUICK} --fullmatch", says("fullmatch"))
row(
    "16",
    "A contradicting scaling_mode is refused",
    LAYERS,
    refuses(2, "mlp"),
    files={"l.json": {"mlp": {"format": "int8_axiswise", "scaling_mode": "block"}}},
)
row(
    "16",
    "A configuration wins over presets",
    "-i {flux} -o o.safetensors --comfy_quant --simple --flux2 --layer-config l.json",
    both(quantized("img_in"), kept("flux", "txt_in.weight")),
    files={"l.json": {"img_in": {"format": "int8_tensorwise"}}},
)


# ---------------------------------------------------------------------------------------------------------------- dry run

row(
    "17",
    "--dry-run prints an analysis and writes nothing (it converted)",
    "-i {two} --dry-run --comfy_quant",
    both(writes(), says(ATTN, "int8_blockwise")),
)
row(
    "17",
    "--dry-run analyze is the same",
    "-i {two} --dry-run analyze --comfy_quant",
    both(writes(), lambda run: None if run.out == run.other("-i {two} --dry-run --comfy_quant").out else "another text"),
)
row(
    "17",
    "It says which layers are processed and which not, with the reason",
    "-i {flux} --dry-run --flux2",
    both(writes(), says("img_in.*flux2|flux2.*img_in", "double_blocks.0.img_mlp.0")),
)
row(
    "17",
    "It ends with an estimated size",
    "-i {two} -o o.safetensors --simple --dry-run --comfy_quant",
    both(writes(), says("KiB|bytes|KB")),
)
row(
    "17",
    "create-template writes <stem>_layer_config_template.json",
    "-i {two@} --dry-run create-template",
    writes("two_layer_config_template.json"),
)


def template(run):
    if run.code:
        return ends(0)(run)
    found = json.loads((run.folder / run.written[0]).read_text())
    shapes = [entry.get("_shape") for key, entry in found.items() if not key.startswith("_")]
    return None if "_default" in found and "_exclusions" in found and shapes == [[128, 128], [128, 256]] else f"holds {found}"


row(
    "17",
    "The template has _default, _exclusions, and each layer with its _shape",
    "-i {two@} --dry-run create-template",
    template,
)
row("17", "--output names the template", "-i {two} --dry-run create-template -o t.json", writes("t.json"))
row(
    "17",
    "The template is accepted as it is, with the same result (it was refused)",
    f"{QUICK} --layer-config t.json",
    same_as_plain(),
    before=("-i {two} --dry-run create-template -o t.json",),
)
row("17", "Another value is refused", "-i {two} --dry-run sometimes", refuses(2, "dry.run"))
row(
    "17", "The log counts viable and skipped layers", "-i {flux} --dry-run create-template -o t.json --flux2", says(r"\d+ layers")
)


# -------------------------------------------------------------------------------------------------------------- heuristic

HEUR = "-i {odd} -o o.safetensors --simple --comfy_quant --heur"
row("18", "--heur leaves out layers smaller than the block", HEUR, kept("odd", "blk.0.small.weight"))
row("18", "--heur leaves out layers that the block does not divide", HEUR, kept("odd", "blk.0.odd.weight"))
row("18", "--heur takes layers that fit", HEUR, quantized("blk.0.fits"))
row("18", "--heur follows --block_size", f"{HEUR} --block_size 64", quantized("blk.0.small"))
row("18", "--heur says why", HEUR, says("small.*smaller", "odd.*(?:divisible|smaller)"))
row(
    "18",
    "--heur does not reach custom layers",
    f"{HEUR} --custom-layers small --custom-type int8 --custom-block-size 64",
    quantized("blk.0.small"),
)
row(
    "18",
    "--custom-heur applies it to them",
    f"{HEUR} --custom-layers small --custom-type int8 --custom-heur",
    kept("odd", "blk.0.small.weight"),
)
row("18", "--heur reaches fallback layers", f"{HEUR} --exclude-layers small --fallback int8", kept("odd", "blk.0.small.weight"))
row(
    "18",
    "Without --heur a block that does not divide no longer ends the run: one scale per row",
    "-i {odd} -o o.safetensors --simple --comfy_quant",
    both(marked("blk.0.odd", format="int8_tensorwise"), holds("blk.0.odd.weight_scale", "F32", (96, 1))),
)


# --------------------------------------------------------------------------------------------------------- quality report

REPORT = f"{QUICK} --report-quality"
row("19", "--report-quality prints a table: Layer, MSE, SQNR (dB), Max Error", REPORT, says(r"Layer.*MSE.*SQNR.*Max ?[Ee]rr"))
row(
    "19",
    "Its rows are the layers, sorted",
    REPORT,
    lambda run: ends()(run) or (None if 0 < run.out.rfind(ATTN, 0, run.out.rfind(MLP)) else "not sorted"),
)
row(
    "19",
    "It ends with a summary: mean SQNR and layers below the threshold",
    REPORT,
    says("Summary|[Mm]ean", r"below 30(?:\.0)? dB"),
)


def measured(run):
    """The line of the first layer has its MSE and largest error, of the tensors as stored."""
    if run.code:
        return ends(0)(run)
    errors = [a - b for a, b in zip(run.source("two")[f"{ATTN}.weight"].values(), decoded(run, ATTN))]
    mse, largest = sum(e * e for e in errors) / len(errors), max(map(abs, errors))
    line = next((line for line in run.out.splitlines() if line.strip().startswith(ATTN) and line.count("|") >= 3), "")
    cells = [cell.strip() for cell in line.split("|")]
    found = [float(cell.split()[0]) for cell in cells[1:]] if cells[1:] else []
    if not found:
        return "no row"
    return (
        None
        if any(abs(value - mse) < 0.02 * mse + 1e-8 for value in found)
        and any(abs(value - largest) < 0.02 * largest + 1e-4 for value in found)
        else f"{line}: MSE {mse:.8f}, largest {largest:.4f}"
    )


row("19", "The figures are those of the stored tensors", REPORT, measured)
row(
    "19",
    "--quality-threshold marks layers and warns",
    f"{REPORT} --quality-threshold 90",
    both(says("below 90.0 dB: 2 / 2", "warning: .*below 90.0 dB"), quantized(ATTN)),
)
row(
    "19",
    "--quality-threshold-fail makes that exit code 3, and the file is written",
    f"{REPORT} --quality-threshold 90 --quality-threshold-fail",
    lambda run: None if run.code == 3 and "o.safetensors" in run.written and "below 90" in run.said else f"exit code {run.code}",
)
row(
    "19",
    "Above the threshold exit code 0",
    f"{REPORT} --quality-threshold 10 --quality-threshold-fail",
    says("below 10.0 dB: 0 / 2"),
)
row("19", "--quality-threshold without --report-quality: a note", f"{QUICK} --quality-threshold 20", says("quality.threshold"))
row(
    "19",
    "The report comes after saving",
    REPORT,
    lambda run: None if run.out.rfind("Written") < run.out.rfind("SQNR (dB)") else "before",
)
row("19", "QuIP's figures are those of what is stored", f"{QUIP} --report-quality", measured)


# ------------------------------------------------------------------------------------------------- memory, BF16, old spellings

for mode in ("off", "minimal", "balanced", "aggressive", "auto"):
    row("20", f"--streaming-mode {mode} gives the same file on the CPU", f"{QUICK} --streaming-mode {mode}", same_as_plain())
row(
    "20",
    "An unknown --streaming-mode is refused, with the choices",
    f"{QUICK} --streaming-mode extreme",
    refuses(2, "aggressive"),
)
row(
    "20",
    "--streaming is the old spelling of balanced, with a warning",
    f"{QUICK} --streaming",
    both(says("streaming-mode"), same_as_plain()),
)
row(
    "20",
    "--streaming-aggressive is the old spelling of aggressive, with a warning",
    f"{QUICK} --streaming-aggressive",
    both(says("streaming-mode"), same_as_plain()),
)
for name in ("hadamard", "hessian", "ldlq", "ortho"):
    row("20", f"--stream-{name}-threshold takes a number", f"{QUICK} --stream-{name}-threshold 4096", same_as_plain())
    row(
        "20",
        f"--stream-{name}-threshold 0 is refused",
        f"{QUICK} --stream-{name}-threshold 0",
        refuses(2, f"stream-{name}-threshold"),
    )
row("20", "--low-memory gives the same file", f"{QUICK} --low-memory", same_as_plain())
row("20", "-lm is the same", f"{QUICK} -lm", same_as_plain())
row(
    "20",
    "--no-memory-limits gives the same file, with a word of warning",
    f"{QUICK} --no-memory-limits",
    both(same_as_plain(), says("memory.limits|memory limits|memory checks")),
)
row("20", "--low-memory excludes --no-memory-limits", f"{QUICK} --low-memory --no-memory-limits", refuses(2, "memory"))
row(
    "20",
    "--no-memory-limits excludes thresholds",
    f"{QUICK} --no-memory-limits --stream-ldlq-threshold 5",
    refuses(2, "memory.limits|stream.ldlq"),
)
for mode in ("auto", "on", "off"):
    row("20.5", f"--bf16-compute {mode} on the CPU is float32", f"{QUICK} --bf16-compute {mode}", same_as_plain())
row("20.5", "--bf16-compute on on the CPU: a note", f"{QUICK} --bf16-compute on", says("bf16"))
row("20.5", "An unknown --bf16-compute is refused", f"{QUICK} --bf16-compute maybe", refuses(2, "auto, on, off"))
for name in ("bf16-threshold", "bf16-hadamard-threshold", "bf16-hessian-threshold"):
    row("20.5", f"--{name} takes a number", f"{QUICK} --{name} 2000000", same_as_plain())
    row("20.5", f"A negative --{name} is refused", f"{QUICK} --{name} -1", refuses(2, name))


# -------------------------------------------------------------------------------------------------------------------- log

row(
    "21",
    "The log names input and output",
    QUICK,
    says("^Processing: .*two.safetensors", "^Output will be saved to: o.safetensors"),
)
row("21", "Target format is logged", QUICK, says("Target format: .*int8"))
row(
    "21",
    "A line per weight: (i/n) Processing (INT8): <key>",
    QUICK,
    says(rf"^\(1/5\) Processing \(INT8\): {ATTN}.weight", rf"^\(3/5\) Processing \(INT8\): {MLP}.weight"),
)
row("21", "The same for FP16", "-i {two} -o o.safetensors --fp16", says(rf"Processing \(FP16\): {ATTN}.weight"))
row(
    "21",
    "A layer that --exclude-layers keeps is told at NORMAL: (i/n) Skipping tensor: <key> (Reason: ...)",
    f"{QUICK} --exclude-layers attn",
    says(rf"^\(\d/5\) Skipping tensor: {ATTN}.weight \(Reason: .*\)"),
)
row(
    "21",
    "A layer that a preset keeps is told at NORMAL",
    "-i {flux} -o o.safetensors --simple --comfy_quant --flux2",
    says(r"Skipping tensor: img_in.weight \(Reason: .*flux2"),
)
row(
    "21",
    "A layer that a configuration skips is told at NORMAL",
    f"{QUICK} --layer-config l.json",
    says(rf"^\(\d/5\) Skipping.*{ATTN}.*layer-config"),
    files={"l.json": {"attn": {"skip": True}}},
)
row(
    "21",
    "--verbose VERBOSE tells skipped layers with the reason",
    f"{QUICK} --exclude-layers attn -v",
    says(rf"^\(1/5\) Skipping tensor: {ATTN}.weight \(Reason: excluded by pattern\)"),
)
row(
    "21",
    "A custom layer's line tells its type",
    f"{QUICK} --custom-layers attn --custom-type fp16",
    says(rf"Processing \(.*FP16\): {ATTN}.weight"),
)
row(
    "21",
    "A fallback layer's line tells its type",
    f"{QUICK} --exclude-layers attn --fallback fp16",
    says(rf"Processing \(.*FP16\): {ATTN}.weight"),
)
row("21", "A removed tensor is told", "-i {t5} -o o.safetensors --simple --t5xxl --scaling_mode row", says("[Rr]emov"))
row(
    "21",
    "A layer of a configuration tells its format",
    f"{QUICK} --layer-config l.json",
    says(rf"Processing \(.*\): {ATTN}.*int8_axiswise|Processing \(config int8_axiswise\)"),
    files={"l.json": {"attn": {"format": "int8_axiswise"}}},
)
row("21", "The end is told", QUICK, says("Conversion complete|Written:"))
row("21", "The closing lines count quantized and kept tensors", QUICK, says(r"int8_blockwise\s+.*2", r"kept as they are\s+3"))
row("21", "--verbose MINIMAL hides the lines of tensors", f"{QUICK} --verbose MINIMAL", both(ends(0), silent_about("Processing")))
row(
    "21",
    "--verbose NORMAL is the default",
    f"{QUICK} --verbose NORMAL",
    lambda run: None if run.out.count("\n") == run.other(QUICK).out.count("\n") else "another number of lines",
)
row(
    "21",
    "--verbose VERBOSE tells more",
    f"{SEED} --num_iter 5 --verbose VERBOSE",
    lambda run: (
        None if len(run.said.splitlines()) > len(run.other(f"{SEED} --num_iter 5").said.splitlines()) else "no more lines"
    ),
)
row(
    "21",
    "--verbose DEBUG tells when each line was written (source positions were)",
    f"{QUICK} --verbose DEBUG",
    both(says(r"\[\d\d:\d\d:\d\d\.\d+\] "), silent_about(r"\(:\)")),
)
row("21", "An unknown --verbose is refused, with the choices", f"{QUICK} --verbose LOUD", refuses(2, "MINIMAL"))
row("21", "Learned rounding tells iterations and losses of a layer", LEARNED, says(r"original.*->.*iterations"))
row("option", "--verbose-pinned is accepted", f"{QUICK} --verbose-pinned", same_as_plain())
row("option", "--no-normalize-scales is accepted", f"{QUICK} --no-normalize-scales", ends(0))


# ---------------------------------------------------------------------------------------------------------------- options

row("option", "-i and -o are short", f"--input {{two}} --output o.safetensors --comfy_quant --simple", same_as_plain())
row("option", "Without --input the run is refused", "-o o.safetensors", refuses(2, "input"))
row(
    "option",
    "The folder of --output is created",
    "-i {two} -o new/folder/o.safetensors --simple --comfy_quant",
    writes("new/folder/o.safetensors"),
)
row(
    "option",
    "Output equal to input is refused",
    "-i {two@} -o two.safetensors --simple",
    lambda run: refuses(2, "output is the input")(run)
    or (None if run.file("two.safetensors").tensors == run.source("two") else "the input was changed"),
)
row(
    "option",
    "Output equal to input through another path is refused",
    "-i {two@} -o ./sub/../two.safetensors --simple",
    refuses(2, ""),
    files={"sub/x": "x"},
)
row(
    "option",
    "An existing output is replaced",
    QUICK,
    holds(f"{ATTN}.weight", "I8"),
    files={"o.safetensors": {"old": numbers([1.0])}},
)
row("option", "--comfy-quant, with a dash", "-i {two} -o o.safetensors --simple --comfy-quant", same_as_plain())
row("option", "--int8 is the default target", f"{QUICK} --int8", same_as_plain())
row(
    "option",
    "--fp16 with --int8 is refused (--int8 had no effect)",
    "-i {two} -o o.safetensors --fp16 --int8",
    refuses(2, "int8|fp16"),
)
row(
    "option",
    "--fp16 ignores --scaling_mode and --block_size, with a note",
    "-i {two} -o o.safetensors --fp16 --scaling_mode axis --block_size 64",
    both(holds(f"{ATTN}.weight", "F16"), says("scaling_mode|block_size")),
)
row(
    "option",
    "--fp16 refuses optimizer options, which it ignored",
    "-i {two} -o o.safetensors --fp16 --optimizer adamw --num_iter 5",
    refuses(2, "--optimizer"),
)
row("option", "-fpmm is --full_precision_matrix_mult", f"{QUICK} -fpmm", same_as(f"{QUICK} --full_precision_matrix_mult"))
row(
    "option",
    "--full_precision_matrix_mult without --comfy_quant: a word about it",
    "-i {two} -o o.safetensors --simple --full_precision_matrix_mult",
    says("full_precision|comfy"),
)
row(
    "option",
    "--scaling-mode, with a dash, as a document writes it",
    f"{QUICK} --scaling-mode axis",
    same_as(f"{QUICK} --scaling_mode axis"),
)
row("option", "--scaling_mode block is the default", f"{QUICK} --scaling_mode block", same_as_plain())
row(
    "option",
    "An unknown --scaling_mode is refused, with the choices",
    f"{QUICK} --scaling_mode column",
    refuses(2, "block, axis"),
)
row(
    "option",
    "--block_size sets the edge of blocks",
    f"{QUICK} --block_size 64",
    both(holds(f"{MLP}.weight_scale", "F32", (2, 4)), marked(MLP, group_size=64), nearest_codes(MLP, (64, 64))),
)
row("option", "--block_size is 128 by default", f"{QUICK} --block_size 128", same_as_plain())
row("option", "--block_size 0 is refused", f"{QUICK} --block_size 0", refuses(2, "block_size"))
row("option", "--block_size with scales per tensor: a note", f"{QUICK} --scaling_mode tensor --block_size 64", says("block_size"))
row("option", "--simple rounds to nearest", QUICK, nearest_codes(ATTN, (128, 128)))
row(
    "option",
    "--simple ignores options of optimizers, with a note",
    f"{QUICK} --lr 0.5 --num_iter 10",
    both(same_as_plain(), says("lr|num_iter")),
)
row("option", "An unknown --optimizer is refused, with the choices", f"{BASE} --optimizer sgd", refuses(2, "original"))
row(
    "option",
    "--save-quant-metadata without --comfy_quant: described, or said that it is not",
    "-i {two} -o o.safetensors --simple --save-quant-metadata",
    lambda run: ends()(run)
    or (None if "_quantization_metadata" in run.metadata or "save-quant-metadata" in run.said else "neither"),
)
for words, option, value in (
    ("--num_iter", "--num_iter", "-1"),
    ("--lr", "--lr", "0"),
    ("--top_p", "--top_p", "1.5"),
    ("--top_p", "--top_p", "0"),
    ("--min_k", "--min_k", "0"),
    ("--max_k", "--max_k", "0"),
    ("--lr_gamma", "--lr_gamma", "1.2"),
    ("--lr_patience", "--lr_patience", "-1"),
    ("--lr_factor", "--lr_factor", "1"),
    ("--lr_min", "--lr_min", "-1"),
    ("--lr_cooldown", "--lr_cooldown", "-2"),
    ("--lr_threshold", "--lr_threshold", "-0.1"),
    ("--lr_schedule", "--lr_schedule", "cosine"),
    ("--lr_adaptive_mode", "--lr_adaptive_mode", "never"),
    ("--lr-shape-influence", "--lr-shape-influence", "2"),
    ("--lr-threshold-mode", "--lr-threshold-mode", "half"),
    ("--early-stop-loss", "--early-stop-loss", "-1"),
    ("--early-stop-lr", "--early-stop-lr", "-1"),
    ("--early-stop-stall", "--early-stop-stall", "0"),
    ("--manual_seed", "--manual_seed", "-2"),
    ("--merge-lora-scale", "--merge-lora-scale", "nan"),
    ("--quip-seed", "--quip-seed", "-1"),
    ("--quip-checkpoint-threshold", "--quip-checkpoint-threshold", "0"),
    ("--quip-checkpoint-segments", "--quip-checkpoint-segments", "0"),
    ("--quip-requant-scheme", "--quip-requant-scheme", "row"),
    ("--quality-threshold", "--quality-threshold", "high"),
    ("--calib_samples", "--calib_samples", "x"),
    ("--block_size", "--block_size", "12x"),
    ("--num_iter", "--num_iter", "1.5"),
):
    row(
        "option",
        f"{words} {value} is refused",
        f"{BASE} {option} {value}",
        refuses(2, option.replace("_", "[_-]").replace("-", "[_-]").replace("[_[_-]]", "[_-]")),
    )
row("option", "--min_k above --max_k is refused", f"{BASE} --profile seed --min_k 9 --max_k 8", refuses(2, "min_k|max_k"))
row("option", "--lr_min above --lr is refused", f"{BASE} --profile seed --lr 0.1 --lr_min 0.2", refuses(2, "lr"))
row("option", "An unknown option is refused with the nearest", f"{QUICK} --block_sise 64", refuses(2, "block_size"))
row("option", "A missing value is refused", f"{BASE} --block_size", refuses(2, "block_size"))
row(
    "option",
    "--custom-layers and --custom-type give layers another type",
    f"{QUICK} --custom-layers attn --custom-type fp16",
    both(holds(f"{ATTN}.weight", "F16"), quantized(MLP)),
)
row(
    "option",
    "--custom-layers is searched in the full key",
    rf"{QUICK} --custom-layers attn\\.weight$ --custom-type fp16",
    holds(f"{ATTN}.weight", "F16"),
)
row(
    "option",
    "--custom-layers without --custom-type is refused (it crashed)",
    f"{QUICK} --custom-layers attn",
    refuses(2, "custom-type"),
)
row("option", "--custom-type without --custom-layers is refused", f"{QUICK} --custom-type fp16", refuses(2, "custom-layers"))
row(
    "option",
    "--custom-layers that matches nothing: a warning",
    f"{QUICK} --custom-layers nowhere --custom-type fp16",
    says("nowhere"),
)
row(
    "option",
    "--custom-block-size",
    f"{QUICK} --custom-layers attn --custom-type int8 --custom-block-size 32",
    both(marked(ATTN, group_size=32), marked(MLP, group_size=128)),
)
row(
    "option",
    "--custom-scaling-mode",
    f"{QUICK} --custom-layers attn --custom-type int8 --custom-scaling-mode axis",
    both(marked(ATTN, format="int8_axiswise"), marked(MLP, format="int8_blockwise")),
)
row(
    "option",
    "--custom-simple rounds them to nearest",
    f"{LEARNED} --custom-layers attn --custom-type int8 --custom-simple",
    both(same_as_plain(only="attn"), differs_from(QUICK, only="mlp")),
)
row("option", "--custom-simple without --custom-layers is refused", f"{QUICK} --custom-simple", refuses(2, "custom"))
row(
    "option",
    "--exclude-layers is searched in the full key",
    rf"{QUICK} --exclude-layers attn\\.weight$",
    kept("two", f"{ATTN}.weight"),
)
row(
    "option",
    "A bad --exclude-layers is refused (it was a traceback)",
    f"{QUICK} --exclude-layers attn(",
    refuses(2, "exclude.layers"),
)
row("option", "--exclude-layers that matches nothing: a warning", f"{QUICK} --exclude-layers nowhere", says("nowhere"))
row(
    "option",
    "--fallback int8",
    "-i {two} -o o.safetensors --fp16 --comfy_quant --exclude-layers attn --fallback int8 --fallback-simple",
    both(quantized(ATTN), holds(f"{MLP}.weight", "F16")),
)
row(
    "option",
    "--fallback-block-size",
    f"{QUICK} --exclude-layers attn --fallback int8 --fallback-block-size 32",
    both(marked(ATTN, group_size=32), marked(MLP, group_size=128)),
)
row(
    "option",
    "--fallback-simple rounds them to nearest",
    f"{LEARNED} --exclude-layers attn --fallback int8 --fallback-simple",
    both(same_as_plain(only="attn"), differs_from(QUICK, only="mlp")),
)
row("option", "--fallback-block-size without --fallback is refused", f"{QUICK} --fallback-block-size 32", refuses(2, "fallback"))
row("option", "--fallback-simple without --fallback is refused", f"{QUICK} --fallback-simple", refuses(2, "fallback"))
row("option", "--low-memory reads one tensor at a time with learned rounding too", f"{LEARNED} --low-memory", same_as(LEARNED))
row(
    "option",
    "--edit-quant removes and adds keys of markers",
    "--edit-quant -i q.safetensors -o o.safetensors --remove-keys group_size --add-keys \"'full_precision_matrix_mult': true\"",
    both(
        marked(ATTN, full_precision_matrix_mult=True, group_size=None, format="int8_blockwise"),
        lambda run: (
            None if run.tensors[f"{ATTN}.weight"] == run.file("q.safetensors").tensors[f"{ATTN}.weight"] else "weight changed"
        ),
    ),
    before=("-i {two} -o q.safetensors --simple --comfy_quant",),
)
row(
    "option",
    "--edit-quant --quant-filter edits some layers",
    "--edit-quant -i q.safetensors -o o.safetensors --quant-filter attn --add-keys \"'x': 1\"",
    both(marked(ATTN, x=1), marked(MLP, x=None)),
    before=("-i {two} -o q.safetensors --simple --comfy_quant",),
)
row(
    "option",
    "--edit-quant --save-quant-metadata builds the header's map",
    "--edit-quant -i q.safetensors -o o.safetensors --save-quant-metadata",
    header_map(ATTN, MLP, format="int8_blockwise"),
    before=("-i {two} -o q.safetensors --simple --comfy_quant",),
)
row(
    "option",
    "--edit-quant edits the header's map alike",
    "--edit-quant -i q.safetensors -o o.safetensors --add-keys \"'x': 'y'\"",
    both(marked(ATTN, x="y"), header_map(ATTN, x="y")),
    before=("-i {two} -o q.safetensors --simple --comfy_quant --save-quant-metadata",),
)
row(
    "option",
    "--edit-quant without something to do is refused",
    "--edit-quant -i {two} -o o.safetensors",
    refuses(2, "remove-keys|add-keys"),
)
row(
    "option",
    "--edit-quant of a file without markers ends the run",
    "--edit-quant -i {two} -o o.safetensors --add-keys \"'x': 1\"",
    refuses(4, "two"),
)
row(
    "option",
    "--edit-quant with options of the conversion is refused",
    "--edit-quant -i {two} -o o.safetensors --add-keys \"'x': 1\" --fp16",
    refuses(2, "fp16"),
)

# -------------------------------------------------------------------------------------------------------------- spellings

for form in ("--comfy_quant=true", "--comfy_quant=on", "--comfy-quant=YES", "--comfy_quant=1", "--no-comfy_quant --comfy_quant"):
    row("spelling", f"A switch may be written {form}", f"-i {{two}} -o o.safetensors --simple {form}", same_as_plain())
row("spelling", "A switch may be turned off with --no-", f"{QUICK} --no-comfy-quant", lacks("comfy_quant"))
row("spelling", "A switch may be turned off with =false", f"{QUICK} --comfy_quant=false", lacks("comfy_quant"))
row("spelling", "A switch with another word is refused", f"{QUICK} --heur=perhaps", refuses(2, "heur"))
row("spelling", "--name=value is --name value", f"{QUICK} --scaling_mode=axis", same_as(f"{QUICK} --scaling_mode axis"))
row(
    "spelling",
    "Dashes and underscores may be mixed",
    f"{QUICK} --no_merge-lora_dampen --full-precision_matrix-mult",
    marked(ATTN, full_precision_matrix_mult=True),
)
row(
    "spelling",
    "Of a repeated option the last value counts",
    f"{QUICK} --block_size 32 --block_size 64",
    marked(ATTN, group_size=64),
)
row(
    "spelling",
    "--merge-loras adds up",
    f"-i {{small}} {MERGE} --merge-loras {{style}} --merge-loras {{light}}",
    merged("small", "blocks.0.q", [(STYLE, 1.0), (LIGHT, 0.9)]),
)
row("spelling", "Numbers may be scientific", f"{LEARNED} --lr 2e-2", same_as(f"{LEARNED} --lr 0.02"))
row("spelling", "Names are not abbreviated", f"{QUICK} --scaling tensor", refuses(2, "scaling"))
row("spelling", "--version prints name and version", "--version", says(r"convert_to_quant \d"))
row(
    "option",
    "--streaming and --streaming-aggressive together are taken",
    f"{QUICK} --streaming --streaming-aggressive",
    same_as_plain(),
)
row("option", "--strict makes an unused pattern an error", f"{QUICK} --exclude-layers nowhere --strict", refuses(1, "nowhere"))


PRESETS = {
    "mistral": ("layers.0.input_layernorm.proj", "layers.0.q"),
    "visual": ("blk.0.mlp.down_proj", "blk.0.q"),
    "flux2": ("time_in.in_layer", "double_blocks.0.q"),
    "distillation_large": ("final_layer.linear", "double_blocks.0.q"),
    "distillation_small": ("distilled_guidance_layer.x", "final_layer.linear"),
    "nerf_large": ("txt_in", "double_blocks.0.q"),
    "nerf_small": ("nerf_blocks.0.x", "txt_in"),
    "radiance": ("img_in_patch", "double_blocks.0.q"),
    "wan": ("time_projection.1", "blocks.0.ffn.0"),
    "hunyuan": ("vision_in.proj.0", "blocks.0.q"),
    "qwen": ("time_text_embed.x", "transformer_blocks.1.q"),
    "zimage": ("x_embedder", "layers.0.feed_forward.w1"),
    "zimage_refiner": ("noise_refiner.0.w", "layers.0.w"),
    "lora": ("blocks.0.scale", "blocks.0.q"),
}
for preset, (protected, other) in PRESETS.items():
    made: dict = {}
    linear(made, protected, 128, 128)
    linear(made, other, 128, 128)

    def protects(run, protected=protected, other=other, made=made):
        if run.code:
            return ends(0)(run)
        return (
            f"{protected} is {run.tensors[protected + '.weight'].dtype}"
            if run.tensors[f"{protected}.weight"] != made[f"{protected}.weight"]
            else f"{other} is {run.tensors[other + '.weight'].dtype}" if run.tensors[f"{other}.weight"].dtype != "I8" else None
        )

    row(
        "filter",
        f"--{preset} protects {protected}, and not {other}",
        f"-i m.safetensors -o o.safetensors --simple --comfy_quant --{preset}",
        protects,
        files={"m.safetensors": made},
    )
row("filter", "A preset that protects nothing: a warning", f"{QUICK} --wan", says("wan"))


# ------------------------------------------------------------------------------------------------------------- help pages

row(
    "help",
    "-h prints usage, options and the other pages",
    "-h",
    says("usage: convert_to_quant", "--comfy_quant", "--help-filters", "-he"),
)
row(
    "help",
    "--help-filters and -hf print the presets in categories",
    "-hf",
    says("Text Encoders", "Diffusion Models", "Video Models", "Image Models", *(f"--{preset}\\b" for preset in PRESETS)),
)
row(
    "help",
    "--help-experimental is -he, with fallback and custom layers",
    "--help-experimental",
    both(
        says("--custom-layers", "--fallback", "--smoothquant", "--layer-config", "--quip-seed", "--gptq-actorder"),
        lambda run: None if run.out == run.other("-he").out else "-he differs",
    ),
)
row(
    "help",
    "--help-advanced is -ha, with early stopping and shapes",
    "--help-advanced",
    both(
        says("--lr-shape-influence", "--early-stop-stall", "-esloss"),
        lambda run: None if run.out == run.other("-ha").out else "-ha differs",
    ),
)
row("help", "A page's title is underlined with 60 signs", "-hf", says("^={60}$"))
row("help", "Groups are underlined with 40 signs", "-he", says("^-{40}$"))
row("help", "Pages need no --input and come before everything else", "--block_size 0 -he", says("Experimental"))
row("help", "Defaults stand in the pages", "-hs", says(r"\(default:\s+128\)"))


def on_one_page(run):
    pages = {page: run.other(page).out for page in ("-h", "-hs", "-hf", "-he", "-ha", "-hl", "-hm", "-hlr")}
    missing = [
        option
        for option in OPTIONS
        if not any(f" {option}" in text.replace(",", " ").replace("\n", " ") for text in pages.values())
    ]
    return f"on no page: {' '.join(missing)}" if missing else None


OPTIONS = """--input --output --comfy_quant --full_precision_matrix_mult --save-quant-metadata --fp16 --int8 --scaling_mode --block_size --simple --heur --full_matrix
    --manual_seed --low-memory --optimizer --num_iter --lr --top_p --min_k --max_k --lr_schedule --lr_gamma --lr_patience --lr_factor --lr_min --lr_cooldown --lr_threshold
    --lr_adaptive_mode --smoothquant --smoothquant-alpha --calibration-data --calibration-lora --static-activations --input_scale --report-quality --quality-threshold
    --merge-lora --merge-loras --merge-lora-scale --merge-lora-dampen --edit-quant --remove-keys --add-keys --quant-filter --dry-run --verbose --custom-layers --custom-type
    --custom-block-size --custom-scaling-mode --custom-simple --custom-heur --exclude-layers --fallback --fallback-block-size --fallback-simple --layer-config --fullmatch
    --gptq-actorder --gptq-fast --gptq-turbo --quip-actorder --quip-hadamard --quip-seed --quip-store-transformed --quip-requant-scheme --quip-requant-tensor-per-row
    --quip-checkpointed --quip-checkpoint-threshold --quip-checkpoint-segments --streaming-mode --stream-hadamard-threshold --stream-hessian-threshold --stream-ldlq-threshold
    --stream-ortho-threshold --no-memory-limits --bf16-compute --bf16-threshold --bf16-hadamard-threshold --bf16-hessian-threshold --lr-shape-influence --lr-threshold-mode
    --early-stop-loss --early-stop-lr --early-stop-stall""".split()
row("help", "Every option stands on a page", "-hs", on_one_page)


# ------------------------------------------------------------------------------------------------------------------ names

row(
    "name",
    "Learned INT8: <stem>_learned_int8_bs128",
    "-i {two@} --profile seed --num_iter 2",
    writes("two_learned_int8_bs128.safetensors"),
)
row("name", "--simple: <stem>_simple_int8_bs128", "-i {two@} --simple", writes("two_simple_int8_bs128.safetensors"))
row("name", "_bs tells the block size", "-i {two@} --simple --block_size 64", writes("two_simple_int8_bs64.safetensors"))
row("name", "A preset adds `mixed`", "-i {flux@} --simple --flux2", writes("flux_simple_int8mixed_bs128.safetensors"))
row(
    "name",
    "Custom layers add `mixed`",
    "-i {two@} --simple --custom-layers attn --custom-type fp16",
    writes("two_simple_int8mixed_bs128.safetensors"),
)
row("name", "FP16 has no block size", "-i {two@} --fp16", writes("two_simple_fp16.safetensors"))
row(
    "name",
    "axis and tensor say so (they said _bs128)",
    "-i {two@} --simple --scaling_mode axis",
    writes("two_simple_int8_axiswise.safetensors"),
)
row("name", "tensor: _tensorwise", "-i {two@} --simple --scaling_mode tensor", writes("two_simple_int8_tensorwise.safetensors"))
row("name", "gptq and quip stand in place of learned", "-i {two@} --optimizer gptq", writes("two_gptq_int8_bs128.safetensors"))
row(
    "name",
    "--edit-quant: <stem>_edited",
    "--edit-quant -i q.safetensors --add-keys \"'x': 1\"",
    writes("q_edited.safetensors"),
    before=("-i {two} -o q.safetensors --simple --comfy_quant",),
)
row(
    "name",
    "The file goes beside the input",
    "-i sub/m.safetensors --simple",
    writes("sub/m_simple_int8_bs128.safetensors"),
    files={"sub/m.safetensors": two_layers()},
)


# ------------------------------------------------------------------------------------------------------------- bad input

row(
    "error",
    "A missing input is named (the fork exits 0)",
    "-i nothing.safetensors -o o.safetensors",
    refuses(4, "nothing.safetensors"),
)
row(
    "error",
    "A truncated file is refused before work",
    "-i cut.safetensors -o o.safetensors --simple",
    refuses(4, "cut.safetensors"),
    files={
        "cut.safetensors": struct.pack("<Q", 80)
        + b'{"a.weight":{"dtype":"F32","shape":[64,64],"data_offsets":[0,16384]}}'.ljust(80)
        + bytes(100)
    },
)
row(
    "error",
    "A file of another kind is refused",
    "-i x.safetensors -o o.safetensors",
    refuses(4, "x.safetensors"),
    files={"x.safetensors": "no model"},
)
row(
    "error",
    "A pickle gets a hint",
    "-i x.ckpt -o o.safetensors",
    refuses(4, "[Pp]ickle|PyTorch|torch"),
    files={"x.ckpt": b"PK\x03\x04" + bytes(100)},
)
row("error", "Nothing to quantize ends the run", f"{QUICK} --exclude-layers .", refuses(1, "nothing|no "))
row(
    "error",
    "An input that is quantized already is refused (integers were taken for weights)",
    "-i q.safetensors -o o.safetensors --simple",
    refuses(4, "quantized"),
    before=("-i {two} -o q.safetensors --simple --comfy_quant",),
)
row(
    "error",
    "An empty weight is copied",
    "-i e.safetensors -o o.safetensors --simple",
    lambda run: ends()(run) or (None if run.tensors["e.weight"].shape == (0, 4) else "no"),
    files={"e.safetensors": two_layers() | {"e.weight": Tensor("BF16", (0, 4), b"")}},
)
row(
    "error",
    "An output that cannot be written ends the run before work",
    "-i {two} -o file/o.safetensors --simple",
    refuses(1, "file"),
    files={"file": "in the way"},
)


# --------------------------------------------------------------------------------------------------------------- examples

EXAMPLE = "--num_iter 5"
row(
    "example",
    "Blocks of 128 with a preset",
    "-i {flux} -o o.safetensors --comfy_quant --scaling_mode block --block_size 128 --flux2",
    both(kept("flux", "img_in.weight"), marked("double_blocks.0.img_mlp.0", format="int8_blockwise")),
)
row(
    "example",
    "axis, simple and heur",
    "-i {two} -o o.safetensors --int8 --scaling-mode axis --simple --heur",
    holds(f"{ATTN}.scale_weight", "F32", (128,)),
)
row(
    "example",
    "quip with calibration data",
    f"-i {{two}} -o o.safetensors --optimizer quip --quip-actorder --quip-no-store-transformed --calibration-data {{stats}}",
    quantized(ATTN, MLP),
)
row(
    "example",
    "gptq with calibration data",
    f"-i {{two}} -o o.safetensors --optimizer gptq --gptq-actorder --calibration-data {{stats}}",
    quantized(ATTN, MLP),
)
row(
    "example",
    "fp16 with exclusions",
    "-i {flux} -o o.safetensors --fp16 --exclude-layers 'img_in|txt_in'",
    both(kept("flux", "img_in.weight", "txt_in.weight"), holds("double_blocks.0.img_mlp.0.weight", "F16")),
)
row(
    "example",
    "Custom layers and a fallback",
    f"{QUICK} --custom-layers attn --custom-type fp16 --fallback int8",
    both(holds(f"{ATTN}.weight", "F16"), quantized(MLP)),
)
row(
    "example",
    "Two LoRAs, undampened",
    f"-i {{small}} -o o.safetensors --comfy_quant --simple --merge-loras {{style}} {{light}} --merge-lora-scale 0.8 --merge-lora-dampen=False",
    merged("small", "blocks.0.q", [(STYLE, 0.8), (LIGHT, 0.8)]),
)
row("example", "A template", "-i {two@} --dry-run create-template", writes("two_layer_config_template.json"))
row(
    "example",
    "A layer configuration with whole names",
    f"{QUICK} --layer-config l.json --fullmatch",
    kept("two", f"{ATTN}.weight"),
    files={"l.json": {r"blk\.0\.attn": {"skip": True}}},
)
row("example", "SmoothQuant with alpha 0.7", f"{SMOOTH} --smoothquant-alpha 0.7", still_the_model)
row("example", "The mode as a command word: convert", "convert -i {two} -o o.safetensors --comfy_quant --simple", same_as_plain())
row(
    "example",
    "The fork's program for calibration statistics: calibrate writes what --calibration-data reads",
    f"{GPTQ} --calibration-data s.safetensors",
    quantized(ATTN, MLP),
    before=("calibrate {two} -o s.safetensors --samples 16",),
)
row(
    "example",
    "calibrate takes the model with -i as well",
    "calibrate -i {two} -o s.safetensors --samples 16",
    lambda run: ends()(run)
    or (
        None
        if {f"{ATTN}.channel_max", f"{ATTN}.channel_mean", f"{ATTN}.input_scale"} <= run.file("s.safetensors").tensors.keys()
        else f"holds {list(run.file('s.safetensors').tensors)}"
    ),
)
row(
    "example",
    "calibrate --json writes JSON",
    "calibrate -i {two} -o s.json --samples 16",
    lambda run: ends()(run)
    or (None if "input_scale" in json.loads((run.folder / "s.json").read_text())[ATTN] else "no input_scale"),
)
