"""The small models and files that the walk reads. `make(folder, run)` writes them; every tensor is seeded by its name.

`encoder` is one block of BERT with what options act upon: a bias and a norm before each layer, outliers, sides that 128 does not
divide and a width that no 4-bit format takes, a table of tokens, and the averages of a training. Its width is 256.
"""

import json
import struct
from pathlib import Path

import models
from safetensors_writer import Tensor, floats, normal, write

WIDTH = 256
BLOCK = "encoder.layer.0."


def encoder() -> dict:
    tensors = {"embeddings.word_embeddings.weight": normal("walk words", [128, WIDTH])}
    models.norm(tensors, "embeddings.LayerNorm", WIDTH)
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        models.linear(tensors, BLOCK + name, WIDTH, WIDTH, outlier_columns=2)
    models.norm(tensors, f"{BLOCK}attention.output.LayerNorm", WIDTH)
    models.linear(tensors, f"{BLOCK}intermediate.dense", WIDTH // 2, WIDTH)
    models.linear(tensors, f"{BLOCK}output.dense", WIDTH, WIDTH // 2, outlier_columns=2)
    models.norm(tensors, f"{BLOCK}output.LayerNorm", WIDTH)
    models.linear(tensors, "pooler.dense", 96, 160)
    models.linear(tensors, "classifier", 130, 66)
    tensors["model_ema.decay"] = floats([0.999], [])
    tensors["model_ema.poolerdensebias"] = normal("walk average", [96], "F32")
    return tensors


def adapter(layers: dict[str, tuple[int, int]], name: str) -> dict:
    tensors = {}
    for layer, (rows, columns) in layers.items():
        tensors[f"{layer}.lora_A.weight"] = normal(f"{name} {layer} A", [4, columns], "F32", deviation=0.1)
        tensors[f"{layer}.lora_B.weight"] = normal(f"{name} {layer} B", [rows, 4], "F32", deviation=0.1)
    return tensors


def recording() -> dict:
    """Rows of each layer of the block; query, key and value read the same."""
    tensors = {}
    for name, of, columns in (
        ("attention.self.query", "hidden", WIDTH),
        ("attention.self.key", "hidden", WIDTH),
        ("attention.self.value", "hidden", WIDTH),
        ("attention.output.dense", "attended", WIDTH),
        ("intermediate.dense", "normed", WIDTH),
        ("output.dense", "grown", WIDTH // 2),
    ):
        tensors[f"{BLOCK}{name}.rows"] = models.rows_of(f"walk {of}", 800, columns)
    return tensors


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=1))


def make_files(folder: Path) -> None:
    """What needs no program to be made."""
    folder.mkdir(parents=True)
    write(folder / "encoder.safetensors", encoder(), {"format": "pt", "modelspec.hash_sha256": "0x00"})
    square = (WIDTH, WIDTH)
    write(
        folder / "lora.safetensors",
        adapter({f"{BLOCK}attention.self.query": square, f"{BLOCK}intermediate.dense": (WIDTH // 2, WIDTH)}, "one"),
    )
    write(
        folder / "lora_more.safetensors",
        adapter({f"{BLOCK}attention.self.value": square, f"{BLOCK}attention.output.dense": square}, "two"),
    )
    write(
        folder / "lora_partial.safetensors",
        adapter({f"{BLOCK}attention.self.query": square, "nowhere.0.x": square, "nowhere.1.x": square}, "three"),
    )
    write(folder / "lora_flux.safetensors", adapter({"transformer_blocks.0.attn.to_q": (64, 64)}, "flux"))
    write_json(folder / "lora_map.json", {"nowhere.0.x": f"{BLOCK}attention.self.key"})
    write(folder / "recorded.safetensors", recording(), {"format": "ctq-calibration", "version": "1"})
    write(
        folder / "recorded_more.safetensors",
        {f"{BLOCK}attention.self.query.rows": models.rows_of("walk more", 40, WIDTH)},
        {"format": "ctq-calibration", "version": "1"},
    )
    pictures = recording()
    for name in list(pictures):
        of_rows = [i // 100 for i in range(800)]
        pictures[name.removesuffix(".rows") + ".row_pictures"] = Tensor("I32", [800], struct.pack("<800i", *of_rows))
    write(folder / "pictures.safetensors", pictures, {"format": "ctq-calibration", "version": "1"})
    write(
        folder / "rows.safetensors",
        {
            f"{BLOCK}attention.self.query": models.rows_of("walk plain", 40, WIDTH),
            f"{BLOCK}output.dense": models.rows_of("walk plain more", 40, WIDTH // 2),
        },
    )
    write_json(folder / "scales.json", {f"{BLOCK}attention.self.query": 0.015, f"{BLOCK}output.dense": 0.25})
    write_json(folder / "recipe.json", {"mxfp8": True, "exclude-layers": "pooler"})
    write_json(
        folder / "layers.json",
        {
            "attention\\.self": {"format": "int8_tensorwise", "scaling_mode": "tensor", "simple": True},
            "intermediate": {"format": "int8_blockwise", "block_size": 64},
            "classifier": {"skip": True},
            "_default": {"format": "float8_e4m3fn"},
        },
    )
    write_json(
        folder / "optimizers.json",
        {
            "attention\\.self\\.(query|key)": {"format": "int8_tensorwise", "optimizer": "quip"},
            "attention\\.self\\.value": {"format": "int8_tensorwise", "optimizer": "gptq"},
            "pooler": {"format": "int8_tensorwise", "optimizer": "direct"},
            "_default": {"format": "float8_e4m3fn", "optimizer": "original"},
        },
    )
    (folder / "options.toml").write_text('mxfp8 = true\nexclude_layers = "pooler"\n')
    write_json(folder / "mapping.json", {"encoder": str(Path("../../models/lora.safetensors"))})
    for name in (
        "diffusers_flux",
        "sd15",
        "clip_g",
        "scaled_fp8",
        "comfy_int8",
        "unmarked_int8",
        "log_scales",
        "mxfp8",
        "foreign",
    ):
        metadata = (
            {"ctq.scale8": '{"log10_min": -10, "log10_max": 2, "meaning": "dequant"}'}
            if name == "log_scales"
            else {"note": "kept"}
        )
        write(folder / f"{name}.safetensors", getattr(models, name)(), metadata)
    broken = models.comfy_int8()
    del broken["blk.0.up.weight_scale"]
    write(folder / "broken.safetensors", broken)
    nan = models.clip_g()
    nan["transformer.resblocks.8.mlp.c_proj.weight"] = models.with_first_value(
        nan["transformer.resblocks.8.mlp.c_proj.weight"], float("nan")
    )
    write(folder / "clip_g_nan.safetensors", nan)
    alike = {
        "alike.weight": models.of_bytes("U8", [128, 64], "alike"),
        "alike.weight_scale": models.of_bytes("F8_E4M3", [128, 8], "s", [56]),
        "alike.weight_scale_2": floats([0.01], []),
    }
    write(folder / "nvfp4_unordered.safetensors", alike)


# What the program makes itself, by the words of a run in the folder of the models.
MADE = (
    "-i encoder.safetensors -o fp8.safetensors --fp8 --comfy_quant --simple --client any",
    "-i encoder.safetensors -o int8.safetensors --scaling_mode row --comfy_quant --simple --client any",
    "-i encoder.safetensors -o legacy.safetensors --fp8 --simple",
    "-i encoder.safetensors -o part.safetensors --fp8 --comfy_quant --simple --partition 1/2",
    "-i encoder.safetensors -o part.safetensors --fp8 --comfy_quant --simple --partition 2/2",
    "calibrate encoder.safetensors -o random.safetensors --samples 16",
)


def changed_header(source: Path, target: Path, change) -> None:
    """A copy in which `change(names, data)` may edit tensors: a dictionary of Tensor."""

    raw = source.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__", None)
    data = raw[8 + size :]
    tensors = {
        name: Tensor(entry["dtype"], entry["shape"], data[entry["data_offsets"][0] : entry["data_offsets"][1]])
        for name, entry in header.items()
    }
    change(tensors)
    write(target, tensors, metadata)


def make_more(folder: Path) -> None:
    """What is made of the program's own files."""

    def spoil(tensors):
        name = next(name for name in tensors if name.endswith("query.weight_scale"))
        tensors[name] = floats([float("nan")], tensors[name].shape)

    changed_header(folder / "fp8.safetensors", folder / "nan_scale.safetensors", spoil)
    write(folder / "flux.safetensors", models.flux())
    write(folder / "clip.safetensors", models.clip(), {"format": "pt"})
    flat = {
        "flat.weight": models.of_bytes("I8", [64, 64], "flat", [c for c in range(256) if c != 128]),
        "flat.scale_weight": floats([0.01, 0.02, 0.03, 0.04]),
    }
    write(folder / "flat_blocks.safetensors", flat)
    write(
        folder / "tensor_scales.safetensors",
        {
            "blk.0.q.weight": models.of_bytes("F8_E4M3", [64, 128], "scaled", models.E4M3_CODES),
            "blk.0.q.scale_weight": floats([0.5], [1]),
            "scaled_fp8": models.of_bytes("F8_E4M3", [2], "s8", [0]),
        },
    )
    for name, sources in (("folder", ("encoder", "clip", "fp8")), ("loras", ())):
        (folder / name).mkdir()
        for source in sources:
            (folder / name / f"{source}.safetensors").write_bytes((folder / f"{source}.safetensors").read_bytes())
    (folder / "loras" / "encoder_lora.safetensors").write_bytes((folder / "lora.safetensors").read_bytes())
    write_json(folder / "expect.json", {"files": {"encoder.safetensors": {"exit_code": 0, "output_bytes": 1}}})
