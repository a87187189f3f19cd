"""What the documents of the AdaRound program with one-byte scales promised, as `convert_to_quant fp8 --method adaround` keeps it."""

import math

from workshop import Row, both, differs_from, ends, holds, kept, lacks, quantized, refuses, same_as, says, silent_about, writes
from workshop_more import f32, largest, metadata_has, near, when
import workshop
import workshop_more

AT = "fp8 --method adaround --num_iter 20 --input"
IN = f"{AT} {{distilled}} --output o.safetensors"
T5 = f"{AT} {{t5}} --output o.safetensors --t5xxl"
OWN = f"{IN} --no-use_shared_scales"
NAME = "distilled_float8_e4m3fn_scaled_ultra"


def code_of(scale: float) -> int:
    """The least byte whose scale is not below."""
    return max(0, math.ceil(255 * (math.log10(scale) + 10) / 12 - 1e-9))


def value_of(code: int) -> float:
    return 10 ** (12 * code / 255 - 10)


def one_byte(layer: str, *siblings: str):
    """The scale's byte follows from the largest magnitude of the layer, or of these together."""

    def check(run):
        tensor = run.tensors.get(f"{layer}.scale_weight")
        if tensor is None or tensor.dtype != "U8" or len(tensor.data) != 1:
            return "no scale_weight of one byte"
        most = max(largest(run.source("distilled")[f"{name}.weight"].values()) for name in siblings or (layer,))
        return None if tensor.data[0] == code_of(most / 448) else f"byte {tensor.data[0]}, not {code_of(most / 448)}"

    return when(check)


def decodes(layer: str, model: str, bound: float = 0.0015):
    def check(run):
        scale = value_of(run.tensors[f"{layer}.scale_weight"].data[0])
        wanted = run.source(model)[f"{layer}.weight"].values()
        error = sum((code * scale - w) ** 2 for code, w in zip(run.tensors[f"{layer}.weight"].values(), wanted)) / sum(
            w * w for w in wanted
        )
        return None if error < bound else f"squared error {error:.3g} of the weight's"

    return when(check)


def refused(args: str, text: str):
    return Row("cli 4", f"refused: {args}", f"{IN} {args}", refuses(2, text))


def chooses(args: str):
    """Without a method, an option that only this program had means this program."""
    option = args.split("=")[0].split()[0]
    return Row(
        "cli 4",
        f"{option} alone chooses this method, with a note",
        f"fp8 --num_iter 20 --input {{distilled@}} {args}",
        both(
            says(rf"note: --?{option.lstrip('-')}.* chooses --method adaround"),
            when(lambda run: any("_ultra" in name for name in run.written)),
        ),
    )


def big() -> dict:
    """Values where the old program failed: a largest one near 448, one that would be cut at 4.48, and layer 1 beside layer 10."""
    tensors = {}
    for name, size in (("near", 100.0), ("beyond", 1.5), ("layer.1", 0.02), ("layer.10", 1.0)):
        tensors[f"{name}.weight"] = workshop.normal(name, (64, 64), "F32", size)
    values = tensors["near.weight"].values()
    values[7] = 447.9
    tensors["near.weight"] = workshop.numbers(values, (64, 64), "F32")
    return tensors


def old_file() -> dict:
    """As the old program wrote it: the byte is of 448 over the largest magnitude, by which codes are divided."""
    return {
        "scaled_fp8": workshop_more.token(1),
        "scale_format": workshop.Tensor("U8", (1,), b"\x08"),
        "blocks.0.mlp.weight": workshop_more.codes("old", (64, 64)),
        "blocks.0.mlp.scale_weight": workshop.Tensor("U8", (1,), bytes([code_of(448 / 9.0)])),
    }


workshop.model("big", big)
workshop.model("old_file", old_file)
BIG = f"{AT} {{big}} --output o.safetensors"

