import json
import os
import tempfile
import unittest

import torch

from ctq_capture import (
    CheckpointNames,
    ContainerError,
    Recorder,
    read_checkpoint_header,
    with_prefix,
    write_safetensors,
)
from .models import tower

FLUX = {"img_in": (8, 4), "txt_in": (8, 6), "final_layer.linear": (4, 8)}
for i in range(3):
    FLUX |= {
        f"double_blocks.{i}.{s}_{n}": shape
        for s in ("img", "txt")
        for n, shape in (
            ("mod.lin", (48, 8)),
            ("attn.qkv", (24, 8)),
            ("attn.proj", (8, 8)),
            ("mlp.0", (32, 8)),
            ("mlp.2", (8, 32)),
        )
    }
    FLUX |= {f"single_blocks.{i}.linear1": (56, 8), f"single_blocks.{i}.linear2": (8, 40)}

WAN = {"text_embedding.0": (8, 6), "time_projection.1": (48, 8), "head.head": (4, 8)}
for i in range(3):
    WAN |= {f"blocks.{i}.{a}.{n}": (8, 8) for a in ("self_attn", "cross_attn") for n in "qkvo"}
    WAN |= {f"blocks.{i}.ffn.0": (32, 8), f"blocks.{i}.ffn.2": (8, 32)}

CLIP = {
    f"text_model.encoder.layers.{i}.{n}": shape
    for i in range(3)
    for n, shape in (
        ("self_attn.q_proj", (8, 8)),
        ("self_attn.k_proj", (8, 8)),
        ("self_attn.v_proj", (8, 8)),
        ("self_attn.out_proj", (8, 8)),
        ("mlp.fc1", (32, 8)),
        ("mlp.fc2", (8, 32)),
    )
}


def under(prefix, layers):
    return {prefix + name: shape for name, shape in layers.items()}


def weights(layers):
    return {f"{name}.weight": shape for name, shape in layers.items()} | {
        f"{name}.bias": shape[:1] for name, shape in layers.items()
    }


class Prefix(unittest.TestCase):
    def test_none_leaves_the_names(self):
        self.assertEqual(with_prefix(["a.0", "_orig_mod.b"], None), {"a.0": "a.0", "_orig_mod.b": "b"})

    def test_a_wrapper_is_replaced(self):
        names = ["diffusion_model.double_blocks.0.img_attn.qkv", "diffusion_model.final_layer.linear"]
        self.assertEqual(
            list(with_prefix(names, "").values()), ["double_blocks.0.img_attn.qkv", "final_layer.linear"]
        )
        for prefix in ("model.diffusion_model.", "model.diffusion_model"):
            self.assertEqual(
                list(with_prefix(names, prefix).values()),
                [
                    "model.diffusion_model.double_blocks.0.img_attn.qkv",
                    "model.diffusion_model.final_layer.linear",
                ],
            )

    def test_a_part_that_is_no_wrapper_stays(self):
        self.assertEqual(
            with_prefix(["diffusion_model.a", "other.b"], "p"),
            {"diffusion_model.a": "p.diffusion_model.a", "other.b": "p.other.b"},
        )


