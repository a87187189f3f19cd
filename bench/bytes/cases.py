"""The command lines of the list. A case is a name and steps, run one after another in a folder of the case's own.

`M/` is the folder of the models. A step may begin with the exit code that is due, `[4]`, and may end in `> file`, which keeps
its standard output. `copy FROM TO` copies a model, where the output's name is to follow from the input's; `interrupt ...`
stops a conversion as soon as it has done a layer. Everything that the folder holds in the end is hashed.
"""

FORMATS = ("float8_e4m3fn", "float8_e4m3fn_rowwise", "float8_e4m3fn_blockwise", "float8_e4m3fn_block3d", "float8_e5m2",
           "int8_tensorwise", "int8_axiswise", "int8_blockwise", "nvfp4", "mxfp8", "hybrid_mxfp8", "convrot_w4a4",
           "asym_w4a8_int8", "awq_w4a16")
OPTIMIZERS = {"rtn": "--optimizer rtn", "best": "--quality best", "direct": "--optimizer direct", "gptq": "--optimizer gptq --calibration-data M/grid_recorded.safetensors",
              "quip": "--optimizer quip --calibration-data M/grid_recorded.safetensors",
              "recorded": "--calibration-data M/grid_recorded.safetensors --quality best",
              "original": "--optimizer original --num_iter 12", "adamw": "--optimizer adamw --num_iter 12",
              "radam": "--optimizer radam --num_iter 12", "prodigy": "--optimizer prodigy --num_iter 12",
              "tpec": "--optimizer tpec --num_iter 12", "adaround": "--optimizer adaround --num_iter 12"}

BLOCKS = {form: "--block_size 32" for form in FORMATS if "block" in form}
GRID = {f"grid/{form}-{optimizer}": [f"-i M/grid.safetensors -o o.safetensors --format {form} --comfy_quant --client any {BLOCKS.get(form, '')} {options}"]
        for form in FORMATS for optimizer, options in OPTIMIZERS.items()}

FLUX = "-i M/flux.safetensors -o o.safetensors"
FAST = f"{FLUX} --quality fast"
RECORDED = "--calibration-data M/flux_recorded.safetensors"
GRID_IN = "-i M/grid.safetensors -o o.safetensors --comfy_quant --client any"
GRID_RECORDED = "--calibration-data M/grid_recorded.safetensors"

TARGETS = {
    "target/none": [FAST],
    "target/int8_tensor": [f"{FAST} --scaling_mode tensor --comfy_quant"],
    "target/int8_row": [f"{FAST} --scaling_mode row --comfy_quant --save-quant-metadata"],
    "target/int8_axis": [f"{FAST} --scaling_mode axis --comfy_quant"],
    "target/int8_block32": [f"{FAST} --block_size 32 --comfy_quant -fpmm"],
    "target/int8_block_legacy": [f"{FAST} --block_size 64 --input_scale"],
    "target/fp8_legacy": [f"{FAST} --fp8 --input_scale"],
    "target/fp8_legacy_fpmm": [f"{FAST} --fp8 -fpmm"],
    "target/fp8_rows": [f"{FAST} --fp8 --scaling_mode row"],
    "target/fp8_block": [f"{FAST} --fp8 --scaling_mode block2d --block_size 64 --comfy_quant"],
    "target/fp8_block3d": [f"{FAST} --fp8 --scaling_mode block3d --block_size 32 --comfy_quant"],
    "target/fp16": [f"{FLUX} --fp16"],
    "target/convrot": [f"{FAST} --scaling_mode row --comfy_quant --convrot --convrot-group-size 64"],
    "target/dynamic_convrot": [f"{FAST} --scaling_mode row --comfy_quant --dynamic-convrot --convrot-group-size 16"],
    "target/w4a4_groups": [f"{FAST} --format convrot_w4a4 --convrot-group-size 64"],
    "target/derived_names": ["copy M/grid.safetensors g.safetensors", "-i g.safetensors --simple", "-i g.safetensors --fp8",
                             "-i g.safetensors --nvfp4 --client any", "-i g.safetensors --scaling_mode row --comfy_quant --optimizer original --num_iter 3",
                             "[2] -i g.safetensors --fp8 --int8", "[2] -i g.safetensors -o g.safetensors"],
    "target/fallback_row": [f"-i M/bert.safetensors -o o.safetensors --simple --comfy_quant --client any"],
    "target/fallback_skip": [f"-i M/llama.safetensors -o o.safetensors --simple --comfy_quant --client any --block-fallback skip"],
    "target/fallback_error": ["[1] -i M/bert.safetensors -o o.safetensors --simple --comfy_quant --client any --block-fallback error"],
    "target/heur": ["-i M/odd.safetensors -o o.safetensors --simple --comfy_quant --client any --heur --block_size 32"],
    "target/embeddings": ["-i M/llama.safetensors -o o.safetensors --fp8 --comfy_quant --quantize-embeddings --simple"],
    "target/odd_fp8": ["-i M/odd.safetensors -o o.safetensors --fp8 --comfy_quant --client any"],
    "target/odd_int8": ["-i M/odd.safetensors -o o.safetensors --scaling_mode row --comfy_quant --client any"],
    "target/odd_nvfp4": ["-i M/odd.safetensors -o o.safetensors --nvfp4 --client any --simple"],
    "target/odd_fp16": ["-i M/odd.safetensors -o o.safetensors --fp16"],
    "target/odd_strict": ["[1] -i M/odd.safetensors -o o.safetensors --fp8 --comfy_quant --client any --strict"],
}

