"""What is run: each mode's command line, to which the walk adds one option at a time.

A mode is a name and words. `M/` is the folder of the models; what a run writes lies in a folder of its own. `PLAIN` is what
most conversions read and write: every format with its usual optimizer, every optimizer in one format, and everything that is not
a plain conversion. `COLUMNS` gathers them to what docs/options_by_mode.md has a column for; those of a command are its modes.
"""

PLAIN = "-i M/encoder.safetensors -o o.safetensors"
RECORDED = "--calibration-data M/recorded.safetensors"
FP8 = f"{PLAIN} --fp8 --comfy_quant"

FORMATS = {
    "int8 block, legacy": PLAIN,
    "int8 block": f"{PLAIN} --comfy_quant --client any",
    "int8 row": f"{PLAIN} --comfy_quant --scaling_mode row",
    "fp8 legacy": f"{PLAIN} --fp8",
    "fp8 tensor": FP8,
    "fp8 row": f"{FP8} --scaling_mode row --client any",
    "nvfp4": f"{PLAIN} --nvfp4",
    "mxfp8": f"{PLAIN} --mxfp8",
    "w4a8": f"{PLAIN} --format asym_w4a8_int8",
    "w4a4": f"{PLAIN} --format convrot_w4a4",
    "fp16": f"{PLAIN} --fp16",
}

OPTIMIZERS = {
    "simple": f"{FP8} --simple",
    "rtn": f"{FP8} --optimizer rtn",
    "direct": f"{FP8} --optimizer direct",
    "implied": f"{FP8} --optimizer implied",
    "gptq": f"{FP8} --optimizer gptq {RECORDED}",
    "quip": f"{PLAIN} --comfy_quant --optimizer quip {RECORDED}",
    "original": f"{FP8} --optimizer original --num_iter 40",
    "prodigy": f"{FP8} --optimizer prodigy --num_iter 80",
    "tpec": f"{FP8} --optimizer tpec --num_iter 12",
    "adaround": f"{FP8} --optimizer adaround --num_iter 12",
    "best": f"{FP8} --quality best",
}

OTHERS = {
    "recorded": f"{FP8} {RECORDED}",
    "merging": f"{FP8} --merge-lora M/lora.safetensors",
    "layer config": f"{PLAIN} --comfy_quant --client any --layer-config M/layers.json",
    "layer config, optimizers": f"{PLAIN} --comfy_quant --client any --layer-config M/optimizers.json --num_iter 40 {RECORDED}",
    "max error": f"{PLAIN} --nvfp4 --max-error 0.05",
    "time": f"{FP8} --time 60s",
    "part": f"{FP8} --partition 1/2",
    "requantize": "-i M/int8.safetensors -o o.safetensors --fp8 --comfy_quant --requantize --simple",
    "extract": f"{FP8} --extract-lora --simple",
}

# Where little of a conversion happens.
ASIDE = {
    "merge only": "-i M/encoder.safetensors --merge-lora M/lora.safetensors --lora-only-to o.safetensors",
    "dry run": f"{FP8} --dry-run",
    "dry run, learned": f"{FP8} --optimizer original --dry-run",
    "dry run, quip": f"{PLAIN} --comfy_quant --optimizer quip {RECORDED} --dry-run",
    "dry run, json": f"{FP8} --dry-run --json",
    "template": "-i M/encoder.safetensors -o o.json --fp8 --comfy_quant --dry-run create-template",
    "error": "analyze M/encoder.safetensors --fp8 --comfy_quant --error",
    "suggest": "analyze M/encoder.safetensors --fp8 --comfy_quant --suggest",
    "blocks": "analyze M/encoder.safetensors --blocks",
}

CONVERSIONS = FORMATS | OPTIMIZERS | OTHERS | ASIDE

COLUMNS = {
    "int8": ("int8 block, legacy", "int8 block", "int8 row"),
    "fp8": ("fp8 legacy", "fp8 tensor", "fp8 row"),
    "4 bits, mx": ("nvfp4", "mxfp8", "w4a8", "w4a4"),
    "fp16": ("fp16",),
    "nearest": ("simple", "rtn"),
    "one pass": ("direct", "implied", "best"),
    "recorded": ("recorded", "gptq", "quip"),
    "learned": ("original", "prodigy", "tpec", "adaround"),
    "more": ("merging", "layer config", "layer config, optimizers", "max error", "time", "part", "requantize", "extract"),
    "merge only": ("merge only",),
    "plan": ("dry run", "dry run, learned", "dry run, quip", "dry run, json", "template"),
    "analyze": ("error", "suggest", "blocks"),
}

# In each of these a sample tries an option once.
PARTS = (tuple(FORMATS), tuple(OPTIMIZERS), tuple(OTHERS), ("merge only",), COLUMNS["plan"], COLUMNS["analyze"])