class Matching(unittest.TestCase):
    def expect(self, module, checkpoint, cut, added, missing=()):
        found, left = CheckpointNames(weights(checkpoint)).match(module)
        self.assertEqual(left, list(missing))
        self.assertEqual(found, {n: added + n[len(cut) :] for n in module if n not in missing})

    def test_all_prefixes_of_flux_wan_and_clip(self):
        wrappers = ("", "diffusion_model.", "model.diffusion_model.", "transformer.")
        for layers in (FLUX, WAN):
            for cut in wrappers:
                for added in wrappers:
                    self.expect(under(cut, layers), under(added, layers), cut, added)
        for cut in ("", "transformer.", "clip_l.transformer.", "cond_stage_model.clip_l.transformer."):
            for added in (
                "",
                "text_encoders.clip_l.transformer.",
                "conditioner.embedders.0.transformer.",
                "cond_stage_model.transformer.",
            ):
                self.expect(under(cut, CLIP), under(added, CLIP), cut, added)

    def test_a_file_with_everything_in_it(self):
        checkpoint = (
            under("model.diffusion_model.", FLUX)
            | under("text_encoders.clip_l.transformer.", CLIP)
            | under("vae.", {"decoder.mid.attn_1.q": (8, 8)})
        )
        self.expect(under("diffusion_model.", FLUX), checkpoint, "diffusion_model.", "model.diffusion_model.")
        self.expect(CLIP, checkpoint, "", "text_encoders.clip_l.transformer.")

    def test_two_encoders_of_the_same_layers_need_two_rules(self):
        module = under("clip_l.", CLIP) | under("clip_g.", {n: (2 * a, 2 * b) for n, (a, b) in CLIP.items()})
        checkpoint = under("conditioner.embedders.0.", CLIP) | under(
            "conditioner.embedders.1.", {n: (2 * a, 2 * b) for n, (a, b) in CLIP.items()}
        )
        found, left = CheckpointNames(weights(checkpoint)).match(module)
        self.assertEqual(left, [])
        self.assertEqual(
            found["clip_l.text_model.encoder.layers.1.mlp.fc1"],
            "conditioner.embedders.0.text_model.encoder.layers.1.mlp.fc1",
        )
        self.assertEqual(
            found["clip_g.text_model.encoder.layers.1.mlp.fc1"],
            "conditioner.embedders.1.text_model.encoder.layers.1.mlp.fc1",
        )

    def test_a_block_is_not_taken_for_another(self):
        missing = [n for n in WAN if n.startswith("blocks.2.")]
        self.expect(WAN, {n: s for n, s in WAN.items() if n not in missing}, "", "", missing)

    def test_a_single_layer_left_over_is_not_forced_on_a_stranger(self):
        module = FLUX | {"guidance_in.out": (8, 8)}
        self.expect(module, FLUX | {"vae.guidance_in.out": (8, 8)}, "", "", ["guidance_in.out"])

    def test_another_width_is_another_layer(self):
        self.expect(FLUX | {"img_in": (8, 64)}, FLUX, "", "", ["img_in"])

    def test_nothing_in_common(self):
        self.assertEqual(CheckpointNames(weights(WAN)).match(CLIP), ({}, list(CLIP)))


class WithRecorder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def checkpoint(self, name, layers):
        path = os.path.join(self.folder, name)
        write_safetensors(
            path,
            [
                (key, torch.float32, shape, lambda shape=shape: torch.zeros(shape))
                for key, shape in weights(layers).items()
            ],
            {},
        )
        return path

    def names(self, module_layers, **options):
        recorder = Recorder(**options)
        recorder.prepare(tower(module_layers))
        return [layer.name for layer in recorder.layers.values()], recorder.unmatched

    def test_names_come_from_the_file(self):
        path = self.checkpoint("flux.safetensors", under("model.diffusion_model.", FLUX))
        names, unmatched = self.names(FLUX | {"lora_only": (2, 2)}, checkpoint=path, prefix="")
        self.assertEqual(sorted(names), sorted([f"model.diffusion_model.{n}" for n in FLUX] + ["lora_only"]))
        self.assertEqual(unmatched, ["lora_only"])

    def test_names_come_from_the_index_of_shards(self):
        layers = list(under("model.diffusion_model.", WAN).items())
        shards = {"a.safetensors": dict(layers[:9]), "b.safetensors": dict(layers[9:])}
        for name, part in shards.items():
            self.checkpoint(name, part)
        index = os.path.join(self.folder, "model.safetensors.index.json")
        with open(index, "w") as file:
            json.dump(
                {"weight_map": {key: name for name, part in shards.items() for key in weights(part)}}, file
            )
        self.assertEqual(
            sorted(self.names(WAN, checkpoint=index)[0]), sorted(f"model.diffusion_model.{n}" for n in WAN)
        )

    def test_files_that_are_no_checkpoint(self):
        whole = self.checkpoint("whole.safetensors", WAN)
        with open(whole, "rb") as file:
            data = file.read()
        for content in (
            b"",
            b"PK\x03\x04" * 10,
            b"\xff" * 8 + b"{}",
            data[:40],
            data[:-1],
            b"\x08" + bytes(7) + b'{"a":[]}',
        ):
            path = os.path.join(self.folder, "bad.safetensors")
            with open(path, "wb") as file:
                file.write(content)
            with self.assertRaisesRegex(ContainerError, "bad.safetensors"):
                read_checkpoint_header(path)
        with open(os.path.join(self.folder, "bad.json"), "w") as file:
            file.write("[]")
        with self.assertRaisesRegex(ContainerError, "not the index"):
            read_checkpoint_header(file.name)
