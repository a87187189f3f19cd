"""One telling value of every option, and what has to be given beside it so that it can act.

A row is what is added, and optionally: `beside`, given in both runs, with and without the option; `model`, which takes the place
of the mode's own; `modes`, a regular expression over names of modes; `first`, files that lie there before; `fails`, where the
run without the option ends with an error, as it should; `strip`, words that the mode's command line loses in both runs; `but`,
modes that it does not meet although the options of its group do; `exits`, the exit code by which it answers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    words: str
    beside: str = ""
    model: str = ""
    modes: str = ""
    first: tuple[str, ...] = ()
    fails: bool = False
    strip: str = ""
    but: str = ""
    exits: int = 0


ONE = "^fp8 tensor$"  # a matter of the command line alone: one mode says it all
ELSEWHERE = "^nowhere$"  # another command by an old name: tests/end_to_end tries it
DATA = "--calibration-data M/recorded.safetensors"
CUSTOM = "--custom-layers attention --custom-type int8"
FALLBACK = "--exclude-layers attention --fallback int8"
MERGED = "--merge-loras M/lora.safetensors M/lora_more.safetensors"
PARTIAL = "--merge-lora M/lora_partial.safetensors"
QUIP = f"--optimizer quip {DATA}"
PAGES = (
    "--help",
    "--help-standard",
    "--help-filters",
    "--help-experimental",
    "--help-advanced",
    "--help-learned",
    "--help-modes",
    "--help-lora",
    "--help-json",
    "--version",
    "--list-formats",
    "--list-filters",
)
# What gains less than half of the loss stalls, so that the rate falls with each iteration.
STALLS = "--num_iter 100 --lr 1 --lr_schedule plateau --lr_patience 0 --lr_cooldown 0 --lr_threshold 0.5"
SCHEDULES = "^(original|prodigy|fp8 tensor|tpec)$"
NO_RECORDING = "^(?!gptq|quip|recorded)"  # modes without one of their own
NOT_ASIDE_NOR_EXTRACT = "^(?!merge only|dry run|template|error|suggest|blocks|extract)"


def extraction(words: str) -> tuple[Row, ...]:
    """Of an option of --extract-lora, which does not go with all modes."""
    return Row(words, beside="--extract-lora", but="^(fp16|merge only)$"), Row(words, modes="^(fp8 tensor|fp16|merge only)$")


CONVERSION = {
    "--input": (Row("-i M/flux.safetensors", modes=ONE),),
    "--output": (Row("-o p.safetensors"),),
    "--no-clobber": (Row("--no-clobber", first=("o.safetensors", "o.json")),),
    "--max-shard-size": (Row("--max-shard-size 100KB"),),
    "--allow-empty": (
        Row(
            "--allow-empty",
            beside="--exclude-layers .",
            fails=True,
            modes="^(int8|fp8|nvfp4|mxfp8|w4|fp16|direct|recorded|dry run|part)",
        ),
    ),
    "--remove-ema": (Row("--remove-ema"),),
    "--requantize": (
        Row("--requantize"),
        Row(
            "--requantize",
            model="M/int8.safetensors",
            beside="--client any",
            fails=True,
            modes="^(fp8 tensor|int8 row|nvfp4|direct|dry run|merging)$",
        ),
    ),
    "--names": (
        Row(
            "--names keep",
            model="M/diffusers_flux.safetensors",
            beside="--client any",
            modes="^(fp8 tensor|int8 row|fp16|dry run|template|error|suggest|blocks)$",
        ),
        Row("--names keep"),
    ),
    "--resume": (Row("--no-resume"),),
    "--partition": (Row("--partition 1/3"),),
    "--comfy_quant": (Row("--comfy_quant", modes="legacy|nvfp4|w4|fp16|max error|blocks|merge only"),),
    "--full_precision_matrix_mult": (Row("-fpmm"),),
    "--save-quant-metadata": (Row("--save-quant-metadata"),),
    "--recipe": (
        Row("--recipe M/recipe.json", modes="^(int8 block, legacy|original|blocks|merge only|gptq|fp8 tensor)$"),
        Row("--recipe comfy-nvfp4", modes="^(int8 block, legacy|blocks|merge only)$"),
    ),
    "--client": (
        Row("--client sd.cpp", but="^(int8 block|fp8 row|layer config|merge only|blocks|dry run|template|error|suggest)"),
        Row("--client diffusers", modes="^(dry run|template|error|suggest)"),
        Row("--client diffusers", model="M/diffusers_flux.safetensors", modes="^blocks$"),
        Row(
            "--client diffusers",
            model="M/diffusers_flux.safetensors",
            beside="--merge-lora M/lora_flux.safetensors",
            modes="^merge only$",
        ),
    ),
    "--fp16": (Row("--fp16"),),
    "--fp8": (Row("--fp8"),),
    "--nvfp4": (Row("--nvfp4"),),
    "--mxfp8": (Row("--mxfp8"),),
    "--int8": (
        Row("--int8", modes="^(?!int8|quip|dry run, quip|layer config|merge only|blocks)"),
        Row("--no-int8", modes="^int8 block, legacy$"),
    ),
    "--format": (Row("--format float8_e5m2"),),
    "--scaling_mode": (Row("--scaling_mode axis"),),
    "--block_size": (Row("--block_size 32"),),
    "--block-fallback": (Row("--block-fallback skip", but="^layer config$"),),
    "--simple": (Row("--simple"),),
    "--heur": (Row("--heur"),),
    "--quantize-embeddings": (Row("--quantize-embeddings"),),
    "--quantize-conv": (
        Row("--quantize-conv", model="M/sd15.safetensors", modes="^(fp8 tensor|dry run)$"),
        Row("--quantize-conv", but="^(fp8 tensor|dry run)$"),
    ),
    "--exclude-layers": (
        Row("--exclude-layers query"),
        Row("--exclude-layers nothing_of_that_name", modes="^(fp8 tensor|dry run|merge only|blocks)$"),
    ),
    "--quality": (Row("--quality best"),),
    "--max-error": (Row("--max-error 0.02"),),
    "--target-size": (Row("--target-size 320KB"),),
    "--time": (Row("--time 50s"),),
    "--optimizer": (Row("--optimizer direct"),),
    "--profile": (
        Row("--profile seed", beside="--num_iter 4", but="^(fp16|merge only|blocks)$"),
        Row("--profile peer", beside="--num_iter 4", but="^(fp16|merge only|blocks)$"),
        Row("--profile seed", modes="^(fp16|merge only|blocks)$"),
        Row("--profile peer", modes="^(fp16|merge only|blocks)$"),
    ),
    "--calibration-data": (Row(DATA),),
    "--allow-random-calibration": (
        Row("--allow-random-calibration", beside="--calibration-data M/random.safetensors"),
        Row("--allow-random-calibration", modes="^(fp8 tensor|dry run|merge only)$"),
        Row("--allow-random-calibration", beside=DATA, modes="^(fp8 tensor)$"),
    ),
    "--quality-threshold-fail": (
        Row("--quality-threshold-fail", beside="--quality-threshold 90"),
        Row("--quality-threshold-fail", beside="--report-quality --quality-threshold 60", modes=ONE),
    ),
    "--calibration-lora": (Row("--calibration-lora M/lora.safetensors"),),
    "--smoothquant": (Row("--smoothquant", beside=DATA),),
    "--smoothquant-alpha": (
        Row("--smoothquant-alpha 0.9", beside=f"{DATA} --smoothquant", modes="^(int8|nvfp4|quip)"),
        Row("--smoothquant-alpha 0.9", modes="^(fp8 tensor|dry run)$"),
    ),
    "--static-activations": (
        Row("--static-activations", beside=DATA),
        Row("--static-activations", modes="^(fp8|int8|nvfp4|w4|mxfp8)"),
    ),
    "--input-scales": (Row("--input-scales M/scales.json"),),
    "--input_scale": (Row("--input_scale"),),
    "--bias-correction": (
        Row("--bias-correction off", beside=DATA),
        Row("--bias-correction on"),
        Row("--bias-correction norm"),
        Row("--bias-correction off"),
    ),
    "--manual_seed": (Row("--manual_seed 9"),),
    "--low-memory": (Row("--low-memory"),),
    "--max-memory": (Row("--max-memory 1MiB"),),
    "--no-memory-limits": (Row("--no-memory-limits"),),
    "--calib_cpu": (Row("--calib_cpu", modes=ONE),),
    "--verbose-pinned": (Row("--verbose-pinned", modes=ONE),),
    "--normalize-scales": (Row("--no-normalize-scales", modes=ONE),),
    "--output-dtype": (
        Row(
            "--output-dtype float16",
            beside="--exclude-layers attention",
            modes="^(fp8 tensor|int8 row|dry run|template|merge only|blocks)$",
        ),
    ),
    "--preserve-layers": (
        Row("--preserve-layers attention", beside="--exclude-layers attention --output-dtype float16", modes=ONE),
        Row("--preserve-layers attention", modes=ONE),
    ),
    "--calib_samples": (Row("--calib_samples 64", modes="^(fp8 tensor|adaround|merge only|dry run)$"),),
    "--scale-optimization": (Row("--scale-optimization iterative", modes=ONE),),
    "--scale-refinement": (Row("--scale-refinement 2", modes=ONE),),
    "--actcal-samples": (Row("--actcal-samples 9", modes=ONE),),
    "--actcal-seed": (Row("--actcal-seed 9", modes=ONE),),
    "--actcal-lora": (Row("--actcal-lora M/lora.safetensors", modes=ONE),),
    "--actcal-device": (Row("--actcal-device cpu", modes=ONE),),
    "--device": (Row("--device cuda"),),
    "--threads": (Row("--threads 2"),),
    "--report-quality": (Row("--report-quality"),),
    "--quality-threshold": (Row("--quality-threshold 90"), Row("--quality-threshold 90", beside="--report-quality")),
    "--quality-json": (Row("--quality-json q.json"),),
    "--merge-lora": (Row("--merge-lora M/lora_more.safetensors"),),
    "--merge-loras": (Row(MERGED),),
    "--merge-lora-scale": (
        Row("--merge-lora-scale 0.5", beside=MERGED),
        Row("--merge-lora-scale 0.5", modes="^(fp8 tensor|dry run|blocks)$"),
    ),
    "--merge-lora-dampen": (
        Row("--no-merge-lora-dampen", beside=MERGED),
        Row("--no-merge-lora-dampen", modes="^(fp8 tensor|merging|dry run|blocks)$"),
    ),
    "--lora-map": (
        Row("--lora-map M/lora_map.json", beside=f"{PARTIAL} --allow-partial-lora"),
        Row("--lora-map M/lora_map.json", modes="^(fp8 tensor|dry run|blocks)$"),
    ),
    "--allow-partial-lora": (
        Row("--allow-partial-lora", beside=PARTIAL, fails=True),
        Row("--allow-partial-lora", modes="^(fp8 tensor|merging|dry run|blocks)$"),
    ),
    "--lora-only-to": (
        Row(
            "--lora-only-to x.safetensors",
            beside="--merge-lora M/lora.safetensors",
            model="m.safetensors",  # the run without it writes beside its input
            first=("m.safetensors=M/encoder.safetensors",),
            strip="-o o.safetensors",
            modes=NOT_ASIDE_NOR_EXTRACT,
        ),
        Row("--lora-only-to x.safetensors"),
    ),
    "--dry-run": (Row("--dry-run", modes="^(?!error|suggest|blocks)"),),
    "--json": (Row("--json"),),
    "--template": (Row("--template", strip="-o o.safetensors", modes="^dry run$"), Row("--template", but="^dry run")),
    "--blocks": (Row("--blocks"),),
    "--error": (Row("--error"),),
    "--suggest": (Row("--suggest"),),
    "--formats": (Row("--formats int8,mxfp8"),),
    "--report": (Row("--report r.json"),),
    "--verbose": (Row("--verbose DEBUG"), Row("--verbose MINIMAL")),
    "--progress": (Row("--progress json"),),
    "--strict": (
        Row("--strict", beside="--exclude-layers nothing_of_that_name", but="^(merge only|blocks)$"),
        Row("--strict", beside=f"{PARTIAL} --allow-partial-lora", modes="^(fp8 tensor|merging|merge only|dry run|blocks)$"),
    ),
    "--config": (Row("--config M/options.toml", modes="^(int8 block, legacy|blocks|merge only|gptq)$"),),
    "--print-config": (Row("--print-config"),),
    "--filter-set": (
        Row(
            "--filter-set union",
            beside="--distillation_large --flux2",
            model="M/flux.safetensors",
            modes="^(int8 row|fp8 tensor|dry run)$",
        ),
        Row("--filter-set union"),
    ),
    "--convrot": (Row("--convrot"),),
    "--convrot-group-size": (
        Row("--convrot-group-size 16", beside="--convrot", modes="^(int8 row|w4)"),
        Row("--convrot-group-size 16", beside="--scaling_mode row --convrot", modes="^blocks$"),
        Row("--convrot-group-size 16"),
    ),
    "--dynamic-convrot": (
        Row("--dynamic-convrot", beside="--convrot-group-size 4", modes="^(int8|w4|fp8|nvfp4|fp16|dry run|merge only|blocks)"),
    ),
    "--linear-dtype": (Row("--linear-dtype int8"),),
    "--custom-layers": (
        Row("--custom-layers attention", beside="--custom-type int8", fails=True),
        Row("--custom-layers nothing_of_that_name --custom-type int8", modes="^(fp8 tensor|dry run)$"),
    ),
    "--custom-type": (Row("--custom-type mxfp8", beside="--custom-layers attention", fails=True),),
    "--custom-block-size": (
        Row("--custom-block-size 32", beside=CUSTOM),
        Row("--custom-block-size 32", beside="--custom-layers attention --custom-type mxfp8", modes="^(fp8 tensor|int8 row)$"),
    ),
    "--custom-scaling-mode": (
        Row("--custom-scaling-mode row", beside=CUSTOM),
        Row("--custom-scaling-mode row", beside="--custom-layers attention --custom-type fp16", modes="^(fp8 tensor|int8 row)$"),
    ),
    "--custom-simple": (
        Row("--custom-simple", beside=CUSTOM),
        Row("--custom-simple", beside="--custom-layers attention --custom-type fp16", modes="^(fp8 tensor|int8 row)$"),
    ),
    "--custom-heur": (Row("--custom-heur", beside="--custom-layers pooler --custom-type int8"),),
    "--custom-full-precision-mm": (Row("--custom-fpmm", beside=CUSTOM),),
    "--custom-convrot": (Row("--custom-convrot", beside=f"{CUSTOM} --custom-scaling-mode row"),),
    "--custom-convrot-group-size": (
        Row("--custom-convrot-group-size 16", beside=f"{CUSTOM} --custom-scaling-mode row --custom-convrot"),
        Row("--custom-convrot-group-size 16", beside=CUSTOM, modes=ONE),
    ),
    "--fallback": (
        Row("--fallback mxfp8", beside="--exclude-layers attention"),
        Row("--fallback mxfp8", modes="^(fp8 tensor|dry run)$"),
    ),
    "--fallback-block-size": (
        Row("--fallback-block-size 32", beside=FALLBACK),
        Row("--fallback-block-size 32", beside="--exclude-layers attention --fallback fp8", modes="^int8 row$"),
    ),
    "--fallback-simple": (
        Row("--fallback-simple", beside=FALLBACK),
        Row("--fallback-simple", beside="--exclude-layers attention --fallback fp16", modes=ONE),
    ),
    "--layer-config": (Row("--layer-config M/layers.json", modes="^(?!layer config)"),),
    "--fullmatch": (Row("--fullmatch", beside="--layer-config M/layers.json"), Row("--fullmatch")),
    "--gptq-actorder": (Row("--gptq-actorder"),),
    "--gptq-fast": (Row("--no-gptq-fast"),),
    "--gptq-turbo": (Row("--gptq-turbo"),),
    "--quip-actorder": (Row("--no-quip-actorder"),),
    "--quip-hadamard": (Row("--no-quip-hadamard"),),
    "--quip-seed": (Row("--quip-seed 9"),),
    "--quip-requant-scheme": (Row("--quip-requant-scheme block"),),
    "--quip-requant-tensor-per-row": (Row("--no-quip-requant-tensor-per-row"),),
    "--quip-checkpointed": (
        Row("--quip-checkpointed"),
        Row("--quip-checkpointed", beside="--quip-checkpoint-threshold 64", modes="^quip$"),
    ),
    "--quip-checkpoint-threshold": (
        Row("--quip-checkpoint-threshold 64", beside="--quip-checkpointed", modes="^quip$"),
        Row("--quip-checkpoint-threshold 64"),
    ),
    "--quip-checkpoint-segments": (
        Row("--quip-checkpoint-segments 2", beside="--quip-checkpointed --quip-checkpoint-threshold 64", modes="^quip$"),
        Row("--quip-checkpoint-segments 2"),
    ),
    "--quip-store-transformed": (Row("--quip-store-transformed"),),
    "--streaming-mode": (Row("--streaming-mode off"),),
    "--streaming": (Row("--streaming"),),
    "--streaming-aggressive": (Row("--streaming-aggressive"),),
    "--stream-hadamard-threshold": (Row("--stream-hadamard-threshold 1"),),
    "--stream-hessian-threshold": (Row("--stream-hessian-threshold 1"),),
    "--stream-ldlq-threshold": (Row("--stream-ldlq-threshold 1"),),
    "--stream-ortho-threshold": (Row("--stream-ortho-threshold 1"),),
    "--bf16-compute": (Row("--bf16-compute on"), Row("--bf16-compute off")),
    "--bf16-threshold": (Row("--bf16-threshold 0"),),
    "--bf16-hadamard-threshold": (Row("--bf16-hadamard-threshold 0"),),
    "--bf16-hessian-threshold": (Row("--bf16-hessian-threshold 0"),),
    "--actcal": (Row("--actcal", beside=DATA, model="M/fp8.safetensors", strip="--fp8 --comfy_quant", fails=True, modes=ONE),),
    "--actcal-percentile": (Row("--actcal-percentile 50", modes="^(fp8 tensor|dry run|blocks)$"),),
    "--extract-lora": (Row("--extract-lora"),),
    "--lora-output": extraction("--lora-output y.safetensors"),
    "--lora-rank": extraction("--lora-rank 4"),
    "--lora-target": extraction("--lora-target pooler"),
    "--lora-depth": extraction("--lora-depth 0"),
    "--lora-ar-threshold": extraction("--lora-ar-threshold 1.5"),
    "--lora-dtype": extraction("--lora-dtype bf16"),
    "--objective": (Row("--objective subspace"),),
    "--direct-damping": (Row("--direct-damping 0.1"),),
    "--damping": (Row("--damping 3"), Row("--damping auto", modes="^(recorded|fp8 tensor)$")),
    "--sweeps": (Row("--sweeps 1"),),
    "--scales": (Row("--scales refit"),),
    "--full_matrix": (
        Row("--full_matrix", but="^layer config, optimizers$"),
        Row("--full_matrix", beside="--objective subspace --top_p 0.05 --min_k 4", modes="^(direct|fp8 tensor)$"),
    ),
    "--top_p": (
        Row("--top_p 0.05", beside="--min_k 2", but="^fp16$"),
        Row("--top_p 0.05", modes="^fp16$"),
        Row("--top_p 0.05", beside="--objective subspace --min_k 2", modes="^(direct|fp8 tensor)$"),
    ),
    "--min_k": (Row("--min_k 100"), Row("--min_k 100", beside="--objective subspace", modes="^(direct|fp8 tensor)$")),
    "--max_k": (
        Row("--max_k 8", beside="--min_k 2", but="^fp16$"),
        Row("--max_k 8", modes="^fp16$"),
        Row("--max_k 8", beside="--objective subspace --min_k 2", modes="^(direct|fp8 tensor)$"),
    ),
    "--num_iter": (Row("--num_iter 3"),),
    "--lr": (Row("--lr 0.5"),),
    "--use_speed": (Row("--use_speed"),),
    "--lr_schedule": (Row("--lr_schedule exponential", but="^layer config, optimizers$"),),
    "--lr_gamma": (Row("--lr_gamma 0.5", beside="--lr_schedule exponential", modes=SCHEDULES), Row("--lr_gamma 0.5")),
    "--lr_patience": (Row("--lr_patience 0", beside="--lr_schedule plateau", modes=SCHEDULES), Row("--lr_patience 0")),
    "--lr_factor": (
        Row("--lr_factor 0.3", beside="--lr_schedule plateau --lr_patience 0", modes=SCHEDULES),
        Row("--lr_factor 0.3"),
    ),
    "--lr_min": (
        Row("--lr_min 0.005", beside="--lr_schedule exponential --lr_gamma 0.3", modes=SCHEDULES),
        Row("--lr_min 0.005"),
    ),
    "--lr_cooldown": (
        Row("--lr_cooldown 0", beside="--lr_schedule plateau --lr_patience 0", modes=SCHEDULES),
        Row("--lr_cooldown 0"),
    ),
    "--lr_threshold": (Row("--lr_threshold 0.1"),),
    "--lr-threshold-mode": (
        Row("--lr-threshold-mode abs", beside="--num_iter 80 --lr_threshold 0.01 --early-stop-stall 20", modes=SCHEDULES),
        Row("--lr-threshold-mode abs"),
    ),
    "--lr_adaptive_mode": (
        Row("--lr_adaptive_mode no-reset", beside="--num_iter 200 --lr_threshold 0.02", modes="^(original|prodigy)$"),
        Row("--lr_adaptive_mode no-reset", but="^(original|prodigy|layer config, optimizers)$"),
    ),
    "--lr-shape-influence": (
        Row("--lr-shape-influence 0", beside=f"{STALLS} --lr_factor 0.5", modes=SCHEDULES),
        Row("--lr-shape-influence 0"),
    ),
    "--early-stop-loss": (Row("--early-stop-loss 0.9"),),
    "--early-stop-lr": (Row("--early-stop-lr 2"),),
    "--early-stop-stall": (
        Row("--early-stop-stall 1", beside="--lr_threshold 0.5", modes=SCHEDULES),
        Row("--early-stop-stall 1"),
    ),
    "--edit-quant": (Row("--edit-quant", modes=ELSEWHERE),),
    "--convert-fp8-scaled": (Row("--convert-fp8-scaled", modes=ELSEWHERE),),
    "--convert-int8-scaled": (Row("--convert-int8-scaled", modes=ELSEWHERE),),
    "--legacy_input_add": (Row("--legacy_input_add", modes=ELSEWHERE),),
    "--cleanup-fp8-scaled": (Row("--cleanup-fp8-scaled", modes=ELSEWHERE),),
    "--make-hybrid-mxfp8": (Row("--make-hybrid-mxfp8", modes=ELSEWHERE),),
    "--remove-keys": (Row("--remove-keys a", modes="^(fp8 tensor|dry run)$"),),
    "--add-keys": (Row("--add-keys \"'a': 1\"", modes="^(fp8 tensor|dry run)$"),),
    "--quant-filter": (Row("--quant-filter a", modes="^(fp8 tensor|dry run)$"),),
    "--hp-filter": (Row("--hp-filter a", modes="^(fp8 tensor|dry run)$"),),
    "--full-precision-mm": (Row("--full-precision-mm", modes="^(fp8 tensor|dry run)$"),),
    "--scaled-fp8-marker": (Row("--scaled-fp8-marker 2", modes="^(fp8 tensor|dry run)$"),),
    "--tensor-scales": (Row("--tensor-scales M/fp8.safetensors", modes="^(fp8 tensor|dry run)$"),),
} | {page: (Row(page, modes=ONE),) for page in PAGES}
PRESET_MODES = ("fp8 tensor", "merge only")  # of the switches of the page of filters

# Which modes the options of a group meet, by the first pattern that the group's heading matches. The rest meets all.
FEW = ("fp8 tensor", "fp16", "merge only", "dry run", "error", "blocks")
ROUNDING = (
    "simple",
    "direct",
    "gptq",
    "quip",
    "original",
    "prodigy",
    "tpec",
    "adaround",
    "fp8 tensor",
    "fp16",
    "layer config",
    "layer config, optimizers",
    "merge only",
    "dry run",
    "dry run, learned",
    "dry run, quip",
    "blocks",
)
LAYERS = (
    "fp8 tensor",
    "int8 row",
    "int8 block",
    "nvfp4",
    "w4a4",
    "fp16",
    "layer config",
    "merge only",
    "dry run",
    "template",
    "error",
    "blocks",
)
CALIBRATED = (
    "int8 row",
    "int8 block, legacy",
    "fp8 tensor",
    "fp8 legacy",
    "nvfp4",
    "mxfp8",
    "w4a8",
    "w4a4",
    "fp16",
    "rtn",
    "direct",
    "original",
    "merge only",
    "dry run",
    "error",
    "blocks",
)
WHAT = (
    "int8 block, legacy",
    "int8 block",
    "int8 row",
    "fp8 legacy",
    "fp8 tensor",
    "fp8 row",
    "nvfp4",
    "mxfp8",
    "w4a8",
    "w4a4",
    "fp16",
    "original",
    "gptq",
    "layer config",
    "merge only",
    "dry run",
    "template",
    "error",
    "suggest",
    "blocks",
)
MEETS = (
    ("^(Files|Memory|Streaming|BF16|LoRA merging|Dry run|Error-correction|What it is like)", FEW),
    ("^(GPTQ|QuIP|Optimizer|Singular|Learning-rate|Learning rate|Early)", ROUNDING),
    ("^(Custom layers|Fallback|Per-layer|Choice of filters)", LAYERS),
    ("^(Calibration and quality)", CALIBRATED),
    ("^(What to write|How to quantize|Alternative)", WHAT),
)
ALSO = {  # besides those of their group
    "--remove-ema": ("requantize", "template", "part"),
    "--max-shard-size": ("part", "nvfp4"),
    "--strict": ("merging", "layer config", "template"),
    "--partition": ("merging", "time", "max error", "extract", "template"),
    "--low-memory": ("nvfp4", "original", "merging"),
    "--extract-lora": ("merging", "part", "int8 row"),
    "--report": ("suggest", "template", "dry run, json"),
    "--json": ("suggest", "template"),
    "--formats": ("suggest",),
    "--merge-lora": ("merging", "requantize", "suggest"),
    "--dry-run": ("part", "time", "extract", "nvfp4", "max error"),
    "--output": ("template", "extract"),
    "--lora-only-to": ("part", "requantize", "extract"),
    "--quality-threshold": ("suggest",),
    "--manual_seed": ("direct", "implied", "quip", "prodigy", "tpec", "adaround", "simple"),
    "--optimizer": ("simple", "best", "time"),
    "--quality": ("simple", "direct"),
    "--simple": ("quip", "adaround", "best"),
    "--time": ("simple", "max error", "part", "adaround"),
    "--print-config": ("original",),
    "--lora-rank": ("int8 row",),
}

OUTPUT = {
    "--output": (Row("-o x.safetensors"),),
    "--no-clobber": (Row("--no-clobber", first=("x.safetensors",), strip="-o ?", beside="-o x.safetensors"),),
    "--quiet": (Row("-q"),),
    "--help": (Row("--help"),),
}
SHARED_GROUP = "As in the conversion"  # the heading in the help of a command over options that are the conversion's own

COMMANDS = {
    "calibrate": OUTPUT
    | {
        "--input": (
            Row("-i M/int8.safetensors", strip="M/encoder.safetensors M/fp8.safetensors", modes="^(?!merge|list|enough)", fails=True),
            Row("-i M/int8.safetensors", modes="^(merge|list|enough)"),
        ),
        "--no-clobber": (),
        "--json": (Row("--json"), Row("--json=s.json")),
        "--list": (Row("--list M/recorded_more.safetensors", modes="^(?!list)"),),
        "--merge": (Row("--merge M/recorded_more.safetensors", modes="^(?!merge)"),),
        "--enough": (
            Row("--enough", modes="^(?!enough)"),
            Row("--enough", strip="M/fp8.safetensors --patch", beside="M/encoder.safetensors", modes="^patch$", fails=True),
        ),
        "--patch": (Row("--patch", modes="^(?!patch|rows)"), Row("--patch", model="M/fp8.safetensors", modes="^rows$")),
        "--activations": (Row("--activations M/rows.safetensors", modes="^(?!rows|patch, rows)"),),
        "--calibration-data": (Row("--calibration-data M/recorded_more.safetensors", modes="^(?!patch$|enough)"),),
        "--allow-random-calibration": (
            Row("--allow-random-calibration", beside="--calibration-data M/random.safetensors", modes="^patch$", fails=True),
            Row("--allow-random-calibration"),
        ),
        "--percentile": (Row("--percentile 50"),),
        "--samples": (Row("--samples 8"),),
        "--lora": (Row("--lora M/lora.safetensors"),),
        "--seed": (Row("--seed 9"), Row("--seed 9", beside="--rows 10", modes="^(rows|merge)$")),
        "--rows": (Row("--rows 10"),),
        "--hessian": (Row("--hessian"),),
        "--device": (Row("--device cuda"), Row("--device cuda", beside="--hessian", modes="^rows$")),
    },
    "inspect": {
        "--help": (Row("--help"),),
        "--input": (
            Row("-i M/int8.safetensors", strip="M/fp8.safetensors M/encoder.safetensors", modes="^(plain|json)$", fails=True),
        ),
        "--filter": (Row("--filter attention"),),
        "--tensors": (Row("--no-tensors"),),
        "--layers": (Row("--layers"),),
        "--metadata": (Row("--metadata"),),
        "--summary": (Row("--no-summary"),),
        "--check": (Row("--check", model="M/broken.safetensors", modes="plain|json", exits=4), Row("--check")),
        "--json": (Row("--json", modes="^(?!json)"),),
    },
    "verify": {
        "--help": (Row("--help"),),
        "--input": (Row("-i M/int8.safetensors", strip="M/fp8.safetensors", fails=True),),
        "--original": (Row("--original M/encoder.safetensors", modes="plain"),),
        "--client": (Row("--client sd.cpp"),),
        "--values": (Row("--no-values"), Row("--no-values", model="M/nan_scale.safetensors", modes="plain", fails=True)),
        "--min-sqnr": (Row("--min-sqnr 90", exits=4),),
        "--json": (Row("--json"),),
    },
    "compare": {
        "--help": (Row("--help"),),
        "--files": (Row("M/legacy.safetensors"),),
        "--original": (Row("--original M/encoder.safetensors", strip="M/encoder.safetensors", modes="plain", fails=True),),
        "--quantized": (Row("--quantized M/legacy.safetensors"),),
        "--layers-to-compare": (Row("--layers-to-compare query"),),
        "--filter": (Row("--filter query"),),
        "--top-layers": (Row("--top-layers 1"),),
        "--output-report": (Row("--output-report r.json"),),
        "--quality-threshold": (Row("--quality-threshold 90"),),
        "--device": (Row("--device cuda"),),
        "--low-memory": (Row("--low-memory"),),
    },
    "dequantize": OUTPUT
    | {
        "--input": (Row("-i M/int8.safetensors", strip="M/fp8.safetensors M/scaled_fp8.safetensors", fails=True),),
        "--dtype": (Row("--dtype f32"),),
    },
    "edit": OUTPUT
    | {
        "--input": (Row("-i M/fp8.safetensors", strip="M/int8.safetensors", fails=True),),
        "--remove-keys": (Row("--remove-keys format"),),
        "--add-keys": (Row("--add-keys \"'a': 2\""),),
        "--quant-filter": (Row("--quant-filter query"),),
        "--save-quant-metadata": (Row("--save-quant-metadata", modes="^(?!header)"),),
        "--remove-tensors": (
            Row("--remove-tensors pooler", modes="^(?!tensors)"),
            Row("--remove-tensors nothing_of_that_name", modes="^(?!tensors)"),
        ),
    },
    "migrate": OUTPUT
    | {
        "--mode": (Row("--mode cleanup-fp8", strip="cleanup-fp8", modes="^cleanup-fp8$", fails=True),),
        "--input": (Row("-i M/legacy.safetensors", modes="^(fp8-scaled|add-input-scale|cleanup-fp8)$"),),
        "--hp-filter": (Row("--hp-filter q$"),),
        "--full-precision-mm": (
            Row("--full-precision-mm", but="^fp8-scaled$"),
            Row("--full-precision-mm", beside="-i M/legacy.safetensors", modes="^fp8-scaled$"),
        ),
        "--input_scale": (Row("--input_scale"),),
        "--save-quant-metadata": (Row("--save-quant-metadata"),),
        "--block_size": (
            Row("--block_size 32"),
            Row("--block_size 32", model="M/flat_blocks.safetensors", modes="^int8-scaled$", fails=True),
        ),
        "--scaled-fp8-marker": (Row("--scaled-fp8-marker 2"),),
        "--comfy_quant": (Row("--comfy_quant"),),
        "--scale-order": (
            Row("--scale-order rows", model="M/nvfp4_unordered.safetensors", modes="^add-markers$", fails=True),
            Row("--scale-order rows"),
        ),
        "--tensor-scales": (Row("--tensor-scales M/tensor_scales.safetensors"),),
    },
    "extract-lora": {
        "--help": (Row("--help"),),
        "--input": (Row("-i M/int8.safetensors", strip="M/encoder.safetensors", fails=True),),
        "--quantized": (Row("--quantized M/int8.safetensors"),),
        "--lora-output": (Row("-o x.safetensors"),),
        "--no-clobber": (Row("--no-clobber", first=("l.safetensors",)),),
        "--quiet": (Row("-q"),),
    }
    | {
        name: (Row(CONVERSION[name][0].words),)
        for name in ("--lora-rank", "--lora-target", "--lora-depth", "--lora-ar-threshold", "--lora-dtype")
    },
    "clip-g": OUTPUT
    | {
        "--input": (Row("-i M/clip_g_nan.safetensors", strip="M/clip_g.safetensors", fails=True, modes="^plain$"),),
        "--no-clobber": (Row("--no-clobber", first=("o.safetensors",)),),
        "--first-blocks-keep": (Row("-k 3"),),
        "--split-attn-qkv": (Row("--split-attn-qkv=q8,kv8"),),
        "--keep-attn-kv-fp16": (Row("--keep-attn-kv-fp16"),),
        "--attn-q-fp8": (Row("--attn-q-fp8"),),
        "--split-names": (Row("--split-names seed"),),
        "--attn-out-fp8": (Row("--attn-out-fp8"),),
        "--in-proj-fp8": (Row("--in-proj-fp8"),),
        "--fp8-scale": (Row("--fp8-scale tensor", modes="^(?!scaled)"),),
        "--clip": (Row("--clip keep-fp16", modes="^(?!apart)"),),
        "--strict": (Row("--strict", model="M/clip_g_nan.safetensors", modes="^(?!apart)"),),
        "--dry-run": (Row("--dry-run", modes="^(?!dry run)"),),
        "--analyze": (Row("--analyze", modes="^(?!analyze)"),),
        "--json": (Row("--json j.json"),),
        "--report": (Row("--report r.html"),),
        "--verbose": (Row("-v"),),
        "--quiet": (Row("-q"),),
    },
    "fp8": {
        "--help": (Row("--help", modes="^tpec$"),),
        "--input": (Row("-i M/flux.safetensors", strip="M/encoder.safetensors", fails=True, modes="^tpec$"),),
        "--output": (Row("-o x.safetensors"),),
        "--names": (
            Row("--names keep", model="M/diffusers_flux.safetensors", beside="--allow-empty", modes="^(tpec|rtn)$"),
            Row("--names keep"),
        ),
        "--requantize": (
            Row("--requantize"),
            Row("--requantize", model="M/int8.safetensors", fails=True, modes="^(tpec|rtn|dry run)$"),
        ),
        "--t5xxl": (Row("--t5xxl"),),
        "--keep_distillation": (
            Row("--keep_distillation", model="M/flux.safetensors", modes="^(tpec|rtn)$"),
            Row("--keep_distillation"),
        ),
        "--min_tensor_size": (Row("--min_tensor_size 20000"),),
        "--method": (Row("--method direct", modes="^(?!gptq|rtn)"),),
        "--num_iter": (Row("--num_iter 2"),),
        "--top_k": (Row("--top_k 3"),),
        "--calib_samples": (Row("--calib_samples 20"),),
        "--lr": (Row("--lr 0.5"),),
        "--optimizer": (Row("--optimizer sgd"),),
        "--reg_lambda": (Row("--reg_lambda 0.5"),),
        "--beta_start": (Row("--beta_start 40"),),
        "--beta_end": (Row("--beta_end 8"),),
        "--early_stop_threshold": (Row("--early_stop_threshold 1", beside="--num_iter 60"),),
        "--batch_size": (Row("--batch_size 7"),),
        "--use_amp": (Row("--no-use_amp"), Row("--use_amp")),
        "--parallel": (Row("--no-parallel"),),
        "--scale_format": (Row("--scale_format u8log", modes="^(?!adaround)"), Row("--scale_format f32", modes="^adaround")),
        "--use_shared_scales": (
            Row("--use_shared_scales", modes="^(?!adaround)"),
            Row("--no-use_shared_scales", modes="^adaround"),
        ),
        "--legacy": (Row("--no-legacy", modes="^(?!no-legacy)"),),
        "--verbose": (Row("-v"),),
    },
    "batch": {
        "--help": (Row("--help"),),
        "--inputs": (Row("-i M/clip_g.safetensors"),),
        "--directory": (Row("-d M/folder", modes="^(?!folder)"),),
        "--pattern": (Row("--pattern 'c*'"),),
        "--include-quantized": (Row("--include-quantized", beside="--requantize"),),
        "--output-dir": (Row("--output-dir elsewhere"),),
        "--skip-finished": (Row("--no-skip-finished", first=("out/encoder_simple_fp8_tensor.safetensors=M/fp8.safetensors",)),),
        "--recipe": (Row("--recipe comfy-fp8,comfy-mxfp8", strip="--fp8"),),
        "--jobs": (Row("--jobs 2"),),
        "--keep-going": (
            Row(
                "--no-keep-going",
                strip="M/encoder.safetensors M/clip.safetensors",
                beside="M/broken.safetensors M/encoder.safetensors",
                modes="^files$",
                fails=True,
            ),
            Row("--no-keep-going", modes="^lines$"),
        ),
        "--dry-run-batch": (Row("--dry-run-batch", modes="^(?!lines)"),),
        "--yes": (Row("-y", modes="^lines$"),),
        "--merge-lora": (
            Row("--merge-lora M/lora.safetensors", beside="--pattern 'e*'", modes="folder"),
            Row("--merge-lora M/lora.safetensors", modes="lines"),
        ),
        "--lora-mapping": (Row("--lora-mapping M/mapping.json"),),
        "--lora-dir": (Row("--lora-dir M/loras"),),
        "--merge-lora-scale": (
            Row("--merge-lora-scale 0.5", beside="--lora-mapping M/mapping.json"),
            Row("--merge-lora-scale 0.5"),
        ),
        "--expect": (Row("--expect M/expect.json"),),
        "--write-expect": (Row("--write-expect e.json"),),
    },
    "assemble": OUTPUT
    | {"--input": (Row("-i M/part.part-1-of-2.safetensors", strip="M/part.part-1-of-2.safetensors", fails=True),)},
    "completion": {"--for": (Row("--for zsh", strip="bash", fails=True),), "--help": (Row("--help"),)},
}
