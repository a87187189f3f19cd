"""What the documents of quantize-clip_g.py promised, as `convert_to_quant clip-g` keeps it."""

import math
import re

from workshop import Row, both, differs_from, ends, holds, kept, lacks, refuses, same_as, says, silent_about, writes
from workshop_more import cast_e4m3, counts, dtypes, metadata_has, near, number_in, when
import workshop_more  # noqa: F401  (its models)

B = "transformer.resblocks."
T = "text_model.encoder.layers."
MLP = r"mlp\.c_(fc|proj)\.weight$"
OUT = r"attn\.out_proj\.weight$"
IN = "clip-g -i {clip12} -o o.safetensors"
SEED = "--split-attn-qkv --split-names seed"


def fp8_blocks(*blocks: int, part: str = MLP):
    """Exactly these blocks have FP8 weights of this part."""

    def check(run):
        found = sorted(
            {
                int(re.match(rf"{re.escape(B)}(\d+)\.", name)[1])
                for name, tensor in run.tensors.items()
                if tensor.dtype == "F8_E4M3" and re.search(part, name)
            }
        )
        return None if found == list(blocks) else f"FP8 in blocks {found}"

    return when(check)


def plain_cast(name: str, model: str):
    return when(lambda run: run.tensors[name].data == cast_e4m3(run.source(model)[name].values()))


