"""What the documents of batch_quantize.py promised, as `convert_to_quant batch` keeps it."""

import re

from workshop import Row, both, ends, quantized, refuses, same_as, says, silent_about, writes
from workshop_more import lora, when
import workshop

TWO = workshop.two()
MODELS = {
    name: {"blk.0.attn.weight": TWO["blk.0.attn.weight"]}
    for name in ("m/flux1-dev.safetensors", "m/flux1-schnell.safetensors", "m/my_model_1.safetensors", "m/model_10.safetensors")
}
PAIR = {name: MODELS[name] for name in ("m/flux1-dev.safetensors", "m/flux1-schnell.safetensors")}
LORAS = {
    f"l/{name}.safetensors": lora(TWO, ["blk.0.attn"], style="lora_A lora_B")
    for name in ("style", "character", "light", "flux1-dev", "flux1-schnell_lora")
}
PASS = "--int8 --comfy_quant --simple --scaling_mode row"
BOTH = "m/flux1-dev.safetensors m/flux1-schnell.safetensors"
OUT = "simple_int8_rowwise.safetensors"
DRY = "batch -d m --dry-run-batch"


def batch(thing: str, args: str, check, files=None, section: str = "cli 6", **more) -> Row:
    return Row(section, thing, args, check, PAIR if files is None else files, **more)


def lines(run) -> dict[str, str]:
    """Input -> its command line, of a dry run."""
    return {
        found[1]: line
        for line in run.out.splitlines()
        for found in [re.search(r"m/(\S+?)\.safetensors", line)]
        if line.startswith("convert_to_quant") and found
    }


def merges(**wanted: str):
    """Which LoRAs the command line of a file names, in order; an empty text: none."""

    def check(run):
        for name, loras in wanted.items():
            line = lines(run).get(name.replace("__", "-"))
            if line is None:
                return f"no command line of {name}"
            found = (
                re.findall(
                    r"(style|character|light|flux1-dev|flux1-schnell_lora|none)\.safetensors",
                    re.sub(r"--(input|output)=\S+", "", line),
                )
                if "--merge-lora" in line
                else []
            )
            if found != loras.split():
                return f"{name}: LoRAs {found}"
        return None

    return when(check)


def mapping(content, **wanted: str):
    return {"files": MODELS | LORAS | {"map.json": content}, "check": merges(**wanted)}


