import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

import torch

import comfyui
from comfyui import nodes, recordings
from ctq_capture import write_safetensors
from . import comfy_stand_in as comfy
from .files import read_back
from .models import Transformer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def has_hooks(module):
    return any(m._forward_pre_hooks or m._forward_hooks for m in module.modules())


class Nodes(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(5)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.output = folder.name
        self.model_files = {}
        stand_in = comfy.installed(self.output, self.model_files)
        stand_in.__enter__()
        self.addCleanup(stand_in.__exit__, None, None, None)
        self.addCleanup(recordings._finish_all)
        self.model = comfy.Patcher(comfy.BaseModel(Transformer(width=16, depth=2)))
        self.clip = comfy.Clip(comfy.CondStageModel(clip_l=Transformer(8, 1), t5xxl=Transformer(16, 1)))

    def path(self, name):
        return os.path.join(self.output, "calibration", name + ".safetensors")

    def record_model(self, model=None, file_name="flux", rows=64, record=True, **more):
        return nodes.RecordModelInputs().record_inputs(model or self.model, file_name, rows, record, **more)[
            0
        ]

    def record_clip(self, file_name="text", rows=64, record=True, clip=None):
        return nodes.RecordClipInputs().record_inputs(clip or self.clip, file_name, rows, record)[0]

    def sample(self, model, steps=4):
        return comfy.Guider(model, steps).sample(torch.randn(2, 5, 16))


class Interface(Nodes):
    def test_the_mappings_that_comfyui_looks_for(self):
        self.model_files["diffusion_models"] = {"flux.safetensors": "", "flux.gguf": ""}
        for key, node in comfyui.NODE_CLASS_MAPPINGS.items():
            self.assertIn(key, comfyui.NODE_DISPLAY_NAME_MAPPINGS)
            inputs = node.INPUT_TYPES()["required"]
            self.assertEqual(list(inputs)[1:], ["file_name", "rows", "record", "names_from"])
            self.assertEqual(tuple(inputs)[0].upper(), node.RETURN_TYPES[0])
            self.assertTrue(callable(getattr(node(), node.FUNCTION)))
        choices = nodes.RecordModelInputs.INPUT_TYPES()["required"]["names_from"][0]
        self.assertEqual(choices, [nodes.AS_LOADED, "flux.safetensors"])

    def test_it_loads_as_a_folder_of_custom_nodes_without_installation(self):
        # Through a link, from elsewhere, by file name: as ComfyUI imports what lies in custom_nodes.
        link = os.path.join(self.output, "ctq")
        try:
            os.symlink(os.path.join(ROOT, "comfyui"), link)
        except OSError:
            self.skipTest("no links here")
        program = (
            "import importlib.util, sys\n"
            "spec = importlib.util.spec_from_file_location('custom', sys.argv[1] + '/__init__.py',\n"
            "                                              submodule_search_locations=[sys.argv[1]])\n"
            "module = sys.modules['custom'] = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(module)\n"
            "print(sorted(module.NODE_CLASS_MAPPINGS))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, link], cwd=self.output, capture_output=True, text=True
        )
        self.assertEqual(done.stdout.strip(), "['CTQRecordInputs', 'CTQRecordInputsCLIP']", done.stderr)

    def test_file_names_stay_in_the_output_folder(self):
        self.assertEqual(nodes.output_path(" sub/flux.safetensors "), self.path("sub/flux"))
        for name in ("", "  ", "../flux", "a/../../b", "/etc/flux", "sub/"):
            with self.assertRaisesRegex(ValueError, "not a file name"):
                nodes.output_path(name)

    def test_a_comfyui_without_wrappers_is_told_so(self):
        class Old:
            pass

        with self.assertRaisesRegex(RuntimeError, "December 2024"):
            self.record_model(Old())


class Model(Nodes):
    def test_a_picture_is_recorded_and_only_with_the_returned_model(self):
        patched = self.record_model()
        self.assertIsNot(patched, self.model)
        self.assertEqual(self.model.wrappers, {})
        self.sample(self.model)
        self.sample(patched.clone(), steps=4)  # as a later node would: with a clone
        self.assertFalse(has_hooks(self.model.model))
        recordings.finish(self.path("flux"))
        tensors, metadata = read_back(self.path("flux"))
        self.assertEqual((metadata["samples"], metadata["uncalled"]), ("4", "[]"))
        self.assertEqual(set(json.loads(metadata["counts"]).values()), {40})
        self.assertIn("blocks.1.fc2.rows", tensors)
        self.assertEqual(json.loads(metadata["shared"])["blocks.0.attn.k"], "blocks.0.attn.q")

    def test_the_picture_is_the_same(self):
        latent = torch.randn(2, 5, 16)
        expected = comfy.Guider(self.model, 4).sample(latent)
        self.assertTrue(torch.equal(comfy.Guider(self.record_model(), 4).sample(latent), expected))

    def test_pictures_add_up_over_executions_of_the_node(self):
        for _ in range(3):
            self.sample(self.record_model(), steps=2)
        recordings.finish(self.path("flux"))
        self.assertEqual(read_back(self.path("flux"))[1]["samples"], "6")

    def test_other_rows_or_another_model_start_anew(self):
        self.sample(self.record_model(), steps=2)
        self.sample(self.record_model(rows=128), steps=3)
        other = comfy.Patcher(comfy.BaseModel(Transformer(width=16, depth=3)))
        self.assertEqual(self.recording().recorder.samples, 3)
        self.sample(self.record_model(other, rows=128), steps=1)
        self.assertEqual(self.recording().recorder.samples, 1)

    def recording(self):
        return recordings._recordings[self.path("flux")]

    def test_off_writes_and_ends(self):
        self.sample(self.record_model())
        self.assertFalse(os.path.exists(self.path("flux")))
        self.assertIs(self.record_model(record=False), self.model)
        self.assertEqual(read_back(self.path("flux"))[1]["samples"], "4")
        self.sample(self.record_model(), steps=1)
        recordings.finish(self.path("flux"))
        self.assertEqual(read_back(self.path("flux"))[1]["samples"], "1")

    def test_the_file_is_written_when_the_model_pauses(self):
        pause, recordings.PAUSE_SECONDS = recordings.PAUSE_SECONDS, 0.05
        try:
            self.sample(self.record_model())
            for _ in range(200):
                if os.path.exists(self.path("flux")):
                    break
                time.sleep(0.05)
            self.assertEqual(read_back(self.path("flux"))[1]["samples"], "4")
        finally:
            recordings.PAUSE_SECONDS = pause

    def test_the_file_is_written_after_a_while_without_a_pause(self):
        longest, recordings.LONGEST_UNSAVED_SECONDS = recordings.LONGEST_UNSAVED_SECONDS, 0
        try:
            self.sample(self.record_model())
            self.assertEqual(read_back(self.path("flux"))[1]["samples"], "4")
        finally:
            recordings.LONGEST_UNSAVED_SECONDS = longest

    def test_every_sampling_is_a_picture_and_its_passes_are_steps(self):
        patched = self.record_model(rows=1024)
        for steps in (2, 4, 3):
            self.sample(patched, steps)
        recordings.finish(self.path("flux"))
        tensors, _ = read_back(self.path("flux"))
        pictures, steps = (tensors[f"blocks.0.fc1.row_{kind}"] for kind in ("pictures", "steps"))
        self.assertEqual(pictures.bincount().tolist(), [20, 40, 30])
        self.assertEqual(steps.bincount().tolist(), [30, 30, 20, 10])

    def test_the_file_is_written_within_a_long_sampling(self):
        patched, written = self.record_model(), []
        longest, recordings.LONGEST_UNSAVED_SECONDS = recordings.LONGEST_UNSAVED_SECONDS, 0

        class Watching(comfy.Guider):
            def outer_sample(guider, latent, seed):
                guider.model_patcher.model.diffusion_model(latent)
                written.append(read_back(self.path("flux"))[1])
                return super().outer_sample(latent, seed)

        try:
            Watching(patched, 3).sample(torch.randn(2, 5, 16))
            self.assertEqual(written[0]["samples"], "1")
            self.assertNotIn("effective_ranks", written[0])
            recordings.LONGEST_UNSAVED_SECONDS = longest
            before = os.stat(self.path("flux")).st_mtime_ns
            self.sample(patched)
            self.assertEqual(os.stat(self.path("flux")).st_mtime_ns, before)  # a minute has not passed
        finally:
            recordings.LONGEST_UNSAVED_SECONDS = longest
        recordings.finish(self.path("flux"))
        metadata = read_back(self.path("flux"))[1]
        self.assertEqual(metadata["samples"], "8")
        self.assertIn("effective_ranks", metadata)

    def test_a_file_that_was_just_written_still_gets_its_summary(self):
        longest, recordings.LONGEST_UNSAVED_SECONDS = recordings.LONGEST_UNSAVED_SECONDS, 0
        try:
            self.sample(self.record_model())
        finally:
            recordings.LONGEST_UNSAVED_SECONDS = longest
        self.assertNotIn("effective_ranks", read_back(self.path("flux"))[1])
        recordings.finish(self.path("flux"))
        self.assertIn("effective_ranks", read_back(self.path("flux"))[1])

    def test_an_interrupt_keeps_what_was_recorded(self):
        patched = self.record_model()

        class Interrupting(comfy.Guider):
            def outer_sample(self, latent, seed):
                super().outer_sample(latent, seed)
                raise InterruptedError

        with self.assertRaises(InterruptedError):
            Interrupting(patched, 3).sample(torch.randn(2, 5, 16))
        self.assertFalse(has_hooks(self.model.model))
        recordings.finish(self.path("flux"))
        self.assertEqual(read_back(self.path("flux"))[1]["samples"], "3")

    def test_a_file_that_cannot_be_written_does_not_cost_the_picture(self):
        patched = self.record_model()
        os.makedirs(self.path("flux"))  # a folder of that name
        longest, recordings.LONGEST_UNSAVED_SECONDS = recordings.LONGEST_UNSAVED_SECONDS, 0
        try:
            with self.assertLogs("ctq_capture", "ERROR"):
                self.assertEqual(self.sample(patched).shape, (2, 5, 16))
        finally:
            recordings.LONGEST_UNSAVED_SECONDS = longest

    def test_names_of_the_file_that_will_be_converted(self):
        layers = {
            n: m
            for n, m in self.model.model.diffusion_model.named_modules()
            if isinstance(m, torch.nn.Linear)
        }
        checkpoint = os.path.join(self.output, "model.safetensors")
        write_safetensors(
            checkpoint,
            [
                (
                    f"model.diffusion_model.{n}.weight",
                    torch.float32,
                    tuple(m.weight.shape),
                    lambda m=m: m.weight,
                )
                for n, m in layers.items()
            ],
            {},
        )
        self.model_files["checkpoints"] = {"model.safetensors": checkpoint}
        self.sample(self.record_model(names_from="model.safetensors"))
        recordings.finish(self.path("flux"))
        self.assertIn("model.diffusion_model.blocks.0.attn.q.rows", read_back(self.path("flux"))[0])
        with self.assertRaisesRegex(ValueError, "no model file 'gone.safetensors'"):
            self.record_model(names_from="gone.safetensors")


class Clip(Nodes):
    def encode(self, clip):
        # The two encoders take embeddings of different width here; their own tokens elsewhere.
        clip.patcher.load()
        with torch.inference_mode():
            clip.cond_stage_model.clip_l(torch.randn(1, 7, 8))
            clip.cond_stage_model.t5xxl(torch.randn(1, 7, 16))

    def test_each_encoder_has_its_file_with_its_own_names(self):
        patched = self.record_clip()
        for _ in range(3):
            self.encode(patched.clone())  # as after a node that chooses the last layer
        self.encode(self.clip)
        self.assertFalse(has_hooks(self.clip.cond_stage_model))
        self.record_clip(record=False)
        for name, width in (("text_clip_l", 8), ("text_t5xxl", 16)):
            tensors, metadata = read_back(self.path(name))
            self.assertEqual(metadata["samples"], "3")
            self.assertEqual(tuple(tensors["blocks.0.attn.q.rows"].shape), (21, width))
            self.assertEqual(tensors["blocks.0.attn.q.row_pictures"].bincount().tolist(), [7, 7, 7])
            self.assertEqual(tensors["blocks.0.attn.q.row_steps"].max().item(), 0)

    def test_a_clone_that_is_ejected_late_leaves_the_new_one_alone(self):
        first = self.record_clip()
        self.encode(first)
        stale = first.clone()  # carries the flag of an injected model
        second = self.record_clip()
        self.encode(second)
        stale.patcher.eject()
        self.encode(second)
        recording = recordings._recordings[self.path("text_clip_l")]
        self.assertEqual(recording.recorder.samples, 3)
        second.patcher.eject()
        self.assertFalse(has_hooks(self.clip.cond_stage_model))

    def test_an_encoder_without_parts(self):
        module = Transformer(8, 1)
        self.assertEqual(nodes.text_encoders(module), {"encoder": module})
        wrapped = comfy.TextEncoder(module)
        self.assertEqual(nodes.text_encoders(wrapped), {"encoder": module})


if __name__ == "__main__":
    unittest.main()