def thirds(block: int, source_kind: str, kind: str):
    """q, k and v are the thirds of the fused tensor, in this order; FP8 ones by a cast."""

    def check(run):
        fused = run.source("clip12")[f"{B}{block}.attn.in_proj_{source_kind}"]
        rows = fused.shape[0] // 3
        for i, part in enumerate("qkv"):
            found = run.tensors[f"{B}{block}.attn.{part}_proj.{kind}"]
            values = fused.values()
            wanted = values[i * len(values) // 3 : (i + 1) * len(values) // 3]
            if found.shape[0] != rows or (found.values() != wanted if found.dtype == "F16" else found.data != cast_e4m3(wanted)):
                return f"{part} is not that third"
        return None

    return when(check)


def qkv(q: str, kv: str):
    """Types of the parts of block 8, under the old program's names."""
    return both(
        holds(f"{B}8.attn.q_proj.weight", q), holds(f"{B}8.attn.k_proj.weight", kv), holds(f"{B}8.attn.v_proj.weight", kv)
    )


def split_refused(args: str, *texts: str, code: int = 2):
    return Row("cli 3", f"refused: {args}", f"{IN} {args}", refuses(code, *texts))


def summary(**wanted):
    """Lines of the closing block by how they begin."""
    lines = {
        "kept": "FP16 tensors kept",
        "fp8": "FP8 tensors quantized",
        "split": "in_proj blocks split",
        "total": r"Output tensors \(total\)",
    }

    def check(run):
        if "=== Summary ===" not in run.out:
            return "no summary"
        for key, value in wanted.items():
            if number_in(run.out, rf"^{lines[key]}: +(\d+)$") != value:
                return f"{lines[key]} is not {value}"
        return None

    return when(check)


def sizes(run):
    bytes_in = sum(len(tensor.data) for tensor in run.source("clip12").values())
    bytes_out = sum(len(tensor.data) for tensor in run.tensors.values())
    for text, wanted in (("Input size (estimated)", bytes_in / 2**20), ("Output size (estimated)", bytes_out / 2**20)):
        if f"{text}:" not in run.out or number_in(run.out, rf"{re.escape(text)}: +([0-9.]+) MB$") != round(wanted, 1):
            return f"{text} is not {wanted:.1f} MB"
    saved = number_in(run.out, r"^Size reduction: +([0-9.]+)%$")
    return abs(saved - 100 * (1 - bytes_out / bytes_in)) < 0.06


SUMMARY = "--split-attn-qkv"
ROWS = [
    Row(
        "2.5",
        "by default the MLP weights of the blocks between the first seven and the last become FP8",
        f"{IN}",
        fp8_blocks(7, 8, 9, 10),
    ),
    Row("2.5", "32 blocks: 7 to 30 become FP8", "clip-g -i {clip32} -o o.safetensors", fp8_blocks(*range(7, 31))),
    Row(
        "2.5",
        "tensors outside the blocks stay float16, byte for byte",
        IN,
        kept("clip12", "token_embedding.weight", "positional_embedding", "text_projection", "ln_final.weight"),
    ),
    Row(
        "2.5",
        "biases and norms are never FP8",
        IN,
        both(
            kept("clip12", f"{B}8.mlp.c_fc.bias", f"{B}8.mlp.c_proj.bias", f"{B}8.ln_1.weight", f"{B}8.attn.out_proj.bias"),
            counts("F8_E4M3", r"bias|ln_", 0),
        ),
    ),
    Row("2.5", "the output projection stays float16 unless asked for", IN, fp8_blocks(part=OUT)),
    Row(
        "2.5",
        "without a split the fused projection stays float16",
        IN,
        kept("clip12", f"{B}8.attn.in_proj_weight", f"{B}8.attn.in_proj_bias"),
    ),
    Row(
        "2.5",
        "protected blocks keep every byte",
        IN,
        kept("clip12", *(f"{B}{b}.{p}" for b in (0, 6, 11) for p in ("mlp.c_fc.weight", "attn.in_proj_weight"))),
    ),
    Row(
        "22",
        "FP8 is a plain cast to nearest, without a scale",
        IN,
        both(plain_cast(f"{B}8.mlp.c_fc.weight", "clip12"), plain_cast(f"{B}10.mlp.c_proj.weight", "clip12")),
    ),
    Row(
        "22",
        "no scales, markers or other tensors are added",
        IN,
        both(lacks("scale", "comfy_quant", "scaled_fp8"), when(lambda run: set(run.tensors) == set(run.source("clip12")))),
    ),
    Row("22", "the header's metadata is kept (the old program lost it)", IN, metadata_has(made="for rows")),
    Row("22", "only the output appears", IN, writes("o.safetensors")),
    # -k
    Row("cli 3", "-k N keeps the first N blocks and the last", f"{IN} -k 3", fp8_blocks(3, 4, 5, 6, 7, 8, 9, 10)),
    Row("cli 3", "--first-blocks-keep is the long form", f"{IN} --first-blocks-keep 3", same_as(f"{IN} -k 3")),
    Row("cli 3", "--keep-first-blocks, the newer name, is the same", f"{IN} --keep-first-blocks 3", same_as(f"{IN} -k 3")),
    Row("cli 3", "underscores in long names", f"{IN} --first_blocks_keep=3", same_as(f"{IN} -k 3")),
    Row("cli 3", "-k takes a list of indices and ranges", f"{IN} -k 0-2,5,9", fp8_blocks(3, 4, 6, 7, 8, 10)),
    Row("cli 3", "-k 5-5 is block 5 alone", f"{IN} -k 5-5", fp8_blocks(0, 1, 2, 3, 4, 6, 7, 8, 9, 10)),
    Row("cli 3", "the default of -k is 7", f"{IN} -k 7", same_as(IN)),
    Row("cli 3", "-k 1, the least of the old program", f"{IN} -k 1", fp8_blocks(*range(1, 11))),
    Row("cli 3", "-k 0 keeps the last block alone (refused by the old program)", f"{IN} -k 0", fp8_blocks(*range(0, 11))),
    Row("cli 3", "the largest number of the old program, last - 1, leaves one block", f"{IN} -k 10", fp8_blocks(10)),
    Row("cli 3", "a number beyond the last block is refused", f"{IN} -k 12", refuses(2, "last block is 11")),
    Row("cli 3", "an index beyond the last block is refused", f"{IN} -k 0,12", refuses(2, "last block is 11")),
    Row("cli 3", "a range that falls is refused", f"{IN} -k 5-3", refuses(2, "-k|first-blocks-keep")),
    Row("cli 3", "an empty segment is refused", f"{IN} -k 1,,2", refuses(2, "-k|first-blocks-keep")),
    Row("cli 3", "other text is refused", f"{IN} -k all", refuses(2, "-k|first-blocks-keep")),
    Row(
        "cli 3",
        "the last block of twelve is protected as that of 32 (the old program assumed 32)",
        f"{IN} -k 0",
        kept("clip12", f"{B}11.mlp.c_fc.weight"),
    ),
    Row("cli 3", "all blocks kept: nothing becomes FP8, which is refused", f"{IN} -k 11", refuses(1, "nothing becomes FP8")),
    # splitting
    Row("22", "bare --split-attn-qkv: q float16, k and v FP8", f"{IN} {SEED}", qkv("F16", "F8_E4M3")),
    Row("22", "a split removes the fused tensors of unprotected blocks", f"{IN} {SEED}", lacks(rf"{B}(7|8|9|10)\.attn\.in_proj")),
    Row(
        "22",
        "a split leaves protected blocks fused and float16",
        f"{IN} {SEED}",
        kept("clip12", f"{B}6.attn.in_proj_weight", f"{B}11.attn.in_proj_bias"),
    ),
    Row("22", "q, k and v are the thirds of the rows, in this order", f"{IN} {SEED}", thirds(8, "weight", "weight")),
    Row(
        "22",
        "the bias is split alike and stays float16",
        f"{IN} {SEED}",
        both(thirds(8, "bias", "bias"), holds(f"{B}8.attn.k_proj.bias", "F16", (16,))),
    ),
    Row(
        "22",
        "the names of the parts are by default those that ComfyUI maps",
        f"{IN} --split-attn-qkv",
        both(
            holds(f"{T}8.self_attn.q_proj.weight", "F16"),
            holds(f"{T}8.self_attn.v_proj.weight", "F8_E4M3"),
            holds(f"{T}8.self_attn.k_proj.bias", "F16"),
            lacks(r"resblocks\.8\.attn\.(q|in)_proj"),
        ),
    ),
    Row(
        "22",
        "a bare split prints a note that names the mode",
        f"{IN} --split-attn-qkv",
        says(r"note: --split-attn-qkv is q16,kv8"),
    ),
    Row("22", "--attn-q-fp8: q too", f"{IN} {SEED} --attn-q-fp8", qkv("F8_E4M3", "F8_E4M3")),
    Row("22", "--keep-attn-kv-fp16: k and v stay", f"{IN} {SEED} --keep-attn-kv-fp16", qkv("F16", "F16")),
    Row("22", "both: q alone becomes FP8", f"{IN} {SEED} --attn-q-fp8 --keep-attn-kv-fp16", qkv("F8_E4M3", "F16")),
    *(
        Row(
            "22",
            f"mode {mode} is {flags or 'the bare switch'}",
            f"{IN} --split-attn-qkv {mode}",
            same_as(f"{IN} --split-attn-qkv {flags}", metadata=True),
        )
        for mode, flags in (
            ("q16,kv8", ""),
            ("q8,kv8", "--attn-q-fp8"),
            ("q8,kv16", "--attn-q-fp8 --keep-attn-kv-fp16"),
            ("q16,kv16", "--keep-attn-kv-fp16"),
        )
    ),
    Row(
        "22",
        "the four modes differ",
        f"{IN} --split-attn-qkv q8,kv8",
        both(differs_from(f"{IN} --split-attn-qkv q8,kv16"), differs_from(f"{IN} --split-attn-qkv q16,kv8")),
    ),
    Row(
        "cli 3",
        "--split-attn-qkv=q8,kv8 with an equals sign",
        f"{IN} --split-attn-qkv=q8,kv8",
        same_as(f"{IN} --split-attn-qkv q8,kv8"),
    ),
    split_refused("--split-attn-qkv q4,kv4", "split-attn-qkv", "q8,kv16"),
    split_refused("--keep-attn-kv-fp16", "split-attn-qkv"),
    split_refused("--attn-q-fp8", "split-attn-qkv"),
    split_refused("--split-attn-qkv q8,kv8 --attn-q-fp8", "attn-q-fp8"),
    split_refused("--split-attn-qkv q8,kv8 --keep-attn-kv-fp16", "keep-attn-kv-fp16"),
    split_refused("--split-attn-qkv --in-proj-fp8", "in-proj-fp8"),
    Row(
        "cli 3",
        "rows that three does not divide are refused",
        "clip-g -i bad.safetensors -o o.safetensors -k 0 --split-attn-qkv",
        refuses(4, "in_proj_weight", "multiple of 3"),
        files={"bad.safetensors": {f"{B}{b}.attn.in_proj_weight": workshop_more.normal("bad", (16, 16), "F16") for b in (0, 1)}},
    ),
    Row(
        "22",
        "--attn-out-fp8: the output projection too, without a split",
        f"{IN} --attn-out-fp8",
        both(fp8_blocks(7, 8, 9, 10, part=OUT), kept("clip12", f"{B}8.attn.in_proj_weight")),
    ),
    Row(
        "22",
        "--attn-out-fp8 goes with a split",
        f"{IN} {SEED} --attn-out-fp8",
        both(fp8_blocks(7, 8, 9, 10, part=OUT), qkv("F16", "F8_E4M3")),
    ),
    Row(
        "22",
        "--in-proj-fp8: the fused projection, which newer releases did by default",
        f"{IN} --in-proj-fp8",
        both(
            fp8_blocks(7, 8, 9, 10, part=r"in_proj_weight$"),
            plain_cast(f"{B}8.attn.in_proj_weight", "clip12"),
            kept("clip12", f"{B}8.attn.in_proj_bias"),
        ),
    ),
    Row(
        "2.5",
        "files whose q, k and v are apart are taken; MLP weights become FP8",
        "clip-g -i {apart} -o o.safetensors -k 1",
        both(fp8_blocks(1, 2), kept("apart", f"{B}1.attn.q_proj.weight", f"{B}1.attn.k_proj.weight")),
    ),
    Row(
        "2.5",
        "there the mode sets the precision of q, k and v",
        "clip-g -i {apart} -o o.safetensors -k 1 --split-attn-qkv q8,kv16",
        both(holds(f"{B}1.attn.q_proj.weight", "F8_E4M3"), kept("apart", f"{B}1.attn.k_proj.weight", f"{B}3.attn.q_proj.weight")),
    ),
    # values
    Row(
        "22",
        "values beyond 448 saturate, they never become NaN",
        "clip-g -i {outliers} -o o.safetensors -k 0",
        when(
            lambda run: (
                lambda codes: codes[5] == 0x7E and codes[9] == 0xFE and codes[11] == 0x7E and not {0x7F, 0xFF} & set(codes)
            )(run.tensors[f"{B}1.mlp.c_fc.weight"].data)
        ),
    ),
    Row(
        "22",
        "they are warned of, with key, largest value, count and share",
        "clip-g -i {outliers} -o o.safetensors -k 0",
        says(r"warning: .*resblocks\.1\.mlp\.c_fc\.weight.*500.* 2 .*0\.19", "448"),
    ),
    Row(
        "22",
        "--clip keep-fp16 keeps such a weight",
        "clip-g -i {outliers} -o o.safetensors -k 0 --clip keep-fp16",
        both(kept("outliers", f"{B}1.mlp.c_fc.weight"), holds(f"{B}0.mlp.c_fc.weight", "F8_E4M3"), says("kept as it is")),
    ),
    Row(
        "22",
        "NaN and infinity are warned of with the number of tensors and names; the file is written",
        "clip-g -i {not_numbers} -o o.safetensors -k 0",
        both(
            says(r"1 tensors that do not become FP8 hold NaN.*resblocks\.0\.attn\.in_proj_bias"),
            holds(f"{B}0.mlp.c_fc.weight", "F8_E4M3"),
        ),
    ),
    Row(
        "22",
        "a weight that holds infinity does not become FP8",
        "clip-g -i {not_numbers} -o o.safetensors -k 0",
        both(
            kept("not_numbers", f"{B}1.mlp.c_fc.weight"), says(r"resblocks\.1\.mlp\.c_fc\.weight: 1 values are NaN or infinite")
        ),
    ),
    Row(
        "22",
        "--strict: they end the run",
        "clip-g -i {not_numbers} -o o.safetensors -k 0 --strict",
        refuses(1, "NaN or infinite"),
    ),
    Row(
        "22",
        "tensors of other float types become float16",
        "clip-g -i b.safetensors -o o.safetensors -k 0",
        both(
            holds("logit_scale", "F16"),
            holds(f"{B}0.mlp.c_fc.weight", "F8_E4M3"),
            holds(f"{B}0.ln_1.weight", "F16"),
            holds(f"{B}1.mlp.c_fc.weight", "F16"),
        ),
        files={
            "b.safetensors": {"logit_scale": workshop_more.numbers([4.6], ())}
            | {
                f"{B}{b}.{n}": workshop_more.normal(n, s, "BF16")
                for b in (0, 1)
                for n, s in (("mlp.c_fc.weight", (64, 16)), ("ln_1.weight", (16,)))
            }
        },
    ),
    Row(
        "cli 3",
        "--fp8-scale tensor: scaled FP8 with markers",
        f"{IN} --fp8-scale tensor",
        both(
            holds(f"{B}8.mlp.c_fc.weight_scale", "F32"),
            holds(f"{B}8.mlp.c_fc.comfy_quant", "U8"),
            differs_from(IN, only=r"8\.mlp\.c_fc\.weight$"),
        ),
    ),
    # log
    Row("22", "says which file it loads", IN, says(r"Loading: .*clip12\.safetensors")),
    Row("22", "says how many tensors and blocks there are", IN, says(r"^112 tensors in 12 blocks")),
    Row("22", "says which blocks are preserved", IN, says(r"Preserved blocks: 0-6,11 ")),
    Row(
        "22",
        "says which blocks and weights are candidates",
        f"{IN} --split-attn-qkv",
        says(r"FP8 candidates: blocks 7-10 \(MLP weights \+ attn K/V\)"),
    ),
    Row(
        "22",
        "says what becomes of the fused projection",
        IN,
        both(
            says(r"attn\.in_proj: stays fused, as it is"),
            lambda run: says(r"attn\.in_proj: split into q, k and v")(run.other(f"{IN} --split-attn-qkv")),
        ),
    ),
    Row(
        "22",
        "-v: the type of every tensor, between two marker lines",
        f"{IN} -v",
        says(
            rf"^(\S+ )?--- tensors ---",
            rf"  {B}8\.mlp\.c_fc\.weight: F16 -> F8_E4M3",
            rf"  {B}8\.mlp\.c_fc\.bias: F16 \(unchanged\)",
            "--- end of tensors ---",
        ),
    ),
    Row(
        "22",
        "-v: each weight's largest value, where no value is beyond the range",
        f"{IN} -v",
        when(
            lambda run: (
                None
                if re.search(
                    rf"{B}8\.mlp\.c_fc\.weight.*"
                    + re.escape(f"{max(map(abs, run.source('clip12')[B + '8.mlp.c_fc.weight'].values())):.4f}"[:5]),
                    run.said,
                )
                else "no line with the largest value"
            )
        ),
    ),
    Row("22", "the number of tensors of the output was checked", f"{IN} -v --split-attn-qkv", says(r"Tensor count OK: 128")),
    Row(
        "22",
        "without -v the types are not listed",
        IN,
        both(holds(f"{B}8.mlp.c_fc.weight"), silent_about("--- tensors", "outlier check OK")),
    ),
    Row("cli 3", "--verbose is the long form and takes no value", f"{IN} --verbose", says("--- tensors ---")),
    Row(
        "22",
        "summary: counts of kept and FP8 tensors, split blocks and all tensors",
        IN,
        summary(kept=104, fp8=8, split=0, total=112),
    ),
    Row(
        "22",
        "summary with a split: each of q, k and v counts, four tensors more per block",
        f"{IN} {SUMMARY}",
        summary(kept=112, fp8=16, split=4, total=128),
    ),
    Row("22", "summary: sizes in MB and the reduction in percent", f"{IN} -k 0 --split-attn-qkv --attn-out-fp8", when(sizes)),
    Row(
        "22",
        "the tensors of the file are as many as the summary says",
        f"{IN} {SUMMARY}",
        when(lambda run: len(run.tensors) == 128),
    ),
    Row(
        "cli 3",
        "--dry-run needs no output and writes none",
        "clip-g -i {clip12} --dry-run",
        both(says("Dry run — no file written."), summary(kept=104, fp8=8, split=0, total=112), writes()),
    ),
    Row(
        "cli 3",
        "--dry-run with an output writes none either",
        f"{IN} --dry-run",
        both(says("Dry run — no file written."), writes()),
    ),
    Row(
        "cli 3",
        "--dry-run -v prints the types",
        "clip-g -i {clip12} --dry-run -v",
        says(rf"{B}8\.mlp\.c_fc\.weight: F16 -> F8_E4M3"),
    ),
    Row(
        "cli 3",
        "--json: the summary as JSON",
        f"{IN} --json s.json",
        when(lambda run: __import__("json").loads((run.folder / "s.json").read_text())["totals"]["fp8"] == 8),
    ),
    # refusals
    Row("cli 3", "the input is required", "clip-g -o o.safetensors", refuses(2, "--input")),
    Row("cli 3", "the output is required", "clip-g -i {clip12}", refuses(2, "--output")),
    Row("cli 3", "a file that is not there", "clip-g -i none.safetensors -o o.safetensors", refuses(4, "none.safetensors")),
    Row(
        "cli 3",
        "output equals input (the old program overwrote it)",
        "clip-g -i {clip12@} -o clip12.safetensors",
        refuses(2, "input"),
    ),
    Row(
        "cli 3",
        "a model without blocks is refused (the old program said so and ended well)",
        "clip-g -i {two} -o o.safetensors",
        refuses(4, "resblocks"),
    ),
    Row(
        "cli 3",
        "no abbreviation: an unknown option is refused with the nearest",
        f"{IN} --attn-out-fp",
        refuses(2, "did you mean --attn-out-fp8"),
    ),
    Row("cli 3", "--input and --output are the long forms", "clip-g --input {clip12} --output o.safetensors", same_as(IN)),
    Row(
        "cli 3",
        "--help lists its options",
        "clip-g --help",
        says(
            *(
                f"--{name}"
                for name in (
                    "first-blocks-keep",
                    "analyze",
                    "split-attn-qkv",
                    "keep-attn-kv-fp16",
                    "attn-q-fp8",
                    "attn-out-fp8",
                    "dry-run",
                    "verbose",
                )
            )
        ),
    ),
]

ANALYZE = "clip-g -i {clip12} --analyze"
WEAK = "clip-g -i {weak} --analyze"


def q_error(values) -> float:
    from workshop import e4m3

    casts = [e4m3(code) for code in cast_e4m3(values)]
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(values, casts)) / sum(a * a for a in values))