LAYERS = {
    "layers/recipe_fp8": [f"{FAST} --recipe comfy-fp8"],
    "layers/recipe_int8": [f"{FLUX} --recipe comfy-int8"],
    "layers/recipe_nvfp4": [f"{FLUX} --recipe comfy-nvfp4"],
    "layers/recipe_mxfp8": [f"{FAST} --recipe comfy-mxfp8"],
    "layers/recipe_w4a4": [f"{FAST} --recipe comfy-w4a4"],
    "layers/recipe_own": [f"{FAST} --recipe M/recipe.json"],
    "layers/config_file": [f"{FLUX} --config M/options.toml", "-i M/flux.safetensors --config M/options.toml --threads 2 --print-config > printed.toml"],
    "layers/preset_union": [f"{FAST} --fp8 --comfy_quant --flux2 --distillation_large --filter-set union"],
    "layers/preset_fallback": [f"{FAST} --nvfp4 --flux --fallback int8 --fallback-simple"],
    "layers/exclude": [f"{FAST} --fp8 --comfy_quant --exclude-layers _mod --fallback fp16"],
    "layers/custom": [f"{FAST} --fp8 --comfy_quant --custom-layers img_attn --custom-type int8 --custom-scaling-mode row --custom-convrot --custom-convrot-group-size 64 --custom-fpmm"],
    "layers/custom_heur": [f"{FAST} --fp8 --comfy_quant --custom-layers final_layer --custom-type int8 --custom-block-size 64 --custom-heur --client any"],
    "layers/layer_config": [f"{FAST} --comfy_quant --scaling_mode row --layer-config M/layers.json --client any"],
    "layers/fullmatch": [f"{FAST} --comfy_quant --scaling_mode row --layer-config M/layers.json --fullmatch --client any"],
    "layers/template": [f"-i M/flux.safetensors --comfy_quant --flux --dry-run create-template -o t.json",
                        f"{FAST} --comfy_quant --layer-config t.json --client any"],
    "layers/target_size": [f"{FLUX} --comfy_quant --nvfp4 --target-size 2.2MB", f"[3] {FLUX} --comfy_quant --nvfp4 --target-size 1MB"],
    "layers/max_error": [f"{FLUX} --comfy_quant --nvfp4 --max-error 0.08"],
    "layers/max_error_recorded": [f"{FLUX} --format convrot_w4a4 --max-error 0.05 {RECORDED}"],
    "layers/t5xxl": ["-i M/t5.safetensors -o o.safetensors --recipe comfy-fp8 --t5xxl"],
    "target/convolutions": ["-i M/sd15.safetensors -o o.safetensors --fp8 --comfy_quant --quantize-conv --simple"],
    "layers/sd15": ["-i M/sd15.safetensors -o o.safetensors --recipe comfy-fp8 --remove-ema"],
    "layers/sd15_int8": ["-i M/sd15.safetensors -o o.safetensors --recipe comfy-int8"],
    "layers/nothing": ["[1] -i M/clip.safetensors -o o.safetensors --fp8 --comfy_quant", "-i M/clip.safetensors -o o.safetensors --fp8 --comfy_quant --allow-empty"],
    "layers/client_custom": [f"{FAST} --format int8_blockwise --block_size 64 --client custom --comfy_quant"],
    "layers/client_old": ["-i M/llama.safetensors -o o.safetensors --simple --fp8 --client comfyui@0.9 --comfy_quant --quantize-embeddings", f"[2] {FAST} --format int8_tensorwise --client comfyui@0.26 --comfy_quant"],
    "layers/client_sdcpp": [f"{FAST} --int8 --scaling_mode row --comfy_quant --client sd.cpp"],
    "layers/client_forge": [f"{FAST} --int8 --scaling_mode row --comfy_quant --client forge --convrot"],
    "layers/client_diffusers": ["-i M/flux_diffusers -o o.safetensors --fp8 --scaling_mode row --client diffusers --comfy_quant --simple"],
}