MAPPED = f"{DRY} --lora-mapping map.json"
ROWS = [
    batch(
        "several files, each with its derived name beside it",
        f"batch -i {BOTH} -y {PASS}",
        writes(f"m/flux1-dev_{OUT}", f"m/flux1-schnell_{OUT}"),
    ),
    batch(
        "--inputs is the long form", f"batch --inputs {BOTH} -y {PASS}", writes(f"m/flux1-dev_{OUT}", f"m/flux1-schnell_{OUT}")
    ),
    batch(
        "a glob in quotes is expanded",
        f"batch -i 'm/flux1-*.safetensors' -y {PASS}",
        writes(f"m/flux1-dev_{OUT}", f"m/flux1-schnell_{OUT}"),
    ),
    batch(
        "a file that is named twice is converted once",
        f"batch -i {BOTH} 'm/*.safetensors' --dry-run-batch {PASS}",
        when(lambda run: run.out.count("convert_to_quant ") == 2),
    ),
    batch(
        "in sorted order",
        "batch -i m/flux1-schnell.safetensors m/flux1-dev.safetensors --dry-run-batch",
        when(lambda run: list(lines(run)) == ["flux1-dev", "flux1-schnell"]),
    ),
    batch("-d: all files of a folder", f"batch -d m -y {PASS}", writes(f"m/flux1-dev_{OUT}", f"m/flux1-schnell_{OUT}")),
    batch(
        "--directory is the long form; folders inside are not searched",
        "batch --directory . --dry-run-batch --pattern '*'",
        refuses(4, "no file matches"),
    ),
    batch("--pattern chooses among them", f"batch -d m --pattern '*dev*' -y {PASS}", writes(f"m/flux1-dev_{OUT}")),
    batch(
        "a second run with -d does not take up its own outputs (it did)",
        f"{DRY} {PASS}",
        when(lambda run: "quantized already" in run.said and run.out.count("convert_to_quant ") == 2 or f"commands: {run.out}"),
        before=(f"batch -d m -y {PASS}",),
    ),
    batch(
        "files of a folder that are quantized already are left out",
        f"{DRY} {PASS}",
        when(lambda run: "m/q.safetensors" not in run.out and run.out.count("convert_to_quant ") == 2),
        before=(f"-i m/flux1-dev.safetensors -o m/q.safetensors {PASS}",),
    ),
    batch(
        "--include-quantized takes them up",
        f"{DRY} {PASS} --include-quantized --requantize",
        when(lambda run: "m/q.safetensors" in run.out and run.out.count("convert_to_quant ") == 3),
        before=(f"-i m/flux1-dev.safetensors -o m/q.safetensors {PASS}",),
    ),
    batch(
        "--dry-run-batch prints the command line of each file and writes nothing",
        f"{DRY} {PASS}",
        both(
            writes(),
            when(
                lambda run: all("--int8" in line and "--simple" in line for line in lines(run).values()) and len(lines(run)) == 2
            ),
        ),
    ),
    batch(
        "all other options reach the conversion of every file",
        f"batch -i m/flux1-dev.safetensors -y {PASS}",
        same_as(f"-i m/flux1-dev.safetensors {PASS}", PAIR, metadata=True),
    ),
    batch("without -y and without a terminal it does not begin", f"batch -i {BOTH} {PASS}", refuses(2, "--yes")),
    batch("--yes is the long form", f"batch -i {BOTH} --yes {PASS}", writes(f"m/flux1-dev_{OUT}", f"m/flux1-schnell_{OUT}")),
    batch("says how many files there are", f"batch -i {BOTH} -y {PASS}", says("2 conversions of 2 files"), section="25"),
    batch("exactly one of -i and -d: both", "batch -i m/flux1-dev.safetensors -d m -y", refuses(2, "exactly one")),
    batch("exactly one of -i and -d: neither", "batch -y", refuses(2, "exactly one")),
    batch("a folder without a match (exit code 0)", "batch -d m --pattern '*.bin' -y", refuses(4, "no file matches")),
    batch("-o is refused", f"batch -i {BOTH} -y -o o.safetensors", refuses(2, "--output")),
    batch(
        "an unknown option is refused once, before the first file",
        f"batch -i {BOTH} -y --bogus",
        both(refuses(2, "--bogus"), lambda run: None if run.said.count("bogus") == 1 else "said more than once"),
    ),
    batch(
        "a file that fails makes the exit code its own (it was 0), the others go on",
        f"batch -i {BOTH} m/junk.safetensors -y {PASS}",
        both(
            ends(4),
            lambda run: (
                None if f"m/flux1-schnell_{OUT}" in run.written and f"m/flux1-dev_{OUT}" in run.written else "not all written"
            ),
        ),
        PAIR | {"m/junk.safetensors": b"junk" * 8},
    ),
    batch(
        "the closing table names each file with its result, and counts",
        f"batch -i {BOTH} m/junk.safetensors -y {PASS}",
        says(
            r"flux1-dev\.safetensors +[0-9.]+ +converted",
            r"junk\.safetensors +[0-9.]+ +exit code 4",
            r"2 converted, 1 failed",
            code=4,
        ),
        PAIR | {"m/junk.safetensors": b"junk" * 8},
    ),
    batch(
        "--no-keep-going ends with the first failure",
        f"batch -i m/a.safetensors m/flux1-dev.safetensors -y --no-keep-going {PASS}",
        both(ends(4), lambda run: f"wrote {run.written}" if run.written else None),
        PAIR | {"m/a.safetensors": b"junk" * 8},
    ),
    batch(
        "a file that is missing",
        f"batch -i m/none.safetensors m/flux1-dev.safetensors -y {PASS}",
        both(ends(4), says("none", code=4)),
    ),
    batch(
        "--output-dir", f"batch -i {BOTH} -y --output-dir out {PASS}", writes(f"out/flux1-dev_{OUT}", f"out/flux1-schnell_{OUT}")
    ),
    batch(
        "--jobs 2 writes the same", f"batch -i {BOTH} -y --jobs 2 {PASS}", writes(f"m/flux1-dev_{OUT}", f"m/flux1-schnell_{OUT}")
    ),
    batch("--jobs 0 is refused", f"batch -i {BOTH} -y --jobs 0", refuses(2, "--jobs")),
    # LoRAs
    batch(
        "--merge-lora: one for all",
        f"{DRY} --merge-lora l/style.safetensors",
        merges(flux1__dev="style", flux1__schnell="style"),
        PAIR | LORAS,
        "25",
    ),
    batch(
        "--merge-lora is merged",
        f"batch -i m/flux1-dev.safetensors -y {PASS} --merge-lora l/style.safetensors",
        same_as(f"-i m/flux1-dev.safetensors {PASS} --merge-lora l/style.safetensors", PAIR | LORAS),
        PAIR | LORAS,
        "25",
    ),
    batch(
        "--merge-lora wins over the mapping",
        f"{MAPPED} --merge-lora l/style.safetensors",
        merges(flux1__dev="style"),
        PAIR | LORAS | {"map.json": {"flux1-dev": "l/light.safetensors"}},
        "25",
    ),
    batch(
        "mapping by the file's name",
        MAPPED,
        section="25",
        **mapping({"flux1-dev.safetensors": "l/style.safetensors"}, flux1__dev="style", flux1__schnell=""),
    ),
    batch(
        "mapping by its stem",
        MAPPED,
        section="25",
        **mapping({"flux1-dev": "l/style.safetensors"}, flux1__dev="style", flux1__schnell=""),
    ),
    batch(
        "mapping by a part between delimiters",
        MAPPED,
        section="25",
        **mapping({"schnell": "l/style.safetensors"}, flux1__schnell="style", flux1__dev=""),
    ),
    batch(
        "model_1 is a part of my_model_1, not of model_10",
        MAPPED,
        section="25",
        **mapping({"model_1": "l/style.safetensors"}, my_model_1="style", model_10=""),
    ),
    batch(
        "a list gives several, in its order",
        MAPPED,
        section="25",
        **mapping({"schnell": ["l/character.safetensors", "l/light.safetensors"]}, flux1__schnell="character light"),
    ),
    batch(
        "the documented example: a file name, a part with a list, and a comment",
        MAPPED,
        section="25",
        **mapping(
            {
                "_comment": "x",
                "flux1-dev.safetensors": "l/style.safetensors",
                "schnell": ["l/character.safetensors", "l/light.safetensors"],
            },
            flux1__dev="style",
            flux1__schnell="character light",
        ),
    ),
    batch(
        "the file's name wins over the stem, and that over a part",
        MAPPED,
        section="25",
        **mapping(
            {
                "dev": "l/light.safetensors",
                "flux1-dev": "l/character.safetensors",
                "flux1-dev.safetensors": "l/style.safetensors",
            },
            flux1__dev="style",
        ),
    ),
    batch(
        "a comment is never taken for a file of that name",
        MAPPED,
        merges(_comment="style"),
        {
            "m/_comment.safetensors": MODELS["m/model_10.safetensors"],
            "map.json": {"_comment": "x", "comment": "l/style.safetensors"},
        }
        | LORAS,
        "25",
    ),
    batch(
        "several LoRAs: the second at 0.9 of the scale",
        f"batch -i m/flux1-schnell.safetensors -y {PASS} --lora-mapping map.json",
        same_as(
            f"-i m/flux1-schnell.safetensors {PASS} --merge-loras l/character.safetensors l/light.safetensors --merge-lora-dampen=false --merge-lora-scale 1,0.9",
            PAIR | LORAS,
        ),
        PAIR | LORAS | {"map.json": {"schnell": ["l/character.safetensors", "l/light.safetensors"]}},
        "25",
    ),
    batch(
        "bare names of a mapping are looked up in --lora-dir (promised, not done)",
        f"{MAPPED} --lora-dir l",
        section="25",
        **mapping({"schnell": "style.safetensors"}, flux1__schnell="style"),
    ),
    batch(
        "--lora-dir: <stem>.safetensors, else <stem>_lora.safetensors",
        f"{DRY} --lora-dir l",
        merges(flux1__dev="flux1-dev", flux1__schnell="flux1-schnell_lora"),
        PAIR | LORAS,
        "25",
    ),
    batch(
        "--lora-dir: files without one are converted without", f"{DRY} --lora-dir l", merges(model_10=""), MODELS | LORAS, "25"
    ),
    batch(
        "--merge-lora-scale is passed on",
        f"{DRY} --merge-lora l/style.safetensors --merge-lora-scale 0.5",
        when(lambda run: len(re.findall(r"--merge-lora-scale[ =]0\.5", run.out)) == 2),
        PAIR | LORAS,
    ),
    batch(
        "--merge-lora-scale is 1.0 unless said, and then left out",
        f"{DRY} --merge-lora l/style.safetensors",
        both(silent_about("merge-lora-scale"), merges(flux1__dev="style")),
        PAIR | LORAS,
    ),
    batch(
        "a key that stands twice is refused (the last won)",
        MAPPED,
        refuses(4, "twice"),
        PAIR | {"map.json": '{"a": "x", "a": "y"}'},
        "25",
    ),
    batch("a mapping that is missing (exit code 0)", MAPPED, refuses(4, "map.json")),
    batch("a mapping that is no JSON (exit code 0)", MAPPED, refuses(4, "map.json"), PAIR | {"map.json": "{"}),
    batch("--lora-dir that is missing", f"{DRY} --lora-dir none", refuses(4, "none")),
    batch("--merge-lora that is missing", f"{DRY} --merge-lora none.safetensors", refuses(4, "none.safetensors")),
    batch(
        "a LoRA of the mapping that is missing fails that file",
        f"batch -i {BOTH} -y {PASS} --lora-mapping map.json",
        both(ends(4), lambda run: None if f"m/flux1-schnell_{OUT}" in run.written else "the other file is not converted"),
        PAIR | {"map.json": {"flux1-dev": "l/none.safetensors"}},
    ),
]
