import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

import torch

from ctq_capture import write_safetensors
from ctq_capture.__main__ import takes_recorder
from .files import read_back

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Command(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.out = os.path.join(self.folder, "out", "model.calibration.safetensors")

    def run_command(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "ctq_capture", *arguments],
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=120,
        )

    def expect_error(self, code, text, *arguments):
        done = self.run_command(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("ctq_capture: error: "), done.stderr)
        self.assertIn(text, lines[0])
        self.assertEqual(done.stdout, "")
        self.assertFalse(os.path.exists(self.out))

    def test_batches_of_every_kind(self):
        done = self.run_command(
            "--module",
            "tests.models:example",
            "--out",
            self.out,
            "--rows",
            "20",
            "--hessian",
            "--prefix",
            "model.",
            "--seed",
            "3",
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "")
        tensors, metadata = read_back(self.out)
        self.assertEqual((metadata["samples"], metadata["seed"]), ("3", "3"))
        self.assertEqual(metadata["source"], "tests.models:example")
        self.assertEqual(tuple(tensors["model.blocks.0.attn.q.rows"].shape), (20, 16))
        self.assertEqual(tuple(tensors["model.blocks.1.fc2.hessian"].shape), (32, 32))

    def test_a_run_function(self):
        done = self.run_command(
            "--module", "tests.models:example_run", "--out", self.out, "--rows", "8", "-q"
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(read_back(self.out)[1]["counts"])["blocks.0.fc1"], 20)

    def test_pictures_of_batches_and_of_a_run(self):
        for module, pictures, steps in (("pipeline", 2, 4), ("example", 3, 1), ("example_run", 1, 1)):
            done = self.run_command("--module", f"tests.models:{module}", "--out", self.out)
            self.assertEqual(done.returncode, 0, done.stderr)
            tensors, metadata = read_back(self.out)
            self.assertEqual(metadata["samples"], str(pictures * steps))
            name = "img_in" if module == "pipeline" else "blocks.0.fc1"
            self.assertEqual(len(tensors[f"{name}.row_pictures"].unique()), pictures)
            self.assertEqual(len(tensors[f"{name}.row_steps"].unique()), steps)

    def test_a_run_with_options_of_its_own_gets_the_module_alone(self):
        self.assertFalse(takes_recorder(lambda module, steps=20: None))
        self.assertFalse(takes_recorder(lambda module, *, steps: None))
        self.assertTrue(takes_recorder(lambda module, recorder=None: None))
        self.assertTrue(takes_recorder(lambda module, r: None))

    def test_names_of_a_checkpoint(self):
        checkpoint = os.path.join(self.folder, "model.safetensors")
        shapes = {
            f"net.blocks.{i}.{n}.weight": s
            for i in (0, 1)
            for n, s in (
                ("attn.q", (16, 16)),
                ("attn.k", (16, 16)),
                ("attn.v", (16, 16)),
                ("attn.o", (16, 16)),
                ("fc1", (32, 16)),
                ("fc2", (16, 32)),
            )
        }
        write_safetensors(
            checkpoint, [(n, torch.float32, s, lambda s=s: torch.zeros(s)) for n, s in shapes.items()], {}
        )
        done = self.run_command(
            "--module", "tests.models:example_run", "--out", self.out, "--checkpoint", checkpoint
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("net.blocks.1.fc2.rows", read_back(self.out)[0])

    def test_a_checkpoint_of_another_model(self):
        checkpoint = os.path.join(self.folder, "model.safetensors")
        write_safetensors(checkpoint, [("a.weight", torch.float32, (2, 2), lambda: torch.zeros(2, 2))], {})
        done = self.run_command(
            "--module", "tests.models:example_run", "--out", self.out, "--checkpoint", checkpoint
        )
        self.assertEqual(done.returncode, 4)
        self.assertIn("none of the model's layers", done.stderr.splitlines()[-1])
        self.assertFalse(os.path.exists(self.out))

    def test_padding_is_left_out_on_request(self):
        for options, largest, count in ((("--skip-padding",), 1, 3), ((), 7, 6)):
            done = self.run_command("--module", "tests.models:padded", "--out", self.out, *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            tensors, metadata = read_back(self.out)
            self.assertEqual(tensors["fc.channel_max"].max().item(), largest)
            self.assertEqual(json.loads(metadata["counts"]), {"fc": count})

    def test_help(self):
        done = self.run_command("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--checkpoint", done.stdout)

    def test_usage_errors(self):
        module = ("--module", "tests.models:example")
        self.expect_error(2, "--out", *module)
        self.expect_error(2, "--module", "--out", self.out)
        self.expect_error(2, "package.module:function", "--module", "tests.models", "--out", self.out)
        self.expect_error(2, "nowhere", "--module", "nowhere:f", "--out", self.out)
        self.expect_error(2, "no function 'f'", "--module", "tests.models:f", "--out", self.out)
        self.expect_error(2, "--rows", *module, "--out", self.out, "--rows", "-1")
        self.expect_error(2, "keeps nothing", *module, "--out", self.out, "--rows", "0")
        self.expect_error(2, "--bogus", *module, "--out", self.out, "--bogus")

    def test_bad_input(self):
        self.expect_error(4, "returned int", "--module", "tests.models:wrong", "--out", self.out)
        self.expect_error(4, "no linear layer", "--module", "tests.models:no_layers", "--out", self.out)
        missing = os.path.join(self.folder, "missing.safetensors")
        self.expect_error(
            4,
            "missing.safetensors",
            "--module",
            "tests.models:example",
            "--out",
            self.out,
            "--checkpoint",
            missing,
        )
        with open(missing, "w") as file:
            file.write("not a checkpoint")
        self.expect_error(
            4,
            "not a safetensors file",
            "--module",
            "tests.models:example",
            "--out",
            self.out,
            "--checkpoint",
            missing,
        )

    def test_failures(self):
        self.expect_error(
            1, "no such weights in the folder", "--module", "tests.models:raises", "--out", self.out
        )
        self.expect_error(
            1, "no linear layer was called", "--module", "tests.models:nothing_called", "--out", self.out
        )
        self.expect_error(1, "is a folder", "--module", "tests.models:example", "--out", self.folder)

    @unittest.skipUnless(os.name == "posix", "signals")
    def test_an_interrupt_writes_nothing(self):
        program = os.path.join(self.folder, "endless.py")
        with open(program, "w") as file:
            file.write(
                "import sys\nfrom tests.models import example\n"
                "def run(module):\n"
                "    import torch\n"
                "    while True:\n"
                "        module(torch.ones(2, 5, 16))\n"
                "        print('pass', flush=True)\n"
                "def function():\n"
                "    return example()[0], run\n"
            )
        environment = os.environ | {"PYTHONPATH": self.folder}
        with subprocess.Popen(
            [sys.executable, "-m", "ctq_capture", "--module", "endless:function", "--out", self.out],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertEqual(errors.strip(), "ctq_capture: interrupted, nothing written")
        self.assertFalse(os.path.exists(self.out))