OPTIMIZING = {
    "optimize/auto_flux": [f"{FLUX} --fp8 --comfy_quant"],
    "optimize/auto_llama": ["-i M/llama.safetensors -o o.safetensors --scaling_mode row --comfy_quant"],
    "optimize/auto_t5": ["-i M/t5.safetensors -o o.safetensors --fp8 --comfy_quant"],
    "optimize/auto_sd15": ["-i M/sd15.safetensors -o o.safetensors --fp8 --comfy_quant"],
    "optimize/implied_bert": ["-i M/bert.safetensors -o o.safetensors --fp8 --comfy_quant --client any --optimizer implied --sweeps 2"],
    "optimize/implied_clip": ["-i M/clip.safetensors -o o.safetensors --scaling_mode row --comfy_quant --client any --optimizer implied"],
    "optimize/implied_clip_g": ["-i M/clip_g.safetensors -o o.safetensors --mxfp8 --client any --optimizer implied"],
    "optimize/best_bert": ["-i M/bert.safetensors -o o.safetensors --fp8 --comfy_quant --client any --quality best"],
    "optimize/best_llama": ["-i M/llama.safetensors -o o.safetensors --scaling_mode row --convrot --comfy_quant --quality best"],
    "optimize/recorded_fp8": [f"{FLUX} --fp8 --comfy_quant {RECORDED} --static-activations"],
    "optimize/recorded_int8": [f"{FLUX} --scaling_mode row --comfy_quant --convrot {RECORDED} --bias-correction off"],
    "optimize/recorded_nvfp4": [f"{FLUX} --nvfp4 {RECORDED} --static-activations --bias-correction on"],
    "optimize/recorded_rtn": [f"{FLUX} --fp8 --comfy_quant --optimizer rtn {RECORDED}"],
    "optimize/bias_norm": ["-i M/bert.safetensors -o o.safetensors --fp8 --comfy_quant --client any --bias-correction norm"],
    "optimize/gptq_order": [f"{GRID_IN} --fp8 --optimizer gptq --gptq-actorder {GRID_RECORDED}"],
    "optimize/gptq_slow": [f"{GRID_IN} --fp8 --optimizer gptq --no-gptq-fast --sweeps 1 {GRID_RECORDED}"],
    "optimize/quip_dense": [f"{GRID_IN} --optimizer quip --no-quip-hadamard --quip-seed 7 --quip-requant-scheme block --block_size 32 {GRID_RECORDED}"],
    "optimize/quip_stored": [f"{GRID_IN} --optimizer quip --quip-store-transformed {GRID_RECORDED}"],
    "optimize/quip_segments": [f"{GRID_IN} --optimizer quip --quip-checkpointed --quip-checkpoint-threshold 128 --no-quip-actorder {GRID_RECORDED}"],
    "optimize/direct_subspace": [f"{GRID_IN} --fp8 --optimizer direct --objective subspace --direct-damping 1 --min_k 8 --max_k 32"],
    "optimize/direct_full_svd": [f"{GRID_IN} --fp8 --optimizer direct --objective subspace --full_matrix --top_p 0.1 --min_k 4"],
    "optimize/scales_search": [f"{GRID_IN} --fp8 --optimizer rtn --scales search"],
    "optimize/scales_refit": [f"{GRID_IN} --scaling_mode tensor --scales refit"],
    "optimize/scales_absmax": [f"{GRID_IN} --nvfp4 --scales absmax"],
    "optimize/plateau": [f"{GRID_IN} --fp8 --optimizer adamw --num_iter 40 --lr 0.05 --lr_schedule plateau --lr_patience 2 --lr-shape-influence 0.5"],
    "optimize/exponential": [f"{GRID_IN} --fp8 --optimizer radam --num_iter 40 --lr_schedule exponential --lr_gamma 0.9 --lr_min 1e-4"],
    "optimize/no_reset": [f"{GRID_IN} --fp8 --optimizer original --num_iter 40 --lr_adaptive_mode no-reset --full_matrix"],
    "optimize/use_speed": [f"{GRID_IN} --fp8 --optimizer prodigy --num_iter 30 --use_speed --lr_schedule adaptive-cosine"],
    "optimize/early_stop": [f"{GRID_IN} --fp8 --optimizer original --num_iter 60 --early-stop-stall 3"],
    "optimize/profile_seed": [f"{GRID_IN} --profile seed --num_iter 20"],
    "optimize/profile_peer": [f"{GRID_IN} --profile peer --num_iter 20"],
    "optimize/seed": [f"{GRID_IN} --fp8 --optimizer original --num_iter 12 --manual_seed 9"],
    "optimize/calibration_lora": [f"{FLUX} --fp8 --comfy_quant --calibration-lora M/lora_kohya.safetensors"],
    "optimize/smoothquant": ["-i M/clip.safetensors -o o.safetensors --scaling_mode row --comfy_quant --client any --calibration-data M/clip_recorded.safetensors --smoothquant"],
    "optimize/smoothquant_modulated": [f"{FLUX} --int8 --scaling_mode row --comfy_quant --flux --calibration-data M/flux_recorded.safetensors --smoothquant"],
    "optimize/smoothquant_alpha": ["-i M/clip.safetensors -o o.safetensors --scaling_mode row --comfy_quant --client any --calibration-data M/clip_recorded.safetensors --smoothquant --smoothquant-alpha 0.8 --simple --exclude-layers k_proj"],
    "optimize/input_scales": [f"{FAST} --fp8 --comfy_quant --input-scales M/flux_scales.json"],
    "optimize/low_memory": [f"{FLUX} --fp8 --comfy_quant --low-memory"],
    # How a layer is cut follows from the number of threads too.
    "optimize/some_rows": ["-i M/wide.safetensors -o o.safetensors --scaling_mode row --comfy_quant --client any --max-memory 150MiB --threads 1"],
    "optimize/segments": ["-i M/wide.safetensors -o o.safetensors --scaling_mode row --comfy_quant --client any --max-memory 136MiB --threads 3"],
}