def line_of(run, block: int, label: str) -> list[str]:
    """Columns of a weight's line."""
    found = re.search(rf"^ *{block} (?:  [├└]─ )?{re.escape(label)} .*$", run.out, re.M)
    if not found:
        raise AssertionError(f"no line for {label} of block {block}")
    return found[0].replace("├─", "").replace("└─", "").split()


def columns(run):
    """Params, norm, max, deviation, outliers and error of block 8's c_fc."""
    values = run.source("clip12")[f"{B}8.mlp.c_fc.weight"].values()
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    wanted = [
        f"{len(values):,}",
        f"{math.sqrt(sum(v * v for v in values)):.2f}",
        f"{max(map(abs, values)):.4f}",
        f"{deviation:.6f}",
        "0",
        f"{100 * q_error(values):.4f}%",
    ]
    found = line_of(run, 8, "MLP.c_fc")[2:]
    return None if found == wanted else f"{found}, not {wanted}"


def block_error(run):
    """Mean of the weights' errors by their number of values, the fused one left out."""
    source, total, sum_ = run.source("clip12"), 0, 0.0
    fused = source[f"{B}8.attn.in_proj_weight"].values()
    parts = [fused[i * len(fused) // 3 : (i + 1) * len(fused) // 3] for i in range(3)]
    parts += [source[f"{B}8.{name}.weight"].values() for name in ("attn.out_proj", "mlp.c_fc", "mlp.c_proj")]
    for values in parts:
        total, sum_ = total + len(values), sum_ + len(values) * q_error(values)
    ranking = run.out.split("Blocks by error")[1]
    return near(number_in(ranking, r"^ *8 +([0-9.]+)%"), 100 * sum_ / total, 2e-4)


def ranked(run):
    """Errors fall, and threshold is mean plus deviation over all blocks."""
    errors = [
        float(value) for value in re.findall(r"^ *\d+ +([0-9.]+)%", run.out.split("Blocks by error")[1].split("Mean:")[0], re.M)
    ]
    mean = sum(errors) / len(errors)
    deviation = math.sqrt(sum((e - mean) ** 2 for e in errors) / len(errors))
    if errors != sorted(errors, reverse=True) or len(errors) != 8:
        return f"not falling: {errors}"
    said = [number_in(run.out, rf"^{word}: ([0-9.]+)%$") for word in ("Mean", "Standard deviation", "Threshold")]
    return all(abs(a - b) < 2e-4 for a, b in zip(said, (mean, deviation, mean + deviation)))


def sensitive(run):
    marked = re.findall(r"^ *(\d+) +[0-9.]+% << SENSITIVE", run.out, re.M)
    return None if marked == ["2"] else f"sensitive: {marked}"


ROWS += [
    Row("22", "--analyze needs the input alone and writes no file", ANALYZE, both(writes(), says("QError%"))),
    Row(
        "22",
        "the table has the eight columns",
        ANALYZE,
        says(r"Block +Component +Params +Norm +Max\|W\| +Std +Outliers +QError%"),
    ),
    Row(
        "22",
        "the weights of a block in the old order, the thirds indented under the fused one",
        ANALYZE,
        says(
            r"8 attn\.in_proj_weight.*\n *8   ├─ attn\.q_proj.*\n *8   ├─ attn\.k_proj.*\n *8   └─ attn\.v_proj.*\n *8 attn\.out_proj.*\n *8 MLP\.c_fc.*\n *8 MLP\.c_proj.*\n\n"
        ),
    ),
    Row("22", "params with commas, norm, largest value, deviation, outliers and error are right", ANALYZE, when(columns)),
    Row("22", "rules of 94 characters", ANALYZE, says(r"^={94}$", r"^-{94}$")),
    Row("22", "outliers show number and share", "clip-g -i {outliers} --analyze", says(r"1 MLP\.c_fc .* 2 \(0\.195%\)")),
    Row("22", "a block's error weighs its weights by size, the fused one left out", ANALYZE, when(block_error)),
    Row("22", "ranking falls; mean, deviation of the population and threshold over all blocks", WEAK, when(ranked)),
    Row("22", "blocks above the threshold are marked", WEAK, when(sensitive)),
    Row("22", "the recommendation lists sensitive blocks", WEAK, says(r"Sensitive blocks: 2\.")),
    Row("22", "with a prefix of -k that covers them", WEAK, says(r"-k 3")),
    Row("22", "nothing sensitive: the default is adequate", "clip-g -i {even} --analyze", says(r"default of -k will do")),
    Row(
        "22",
        "out_proj below 8 % everywhere: --attn-out-fp8 is said to be safe",
        ANALYZE,
        says(r"attn\.out_proj: below 8 %.*safe"),
    ),
    Row(
        "22",
        "out_proj at 12 % or more: HIGH, strongly discouraged",
        WEAK,
        says(r"^ *3 +[0-9.]+% HIGH +strongly discouraged <<", r"WARNING: attn\.out_proj .*2-3"),
    ),
    Row(
        "22",
        "out_proj between 8 and 12 %: ELEVATED, review carefully",
        "clip-g -i {middle} --analyze",
        says(r"^ *1 +[0-9.]+% ELEVATED +review carefully <<", "CAUTION: attn.out_proj .*: 1"),
    ),
    Row("22", "the smallest prefix that covers the risky output projections", WEAK, says(r"WARNING: .*-k 4")),
    Row("22", "those that the recommended -k leaves exposed are named", f"{WEAK} -k 0", says(r"exposed to --attn-out-fp8: 3")),
    Row(
        "22",
        "k or v at 6 % or more: elevated, with errors of q, k and v",
        WEAK,
        says(r"Q QError% +K QError% +V QError% +Risk", r"^ *4 +[0-9.]+% +[0-9.]+% +[0-9.]+% ELEVATED <<"),
    ),
    Row("22", "k and v: the prefix, or keeping them at float16", WEAK, says(r"K or V is at 6 % or more in: .*4.*-k 5.*q16,kv16")),
    Row("22", "k and v below 6 %: said to be safe", ANALYZE, says(r"K and V: below 6 %.*safe")),
    Row("22", "a command line to run is printed", WEAK, says(r"convert_to_quant clip-g -i .* -k ")),
    Row(
        "22",
        "files whose q, k and v are apart get the fused row too (newer)",
        "clip-g -i {apart} --analyze",
        says(r"1 attn\.in_proj_weight +768 ", r"1   ├─ attn\.q_proj"),
    ),
    Row(
        "cli 3",
        "options that a report does not use are noted, not refused",
        f"{ANALYZE} --attn-out-fp8 --split-attn-qkv",
        says("note: --attn-out-fp8 does nothing with --analyze"),
    ),
    Row(
        "cli 3",
        "-o with --analyze: noted, no file",
        f"{ANALYZE} -o o.safetensors",
        both(says("note: --output does nothing"), writes()),
    ),
    Row("cli 3", "--analyze of a model without blocks", "clip-g -i {two} --analyze", refuses(4, "resblocks")),
    Row(
        "cli 3",
        "--analyze --json",
        f"{ANALYZE} --json a.json",
        when(lambda run: len(__import__("json").loads((run.folder / "a.json").read_text())["blocks"]) == 12),
    ),
]
workshop_more.workshop.model(
    "even",
    lambda: workshop_more.encoder(4)
    | {
        name.replace("resblocks.0.", f"resblocks.{block}."): tensor
        for block in range(4)
        for name, tensor in workshop_more.encoder(1).items()
        if "resblocks" in name
    },
)
workshop_more.workshop.model(
    "middle", lambda: workshop_more.encoder(4, 32, lambda block, part: 0.0055 if block == 1 and part == "attn.out_proj" else 0.05)
)