ROWS = [
    # names
    Row(
        "cli 12", "the derived name ends in _ultra_8bit_shared", f"{AT} {{distilled@}}", writes(f"{NAME}_8bit_shared.safetensors")
    ),
    Row(
        "cli 12",
        "with --keep_distillation it has _nodistill",
        f"{AT} {{distilled@}} --keep_distillation",
        writes(f"{NAME}_nodistill_8bit_shared.safetensors"),
    ),
    Row(
        "cli 12",
        "without shared scales it ends in _8bit",
        f"{AT} {{distilled@}} --no-use_shared_scales",
        writes(f"{NAME}_8bit.safetensors"),
    ),
    Row("cli 12", "with float scales it has neither", f"{AT} {{distilled@}} --scale_format f32", writes(f"{NAME}.safetensors")),
    Row("cli 4", "--output names the file", IN, writes("o.safetensors")),
    # what is quantized
    Row(
        "2.3",
        "2-D weights of 1024 elements and sides of 32 or more become FP8",
        IN,
        quantized("img_in", "final_layer.linear", "blocks.0.attn.to_q", "blocks.0.mlp", dtype="F8_E4M3"),
    ),
    Row(
        "2.3",
        "fewer elements: kept as small",
        IN,
        both(kept("distilled", "blocks.0.few.weight"), says(r"Skipping tensor: blocks\.0\.few\.weight \(Reason: .*1024")),
    ),
    Row(
        "2.3",
        "a side below 32: kept",
        IN,
        both(kept("distilled", "blocks.0.narrow.weight"), says(r"Skipping tensor: blocks\.0\.narrow\.weight \(Reason: .*32")),
    ),
    Row("2.3", "what is not 2-D is kept", IN, kept("distilled", "blocks.0.norm.weight", "blocks.0.conv.weight")),
    Row(
        "2.3",
        "--min_tensor_size 5000 keeps all these",
        f"{IN} --min_tensor_size 5000 --allow-empty",
        both(kept("distilled", "img_in.weight", "blocks.0.mlp.weight")),
    ),
    Row(
        "2.3", "--min_tensor_size is 1024 unless said", f"{IN} --min_tensor_size 1024", same_as(IN, only=r"(mlp|img_in)\.weight$")
    ),
    Row(
        "2.3",
        "--min_tensor_size decides alone: the rule of 32 is of its default",
        f"{IN} --min_tensor_size 0",
        quantized("blocks.0.few", "blocks.0.narrow", dtype="F8_E4M3"),
    ),
    Row(
        "2.3",
        "--keep_distillation keeps the four kinds",
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
        "2.3",
        "--t5xxl keeps norm, embed_tokens and shared",
        T5,
        kept("t5", "shared.weight", "encoder.embed_tokens.weight", "encoder.final_layer_norm.weight"),
    ),
    Row(
        "2.3",
        "--t5xxl does not leave out decoder and lm_head",
        T5,
        quantized("lm_head", "decoder.block.0.layer.0.SelfAttention.q", dtype="F8_E4M3"),
    ),
    # what is written
    Row(
        "3.6",
        "scale_weight is one byte, rounded up on the logarithmic scale from 1e-10 to 100",
        OWN,
        both(one_byte("blocks.0.mlp"), one_byte("img_in")),
    ),
    Row(
        "23.2",
        "codes decode to the weight with the byte that is stored",
        OWN,
        both(*(decodes(name, "distilled") for name in ("blocks.0.mlp", "img_in", "blocks.0.attn.to_q"))),
    ),
    Row(
        "23.2",
        "no code is NaN",
        BIG,
        when(
            lambda run: not any({0x7F, 0xFF} & set(tensor.data) for tensor in run.tensors.values() if tensor.dtype == "F8_E4M3")
        ),
    ),
    Row("23.2", "the marker scale_format is 8", IN, holds("scale_format", "U8", (1,), b"\x08")),
    Row("23.2", "the marker scaled_fp8 has one element", IN, holds("scaled_fp8", "F8_E4M3", (1,))),
    Row("23.2", "with --t5xxl it has none", T5, holds("scaled_fp8", "F8_E4M3", (0,))),
    Row(
        "23.2",
        "--t5xxl writes scale_input",
        T5,
        when(
            lambda run: all(
                f"{name[:-len('.scale_weight')]}.scale_input" in run.tensors
                for name in run.tensors
                if name.endswith(".scale_weight")
            )
        ),
    ),
    Row("23.2", "without it there is none", IN, lacks("scale_input")),
    Row(
        "3.6",
        "kept layers get no dummy scale",
        f"{IN} --keep_distillation",
        lacks(r"(img_in|txt_in|few|narrow|norm|conv)\.scale_weight"),
    ),
    Row(
        "23.2",
        "--scale_format f32: a float scale, and no scale_format",
        f"{OWN} --scale_format f32",
        both(
            when(
                lambda run: near(
                    run.tensors["blocks.0.mlp.scale_weight"].values()[0],
                    largest(run.source("distilled")["blocks.0.mlp.weight"].values()) / 448,
                    1e-6,
                )
            ),
            lacks("scale_format"),
        ),
    ),
    Row(
        "23.2",
        "one-byte scales are warned of: no known loader reads them",
        IN,
        says("warning: no known loader reads one-byte scales"),
    ),
    Row("23.2", "a weight of zeros: zeros", IN, holds("blocks.0.zero.weight", "F8_E4M3", data=bytes(4096))),
    Row("23.2", "a largest value near 448 does not become zeros", f"{BIG} --no-use_shared_scales", decodes("near", "big")),
    Row("23.2", "a largest value above 4.48 is not cut", f"{BIG} --no-use_shared_scales", decodes("beyond", "big")),
    Row("23.2", "layer.10 does not share a scale with layer.1", BIG, both(decodes("layer.1", "big"), decodes("layer.10", "big"))),
    Row("27", "the header's metadata stays (it was dropped)", IN, metadata_has(made="for rows")),
    Row(
        "23.2",
        "files of the old program are decoded, their byte being of the multiplier",
        "dequantize -i {old_file} -o o.safetensors --dtype f32",
        when(lambda run: near(max(run.tensors["blocks.0.mlp.weight"].values()), 448 / value_of(code_of(448 / 9.0)), 1e-5)),
    ),
    Row(
        "cli 9",
        "migrate u8log makes float scales that loaders read",
        "migrate u8log -i {old_file} -o o.safetensors",
        both(
            holds("blocks.0.mlp.scale_weight", "F32"),
            lacks("scale_format"),
            when(lambda run: near(run.tensors["blocks.0.mlp.scale_weight"].values()[0], 1 / value_of(code_of(448 / 9.0)), 1e-5)),
        ),
    ),
    # shared scales
    Row(
        "23.2",
        "weights of one module share a scale, of their common maximum",
        IN,
        both(*(one_byte(f"blocks.0.attn.{name}", "blocks.0.attn.to_q", "blocks.0.attn.to_k") for name in ("to_q", "to_k"))),
    ),
    Row(
        "23.2",
        "codes are made with the shared scale",
        IN,
        both(decodes("blocks.0.attn.to_q", "distilled", 0.0025), decodes("blocks.0.attn.to_k", "distilled", 0.0025)),
    ),
    Row("cli 4", "--use_shared_scales is on unless turned off", f"{IN} --use_shared_scales", same_as(IN, metadata=True)),
    Row(
        "cli 4",
        "--use_shared_scales=false is --no-use_shared_scales (it could not be turned off)",
        f"{IN} --use_shared_scales=false",
        same_as(OWN, metadata=True),
    ),
    # options
    Row("cli 4", "--use-amp, with a dash, as its first line spells it", f"{IN} --use-amp", same_as(IN, metadata=True)),
    Row("cli 4", "--use_amp is on unless turned off", f"{IN} --use_amp", same_as(IN, metadata=True)),
    Row(
        "cli 4",
        "--no-use_amp turns it off (it could not be)",
        f"{IN} --no-use_amp",
        both(ends(0), quantized("blocks.0.mlp", dtype="F8_E4M3")),
    ),
    Row("cli 4", "--calib_samples is 96 unless said", f"{IN} --calib_samples 96", same_as(IN, metadata=True)),
    Row("cli 4", "--calib_samples changes what is learned from", f"{IN} --calib_samples 32", differs_from(IN, only="weight$")),
    Row(
        "cli 4",
        "--num_iter is 200 unless said",
        "fp8 --method adaround --input {distilled} --output o.safetensors --num_iter 200",
        same_as("fp8 --method adaround --input {distilled} --output o.safetensors", metadata=True),
    ),
    Row("cli 4", "--num_iter changes the result", f"{IN} --num_iter 60", differs_from(IN, only="weight$")),
    Row(
        "cli 4",
        "--num_iter 0 rounds to nearest",
        f"{OWN} --num_iter 0",
        same_as(
            f"fp8 --method rtn --scale_format u8log --input {{distilled}} --output o.safetensors --min_tensor_size 2049 --no-use_shared_scales",
            only=r"(mlp|img_in)\.(weight|scale_weight)$",
        ),
    ),
    Row("cli 4", "--lr is 0.03 unless said", f"{IN} --lr 0.03", same_as(IN, metadata=True)),
    Row("cli 4", "--lr changes the result", f"{IN} --lr 0.3", differs_from(IN, only="weight$")),
    Row("cli 4", "--reg_lambda is 0.015 unless said", f"{IN} --reg_lambda 0.015", same_as(IN, metadata=True)),
    Row("cli 4", "--reg_lambda changes the result", f"{IN} --reg_lambda 5", differs_from(IN, only="weight$")),
    Row("cli 4", "--early_stop_threshold is 5e-6 unless said", f"{IN} --early_stop_threshold 5e-6", same_as(IN, metadata=True)),
    Row(
        "cli 4",
        "--early_stop_threshold ends the search sooner (it was never read)",
        f"{IN} --num_iter 200 --early_stop_threshold 1000",
        both(differs_from(f"{IN} --num_iter 200 --early_stop_threshold 0", only="weight$"), says(r" 5[0-9] iterations \(")),
    ),
    Row(
        "cli 4",
        "--batch_size cuts the rows into pieces and changes nothing but the order of sums",
        f"{IN} --batch_size 16",
        both(decodes("blocks.0.mlp", "distilled", 0.003), quantized("img_in", dtype="F8_E4M3")),
    ),
    Row("cli 4", "--parallel changes no byte", f"{IN} --parallel", same_as(IN, metadata=True)),
    Row("cli 4", "--no-parallel uses one core", f"{IN} --no-parallel", same_as(IN), env={"CTQ_THREADS": ""}),
    Row(
        "cli 4",
        "--beta_start and --beta_end are 20 and 2 unless said",
        f"{IN} --beta_start 20 --beta_end 2",
        same_as(IN, metadata=True),
    ),
    Row(
        "cli 4",
        "--beta_start and --beta_end change the result",
        f"{IN} --reg_lambda 5 --beta_start 4 --beta_end 4",
        differs_from(f"{IN} --reg_lambda 5", only="weight$"),
    ),
    Row("cli 4", "--optimizer is adamw unless said", f"{IN} --optimizer adamw", same_as(IN, metadata=True)),
    *(
        Row(
            "cli 4",
            f"--optimizer {name}, of a later or a sibling program",
            f"{IN} --optimizer {name}",
            both(quantized("blocks.0.mlp", dtype="F8_E4M3"), differs_from(IN, only="weight$")),
        )
        for name in ("adagrad", "rmsprop", "sgd")
    ),
    Row(
        "cli 4",
        "--optimizer adam, of a sibling program: adamw without its decay",
        f"{IN} --optimizer adam --lr 0.1",
        both(
            quantized("blocks.0.mlp", dtype="F8_E4M3"),
            differs_from(
                "fp8 --method rtn --scale_format u8log --use_shared_scales --input {distilled} --output o.safetensors",
                only=r"mlp\.weight$",
            ),
        ),
    ),
    Row(
        "cli 4",
        "--optimizer RMSprop, as the sibling's window spells it: refused with our spelling",
        f"{IN} --optimizer RMSprop",
        refuses(2, "rmsprop"),
    ),
    refused("--optimizer goodDog", "--optimizer"),
    refused("--calib_samples 0", "--calib_samples"),
    refused("--num_iter -1", "--num_iter"),
    refused("--min_tensor_size -1", "--min_tensor_size"),
    refused("--lr 0", "--lr"),
    refused("--reg_lambda -1", "--reg_lambda"),
    refused("--early_stop_threshold -1", "--early_stop_threshold"),
    refused("--batch_size 0", "--batch_size"),
    refused("--beta_start 2 --beta_end 20", "--beta_start|--beta_end"),
    refused("--scale_format f16", "--scale_format"),
    refused("--use_amp=maybe", "--use_amp"),
    *(
        chooses(args)
        for args in (
            "--lr 0.03",
            "--reg_lambda 0.015",
            "--batch_size 32",
            "--use_shared_scales",
            "--min_tensor_size 1024",
            "--early_stop_threshold 5e-6",
            "--use_amp",
            "--optimizer adamw",
            "--beta_start 20",
        )
    ),
    Row(
        "cli 4",
        "with --method tpec they choose nothing",
        "fp8 --method tpec --input {distilled@} --min_tensor_size 1024",
        writes("distilled_float8_e4m3fn_scaled_learned_svd.safetensors"),
    ),
    # rounding
    Row(
        "23.2",
        "learned codes are not those of rounding to nearest (nearly all were)",
        f"{OWN} --scale_format f32",
        differs_from("fp8 --method rtn --input {distilled} --output o.safetensors", only=r"mlp\.weight$"),
    ),
    Row(
        "23.2",
        "the log says how far the loss went down, and after how many iterations",
        IN,
        says(r"Processing \(FP8\): blocks\.0\.mlp\.weight.*adaround.* -> .*\d+ iterations"),
    ),
    Row(
        "23.2",
        "rows recorded from the model take the place of random ones",
        f"{IN} --calibration-data rows.safetensors",
        differs_from(IN, only=r"mlp\.weight$"),
        files={"rows.safetensors": {"blocks.0.mlp.rows": workshop.normal("rows-in", (512, 64), "F32", 1.0)}},
    ),
    # log
    Row("23.2", "says what it does with each tensor", IN, says(r"\(\d+/\d+\) Processing \(FP8\): img_in\.weight")),
    Row(
        "23.2",
        "says how many weights were processed and tensors kept",
        f"{IN} --keep_distillation",
        says(r" 4 weights", r"kept as they are +\d+ tensors"),
    ),
    Row("cli 4", "a missing input ends with an exit code (it was 0)", f"{AT} none.safetensors", refuses(4, "none.safetensors")),
    Row("cli 4", "output equals input is refused", f"{AT} {{distilled@}} --output distilled.safetensors", refuses(2, "input")),
    Row(
        "cli 4",
        "the whole old command line",
        "fp8 --method adaround --input {t5@} --t5xxl --calib_samples 96 --num_iter 20 --lr 0.03 --reg_lambda 0.015 --min_tensor_size 1024 --early_stop_threshold 5e-6 --batch_size 32 --use-amp --use_shared_scales --parallel",
        both(writes("t5_float8_e4m3fn_scaled_ultra_8bit_shared.safetensors"), silent_about(r"--(?!use_amp)\S+ has no effect")),
    ),
]