FILES = {
    "files/shards_in": ["-i M/flux_shards -o o.safetensors --fp8 --comfy_quant --simple"],
    "files/shard_of_several": ["-i M/flux_shards/flux-00002-of-00003.safetensors -o o.safetensors --fp8 --comfy_quant --simple"],
    "files/shards_out": [f"{FAST} --fp8 --comfy_quant --max-shard-size 1MB"],
    "files/diffusers": ["-i M/flux_diffusers -o o.safetensors --fp8 --comfy_quant"],
    "files/names_keep": ["-i M/flux_diffusers -o o.safetensors --fp8 --comfy_quant --names keep --client any --simple"],
    "files/partition": [f"{FLUX} --fp8 --comfy_quant --partition {i}/3" for i in (1, 2, 3)] +
                       ["assemble o.part-1-of-3.safetensors o.part-3-of-3.safetensors o.part-2-of-3.safetensors -o o.safetensors",
                        "[4] assemble o.part-1-of-3.safetensors o.part-2-of-3.safetensors -o x.safetensors"],
    "files/interrupted": [f"interrupt {FLUX} --fp8 --comfy_quant --optimizer original --num_iter 60 --threads 1",
                          f"{FLUX} --fp8 --comfy_quant --optimizer original --num_iter 60 --threads 1"],
    "files/not_interrupted": [f"{FLUX} --fp8 --comfy_quant --optimizer original --num_iter 60 --threads 1 --no-resume"],
    "files/no_clobber": [f"{FAST} --fp8", f"[1] {FAST} --fp8 --no-clobber"],
    "files/requantize_int8": ["[4] -i M/comfy_int8.safetensors -o o.safetensors --fp8 --comfy_quant",
                              "-i M/comfy_int8.safetensors -o o.safetensors --fp8 --comfy_quant --requantize --client any"],
    "files/requantize_foreign": ["-i M/foreign.safetensors -o o.safetensors --scaling_mode row --comfy_quant --requantize --client any --simple"],
    "files/requantize_scaled": ["-i M/scaled_fp8.safetensors -o r.safetensors --nvfp4 --requantize --client any",  # a scale per row, which ComfyUI lacks
                                "migrate fp8-scaled -i M/scaled_fp8.safetensors -o m.safetensors",
                                "-i m.safetensors -o o.safetensors --nvfp4 --requantize --client any --exclude-layers up"],
    "files/requantize_log_scales": ["-i M/log_scales.safetensors -o o.safetensors --mxfp8 --requantize --client any --simple"],
    "files/bad_input": ["[4] -i M/broken.safetensors -o o.safetensors", "[4] -i missing.safetensors -o o.safetensors"],
    "files/batch": ["copy M/grid.safetensors in/a.safetensors", "copy M/bert.safetensors in/b.safetensors",
                    "batch -d in --recipes comfy-fp8,comfy-int8 --output-dir out --client any --quality fast -y"],
    "files/batch_expect": ["copy M/grid.safetensors in/a.safetensors", "copy M/broken.safetensors in/b.safetensors",
                           "[4] batch -d in --fp8 --comfy_quant --client any --output-dir out --simple -y --write-expect e.json",
                           "batch -d in --fp8 --comfy_quant --client any --output-dir out --simple -y --expect e.json"],
    "files/batch_lora": ["copy M/flux.safetensors flux.safetensors",
                         "batch flux.safetensors --merge-lora M/lora_kohya.safetensors --fp8 --comfy_quant --simple -y"],
}

