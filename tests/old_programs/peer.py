"""What the documents of the program called ctq promised, as this one keeps it with --profile peer or under that program's names."""

import json
import re

from workshop import (
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
    silent_about,
    writes,
)
from workshop_more import (
    codes,
    counts,
    e8m0,
    f32,
    header_map,
    largest,
    lora,
    metadata_has,
    mxfp8_values,
    near,
    nvfp4_values,
    relative,
    rotated,
    scaled_rows,
    spread,
    token,
    when,
)
import workshop
import workshop_more

PEER = "--profile peer"
S = f"{PEER} -i {{spare}} -o o.safetensors --simple"  # rounded to nearest
C = f"{S} --comfy_quant"
L = f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --num_iter 200 --min_k 16 --max_k 16"  # learned, along 16 directions
ROW = f"{C} --int8 --scaling_mode row"
Q, M = "blk.0.attn.to_q", "blk.0.mlp"


def prints(**wanted: str):
    """The options in effect, as --print-config shows them."""

    def check(run):
        if run.code:
            return ends(0)(run)
        for name, value in wanted.items():
            found = re.search(rf"^(?:# )?{name} = '?([^' ]+)'?(?:  \(profile\))?$", run.out, re.M)
            if not found:
                return f"no {name}"
            if found[1] != value and not (
                re.match(r"[0-9.e-]+$", value) and re.match(r"[0-9.e-]+$", found[1]) and float(found[1]) == float(value)
            ):
                return f"{name} is {found[1]}, not {value}"
        return None

    return check


def default(thing: str, **wanted: str):
    return Row("cli 2.7", f"default of this program: {thing}", f"{PEER} --print-config", prints(**wanted))


def keys_in_order(layer: str, *keys: str):
    return when(lambda run: None if list(run.marker(layer)) == list(keys) else f"keys {list(run.marker(layer))}")


def scale_of(layer: str, bound: float):
    return when(
        lambda run: near(
            run.tensors[f"{layer}.weight_scale"].values()[0],
            largest(run.source("spare")[f"{layer}.weight"].values()) / bound,
            1e-6,
        )
    )


def values_near(layer: str, values, bound: float, model: str = "spare"):
    """What a decoder makes of the layer is near the weight."""

    def check(run):
        source = run.source(model)[f"{layer}.weight"]
        error = relative(values(run, layer, source.shape), source)
        return None if error < bound else f"{layer}: squared error {error:.3g} of the weight's"

    return when(check)


def turned(layer: str, group: int | None, model: str = "wide"):
    """Codes are of the weight rotated in groups of this length, rounded to nearest; None: not rotated, and not marked so."""

    def check(run):
        found = run.marker(layer)
        if (found.get("convrot"), found.get("convrot_groupsize")) != ((True, group) if group else (None, None)):
            return f"marker {found}"
        source = run.source(model)[f"{layer}.weight"].rows()
        wanted = rotated(source, group) if group else source
        error = sum((a - b) ** 2 for x, y in zip(scaled_rows(run, layer), wanted) for a, b in zip(x, y)) / sum(
            b * b for y in wanted for b in y
        )
        return None if error < 1e-3 else f"squared error {error:.3g} of the rotated weight's"

    return when(check)


def error_of(run, layer: str) -> float:
    return workshop.square_error(run, layer, "spare")


def preset(name: str, protected: str, other: str = "blocks.5.mlp", also: str = ""):
    """A preset of this program keeps a layer of this name, and quantizes another."""
    files = {
        "m.safetensors": {
            f"{layer}.weight": workshop.normal(layer, (32, 32), "F16") for layer in (protected, other, "blocks.5.attn.to_q")
        }
    }
    return Row(
        "cli 2.2",
        f"preset --{name} keeps {protected}",
        f"{PEER} -i m.safetensors -o o.safetensors --simple --comfy_quant --{name} {also}",
        when(lambda run: run.tensors[f"{protected}.weight"].dtype == "F16" and run.tensors[f"{other}.weight"].dtype == "F8_E4M3"),
        files=files,
    )


