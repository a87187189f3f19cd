"""The small models of the list, by file name. `make_all(folder)` writes them; every tensor is seeded by its name."""
import json
import math
import random
from pathlib import Path

from safetensors_writer import (NORMAL, Tensor, around_one, encode, floats, normal, of_bytes, text, write, write_shards)

E4M3_CODES = [c for c in range(256) if c & 0x7F != 0x7F]  # all but the two NaN
WIDTH = 256                                               # of the Flux


def linear(tensors: dict, name: str, rows: int, columns: int, dtype: str = "BF16", bias: bool = True, **options) -> None:
    tensors[f"{name}.weight"] = normal(f"{name}.weight", [rows, columns], dtype, **options)
    if bias:
        tensors[f"{name}.bias"] = normal(f"{name}.bias", [rows], dtype, deviation=0.1)


def norm(tensors: dict, name: str, width: int, dtype: str = "BF16", bias: bool = True) -> None:
    tensors[f"{name}.weight"] = around_one(f"{name}.weight", width, dtype)
    if bias:
        tensors[f"{name}.bias"] = normal(f"{name}.bias", [width], dtype, deviation=0.1)


def flux() -> dict[str, Tensor]:
    tensors = {}
    linear(tensors, "img_in", WIDTH, 64)
    for entry, columns in (("time_in", 256), ("vector_in", 128), ("guidance_in", 256)):
        linear(tensors, f"{entry}.in_layer", WIDTH, columns)
        linear(tensors, f"{entry}.out_layer", WIDTH, WIDTH)
    linear(tensors, "txt_in", WIDTH, 128)
    for stream in ("img", "txt"):
        block = f"double_blocks.0.{stream}"
        linear(tensors, f"{block}_mod.lin", 6 * WIDTH, WIDTH)
        linear(tensors, f"{block}_attn.qkv", 3 * WIDTH, WIDTH, outlier_columns=3)
        for part in ("query", "key"):
            tensors[f"{block}_attn.norm.{part}_norm.scale"] = around_one(f"{block}_attn.norm.{part}_norm.scale", 64)
        linear(tensors, f"{block}_attn.proj", WIDTH, WIDTH)
        linear(tensors, f"{block}_mlp.0", 2 * WIDTH, WIDTH)
        linear(tensors, f"{block}_mlp.2", WIDTH, 2 * WIDTH, outlier_columns=2)
    linear(tensors, "single_blocks.0.modulation.lin", 3 * WIDTH, WIDTH)
    linear(tensors, "single_blocks.0.linear1", 5 * WIDTH, WIDTH)
    linear(tensors, "single_blocks.0.linear2", WIDTH, 3 * WIDTH)
    for part in ("query", "key"):
        tensors[f"single_blocks.0.norm.{part}_norm.scale"] = around_one(f"single_blocks.0.norm.{part}_norm.scale", 64)
    linear(tensors, "final_layer.linear", 64, WIDTH)
    linear(tensors, "final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH)
    return tensors


def diffusers_flux() -> dict[str, Tensor]:
    """A Flux of width 64 under the names of the diffusers library."""
    width, tensors = 64, {}
    linear(tensors, "x_embedder", width, width)
    linear(tensors, "context_embedder", width, 96)
    for part, columns in (("timestep", 256), ("guidance", 256), ("text", 96)):
        linear(tensors, f"time_text_embed.{part}_embedder.linear_1", width, columns)
        linear(tensors, f"time_text_embed.{part}_embedder.linear_2", width, width)
    block = "transformer_blocks.0."
    for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
        linear(tensors, f"{block}attn.{name}", width, width)
    for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        norm(tensors, f"{block}attn.{name}", 16, bias=False)
    for name in ("ff", "ff_context"):
        linear(tensors, f"{block}{name}.net.0.proj", 4 * width, width)
        linear(tensors, f"{block}{name}.net.2", width, 4 * width)
    for name in ("norm1", "norm1_context"):
        linear(tensors, f"{block}{name}.linear", 6 * width, width)
    block = "single_transformer_blocks.0."
    for name in ("to_q", "to_k", "to_v"):
        linear(tensors, f"{block}attn.{name}", width, width)
    for name in ("norm_q", "norm_k"):
        norm(tensors, f"{block}attn.{name}", 16, bias=False)
    linear(tensors, f"{block}proj_mlp", 4 * width, width)
    linear(tensors, f"{block}proj_out", width, 5 * width)
    linear(tensors, f"{block}norm.linear", 3 * width, width)
    linear(tensors, "proj_out", width, width)
    linear(tensors, "norm_out.linear", 2 * width, width)
    return tensors


def t5() -> dict[str, Tensor]:
    """Float32, the first and the last of 24 blocks, and a decoder that `--t5xxl` drops."""
    width, tensors = 128, {}
    tensors["shared.weight"] = normal("shared.weight", [160, width], "F32")
    for block in (0, 23):
        prefix = f"encoder.block.{block}."
        for name in "qkvo":
            linear(tensors, f"{prefix}layer.0.SelfAttention.{name}", width, width, "F32", bias=False)
        norm(tensors, f"{prefix}layer.0.layer_norm", width, "F32", bias=False)
        for name in ("wi_0", "wi_1"):
            linear(tensors, f"{prefix}layer.1.DenseReluDense.{name}", 2 * width, width, "F32", bias=False)
        linear(tensors, f"{prefix}layer.1.DenseReluDense.wo", width, 2 * width, "F32", bias=False)
        norm(tensors, f"{prefix}layer.1.layer_norm", width, "F32", bias=False)
    tensors["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = normal("bias table", [32, 8], "F32")
    norm(tensors, "encoder.final_layer_norm", width, "F32", bias=False)
    linear(tensors, "decoder.block.0.layer.0.SelfAttention.q", width, width, "F32", bias=False)
    linear(tensors, "lm_head", 160, width, "F32", bias=False)
    return tensors


def llama() -> dict[str, Tensor]:
    """Float16, values that heads share."""
    width, tensors = 256, {"model.embed_tokens.weight": normal("model.embed_tokens.weight", [192, 256], "F16")}
    for block in range(2):
        prefix = f"model.layers.{block}."
        linear(tensors, f"{prefix}self_attn.q_proj", width, width, "F16", bias=False)
        for name in ("k_proj", "v_proj"):
            linear(tensors, f"{prefix}self_attn.{name}", 64, width, "F16", bias=False)
        linear(tensors, f"{prefix}self_attn.o_proj", width, width, "F16", bias=False)
        for name in ("gate_proj", "up_proj"):
            linear(tensors, f"{prefix}mlp.{name}", 320, width, "F16", bias=False)
        linear(tensors, f"{prefix}mlp.down_proj", width, 320, "F16", bias=False)
        for name in ("input_layernorm", "post_attention_layernorm"):
            norm(tensors, f"{prefix}{name}", width, "F16", bias=False)
    norm(tensors, "model.norm", width, "F16", bias=False)
    return tensors


def bert() -> dict[str, Tensor]:
    """MiniLM's names; its width is no multiple of a block."""
    width, tensors = 192, {"embeddings.word_embeddings.weight": normal("embeddings.word_embeddings.weight", [128, 192])}
    norm(tensors, "embeddings.LayerNorm", width)
    for block in range(2):
        prefix = f"encoder.layer.{block}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear(tensors, prefix + name, width, width, outlier_columns=2)
        norm(tensors, f"{prefix}attention.output.LayerNorm", width)
        linear(tensors, f"{prefix}intermediate.dense", 2 * width, width)
        linear(tensors, f"{prefix}output.dense", width, 2 * width)
        norm(tensors, f"{prefix}output.LayerNorm", width)
    return tensors


def clip(prefix: str = "text_model.", width: int = 64) -> dict[str, Tensor]:
    tensors = {f"{prefix}embeddings.token_embedding.weight": normal("token_embedding", [96, width]),
               f"{prefix}embeddings.position_embedding.weight": normal("position_embedding", [77, width])}
    for block in range(2):
        layer = f"{prefix}encoder.layers.{block}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(tensors, f"{layer}self_attn.{name}", width, width)
        linear(tensors, f"{layer}mlp.fc1", 2 * width, width)
        linear(tensors, f"{layer}mlp.fc2", width, 2 * width)
        norm(tensors, f"{layer}layer_norm1", width)
        norm(tensors, f"{layer}layer_norm2", width)
    norm(tensors, f"{prefix}final_layer_norm", width)
    return tensors


def clip_g() -> dict[str, Tensor]:
    """Float16, OpenCLIP's names, ten blocks: values beyond 448 in one weight, a NaN in another, one too small for FP8."""
    width, tensors = 32, {"token_embedding.weight": normal("clip g tokens", [64, 32], "F16"),
                          "positional_embedding": normal("clip g positions", [77, 32], "F16"),
                          "text_projection": normal("clip g projection", [32, 32], "F16"),
                          "logit_scale": floats([4.6], [])}
    for block in range(10):
        prefix = f"transformer.resblocks.{block}."
        tensors[f"{prefix}attn.in_proj_weight"] = normal(f"{prefix}attn.in_proj_weight", [3 * width, width], "F16", 0.04)
        tensors[f"{prefix}attn.in_proj_bias"] = normal(f"{prefix}attn.in_proj_bias", [3 * width], "F16")
        linear(tensors, f"{prefix}attn.out_proj", width, width, "F16", deviation=0.005 if block == 8 else 0.02)
        linear(tensors, f"{prefix}mlp.c_fc", 4 * width, width, "F16", deviation=300.0 if block == 8 else 0.04)
        linear(tensors, f"{prefix}mlp.c_proj", width, 4 * width, "F16", deviation=1e-5 if block == 7 else 0.04)
        norm(tensors, f"{prefix}ln_1", width, "F16")
        norm(tensors, f"{prefix}ln_2", width, "F16")
    norm(tensors, "ln_final", width, "F16")
    return tensors


def with_first_value(tensor: Tensor, value: float) -> Tensor:
    first = encode([value], tensor.dtype)
    return Tensor(tensor.dtype, tensor.shape, first + tensor.data[len(first):])


def sd15() -> dict[str, Tensor]:
    """A whole checkpoint: UNet, CLIP, VAE, and averages of the training."""
    width, tensors, unet = 64, {}, "model.diffusion_model."
    linear(tensors, f"{unet}time_embed.0", 4 * width, width, "F16")
    linear(tensors, f"{unet}time_embed.2", 4 * width, 4 * width, "F16")
    tensors[f"{unet}input_blocks.0.0.weight"] = normal("conv in", [width, 4, 3, 3], "F16")
    for place in ("input_blocks.1", "output_blocks.0"):
        linear(tensors, f"{unet}{place}.0.emb_layers.1", width, 4 * width, "F16")
        tensors[f"{unet}{place}.0.in_layers.2.weight"] = normal(place, [width, width, 3, 3], "F16")
        tensors[f"{unet}{place}.1.proj_in.weight"] = normal(f"{place} in", [width, width, 1, 1], "F16")
        block = f"{unet}{place}.1.transformer_blocks.0."
        for name, columns in (("attn1", width), ("attn2", 96)):
            for part, size in (("to_q", width), ("to_k", columns), ("to_v", columns)):
                linear(tensors, f"{block}{name}.{part}", width, size, "F16", bias=False)
            linear(tensors, f"{block}{name}.to_out.0", width, width, "F16")
        linear(tensors, f"{block}ff.net.0.proj", 8 * width, width, "F16")
        linear(tensors, f"{block}ff.net.2", width, 4 * width, "F16")
        for name in ("norm1", "norm2", "norm3"):
            norm(tensors, block + name, width, "F16")
    tensors.update(clip("cond_stage_model.transformer.text_model.", 96))
    for side in ("encoder", "decoder"):
        tensors[f"first_stage_model.{side}.conv_in.weight"] = normal(f"{side} conv", [32, 4, 3, 3], "F32")
        linear(tensors, f"first_stage_model.{side}.mid.attn_1.proj_out", 32, 32, "F32")
    tensors["model_ema.decay"] = floats([0.999], [])
    tensors["model_ema.diffusion_modeltime_embed0weight"] = normal("average", [4 * width, width], "F32")
    return tensors


def odd() -> dict[str, Tensor]:
    """What a checkpoint should not hold, and sizes that nothing divides."""
    tensors = {}
    for rows, columns in ((1, 64), (64, 1), (130, 66), (96, 160), (33, 257)):
        linear(tensors, f"blocks.0.size_{rows}x{columns}", rows, columns)
    tensors["blocks.1.nan.weight"] = with_first_value(normal("nan", [64, 64]), math.nan)
    tensors["blocks.1.infinite.weight"] = with_first_value(normal("infinite", [64, 64]), math.inf)
    tensors["blocks.1.huge.weight"] = with_first_value(normal("huge", [64, 64], "F32"), 3e38)
    tensors["blocks.1.beyond_float16.weight"] = with_first_value(normal("beyond", [64, 64]), 1e6)
    tensors["blocks.1.tiny.weight"] = normal("tiny", [64, 64], "F32", deviation=1e-42)
    tensors["blocks.1.zero.weight"] = Tensor("BF16", [64, 64], bytes(2 * 64 * 64))
    tensors["blocks.1.zero_row.weight"] = Tensor("BF16", [64, 64], bytes(128) + normal("zero row", [63, 64]).data)
    tensors["blocks.1.constant.weight"] = Tensor("BF16", [64, 64], encode([0.125], "BF16") * 64 * 64)
    tensors["blocks.2.double.weight"] = normal("double", [64, 64], "F64")
    tensors["blocks.2.integers.weight"] = of_bytes("I64", [8, 8], "integers")
    tensors["blocks.2.truth"] = of_bytes("BOOL", [9], "truth", (0, 1))
    tensors["blocks.2.empty.weight"] = Tensor("BF16", [0, 64], b"")
    tensors["blocks.2.conv.weight"] = normal("conv", [32, 16, 3, 3])
    tensors["blocks.2.scalar"] = floats([1.5], [])
    return tensors


def grid() -> dict[str, Tensor]:
    """Two layers for every format with every optimizer."""
    tensors = {}
    linear(tensors, "blocks.0.even", 256, 256, outlier_columns=3)
    linear(tensors, "blocks.0.uneven", 96, 160, outlier_columns=2)
    return tensors


def wide() -> dict[str, Tensor]:
    """One layer that a bound on the memory cuts into runs of rows."""
    tensors = {}
    linear(tensors, "blocks.0.wide", 2048, 512, bias=False)
    return tensors


# Adapters.

def low_rank(tensors: dict, name: str, rows: int, columns: int, rank: int, ends: tuple[str, str], dtype: str) -> None:
    tensors[f"{name}.{ends[0]}.weight"] = normal(f"{name} down", [rank, columns], dtype, deviation=0.1)
    tensors[f"{name}.{ends[1]}.weight"] = normal(f"{name} up", [rows, rank], dtype, deviation=0.1)


def lora_kohya() -> dict[str, Tensor]:
    tensors = {}
    for name, rows, columns in (("double_blocks_0_img_attn_qkv", 768, 256), ("double_blocks_0_txt_mlp_0", 512, 256),
                                ("single_blocks_0_linear2", 256, 768)):
        low_rank(tensors, f"lora_unet_{name}", rows, columns, 4, ("lora_down", "lora_up"), "F16")
        tensors[f"lora_unet_{name}.alpha"] = floats([2.0], [], "F16")
    return tensors


def lora_diffusers() -> dict[str, Tensor]:
    tensors = {}
    for name, rows, columns in (("transformer_blocks.0.attn.to_q", 256, 256), ("transformer_blocks.0.attn.to_v", 256, 256),
                                ("single_transformer_blocks.0.proj_mlp", 512, 256), ("norm_out.linear", 512, 256)):
        low_rank(tensors, f"transformer.{name}", rows, columns, 8, ("lora_A", "lora_B"), "BF16")
    return tensors


def lora_lycoris() -> dict[str, Tensor]:
    """LoHa, LoKr, DoRA and differences."""
    tensors, name = {}, "lycoris_double_blocks_0_img_attn_proj"
    for part in ("w1", "w2"):
        tensors[f"{name}.hada_{part}_a"] = normal(f"{part} a", [256, 4], "F32", deviation=0.2)
        tensors[f"{name}.hada_{part}_b"] = normal(f"{part} b", [4, 256], "F32", deviation=0.2)
    tensors[f"{name}.alpha"] = floats([4.0], [])
    name = "lycoris_double_blocks_0_txt_attn_proj"
    tensors[f"{name}.lokr_w1"] = normal("kron 1", [16, 16], "F32", deviation=0.2)
    tensors[f"{name}.lokr_w2_a"] = normal("kron 2a", [16, 2], "F32", deviation=0.2)
    tensors[f"{name}.lokr_w2_b"] = normal("kron 2b", [2, 16], "F32", deviation=0.2)
    tensors[f"{name}.alpha"] = floats([1.0], [])
    name = "lycoris_double_blocks_0_img_mlp_0"
    low_rank(tensors, name, 512, 256, 4, ("lora_down", "lora_up"), "F32")
    tensors[f"{name}.dora_scale"] = floats([0.5 + 0.1 * (i % 7) for i in range(512)], [512, 1])
    tensors["lycoris_final_layer_linear.diff"] = normal("difference", [64, 256], "F32", deviation=0.01)
    tensors["lycoris_final_layer_linear.diff_b"] = normal("bias difference", [64], "F32", deviation=0.01)
    return tensors


def lora_small() -> dict[str, Tensor]:
    """Of the Flux under diffusers' names."""
    tensors = {}
    low_rank(tensors, "transformer.transformer_blocks.0.attn.to_k", 64, 64, 4, ("lora_A", "lora_B"), "BF16")
    low_rank(tensors, "transformer.single_transformer_blocks.0.proj_mlp", 256, 64, 4, ("lora_A", "lora_B"), "BF16")
    return tensors


# Recordings.

def rows_of(name: str, rows: int, columns: int, dtype: str = "BF16") -> Tensor:
    """Neighbours are correlated, means are not zero, and a few columns are far larger."""
    source, values = random.Random(f"bytes rows {name}"), []
    gain = [8.0 if c % 61 == 7 else 0.25 + (c % 5) * 0.25 for c in range(columns)]
    for _ in range(rows):
        last = 0.0
        for column in range(columns):
            last = 0.5 * last + NORMAL[source.getrandbits(16)]
            values.append(gain[column] * last + 0.125 * (column % 3))
    return floats(values, [rows, columns], dtype)


def second_moments(rows: Tensor) -> list[float]:
    """Mean square of each column of BF16 rows."""
    count, columns = rows.shape
    words = memoryview(rows.data).cast("H")
    value = [0.0] * columns
    for i, word in enumerate(words):
        x = _bf16(word)
        value[i % columns] += x * x
    return [v / count for v in value]


def _bf16(word: int) -> float:
    return memoryview((word << 16).to_bytes(4, "little")).cast("f")[0]


def largest(rows: Tensor) -> list[float]:
    columns = rows.shape[1]
    words = memoryview(rows.data).cast("H")
    return [_bf16(max(w & 0x7FFF for w in words[c::columns])) for c in range(columns)]


def hessian(name: str, columns: int) -> Tensor:
    """XᵀX / n of columns + 8 rows of -1, 0 and 1: integers, so that the sum has no order."""
    source, rows = random.Random(f"bytes hessian {name}"), columns + 8
    x = [[source.getrandbits(8) % 3 - 1 for _ in range(rows)] for _ in range(columns)]
    for c in range(1, columns, 2):
        x[c] = [a + b for a, b in zip(x[c], x[c - 1])]
    masks = [[sum(1 << i for i, v in enumerate(column) if v == wanted) for wanted in (-2, -1, 1, 2)] for column in x]
    weights = (-2, -1, 1, 2)
    values = []
    for a in masks:
        for b in masks:
            total = sum(wa * wb * (ma & mb).bit_count() for wa, ma in zip(weights, a) for wb, mb in zip(weights, b))
            values.append(total / rows)
    return floats(values, [columns, columns])


def recording_of_flux() -> tuple[dict[str, Tensor], dict[str, str]]:
    """Rows, H, a second moment alone, and layers that share an input."""
    block = "double_blocks.0."
    tensors = {}
    for name, columns in ((f"{block}img_attn.qkv", 256), (f"{block}img_mlp.2", 512), ("single_blocks.0.linear2", 768)):
        rows = rows_of(name, 400, columns)
        tensors[f"{name}.rows"] = rows
        tensors[f"{name}.channel_max"] = floats(largest(rows))
        tensors[f"{name}.input_scale"] = floats([max(largest(rows)) / 127], [1])
    tensors[f"{block}txt_attn.proj.hessian"] = hessian("txt proj", 256)
    rows = rows_of("second moment", 64, 256)
    tensors[f"{block}txt_mlp.0.second_moment"] = floats(second_moments(rows))
    tensors[f"{block}txt_mlp.0.mean"] = floats([0.125 * (c % 3) for c in range(256)])
    shared = {"single_blocks.0.linear1": f"{block}img_attn.qkv"}
    metadata = {"format": "ctq-calibration", "version": "1", "source": "bench/bytes", "shared": json.dumps(shared),
                "counts": json.dumps({f"{block}img_attn.qkv": 4096})}
    return tensors, metadata


def recording_of(layers: dict[str, int], rows: int) -> dict[str, Tensor]:
    return {f"{name}.rows": rows_of(name, rows, columns) for name, columns in layers.items()}


# Quantized files, whose codes are made up.

def marked(tensors: dict, layer: str, marker: dict) -> None:
    tensors[f"{layer}.comfy_quant"] = text(json.dumps(marker))


def scaled_fp8() -> dict[str, Tensor]:
    tensors = {"scaled_fp8": of_bytes("F8_E4M3", [2], "scaled_fp8", [0])}
    for name, rows, scale in (("blk.0.q", 64, [1]), ("blk.0.up", 128, []), ("blk.1.q", 64, [64])):
        count = scale[0] if scale else 1
        tensors[f"{name}.weight"] = of_bytes("F8_E4M3", [rows, 64], name, E4M3_CODES)
        tensors[f"{name}.scale_weight"] = floats([0.001 * (1 + i % 9) for i in range(count)], scale)
        tensors[f"{name}.bias"] = normal(f"{name}.bias", [rows])
    tensors["blk.0.q.scale_input"] = floats([0.25], [1])
    tensors["kept.weight"] = normal("kept", [32, 64])
    tensors["kept.scale_weight"] = floats([1.0], [1])
    return tensors


def comfy_int8() -> dict[str, Tensor]:
    tensors = {}
    for name, rows, columns, marker in (
            ("blk.0.q", 64, 128, {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64}),
            ("blk.0.up", 128, 128, {"format": "int8_tensorwise"})):
        tensors[f"{name}.weight"] = of_bytes("I8", [rows, columns], name, [c for c in range(256) if c != 128])
        tensors[f"{name}.weight_scale"] = floats([0.001 * (1 + i % 9) for i in range(rows)], [rows, 1])
        tensors[f"{name}.bias"] = normal(f"{name}.bias", [rows])
        marked(tensors, name, marker)
    tensors["norm.weight"] = around_one("norm", 128)
    return tensors


def unmarked_int8() -> dict[str, Tensor]:
    tensors = {}
    for name, scale in (("blk.0.q", [64]), ("blk.0.k", []), ("blk.0.v", [2, 2])):
        count = 1
        for size in scale:
            count *= size
        tensors[f"{name}.weight"] = of_bytes("I8", [64, 64], name, [c for c in range(256) if c != 128])
        tensors[f"{name}.scale_weight"] = floats([0.001 * (1 + i % 9) for i in range(count)], scale)
    return tensors


def log_scales() -> dict[str, Tensor]:
    tensors = {"scaled_fp8": of_bytes("F8_E4M3", [1], "x", [0]), "scale_format": Tensor("U8", [1], b"\x08")}
    for i, name in enumerate(("blk.0.q", "blk.0.k")):
        tensors[f"{name}.weight"] = of_bytes("F8_E4M3", [64, 64], name, E4M3_CODES)
        tensors[f"{name}.scale_weight"] = Tensor("U8", [], bytes([150 + 7 * i]))
    return tensors


def mxfp8() -> dict[str, Tensor]:
    """In ComfyUI's order, so that both sides of the scales are filled up."""
    tensors = {"blk.0.q.weight": of_bytes("F8_E4M3", [64, 128], "mx q", E4M3_CODES),
               "blk.0.q.weight_scale": of_bytes("U8", [128, 4], "mx scales", range(110, 124))}
    marked(tensors, "blk.0.q", {"format": "mxfp8"})
    return tensors


def foreign() -> dict[str, Tensor]:
    """Layers of several other programs in one file that `dequantize` and `add-markers` read."""
    tensors = {"a.weight": of_bytes("F8_E4M3", [256, 256], "deepseek", E4M3_CODES),
               "a.weight_scale_inv": floats([0.001, 0.002, 0.003, 0.004], [2, 2]),
               "b.weight": of_bytes("I8", [64, 64], "rows", [c for c in range(256) if c != 128]),
               "b.weight_scale": floats([0.001 * (1 + i % 9) for i in range(64)], [64, 1]),
               "c.bias": normal("c bias", [64])}
    return tensors


def gptq() -> dict[str, Tensor]:
    tensors = {"x.qweight": of_bytes("I32", [16, 64], "qweight"), "x.qzeros": of_bytes("I32", [2, 8], "qzeros"),
               "x.scales": floats([0.001 * (1 + i % 9) for i in range(128)], [2, 64], "F16"),
               "x.g_idx": Tensor("I32", [128], b"".join((i // 64).to_bytes(4, "little") for i in range(128)))}
    return tensors


def nf4() -> dict[str, Tensor]:
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [64, 64]})
    levels = [-1 + i / 7.5 for i in range(16)]
    return {"x.weight": of_bytes("U8", [2048, 1], "nf4"), "x.weight.absmax": floats([0.01 * (1 + i % 9) for i in range(64)]),
            "x.weight.quant_map": floats(levels), "x.weight.quant_state.bitsandbytes__nf4": text(state)}


def make_all(folder: Path) -> None:
    folder.mkdir(parents=True)
    whole = flux()
    write(folder / "flux.safetensors", whole,
          {"format": "pt", "modelspec.title": "small", "modelspec.hash_sha256": "0x00", "ss_sd_model_hash": "kept"})
    write_shards(folder / "flux_shards", "flux", whole, 3)
    write_shards(folder / "flux_diffusers", "diffusion_pytorch_model", diffusers_flux(), 2)
    (folder / "flux_diffusers" / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    write(folder / "t5.safetensors", t5(), {"format": "pt"})
    write(folder / "llama.safetensors", llama(), {"format": "pt"})
    write(folder / "bert.safetensors", bert(), {"format": "pt"})
    write(folder / "clip.safetensors", clip(), {"format": "pt"})
    broken = clip_g()
    write(folder / "clip_g.safetensors", broken)
    broken["transformer.resblocks.9.mlp.c_fc.weight"] = with_first_value(broken["transformer.resblocks.9.mlp.c_fc.weight"], math.nan)
    broken["transformer.resblocks.7.mlp.c_fc.weight"] = with_first_value(broken["transformer.resblocks.7.mlp.c_fc.weight"], math.nan)
    write(folder / "clip_g_nan.safetensors", broken)
    write(folder / "sd15.safetensors", sd15(), {"format": "pt"})
    write(folder / "odd.safetensors", odd())
    write(folder / "grid.safetensors", grid())
    write(folder / "wide.safetensors", wide())
    write(folder / "lora_kohya.safetensors", lora_kohya(), {"ss_network_dim": "4"})
    write(folder / "lora_diffusers.safetensors", lora_diffusers(), {"format": "pt"})
    write(folder / "lora_lycoris.safetensors", lora_lycoris())
    write(folder / "lora_small.safetensors", lora_small())
    (folder / "lora_map.json").write_text('{"lora_unet_double_blocks_0_txt_mlp_0": null}')
    write(folder / "flux_recorded.safetensors", *recording_of_flux())
    grid_layers = {"blocks.0.even": 256, "blocks.0.uneven": 160}
    write(folder / "grid_recorded.safetensors", recording_of(grid_layers, 500),
          {"format": "ctq-calibration", "version": "1", "source": "first", "samples": "3"})
    write(folder / "grid_recorded_more.safetensors", {f"{name}.rows": rows_of(f"{name} more", 48, columns, "F32")
                                                      for name, columns in grid_layers.items()},
          {"format": "ctq-calibration", "version": "1", "source": "second", "samples": "2"})
    (folder / "grid_recorded.json").write_text(json.dumps({"blocks.0.even": 0.0625, "blocks.0.uneven": 0.125}))
    write(folder / "grid_rows.safetensors", {name: rows_of(f"{name} rows", 40, columns) for name, columns in grid_layers.items()})
    clip_layers = {f"text_model.encoder.layers.{block}.{name}": columns for block in range(2) for name, columns in (
        ("self_attn.q_proj", 64), ("self_attn.k_proj", 64), ("self_attn.v_proj", 64), ("self_attn.out_proj", 64),
        ("mlp.fc1", 64), ("mlp.fc2", 128))}
    recorded = recording_of(clip_layers, 80)
    for block in range(2):  # q, k and v read the same
        attention = f"text_model.encoder.layers.{block}.self_attn."
        for part in ("k_proj", "v_proj"):
            recorded[f"{attention}{part}.rows"] = recorded[f"{attention}q_proj.rows"]
    write(folder / "clip_recorded.safetensors", recorded, {"format": "ctq-calibration", "version": "1"})
    write(folder / "scaled_fp8.safetensors", scaled_fp8(), {"format": "pt"})
    write(folder / "comfy_int8.safetensors", comfy_int8(), {"format": "pt"})
    write(folder / "unmarked_int8.safetensors", unmarked_int8())
    write(folder / "log_scales.safetensors", log_scales(),
          {"ctq.scale8": '{"log10_min": -10, "log10_max": 2, "meaning": "dequant"}'})
    write(folder / "mxfp8.safetensors", mxfp8())
    write(folder / "foreign.safetensors", foreign())
    write(folder / "gptq.safetensors", gptq())
    write(folder / "nf4.safetensors", nf4())
    (folder / "broken.safetensors").write_bytes(b"\xff\x00\x00\x00\x00\x00\x00\x00{}")
    layers = {"_comment": "three kinds", "img_attn\\.qkv": {"format": "int8_tensorwise", "scaling_mode": "tensor", "simple": True},
              "txt_mlp\\.[02]$": {"format": "int8_blockwise", "block_size": 64},
              "single_blocks\\.0\\.linear1": {"format": "float8_e4m3fn", "full_precision_matrix_mult": True},
              "linear2": {"format": "nvfp4"}, "img_mod": {"skip": True}, "txt_mod": {"format": "fp16"},
              "_default": {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64}}
    (folder / "layers.json").write_text(json.dumps(layers, indent=1))
    (folder / "flux_scales.json").write_text('{"double_blocks.0.img_attn.qkv": 0.015, "final_layer.linear": 0.25}')
    (folder / "recipe.json").write_text('{"mxfp8": true, "comfy_quant": true, "exclude-layers": "_mod"}')
    (folder / "options.toml").write_text('[target]\nfp8 = true\ncomfy_quant = true\nexclude_layers = "final_layer|img_in"\n'
                                         'quality = fast  # the rest is default\n')