LORAS = {
    "lora/kohya": [f"{FAST} --fp8 --comfy_quant --merge-lora M/lora_kohya.safetensors --merge-lora-scale 0.7"],
    "lora/diffusers": [f"{FAST} --fp8 --comfy_quant --merge-lora M/lora_diffusers.safetensors"],
    "lora/lycoris": [f"{FAST} --fp8 --comfy_quant --merge-lora M/lora_lycoris.safetensors"],
    "lora/several": [f"{FLUX} --recipe comfy-int8 --merge-loras M/lora_kohya.safetensors M/lora_diffusers.safetensors --merge-lora-scale 0.8,0.5"],
    "lora/no_dampen": [f"-i M/flux.safetensors -o o.safetensors --fp16 --merge-loras M/lora_kohya.safetensors M/lora_lycoris.safetensors --no-merge-lora-dampen"],
    "lora/map": [f"{FAST} --fp8 --merge-lora M/lora_kohya.safetensors --lora-map M/lora_map.json"],
    "lora/only": ["-i M/flux.safetensors --merge-lora M/lora_kohya.safetensors --lora-only-to o.safetensors"],
    "lora/renamed": ["-i M/flux_diffusers -o o.safetensors --fp8 --comfy_quant --simple --merge-lora M/lora_small.safetensors"],
    "lora/wrong_model": [f"[4] {FAST} --fp8 --merge-lora M/lora_small.safetensors"],
    "lora/extracted_with": [f"{FAST} --fp8 --comfy_quant --extract-lora --lora-rank 8 --lora-dtype bf16"],
    "lora/extracted": [f"{FAST} --nvfp4", "extract-lora M/flux.safetensors --quantized o.safetensors -o l.safetensors --lora-rank 4 --lora-depth 2 --lora-target final_layer"],
    "lora/extracted_after_merge": [f"[2] {FAST} --fp8 --comfy_quant --merge-lora M/lora_diffusers.safetensors --extract-lora",
                                   "-i M/flux.safetensors --merge-lora M/lora_diffusers.safetensors --lora-only-to m.safetensors",
                                   "-i m.safetensors -o o.safetensors --simple --fp8 --comfy_quant --extract-lora --lora-rank 4 --lora-output l.safetensors"],
}