def part_of(mode: str) -> int:
    return next(i for i, part in enumerate(PARTS) if mode in part)


FP8_ONE = "fp8 M/encoder.safetensors -o o.safetensors --num_iter 8"
COMMANDS = {
    "calibrate": {
        "random": "calibrate M/encoder.safetensors -o c.safetensors",
        "rows": "calibrate M/encoder.safetensors -o c.safetensors --activations M/rows.safetensors",
        "merge": "calibrate --merge M/recorded.safetensors M/recorded_more.safetensors -o c.safetensors",
        "patch": "calibrate M/fp8.safetensors --patch --calibration-data M/recorded.safetensors -o c.safetensors",
        "patch, rows": "calibrate M/fp8.safetensors --patch --activations M/rows.safetensors -o c.safetensors",
        "list": "calibrate --list M/recorded.safetensors",
        "enough": "calibrate M/encoder.safetensors --enough --calibration-data M/pictures.safetensors",
    },
    "inspect": {
        "plain": "inspect M/fp8.safetensors",
        "json": "inspect M/fp8.safetensors --json",
        "unquantized": "inspect M/encoder.safetensors",
    },
    "verify": {"plain": "verify M/fp8.safetensors", "original": "verify M/fp8.safetensors --original M/encoder.safetensors"},
    "compare": {
        "plain": "compare M/encoder.safetensors M/fp8.safetensors",
        "two": "compare M/encoder.safetensors M/fp8.safetensors M/int8.safetensors",
    },
    "dequantize": {
        "plain": "dequantize M/fp8.safetensors -o d.safetensors",
        "legacy": "dequantize M/scaled_fp8.safetensors -o d.safetensors",
    },
    "edit": {
        "keys": "edit M/int8.safetensors -o e.safetensors --add-keys \"'note': 1\"",
        "tensors": "edit M/int8.safetensors -o e.safetensors --remove-tensors model_ema",
        "header": "edit M/int8.safetensors -o e.safetensors --save-quant-metadata",
    },
    "migrate": {
        "fp8-scaled": "migrate fp8-scaled -i M/scaled_fp8.safetensors -o m.safetensors",
        "int8-scaled": "migrate int8-scaled -i M/unmarked_int8.safetensors -o m.safetensors",
        "add-input-scale": "migrate add-input-scale -i M/scaled_fp8.safetensors -o m.safetensors",
        "cleanup-fp8": "migrate cleanup-fp8 -i M/scaled_fp8.safetensors -o m.safetensors",
        "hybrid-mxfp8": "migrate hybrid-mxfp8 -i M/mxfp8.safetensors -o m.safetensors",
        "u8log": "migrate u8log -i M/log_scales.safetensors -o m.safetensors",
        "comfy-to-legacy": "migrate comfy-to-legacy -i M/fp8.safetensors -o m.safetensors",
        "add-markers": "migrate add-markers -i M/foreign.safetensors -o m.safetensors",
    },
    "extract-lora": {"plain": "extract-lora M/encoder.safetensors --quantized M/fp8.safetensors -o l.safetensors"},
    "clip-g": {
        "plain": "clip-g M/clip_g.safetensors -o o.safetensors",
        "split": "clip-g M/clip_g.safetensors -o o.safetensors --split-attn-qkv",
        "apart": "clip-g M/clip.safetensors -o o.safetensors -k 0",
        "scaled": "clip-g M/clip_g.safetensors -o o.safetensors --fp8-scale tensor",
        "dry run": "clip-g M/clip_g.safetensors --dry-run",
        "analyze": "clip-g M/clip_g.safetensors --analyze",
    },
    "fp8": {
        "tpec": FP8_ONE,
        "adaround": f"{FP8_ONE} --method adaround",
        "adaround, recorded": f"{FP8_ONE} --method adaround {RECORDED}",
        "gptq": f"fp8 M/encoder.safetensors -o o.safetensors --method gptq {RECORDED}",
        "original": f"{FP8_ONE} --method original",
        "rtn": "fp8 M/encoder.safetensors -o o.safetensors --method rtn",
        "no-legacy": f"{FP8_ONE} --no-legacy",
        "dry run": "fp8 M/encoder.safetensors -o o.safetensors --dry-run",
    },
    "batch": {
        "files": "batch M/encoder.safetensors M/clip.safetensors --output-dir out --fp8 --comfy_quant --client any --simple -y",
        "folder": "batch -d M/folder --output-dir out --fp8 --comfy_quant --client any --simple -y",
        "lines": "batch M/encoder.safetensors M/clip.safetensors --output-dir out --fp8 --comfy_quant --client any --simple --dry-run-batch",
    },
    "assemble": {"plain": "assemble M/part.part-1-of-2.safetensors M/part.part-2-of-2.safetensors -o a.safetensors"},
    "completion": {"plain": "completion bash"},
}
