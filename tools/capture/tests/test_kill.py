"""A process that is killed leaves the file of before."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import torch

from ctq_capture import write_safetensors
from .files import read_back

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WIDTH = 512

# Records without end, and writes after every pass: rows hold the number of the pass and their own.
ENDLESS = f"""
import sys, torch
from torch import nn
from ctq_capture import Recorder
torch.set_num_threads(1)
module = nn.Sequential(nn.Linear({WIDTH}, 1))
recorder = Recorder(rows=4096, hessian=True, autosave=sys.argv[1], autosave_seconds=0)
with recorder.attach(module), torch.no_grad():
    for i in range(1, 1_000_000):
        x = torch.full((64, {WIDTH}), float(i))
        x[1:, 0] = torch.arange(1, 64) / 64
        module(x)
        print(i, flush=True)
"""

RECORDS_WITHOUT_SAVING = ENDLESS.replace("autosave=sys.argv[1], autosave_seconds=0", "")


class Killed(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "model.calibration.safetensors")

    def run_and_kill(self, program, after_passes, wait=lambda: None):
        with subprocess.Popen(
            [sys.executable, "-c", program, self.path], cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            for _ in range(after_passes):
                self.assertTrue(process.stdout.readline(), "the recording process died by itself")
            wait()
            process.kill()
        self.assertEqual(process.returncode, -signal.SIGKILL if os.name == "posix" else 1)

    def wait_for_a_write(self):
        end = time.monotonic() + 30
        while not os.path.exists(self.path + ".tmp") and time.monotonic() < end:
            pass

    def test_while_saving(self):
        inside_a_write = attempts = 0
        while inside_a_write < 3 and attempts < 20:  # a write may end between the look and the kill
            attempts += 1
            self.run_and_kill(ENDLESS, 2, self.wait_for_a_write)
            tensors, metadata = read_back(self.path)  # whole, every time
            passes = int(metadata["samples"])
            self.assertGreaterEqual(passes, 2)
            self.assertEqual(tensors["0.channel_max"].tolist(), [float(passes)] * WIDTH)
            self.assertEqual(len(tensors["0.rows"]), min(4096, 64 * passes))
            inside_a_write += os.path.exists(self.path + ".tmp")
        self.assertEqual(inside_a_write, 3)
        # What a killed process left beside the file is not in the way of the next one.
        write_safetensors(self.path, [("a", torch.float32, (2,), lambda: torch.ones(2))], {"format": "x"})
        self.assertFalse(os.path.exists(self.path + ".tmp"))

    def test_while_recording(self):
        with open(self.path, "wb") as file:
            file.write(b"the previous file")
        self.run_and_kill(RECORDS_WITHOUT_SAVING, 3)
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), b"the previous file")

    def test_an_error_while_writing_leaves_the_previous_file_and_nothing_else(self):
        def full_disk():
            raise OSError(28, "No space left on device")

        write_safetensors(self.path, [("a", torch.float32, (2,), lambda: torch.ones(2))], {"format": "x"})
        with self.assertRaises(OSError):
            write_safetensors(
                self.path,
                [("a", torch.float32, (2,), lambda: torch.zeros(2)), ("b", torch.float32, (2,), full_disk)],
                {"format": "x"},
            )
        self.assertEqual(read_back(self.path)[0]["a"].tolist(), [1, 1])
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [os.path.basename(self.path)])