CALIBRATE = {
    "calibrate/random": ["calibrate M/grid.safetensors -o c.safetensors --samples 16 --seed 3"],
    "calibrate/activations": ["calibrate M/grid.safetensors -o c.safetensors --activations M/grid_rows.safetensors --json=s.json"],
    "calibrate/lora": ["calibrate M/flux.safetensors -o c.safetensors --lora M/lora_kohya.safetensors"],
    "calibrate/json": ["calibrate M/grid.safetensors -o c.json --activations M/grid_rows.safetensors --percentile 100"],
    "calibrate/merge": ["calibrate --merge M/grid_recorded.safetensors M/grid_recorded_more.safetensors -o c.safetensors --rows 100"],
    "calibrate/hessian": ["calibrate --merge M/grid_recorded.safetensors M/grid_recorded_more.safetensors -o c.safetensors --hessian"],
    "calibrate/list": ["calibrate --list M/flux_recorded.safetensors > list.txt", "calibrate --list M/flux_recorded.safetensors --json > list.json"],
    "calibrate/patch": [f"{GRID_IN} --fp8 --simple --save-quant-metadata", "calibrate o.safetensors --patch --calibration-data M/grid_recorded.safetensors",
                        "calibrate o.safetensors --patch --activations M/grid_rows.safetensors -o a.safetensors --percentile 99"],
    "calibrate/json_data": [f"{GRID_IN} --fp8 --simple --calibration-data M/grid_recorded.json --static-activations"],
}

CLIP_G = {
    "clip_g/plain": ["clip-g M/clip_g.safetensors -o o.safetensors --json o.json"],
    "clip_g/split_auto": ["clip-g M/clip_g.safetensors -o o.safetensors -k 2 --split-attn-qkv"],
    "clip_g/split_all": ["clip-g M/clip_g.safetensors -o o.safetensors -k 0-1,4 --split-attn-qkv q8,kv8 --attn-out-fp8 --split-names seed"],
    "clip_g/q8": ["clip-g M/clip_g.safetensors -o o.safetensors -k 0 --split-attn-qkv q8,kv16 --clip keep-fp16"],
    "clip_g/in_proj": ["clip-g M/clip_g.safetensors -o o.safetensors -k 3 --in-proj-fp8", "[2] clip-g M/clip_g.safetensors -o x.safetensors --in-proj-fp8 --fp8-scale tensor"],
    "clip_g/apart": ["clip-g M/clip.safetensors -o o.safetensors -k 0 --in-proj-fp8 --attn-out-fp8 --fp8-scale tensor"],
    "clip_g/nan": ["clip-g M/clip_g_nan.safetensors -o o.safetensors -k 2", "[1] clip-g M/clip_g_nan.safetensors -o x.safetensors --strict"],
    "clip_g/analyze": ["clip-g M/clip_g.safetensors --analyze --json a.json > a.txt"],
}