ROWS = [
    # ------------------------------------------------------------------------------------------------ names and defaults
    Row(
        "cli 1",
        "a link named ctq starts from this program's defaults",
        "-i {spare} -o o.safetensors --simple --comfy_quant",
        both(quantized(Q, dtype="F8_E4M3"), same_as(C, metadata=True)),
        program="ctq",
    ),
    Row(
        "cli 1",
        "a link named convert-to-quant does too",
        "-i {spare} -o o.safetensors --simple --comfy_quant",
        same_as(C, metadata=True),
        program="convert-to-quant",
    ),
    Row(
        "3.4",
        "ctq writes the ComfyUI layout without being asked",
        "-i {spare} -o o.safetensors --simple",
        both(holds(f"{Q}.comfy_quant", "U8"), holds(f"{Q}.weight_scale", "F32")),
        program="ctq",
    ),
    Row(
        "cli 12",
        "FP8's derived name: simple_fp8_tensor",
        "-i {spare@} --simple --comfy_quant",
        writes("spare_simple_fp8_tensor.safetensors"),
        program="ctq",
    ),
    Row(
        "cli 12",
        "learned_fp8_tensor when learned",
        "-i {spare@} --num_iter 2 --comfy_quant",
        writes("spare_learned_fp8_tensor.safetensors"),
        program="ctq",
    ),
    Row(
        "cli 12",
        "INT8 rows: int8_rowwise",
        "-i {spare@} --simple --int8 --scaling_mode row --comfy_quant",
        writes("spare_simple_int8_rowwise.safetensors"),
        program="ctq",
    ),
    Row(
        "cli 12",
        "INT8 tensor: int8_tensorwise",
        "-i {spare@} --simple --int8 --scaling_mode tensor --comfy_quant",
        writes("spare_simple_int8_tensorwise.safetensors"),
        program="ctq",
    ),
    Row(
        "cli 12",
        "INT8 blocks: int8_bs128",
        "-i {spare@} --simple --int8 --scaling_mode block --comfy_quant",
        writes("spare_simple_int8_bs128.safetensors"),
        program="ctq",
    ),
    Row("cli 12", "NVFP4: simple_nvfp4", "-i {spare@} --simple --nvfp4", writes("spare_simple_nvfp4.safetensors"), program="ctq"),
    Row("cli 12", "MXFP8: simple_mxfp8", "-i {spare@} --simple --mxfp8", writes("spare_simple_mxfp8.safetensors"), program="ctq"),
    Row(
        "cli 12",
        "NVFP4 with custom layers: nvfp4_mixed",
        "-i {spare@} --simple --nvfp4 --custom-layers mlp --custom-type fp8 --custom-simple",
        writes("spare_simple_nvfp4_mixed.safetensors"),
        program="ctq",
    ),
    Row(
        "cli 12",
        "with a preset the name has mixed",
        "-i {t5@} --simple --t5xxl --comfy_quant",
        writes("t5_simple_fp8mixed_tensor.safetensors"),
        program="ctq",
    ),
    default("target FP8", fp8="true"),
    default("optimizer prodigy", optimizer="prodigy"),
    default("4000 iterations", num_iter="4000"),
    default("schedule plateau", lr_schedule="plateau"),
    default(
        "plateau: patience 1, factor 0.95, floor 1e-8, cooldown 0",
        lr_patience="1",
        lr_factor="0.95",
        lr_min="1e-8",
        lr_cooldown="0",
    ),
    default("directions: 256 to 1280, share 0.2", min_k="256", max_k="1280", top_p="0.2"),
    default(
        "stopping: loss 5e-9, rate 1.01e-8, stall 2000", early_stop_loss="5e-9", early_stop_lr="1.01e-8", early_stop_stall="2000"
    ),
    Row("cli 2.7", "explicit options win over them", f"{C} --int8 --scaling_mode row", quantized(Q, dtype="I8")),
    Row("cli 2.7", "the scaling mode is tensor unless said", f"{C} --scaling_mode tensor", same_as(C, metadata=True)),
    Row(
        "cli 2.7",
        "the scaling mode is tensor unless said, for INT8 too",
        f"{C} --int8",
        both(marked(Q, format="int8_tensorwise"), holds(f"{Q}.weight_scale", "F32", ())),
    ),
    Row(
        "cli 2.7",
        "blocks are of 128 unless said",
        f"{C} --scaling_mode block",
        marked(Q, format="float8_e4m3fn_blockwise", group_size=128),
    ),
    Row(
        "cli 2.7",
        "unquantized weights keep their type (they became bfloat16)",
        f"{C} --exclude-layers mlp",
        kept("spare", f"{M}.weight"),
    ),
    Row(
        "cli 2.1",
        "--output-dtype bfloat16, its default, on request",
        f"{C} --exclude-layers mlp --output-dtype bfloat16",
        holds(f"{M}.weight", "BF16"),
    ),
    Row("cli 2.1", "--output-dtype float16", f"{C} --exclude-layers mlp --output-dtype float16", holds(f"{M}.weight", "F16")),
    Row(
        "cli 2.1",
        "--preserve-layers keeps the type of layers that match",
        f"{C} --exclude-layers mlp --output-dtype bfloat16 --preserve-layers mlp",
        holds(f"{M}.weight", "F16"),
    ),
    Row("cli 2.1", "--calib_samples is taken", f"{C} --calib_samples 3072", quantized(Q, dtype="F8_E4M3")),
    Row(
        "cli 2.1",
        "--no-normalize-scales has no effect, as ever, and a line says so",
        f"{C} --no-normalize-scales",
        both(same_as(C), says("has no effect")),
    ),
    Row(
        "cli 2.1",
        "--group_size is --block_size",
        f"{C} --scaling_mode block --group_size 64",
        same_as(f"{C} --scaling_mode block --block_size 64", metadata=True),
    ),
    Row(
        "cli 2.1",
        "-fpmm is --full_precision_matrix_mult",
        f"{C} -fpmm",
        both(marked(Q, full_precision_matrix_mult=True), same_as(f"{C} --full_precision_matrix_mult")),
    ),
    Row("cli 2.1", "-lm is --low-memory, and changes no byte", f"{C} -lm", same_as(C, metadata=True)),
    Row("cli 2.1", "--device cpu", f"{C} --device cpu", same_as(C, metadata=True)),
    Row("cli 2.1", "--comfy_quant is taken", C, holds(f"{Q}.comfy_quant", "U8")),
    Row(
        "cli 2.5",
        "--calib_cpu is taken, with a note that it has no effect",
        f"{C} -lm --calib_cpu",
        both(same_as(C), says("note: --calib_cpu has no effect")),
    ),
    # ------------------------------------------------------------------------------------------------------ help pages
    *(
        Row(
            "cli 2.5",
            f"{short} is {long}: {topic}",
            short,
            both(says(*texts), lambda run, long=long: None if run.out == run.other(long).out else "another page"),
        )
        for short, long, topic, texts in (
            ("-hl", "--help-learned", "learned rounding", ("--num_iter", "--lr_schedule")),
            ("-hm", "--help-modes", "modes", ("--edit-quant", "--convert-fp8-scaled", "--actcal")),
            ("-hlr", "--help-lora", "LoRA extraction", ("--extract-lora", "--lora-rank", "--lora-depth")),
            ("-hf", "--help-filters", "filters", ("--gemma4", "--krea2")),
            ("-he", "--help-experimental", "experimental", ("--convrot", "--custom-type")),
            ("-ha", "--help-advanced", "advanced", ("--early-stop-loss, -esloss",)),
        )
    ),
    Row("cli 2.8", "a page is shown whatever else is on the line", "-hl -i none.safetensors --bogus", says("--num_iter")),
    # --------------------------------------------------------------------------------------------------------- routing
    Row(
        "2.2",
        "candidates are 2-D tensors named .weight",
        C,
        both(quantized(Q, M, dtype="F8_E4M3"), kept("spare", "blk.0.norm.weight", "blk.0.conv.weight", f"{Q}.bias")),
    ),
    Row(
        "2.2",
        "lora_A and lora_B tensors are no candidates",
        f"{PEER} -i l.safetensors -o o.safetensors --simple --comfy_quant",
        both(holds("x.lora_A", "F16"), quantized("x", dtype="F8_E4M3")),
        files={
            "l.safetensors": {
                "x.weight": workshop.normal("x", (64, 64), "F16"),
                "x.lora_A": workshop.normal("x.a", (16, 64), "F16"),
            }
        },
    ),
    Row(
        "2.2",
        "layers are numbered in sorted order",
        C,
        says(r"\((\d+)/\d+\) Processing \(FP8\): blk\.0\.attn\.to_q\.weight[\s\S]*Processing \(FP8\): blk\.0\.mlp\.weight"),
    ),
    Row(
        "2.2",
        "a preset's layers are skipped, with the preset as reason",
        f"{PEER} -i m.safetensors -o o.safetensors --simple --comfy_quant --wan",
        says(r"Skipping tensor: blk\.0\.patch_embedding\.weight \(Reason: .*wan.*\)"),
        files={
            "m.safetensors": {
                f"{name}.weight": workshop.normal(name, (64, 64), "F16") for name in ("blk.0.mlp", "blk.0.patch_embedding")
            }
        },
    ),
    Row(
        "2.2",
        "--exclude-layers skips",
        f"{C} --exclude-layers mlp",
        both(kept("spare", f"{M}.weight"), quantized(Q, dtype="F8_E4M3")),
    ),
    Row(
        "2.2",
        "--fallback takes what is excluded",
        f"{C} --exclude-layers mlp --fallback mxfp8",
        both(marked(M, format="mxfp8"), marked(Q, format="float8_e4m3fn")),
    ),
    *(
        Row(
            "cli 2.3",
            f"--fallback {name}",
            f"{C} --exclude-layers mlp --fallback {name} --fallback-simple",
            marked(M, format=form),
        )
        for name, form in (("fp8", "float8_e4m3fn"), ("int8", "int8_tensorwise"), ("nvfp4", "nvfp4"))
    ),
    *(
        Row(
            "cli 2.3",
            f"--custom-type {name}",
            f"{C} --custom-layers mlp --custom-type {name} --custom-simple",
            both(marked(M, format=form), marked(Q, format="float8_e4m3fn")),
        )
        for name, form in (("fp8", "float8_e4m3fn"), ("int8", "int8_tensorwise"), ("mxfp8", "mxfp8"), ("nvfp4", "nvfp4"))
    ),
    Row(
        "2.2",
        "custom layers win over exclusion",
        f"{C} --exclude-layers mlp --custom-layers mlp --custom-type nvfp4 --custom-simple",
        marked(M, format="nvfp4"),
    ),
    Row(
        "2.2",
        "NVFP4: --custom-layers too (it needed a GPU)",
        f"{S} --nvfp4 --custom-layers mlp --custom-type fp8 --custom-simple",
        both(marked(M, format="float8_e4m3fn"), marked(Q, format="nvfp4")),
    ),
    Row("2.2", "NVFP4: --exclude-layers", f"{S} --nvfp4 --exclude-layers mlp", kept("spare", f"{M}.weight")),
    Row(
        "2.2",
        "NVFP4 and MXFP8: the list of names that always stay, without a preset",
        f"{PEER} -i n.safetensors -o o.safetensors --simple --nvfp4",
        both(holds("blk.0.patch_embedding.weight", "F16"), quantized("blk.0.mlp", dtype="U8")),
        files={
            "n.safetensors": {
                f"{name}.weight": workshop.normal(name, (64, 64), "F16") for name in ("blk.0.mlp", "blk.0.patch_embedding")
            }
        },
    ),
    Row(
        "2.2",
        "NVFP4: --layer-config",
        f"{S} --nvfp4 --layer-config c.json",
        both(marked(M, format="float8_e4m3fn"), marked(Q, format="nvfp4")),
        files={"c.json": {"mlp": {"format": "float8_e4m3fn"}}},
    ),
    Row(
        "2.2",
        "--heur leaves out what the block does not divide",
        f"{PEER} -i {{odd}} -o o.safetensors --simple --comfy_quant --scaling_mode block --heur",
        both(kept("odd", "blk.0.odd.weight", "blk.0.small.weight"), quantized("blk.0.fits", dtype="F8_E4M3")),
    ),
    Row(
        "2.2",
        "an unknown format in a layer configuration is refused (it became FP8 under that name)",
        f"{C} --layer-config c.json",
        refuses(2, "int4"),
        files={"c.json": {"mlp": {"format": "int4"}}},
    ),
    Row(
        "cli 2.3",
        "--custom-fpmm: for custom layers alone",
        f"{C} --custom-layers mlp --custom-type fp8 --custom-simple --custom-fpmm",
        both(marked(M, full_precision_matrix_mult=True), marked(Q, full_precision_matrix_mult=None)),
    ),
    Row(
        "cli 2.3",
        "--custom-full-precision-mm is the same",
        f"{C} --custom-layers mlp --custom-type fp8 --custom-simple --custom-full-precision-mm",
        same_as(f"{C} --custom-layers mlp --custom-type fp8 --custom-simple --custom-fpmm", metadata=True),
    ),
    Row(
        "cli 2.3",
        "--custom-convrot: for custom layers alone",
        f"{C} --custom-layers mlp --custom-type int8 --custom-scaling-mode row --custom-simple --custom-convrot",
        marked(M, format="int8_tensorwise", convrot=True, convrot_groupsize=256),
    ),
    Row(
        "cli 2.3",
        "--custom-convrot-group-size",
        f"{C} --custom-layers mlp --custom-type int8 --custom-scaling-mode row --custom-simple --custom-convrot --custom-convrot-group-size 64",
        marked(M, convrot_groupsize=64),
    ),
    Row(
        "cli 2.3",
        "--custom-layers without --custom-type is refused (it crashed)",
        f"{C} --custom-layers mlp",
        refuses(2, "--custom-type"),
    ),
    Row("cli 2.3", "a bad pattern is refused (exit code 0)", f"{C} --exclude-layers [", refuses(2, "--exclude-layers")),
    # --------------------------------------------------------------------------------------------------------- presets
    preset("gemma4", "model.audio.proj"),
    preset("qwen_vlm", "model.layers.0.mlp"),
    preset("qwen35", "model.layers.0.mlp"),
    preset("anima", "net.blocks.0.mlp"),
    preset("lens", "time_text_embed.x"),
    preset("krea2", "first"),
    preset("ideogram4", "t_embedding.x"),
    preset("minimaxh3", "condition_proj"),
    preset("boogu", "time_caption_embed.x"),
    preset("ltxv2", "adaln_single.x"),
    preset("nerf_large", "blocks.0.x_attn.proj", also="--filter-set peer"),
    preset("wan", "mm_input_projection_weight.x", also="--filter-set peer"),
    Row("cli 2.2", "--generic_text is a preset", f"{C} --generic_text", quantized(Q, dtype="F8_E4M3")),
    Row(
        "cli 2.2",
        "--qwen_vlm keeps the last language layer too",
        f"{PEER} -i m.safetensors -o o.safetensors --simple --comfy_quant --qwen_vlm",
        when(
            lambda run: [run.tensors[f"model.layers.{i}.mlp.weight"].dtype for i in range(4)]
            == ["F16", "F8_E4M3", "F8_E4M3", "F16"]
        ),
        files={"m.safetensors": {f"model.layers.{i}.mlp.weight": workshop.normal(f"l{i}", (32, 32), "F16") for i in range(4)}},
    ),
    # --------------------------------------------------------------------------------------------------------- layouts
    Row(
        "3.4",
        "float8_e4m3fn: one scale, the largest magnitude over 448",
        C,
        both(
            marked(Q, format="float8_e4m3fn"),
            holds(f"{Q}.weight_scale", "F32", ()),
            scale_of(Q, 448),
            error_below(Q, "spare", 0.0012),
        ),
    ),
    Row(
        "3.4",
        "float8_e4m3fn_rowwise: a scale per row, shape [M]",
        f"{C} --scaling_mode row",
        both(
            marked(Q, format="float8_e4m3fn_rowwise"), holds(f"{Q}.weight_scale", "F32", (128,)), error_below(Q, "spare", 0.0012)
        ),
    ),
    Row(
        "3.4",
        "float8_e4m3fn_blockwise: [M/b, N/b], with group_size",
        f"{C} --scaling_mode block --block_size 64",
        both(
            marked(M, format="float8_e4m3fn_blockwise", group_size=64),
            holds(f"{M}.weight_scale", "F32", (2, 4)),
            error_below(M, "spare", 0.0012),
        ),
    ),
    Row(
        "3.4",
        "block2d is block",
        f"{C} --scaling_mode block2d --block_size 64",
        same_as(f"{C} --scaling_mode block --block_size 64", metadata=True),
    ),
    Row(
        "3.4",
        "block3d: [M, N/b, 1] under a name of its own (it became block)",
        f"{C} --scaling_mode block3d --block_size 64",
        both(
            marked(M, format="float8_e4m3fn_block3d", group_size=64),
            holds(f"{M}.weight_scale", "F32", (128, 4, 1)),
            error_below(M, "spare", 0.0012),
        ),
    ),
    Row(
        "3.4",
        "int8_tensorwise with one scale",
        f"{C} --int8 --scaling_mode tensor",
        both(
            marked(Q, format="int8_tensorwise", group_size=None),
            holds(f"{Q}.weight_scale", "F32", ()),
            scale_of(Q, 127),
            error_below(Q, "spare", 2e-4),
        ),
    ),
    Row(
        "3.4",
        "int8_tensorwise with a scale per row, [M, 1]",
        ROW,
        both(marked(Q, format="int8_tensorwise"), holds(f"{Q}.weight_scale", "F32", (128, 1)), error_below(Q, "spare", 1e-4)),
    ),
    Row(
        "3.4",
        "int8_blockwise: [M/b, N/b], with group_size",
        f"{C} --int8 --scaling_mode block --block_size 64",
        both(
            marked(M, format="int8_blockwise", group_size=64),
            holds(f"{M}.weight_scale", "F32", (2, 4)),
            error_below(M, "spare", 1e-4),
        ),
    ),
    Row(
        "3.4",
        "mxfp8: E4M3 with an exponent per 32 columns, tiled",
        f"{S} --mxfp8",
        both(
            marked(Q, format="mxfp8"),
            holds(f"{Q}.weight", "F8_E4M3", (128, 128)),
            holds(f"{Q}.weight_scale", "U8", (128, 4)),
            values_near(M, mxfp8_values, 0.0012),
        ),
    ),
    Row(
        "3.4",
        "nvfp4: two values in a byte, the even one in the high half, scales tiled, and one of the whole",
        f"{S} --nvfp4",
        both(
            marked(M, format="nvfp4"),
            holds(f"{M}.weight", "U8", (128, 128)),
            holds(f"{M}.weight_scale", "F8_E4M3", (128, 16)),
            holds(f"{M}.weight_scale_2", "F32", ()),
            values_near(M, nvfp4_values, 0.012),
        ),
    ),
    Row(
        "3.4",
        "hybrid_mxfp8: mxfp8 with weight_scalar",
        f"{S} --format hybrid_mxfp8",
        both(marked(Q, format="hybrid_mxfp8"), holds(f"{Q}.weight_scalar", "F32", ()), values_near(Q, mxfp8_values, 0.0012)),
    ),
    Row(
        "3.4",
        "nvfp4 is padded to 16 rows and columns, and orig_shape says so",
        f"{PEER} -i p.safetensors -o o.safetensors --simple --nvfp4",
        both(holds("x.weight", "U8", (48, 24)), marked("x", format="nvfp4", orig_shape=[40, 40])),
        files={"p.safetensors": {"x.weight": workshop.normal("pad", (40, 40), "F16")}},
    ),
    Row(
        "3.4",
        "mxfp8 is padded to 32 rows and columns, and orig_shape says so",
        f"{PEER} -i p.safetensors -o o.safetensors --simple --mxfp8",
        both(holds("x.weight", "F8_E4M3", (64, 64)), marked("x", format="mxfp8", orig_shape=[40, 40])),
        files={"p.safetensors": {"x.weight": workshop.normal("pad", (40, 40), "F16")}},
    ),
    Row(
        "3.4",
        "order of a marker's keys: format, full_precision_matrix_mult, group_size",
        f"{C} --scaling_mode block -fpmm",
        when(
            lambda run: list(run.marker(Q))[0] == "format"
            and set(run.marker(Q)) == {"format", "group_size", "full_precision_matrix_mult"}
        ),
    ),
    Row(
        "3.4",
        "a marker is JSON in bytes, blanks after colon and comma",
        C,
        holds(f"{Q}.comfy_quant", "U8", data=b'{"format": "float8_e4m3fn"}'),
    ),
    Row(
        "3.4",
        "--nvfp4 and --mxfp8 write the ComfyUI layout without being asked",
        f"{S} --nvfp4",
        both(holds(f"{Q}.comfy_quant", "U8"), lambda run: holds(f"{Q}.comfy_quant", "U8")(run.other(f"{S} --mxfp8"))),
    ),
    Row("cli 2.1", "--nvfp4 refuses a scaling mode", f"{S} --nvfp4 --scaling_mode row", refuses(2, "--scaling_mode")),
    Row("cli 2.1", "--mxfp8 refuses a block size", f"{S} --mxfp8 --block_size 64", refuses(2, "--block_size|--group_size")),
    Row("cli 2.1", "two targets are refused", f"{S} --nvfp4 --mxfp8", refuses(2, "target")),
    Row("cli 2.3", "block3d with INT8 is refused", f"{C} --int8 --scaling_mode block3d", refuses(2, "block3d")),
    # ---------------------------------------------------------------------------------------------------------- header
    Row(
        "3.5",
        "--save-quant-metadata: version and a layer's format in the header",
        f"{C} --save-quant-metadata",
        when(lambda run: header_map(run)["format_version"] == "1.0" and header_map(run)["layers"][Q] == run.marker(Q)),
    ),
    Row(
        "3.5",
        "group_size there for block formats only",
        f"{C} --scaling_mode block --save-quant-metadata",
        both(
            when(lambda run: header_map(run)["layers"][Q]["group_size"] == 128),
            lambda run: when(lambda r: "group_size" not in header_map(r)["layers"][Q])(run.other(f"{C} --save-quant-metadata")),
        ),
    ),
    Row(
        "3.5",
        "full_precision_matrix_mult there only when true",
        f"{C} -fpmm --save-quant-metadata",
        when(lambda run: header_map(run)["layers"][Q]["full_precision_matrix_mult"] is True),
    ),
    Row(
        "3.5",
        "convrot and its group size there",
        f"{ROW} --convrot --save-quant-metadata",
        when(
            lambda run: header_map(run)["layers"][M]["convrot_groupsize"] == 256
            and header_map(run)["layers"][M]["convrot"] is True
        ),
    ),
    Row("3.5", "other metadata stay", f"{C} --save-quant-metadata", metadata_has(made="for rows")),
    Row("3.5", "without the option there is no entry", C, when(lambda run: "_quantization_metadata" not in run.metadata)),
    # --------------------------------------------------------------------------------------------------------- learned
    Row(
        "5.1",
        "--top_p, --min_k and --max_k set the number of directions",
        f"{L} --min_k 4 --max_k 4",
        differs_from(f"{L} --min_k 64 --max_k 64", only="weight$"),
    ),
    Row(
        "5.1",
        "--top_p counts between the bounds",
        f"{L} --min_k 1 --top_p 0.05",
        differs_from(f"{L} --min_k 1 --top_p 0.5", only="weight$"),
    ),
    Row(
        "5.1",
        "--full_matrix uses the full SVD, with as good a result",
        f"{L} --optimizer original --full_matrix --min_k 16 --max_k 16",
        both(error_below(M, "spare", 0.003), quantized(Q, dtype="F8_E4M3")),
    ),
    Row("5.1", "--min_k above --max_k is refused", f"{L} --min_k 300 --max_k 100", refuses(2, "--min_k|--max_k")),
    Row(
        "5.1",
        "-v names shape and number of directions of a layer",
        f"{L} --verbose VERBOSE --min_k 16 --max_k 16",
        says(r"128.*256.*\b(k|rank|directions)\D*16|\b16 (singular )?directions"),
    ),
    Row("5.3", "original: codes differ from rounding to nearest", f"{L} --optimizer original", differs_from(C, only="weight$")),
    *(
        Row("5.3", f"{name}: codes differ from rounding to nearest", f"{L} --optimizer {name}", differs_from(C, only="weight$"))
        for name in ("adamw", "radam", "prodigy")
    ),
    Row(
        "5.3",
        "original on INT8 rows",
        f"{L} --optimizer original --int8 --scaling_mode row --lr 30",
        differs_from(ROW, only="weight$"),
    ),
    Row(
        "5.3",
        "original on NVFP4",
        f"{PEER} -i {{spare}} -o o.safetensors --nvfp4 --optimizer original --num_iter 200 --min_k 16 --max_k 16",
        differs_from(f"{S} --nvfp4", only="weight$"),
    ),
    Row(
        "5.3",
        "original on MXFP8",
        f"{PEER} -i {{spare}} -o o.safetensors --mxfp8 --optimizer original --num_iter 200 --min_k 16 --max_k 16",
        differs_from(f"{S} --mxfp8", only="weight$"),
    ),
    Row(
        "5.3",
        "the loss of the stored codes is never above that of rounding to nearest",
        L,
        when(
            lambda run: all(
                float(b) <= float(a) * 1.0001 for a, b in re.findall(r"subspace ([0-9.e-]+) -> ([0-9.e-]+)", run.said)
            )
            and "subspace" in run.said
        ),
    ),
    Row(
        "5.3",
        "the log says why a layer's search ended",
        f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --num_iter 3 --min_k 4 --max_k 4",
        says(r"Processing \(FP8\).*prodigy.* 3 iterations \(\w"),
    ),
    Row("5.3", "the default is prodigy", f"{L} --optimizer prodigy", same_as(L, metadata=True)),
    Row("5.3", "--num_iter 0 is --simple", f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --num_iter 0", same_as(C)),
    Row(
        "cli 2.1",
        "--use_speed, prodigy's quicker estimate, changes the search",
        f"{L} --use_speed",
        both(quantized(Q, dtype="F8_E4M3"), differs_from(C, only="weight$")),
    ),
    *(
        Row(
            "5.3",
            f"--lr_schedule {name}",
            f"{L} --optimizer adamw --lr 0.02 --lr_schedule {name}",
            both(quantized(Q, dtype="F8_E4M3"), differs_from(C, only="weight$")),
        )
        for name in ("adaptive", "exponential", "plateau")
    ),
    Row("cli 2.4", "-esloss stops early", f"{L} -esloss 1", says(r"Processing.* \d+ iterations \(loss\)")),
    Row(
        "cli 2.4",
        "-eslr stops early",
        f"{L} --optimizer original -eslr 0.9",
        both(differs_from(f"{L} --optimizer original", only="weight$"), says(r"Processing.* iterations \(learning rate\)")),
    ),
    Row(
        "cli 2.4",
        "-esstall stops early",
        f"{L} --num_iter 300 --optimizer original -esstall 2",
        differs_from(f"{L} --num_iter 300 --optimizer original", only="weight$"),
    ),
    Row(
        "5.5",
        "AdaRound on rotated rows learns otherwise than rounding to nearest",
        f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --int8 --scaling_mode row --convrot --optimizer adaround --num_iter 40",
        both(marked(M, convrot=True), differs_from(f"{ROW} --convrot", only=r"mlp\.weight$")),
    ),
    Row(
        "5.5",
        "rotated rows are learned with the default optimizer",
        f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --int8 --scaling_mode row --convrot --num_iter 40",
        both(marked(M, convrot=True), differs_from(f"{ROW} --convrot", only=r"mlp\.weight$")),
    ),
    Row(
        "cli 2.3",
        "--scale-optimization fixed, the default",
        f"{S} --nvfp4 --scale-optimization fixed",
        same_as(f"{S} --nvfp4", metadata=True),
    ),
    Row(
        "11",
        "--scale-optimization iterative with --scale-refinement, for NVFP4",
        f"{PEER} -i {{spare}} -o o.safetensors --nvfp4 --num_iter 30 --scale-optimization iterative --scale-refinement 2",
        holds(f"{M}.weight", "U8"),
    ),
    Row(
        "11",
        "--scale-optimization joint, for NVFP4",
        f"{PEER} -i {{spare}} -o o.safetensors --nvfp4 --num_iter 30 --scale-optimization joint",
        holds(f"{M}.weight", "U8"),
    ),
    Row(
        "5.5",
        "--scale-optimization dualround, for rotated rows",
        f"{PEER} -i {{spare}} -o o.safetensors --comfy_quant --int8 --scaling_mode row --convrot --num_iter 10 --scale-optimization dualround",
        quantized(M),
    ),
    Row(
        "11",
        "ours for it: --scales search fits NVFP4's scales better than the largest magnitude",
        f"{PEER} -i {{spare}} -o o.safetensors --nvfp4 --optimizer direct --scales search",
        when(
            lambda run: (lambda a, b: None if a < b else f"error {a:.4g}, not below {b:.4g}")(
                *(
                    relative(nvfp4_values(r, M, (128, 256)), run.source("spare")[f"{M}.weight"])
                    for r in (run, run.other(f"{PEER} -i {{spare}} -o o.safetensors --nvfp4 --optimizer rtn --scales absmax"))
                )
            )
        ),
    ),
    # --------------------------------------------------------------------------------------------------------- convrot
    Row(
        "11",
        "ConvRot: groups of 256 columns, by the regular Hadamard matrix; codes are of the rotated rows",
        f"{PEER} -i {{wide}} -o o.safetensors --simple --comfy_quant --int8 --scaling_mode row --convrot",
        both(turned("blk.0.w256", 256), turned("blk.0.w1024", 256)),
    ),
    Row(
        "11",
        "where 256 does not divide, 64 is tried",
        f"{PEER} -i {{wide}} -o o.safetensors --simple --comfy_quant --int8 --scaling_mode row --convrot",
        turned("blk.0.w192", 64),
    ),
    Row(
        "11",
        "where neither divides, the layer is not rotated, and not marked so",
        f"{PEER} -i {{wide}} -o o.safetensors --simple --comfy_quant --int8 --scaling_mode row --convrot",
        both(turned("blk.0.w48", None), turned("blk.0.w20", None)),
    ),
    Row(
        "11",
        "--convrot-group-size",
        f"{PEER} -i {{wide}} -o o.safetensors --simple --comfy_quant --int8 --scaling_mode row --convrot --convrot-group-size 16",
        both(turned("blk.0.w48", 16), turned("blk.0.w256", 16), turned("blk.0.w20", None)),
    ),
    Row(
        "11",
        "--dynamic-convrot: the largest power of 4 from the group size on that divides",
        f"{PEER} -i {{wide}} -o o.safetensors --simple --comfy_quant --int8 --scaling_mode row --dynamic-convrot --convrot-group-size 64",
        both(turned("blk.0.w1024", 1024), turned("blk.0.w256", 256), turned("blk.0.w192", 64), turned("blk.0.w48", None)),
    ),
    Row("11", "--dynamic-convrot implies --convrot", f"{ROW} --dynamic-convrot", marked(M, convrot=True, convrot_groupsize=256)),
    Row(
        "cli 2.3",
        "a group size that is no power of 4 is refused (another matrix was used)",
        f"{ROW} --convrot --convrot-group-size 128",
        refuses(2, "--convrot-group-size"),
    ),
    Row("cli 2.3", "ConvRot with FP8 is refused (it was ignored)", f"{C} --convrot", refuses(2, "--convrot")),
    Row(
        "cli 2.3",
        "ConvRot with one scale is refused (it was ignored)",
        f"{C} --int8 --scaling_mode tensor --convrot",
        refuses(2, "--convrot"),
    ),
    Row(
        "11",
        "NVFP4's scale of the whole is the largest magnitude over 448 times 6",
        f"{S} --nvfp4",
        when(
            lambda run: near(
                run.tensors[f"{Q}.weight_scale_2"].values()[0], largest(run.source("spare")[f"{Q}.weight"].values()) / 2688, 1e-5
            )
        ),
    ),
    Row(
        "11",
        "a zero block gives zeros in NVFP4",
        f"{PEER} -i {{hole}} -o o.safetensors --simple --nvfp4",
        when(lambda run: all(v == 0 for v in nvfp4_values(run, "x", (64, 64))[0][:16])),
    ),
    Row(
        "11",
        "a zero block gives zeros in MXFP8",
        f"{PEER} -i {{hole}} -o o.safetensors --simple --mxfp8",
        when(lambda run: all(v == 0 for v in mxfp8_values(run, "x", (64, 64))[0][:32])),
    ),
    Row(
        "11",
        "MXFP8's exponent is the least that holds the block",
        f"{S} --mxfp8",
        when(
            lambda run: (lambda block, byte: block / e8m0(byte) <= 448 < block / e8m0(byte - 1))(
                largest(run.source("spare")[f"{Q}.weight"].values()[:32]), run.tensors[f"{Q}.weight_scale"].data[0]
            )
        ),
    ),
]

workshop.model(
    "hole",
    lambda: {"x.weight": workshop.numbers([0.0] * 32 + workshop.normal("hole", (64, 64), "F32").values()[32:], (64, 64), "F16")},
)

from peer_files import ROWS as OF_FILES  # noqa: E402

ROWS += OF_FILES