FP8 = {
    "fp8/tpec": ["copy M/grid.safetensors g.safetensors", "fp8 g.safetensors --num_iter 20 --top_k 3"],
    "fp8/adaround": ["copy M/grid.safetensors g.safetensors", "fp8 g.safetensors --method adaround --num_iter 15 --calib_samples 32"],
    "fp8/t5": ["fp8 M/t5.safetensors -o o.safetensors --t5xxl --num_iter 8"],
    "fp8/distillation": ["copy M/flux.safetensors f.safetensors", "fp8 f.safetensors --method tpec --keep_distillation --num_iter 3 --min_tensor_size 20000"],
    "fp8/comfy": ["fp8 M/grid.safetensors -o o.safetensors --no-legacy --use_shared_scales --num_iter 10"],
    "fp8/u8log": ["fp8 M/grid.safetensors -o o.safetensors --scale_format u8log --num_iter 10"],
    "fp8/gptq": [f"fp8 M/grid.safetensors -o o.safetensors --method gptq {GRID_RECORDED}"],
    "fp8/adaround_recorded": [f"fp8 M/grid.safetensors -o o.safetensors --method adaround --num_iter 15 --optimizer sgd --no-use_shared_scales --scale_format f32 --no-parallel {GRID_RECORDED}"],
} | {f"fp8/adaround_{optimizer}": [f"fp8 M/grid.safetensors -o o.safetensors --method adaround --num_iter 8 --optimizer {optimizer}"]
     for optimizer in ("adagrad", "rmsprop", "adam")}

REWRITE = {
    "rewrite/fp8_scaled": ["migrate fp8-scaled -i M/scaled_fp8.safetensors -o o.safetensors --save-quant-metadata --input_scale", "migrate fp8-scaled -i M/scaled_fp8.safetensors -o p.safetensors --full-precision-mm",
                           "[1] migrate fp8-scaled -i M/scaled_fp8.safetensors -o q.safetensors --hp-filter blk"],
    "rewrite/int8_scaled": ["migrate int8-scaled -i M/unmarked_int8.safetensors -o o.safetensors --block_size 32"],
    "rewrite/add_input_scale": ["copy M/scaled_fp8.safetensors s.safetensors", "migrate add-input-scale -i s.safetensors"],
    "rewrite/cleanup_fp8": ["migrate cleanup-fp8 -i M/scaled_fp8.safetensors -o o.safetensors --scaled-fp8-marker 2 --input_scale"],
    "rewrite/hybrid_mxfp8": ["migrate hybrid-mxfp8 -i M/mxfp8.safetensors -o o.safetensors"],
    "rewrite/u8log": ["migrate u8log -i M/log_scales.safetensors -o o.safetensors", "migrate u8log -i M/log_scales.safetensors -o c.safetensors --comfy_quant"],
    "rewrite/comfy_to_legacy": [f"{FAST} --fp8 --comfy_quant", "migrate comfy-to-legacy -i o.safetensors -o l.safetensors"],
    "rewrite/add_markers": ["migrate add-markers -i M/foreign.safetensors -o o.safetensors --save-quant-metadata"],
    "rewrite/wrong_kind": ["[4] migrate u8log -i M/flux.safetensors -o o.safetensors", "[4] migrate comfy-to-legacy -i M/comfy_int8.safetensors -o o.safetensors"],
    "rewrite/old_switch": ["--convert-fp8-scaled -i M/scaled_fp8.safetensors -o o.safetensors"],
    "rewrite/edit": ["edit M/comfy_int8.safetensors -o o.safetensors --add-keys \"'note': 'a, b', 'list': [1, 2]\" --quant-filter up --remove-keys nothing",
                     "edit M/comfy_int8.safetensors -o m.safetensors --save-quant-metadata --remove-tensors norm"],
    "rewrite/dequantize": [f"dequantize M/{name}.safetensors -o {name}.safetensors --dtype {dtype}" for name, dtype in (
        ("comfy_int8", "bf16"), ("scaled_fp8", "f32"), ("unmarked_int8", "f16"), ("log_scales", "f32"), ("mxfp8", "bf16"),
        ("foreign", "f32"), ("gptq", "f32"), ("nf4", "bf16"))],
} | {f"rewrite/dequantize_{form}": [f"-i M/grid.safetensors -o q.safetensors --format {form} --comfy_quant --client any --simple",
                                    "dequantize q.safetensors -o d.safetensors --dtype f32"] for form in FORMATS}

WORDS = {
    "words/dry_run": ["-i M/flux.safetensors --recipe comfy-nvfp4 --dry-run > plan.txt", "-i M/flux.safetensors --recipe comfy-int8 --dry-run --json > plan.json",
                      "-i M/sd15.safetensors --fp8 --comfy_quant --dry-run > sd15.txt", "-i M/odd.safetensors --dry-run > odd.txt",
                      "analyze M/flux_diffusers --fp8 --comfy_quant --merge-lora M/lora_small.safetensors > renamed.txt",
                      "-i M/flux.safetensors --fp8 --dry-run --report report.json --report report.csv"],
    "words/analyze": ["analyze M/flux.safetensors --error --formats fp8,nvfp4,int8_tensorwise --json > error.json",
                      "analyze M/flux.safetensors --error --formats mxfp8,convrot_w4a4 > error.txt",
                      "analyze M/flux.safetensors --nvfp4 --suggest --quality-threshold 25 > suggest.json",
                      "analyze M/clip_g.safetensors --blocks > blocks.txt", "analyze M/flux.safetensors --fp8 --template=t.json"],
    "words/inspect": [f"inspect M/{name}.safetensors --json --layers --metadata --check > {name}.json" for name in ("flux", "comfy_int8", "foreign", "nf4")] +
                     ["inspect M/scaled_fp8.safetensors --layers > scaled.txt", "inspect M/flux_shards --no-tensors > shards.txt", "[4] inspect M/broken.safetensors"],
    "words/verify": ["verify M/comfy_int8.safetensors > a.txt", "[4] verify M/log_scales.safetensors > b.txt", "[4] verify M/unmarked_int8.safetensors --json > c.json",
                     "[4] verify M/nf4.safetensors > d.txt", "verify M/unmarked_int8.safetensors --client any --json > e.json"],
    "words/verify_original": [f"{FAST} --recipe comfy-fp8", "verify o.safetensors --original M/flux.safetensors --json > v.json",
                              "verify o.safetensors --client sd.cpp > s.txt", "[4] verify o.safetensors --original M/llama.safetensors > l.txt"],
    "words/compare": [f"{FAST} --recipe comfy-int8", "compare M/flux.safetensors o.safetensors --output-report r.json > c.txt", "[3] compare M/flux.safetensors o.safetensors --quality-threshold 90 --layers-to-compare qkv > d.txt"],
    "words/quality": [f"{GRID_IN} --fp8 --simple --quality-json q.json", f"[3] {GRID_IN} --fp8 --simple --quality-threshold 60 --quality-threshold-fail"],
    "words/lists": ["--list-formats > formats.txt", "--list-filters > filters.txt"],
    "words/usage": ["[2] -i M/flux.safetensors --no-such-option", "[2] --fp8", "[2] migrate nothing -i M/flux.safetensors", "[2] -i M/flux.safetensors --block_size 0",
                    "[2] -i M/flux.safetensors -o o.safetensors --smoothquant --fp8"],
}

CASES = GRID | TARGETS | LAYERS | OPTIMIZING | FILES | LORAS | CALIBRATE | CLIP_G | FP8 | REWRITE | WORDS
