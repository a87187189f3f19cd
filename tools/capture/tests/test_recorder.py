import json
import hashlib
import logging
import os
import tempfile
import unittest

import torch
from torch import nn

from ctq_capture import Recorder
from .files import read_back
from .models import Attention, Conditioned, Transformer, steps_of


class LooksLikeLinear(nn.Module):
    """As the layers of ComfyUI's mixed-precision operations: nothing of nn.Linear but the attributes."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.randn(out_features, in_features))

    def forward(self, input):
        return input @ self.weight.T


class OwnForward(nn.Linear):
    def forward(self, *args, **kwargs):
        return nn.functional.linear(kwargs["input"] if kwargs else args[0], self.weight, self.bias)


class Case(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(11)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "model.calibration.safetensors")

    def record(self, module, batches, **options):
        with Recorder(**options).attach(module) as recorder, torch.no_grad():
            for batch in batches:
                module(batch)
        recorder.save(self.path)
        return read_back(self.path)


class Moments(Case):
    def test_hessian_is_the_mean_of_the_products_of_all_rows(self):
        module = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
        batches = [torch.randn(shape) for shape in ((3, 12), (2, 5, 12), (2, 3, 4, 12), (12,))]
        tensors, _ = self.record(module, batches, hessian=True, rows=16)
        x = torch.cat([b.reshape(-1, 12) for b in batches]).double()
        y = module[1](module[0].double()(x))
        for name, rows in (("0", x), ("2", y)):
            h = rows.T @ rows / len(rows)
            self.assertLess(((tensors[f"{name}.hessian"] - h).abs().max() / h.abs().max()).item(), 1e-5)
            torch.testing.assert_close(tensors[f"{name}.mean"].double(), rows.mean(0), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(
                tensors[f"{name}.channel_max"].double(), rows.abs().amax(0), rtol=1e-5, atol=1e-6
            )
            torch.testing.assert_close(
                tensors[f"{name}.channel_mean"].double(), rows.abs().mean(0), rtol=1e-5, atol=1e-6
            )
            torch.testing.assert_close(
                tensors[f"{name}.second_moment"].double(), rows.square().mean(0), rtol=1e-5, atol=1e-6
            )
            self.assertAlmostEqual(
                tensors[f"{name}.input_scale"].item(), rows.abs().max().item() / 127, places=6
            )
            self.assertEqual(tuple(tensors[f"{name}.rows"].shape), (16, rows.shape[1]))
            self.assertEqual(tensors[f"{name}.rows"].dtype, torch.bfloat16)

    def test_rows_are_rows_of_the_input(self):
        x = torch.randn(200, 6)
        tensors, metadata = self.record(nn.Sequential(nn.Linear(6, 2)), x.split(9), rows=50)
        known = {tuple(row) for row in x.to(torch.bfloat16).tolist()}
        rows = tensors["0.rows"].tolist()
        self.assertEqual(len(rows), 50)
        self.assertTrue(all(tuple(row) in known for row in rows))
        self.assertNotIn("0.hessian", tensors)
        self.assertEqual(json.loads(metadata["counts"]), {"0": 200})

    def test_half_precision_inputs_are_counted_in_float32(self):
        for dtype in (torch.bfloat16, torch.float16):
            module = nn.Sequential(nn.Linear(8, 8)).to(dtype)
            x = (100 * torch.randn(300, 8)).to(dtype)
            tensors, _ = self.record(module, x.split(30), hessian=True, rows=0)
            h = x.double().T @ x.double() / 300
            self.assertLess(((tensors["0.hessian"] - h).abs().max() / h.abs().max()).item(), 1e-5)
            self.assertNotIn("0.rows", tensors)

    def test_the_same_seed_gives_the_same_file_whatever_ran_before(self):
        module, batches = Transformer(), [torch.randn(4, 5, 16) for _ in range(10)]
        files = []
        for seed in (1, 1, 2):
            torch.randn(seed)  # the global generator has no say
            self.record(module, batches, rows=32, seed=seed)
            with open(self.path, "rb") as file:
                files.append(file.read())
        self.assertEqual(files[0], files[1])
        self.assertNotEqual(files[1], files[2])

    def test_the_model_computes_what_it_did(self):
        module, x = Transformer(), torch.randn(2, 5, 16)
        expected = module(x)
        with Recorder(rows=8, hessian=True).attach(module):
            self.assertTrue(torch.equal(module(x), expected))
        self.assertFalse(any(m._forward_pre_hooks or m._forward_hooks for m in module.modules()))

    def test_inference_mode_and_autograd_can_alternate(self):
        module = Transformer()
        with Recorder(rows=8, hessian=True).attach(module) as recorder:
            with torch.inference_mode():
                module(torch.randn(2, 5, 16))
            module(torch.randn(2, 5, 16)).sum().backward()
            with torch.inference_mode():
                module(torch.randn(2, 5, 16))
                recorder.save(self.path)
        self.assertEqual(json.loads(read_back(self.path)[1]["counts"])["blocks.0.attn.q"], 30)

    def test_ten_thousand_passes_in_constant_memory(self):
        module, x = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), torch.randn(4, 8)
        with Recorder(rows=16).attach(module) as recorder, torch.no_grad():
            for i in range(10_000):
                module(x + i % 3)
        self.assertEqual(recorder.samples, 10_000)
        self.assertEqual(len(recorder._seen), 0)
        self.assertEqual(sum(len(la.entry.statistics.sample._rows) for la in recorder.recorded), 32)

    def test_calls_outside_a_pass_leave_little_behind(self):
        module = nn.Sequential(nn.Linear(8, 8))
        with Recorder(rows=16).attach(module) as recorder, torch.no_grad():
            for _ in range(10_000):
                module[0](torch.randn(2, 8))
        self.assertEqual(recorder.recorded[0].entry.statistics.count, 20_000)
        self.assertLess(len(recorder._seen), 4100)


class Sharing(Case):
    def test_q_k_and_v_share_one_entry(self):
        for context in (torch.no_grad, torch.inference_mode):
            with context():
                tensors, metadata = self.record(
                    Transformer(depth=2), [torch.randn(2, 5, 16) for _ in range(4)], rows=8
                )
            shared = json.loads(metadata["shared"])
            self.assertEqual(
                shared, {f"blocks.{i}.attn.{k}": f"blocks.{i}.attn.q" for i in (0, 1) for k in "kv"}
            )
            owners = {name.rsplit(".", 1)[0] for name in tensors}
            self.assertEqual(
                owners, {f"blocks.{i}.{n}" for i in (0, 1) for n in ("attn.q", "attn.o", "fc1", "fc2")}
            )
            self.assertEqual(set(json.loads(metadata["counts"]).values()), {40})

    def test_views_of_one_tensor_are_one_input(self):
        class Flattening(Attention):
            def forward(self, x):
                self.q(x.flatten(0, 1)), self.k(x.flatten(0, 1)), self.v(x.flatten(0, 1))

        _, metadata = self.record(Flattening(8), [torch.randn(2, 5, 8)], rows=4)
        self.assertEqual(json.loads(metadata["shared"]), {"k": "q", "v": "q"})

    def test_memory_that_is_used_again_is_another_input(self):
        class Reusing(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(8, 1) for _ in range(20))

            def forward(self, x):
                for i, layer in enumerate(self.layers):
                    layer(x + i)  # freed at once: the next one may get the same address

        _, metadata = self.record(Reusing(), [torch.zeros(4, 8)], rows=4)
        self.assertEqual(metadata["shared"], "{}")

    def test_a_change_in_place_is_another_input(self):
        class InPlace(Attention):
            def forward(self, x):
                x = x.clone()
                self.q(x)
                x += 1
                self.k(x), self.v(x)

        for context in (torch.no_grad, torch.inference_mode):
            with context():
                tensors, metadata = self.record(InPlace(8), [torch.zeros(3, 8)], rows=4)
            self.assertEqual(json.loads(metadata["shared"]), {"v": "k"})
            self.assertEqual((tensors["q.mean"].max().item(), tensors["k.mean"].max().item()), (0, 1))

    def test_context_that_all_blocks_read_is_stored_once(self):
        class CrossAttention(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList(Attention(8) for _ in range(3))

            def forward(self, batch):
                x, context = batch
                for block in self.blocks:
                    x = x + block.o(block.q(x) + block.k(context) + block.v(context))

        batches = [(torch.randn(5, 8), torch.randn(5, 8)) for _ in range(3)]
        _, metadata = self.record(CrossAttention(), batches, rows=4)
        self.assertEqual(
            json.loads(metadata["shared"]),
            {f"blocks.{i}.{n}": "blocks.0.k" for i in range(3) for n in "kv" if (i, n) != (0, "k")},
        )

    def test_a_layer_that_later_reads_something_else_gets_its_own_entry(self):
        class Switching(Attention):
            def forward(self, batch):
                x, y = batch
                self.q(x), self.k(x), self.v(y)

        a, b = torch.ones(2, 8), torch.full((2, 8), 5.0)
        tensors, metadata = self.record(Switching(8), [(a, a), (a, b), (a, b)], rows=4)
        self.assertEqual(json.loads(metadata["shared"]), {"k": "q"})
        self.assertEqual(json.loads(metadata["counts"]), {"q": 6, "v": 4})
        self.assertEqual((tensors["q.mean"][0].item(), tensors["v.mean"][0].item()), (1, 5))

    def test_a_layer_that_misses_an_input_of_its_owner_gets_its_own_entry(self):
        class Skipping(Attention):
            def forward(self, batch):
                x, all_layers = batch
                self.q(x), self.k(x)
                if all_layers:
                    self.v(x)

        a, b = torch.ones(2, 8), torch.full((2, 8), 5.0)
        tensors, metadata = self.record(Skipping(8), [(a, True), (b, False), (a, True), (a, True)], rows=4)
        self.assertEqual(json.loads(metadata["shared"]), {"k": "q"})
        self.assertEqual(tensors["v.mean"][0].item(), 1)

    def test_a_layer_first_called_later_does_not_take_over_earlier_inputs(self):
        class Late(Attention):
            def forward(self, batch):
                x, late = batch
                self.q(x)
                if late:
                    self.k(x)

        a, b = torch.ones(2, 8), torch.full((2, 8), 5.0)
        tensors, metadata = self.record(Late(8), [(b, False), (a, True)], rows=4)
        self.assertEqual(metadata["shared"], "{}")
        self.assertEqual((tensors["q.mean"][0].item(), tensors["k.mean"][0].item()), (3, 1))

    def test_an_interrupted_pass_parts_nobody(self):
        class Interrupted(Attention):
            def forward(self, batch):
                x, stop = batch
                self.q(x), self.k(x)
                if stop:
                    raise KeyboardInterrupt
                self.v(x)

        module, x = Interrupted(8), torch.randn(2, 8)
        with Recorder(rows=4).attach(module) as recorder:
            module((x, False))
            with self.assertRaises(KeyboardInterrupt):
                module((x + 1, True))
            module((x + 2, False))
        self.assertEqual(json.loads(recorder.metadata()["shared"]), {"k": "q", "v": "q"})

    def test_a_layer_called_twice_counts_both_inputs(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x):
                for y in (x, x + 2):
                    self.q(y), self.k(y)

        tensors, metadata = self.record(Twice(), [torch.zeros(3, 4)], rows=4)
        self.assertEqual(json.loads(metadata["counts"]), {"q": 6})
        self.assertEqual(tensors["q.mean"][0].item(), 1)


class Layers(Case):
    def test_a_layer_that_is_never_called_is_listed(self):
        module = Transformer(depth=2)
        module.spare = nn.Linear(3, 3)
        tensors, metadata = self.record(module, [torch.randn(2, 5, 16)], rows=8)
        self.assertEqual(json.loads(metadata["uncalled"]), ["spare"])
        self.assertFalse(any(name.startswith("spare") for name in tensors))

    def test_only_rows_that_are_not_finite_are_as_never_called(self):
        module = nn.Sequential(nn.Linear(3, 3))
        with Recorder(rows=4).attach(module) as recorder:
            module(torch.full((2, 3), float("nan")))
        self.assertEqual(recorder.uncalled, ["0"])
        with self.assertRaisesRegex(ValueError, "no linear layer was called"):
            recorder.save(self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_layers_of_other_libraries_are_recorded(self):
        class LinearWithAdapter(nn.Module):
            """As adapter libraries wrap a layer: with its attributes, and the layer within."""

            def __init__(self):
                super().__init__()
                self.base_layer = nn.Linear(4, 4)
                self.in_features = self.out_features = 4

            @property
            def weight(self):
                return self.base_layer.weight

            def forward(self, x):
                return self.base_layer(x)

        module = nn.Sequential(
            LooksLikeLinear(4, 4),
            OwnForward(4, 4),
            LinearWithAdapter(),
            nn.Embedding(4, 4),
            nn.Bilinear(4, 4, 4),
            nn.Conv2d(4, 4, 1),
        )
        recorder = Recorder(rows=4)
        self.assertEqual(list(recorder.prepare(module)), ["0", "1", "2.base_layer"])
        self.assertEqual([layer.name for layer in recorder.layers.values()], ["0", "1", "2"])
        with recorder.attach(module):
            module[0](input=torch.randn(2, 4)), module[1](input=torch.randn(2, 4)), module[2](
                torch.randn(2, 4)
            )
        self.assertEqual(recorder.uncalled, [])

    def test_attached_again_it_goes_on(self):
        module, recorder = Transformer(), Recorder(rows=8)
        for _ in range(3):
            with recorder.attach(module):
                module(torch.randn(1, 5, 16))
            module(torch.randn(1, 5, 16))  # not recorded
        self.assertEqual(recorder.samples, 3)
        self.assertEqual(recorder.recorded[0].entry.statistics.count, 15)
        with self.assertRaisesRegex(ValueError, "other layers"):
            recorder.attach(Transformer(depth=3))

    def test_what_cannot_be_recorded_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no linear layer"):
            Recorder().attach(nn.ReLU())
        with self.assertRaisesRegex(ValueError, "itself a linear layer"):
            Recorder().attach(nn.Linear(2, 2))
        with self.assertRaisesRegex(ValueError, "nothing to keep"):
            Recorder(rows=0)
        with Recorder(rows=4, prefix="head").attach(nn.Linear(2, 2)) as recorder:
            self.assertEqual([layer.name for layer in recorder.layers.values()], ["head"])

    def test_the_row_mask_leaves_padding_out(self):
        module = nn.Sequential(nn.Linear(4, 4))
        mask = torch.tensor([[True, True, False], [True, False, False]])
        x = torch.where(mask[..., None], 1.0, 9.0).expand(2, 3, 4)
        with Recorder(rows=8).attach(module) as recorder:
            recorder.row_mask = mask
            module(x)
        self.assertEqual(recorder.recorded[0].entry.statistics.count, 3)
        self.assertEqual(recorder.recorded[0].entry.statistics.channel_max.max().item(), 1)


class Pictures(Case):
    def record_pictures(self, count, *, rows=512, begin=True):
        module = Conditioned()
        with Recorder(rows=rows).attach(module) as recorder, torch.no_grad():
            for picture in range(count):
                if begin:
                    recorder.begin_picture()
                for step in steps_of(picture):
                    module(*step)
        recorder.save(self.path)
        return recorder, *read_back(self.path)

    def test_rows_know_their_count_picture_and_step(self):
        recorder, tensors, metadata = self.record_pictures(3)
        self.assertEqual(recorder.pictures, 3)
        self.assertEqual(json.loads(metadata["counts"]), {"img_in": 384, "txt_in": 384, "time_in": 12})
        self.assertEqual(json.loads(metadata["distinct"]), {"img_in": 384, "txt_in": 96, "time_in": 4})
        expected = {}
        for picture in range(3):
            for step, (image, text, time) in enumerate(steps_of(picture)):
                for name, x in (("img_in", image), ("txt_in", text), ("time_in", time)):
                    for row in x.to(torch.bfloat16).tolist():
                        key = (name, tuple(row))
                        count, *first = expected.get(key, (0, picture, step))
                        expected[key] = (count + 1, *first)
        found = {}
        for name in ("img_in", "txt_in", "time_in"):
            lines = [tensors[f"{name}.row_{kind}"] for kind in ("counts", "pictures", "steps")]
            self.assertEqual({line.dtype for line in lines}, {torch.int32})
            for row, *line in zip(tensors[f"{name}.rows"].tolist(), *(line.tolist() for line in lines)):
                found[name, tuple(row)] = tuple(line)
        self.assertEqual(found, expected)

    def test_without_begin_picture_all_is_one(self):
        recorder, tensors, _ = self.record_pictures(2, begin=False)
        self.assertEqual(recorder.pictures, 1)
        self.assertEqual(tensors["img_in.row_pictures"].max().item(), 0)
        self.assertEqual(tensors["img_in.row_steps"].unique().tolist(), list(range(8)))

    def test_a_picture_that_is_begun_twice_is_one(self):
        module = Transformer()
        with Recorder(rows=8).attach(module) as recorder:
            for _ in range(3):
                recorder.begin_picture()
                recorder.begin_picture()
                module(torch.randn(2, 5, 16))
        self.assertEqual(recorder.pictures, 3)

    def test_the_effective_rank_is_in_the_finished_file(self):
        recorder, tensors, metadata = self.record_pictures(2)
        ranks = json.loads(metadata["effective_ranks"])
        self.assertEqual(ranks["time_in"], 1)  # all columns are the same
        x = tensors["txt_in.rows"].double()
        h = x.T @ x
        self.assertAlmostEqual(ranks["txt_in"], (h.trace() ** 2 / h.square().sum()).item(), places=2)
        recorder.save(self.path, final=False)
        self.assertNotIn("effective_ranks", read_back(self.path)[1])

    def test_it_says_what_to_record_more_of(self):
        recorder, *_ = self.record_pictures(2)
        few, steps = recorder.advice()
        self.assertRegex(few, "^1 layer sees only the conditioning .few distinct rows.: record more prompts")
        self.assertRegex(steps, "^1 layer sees only the time step .*: record other numbers of steps$")

    def test_it_says_so_of_a_sample_that_is_full_too(self):
        recorder, tensors, metadata = self.record_pictures(4, rows=64)
        self.assertEqual(tensors["img_in.row_pictures"].bincount().tolist(), [16] * 4)
        self.assertEqual(json.loads(metadata["distinct"])["img_in"], 512)
        self.assertEqual(len(recorder.advice()), 2)

    def test_the_summary_of_a_save(self):
        recorder, *_ = self.record_pictures(2)
        with self.assertLogs("ctq_capture", logging.INFO) as logs:
            recorder.save(self.path)
        lines = [line.getMessage() for line in logs.records]
        self.assertTrue(lines[0].endswith("3 layers, 3 distinct inputs, 8 samples of 2 pictures"), lines)
        self.assertRegex(lines[1], "^an input has 4 to 256 distinct rows, of effective rank 1.0 to ")
        self.assertEqual(lines[2:], recorder.advice())

    def test_where_all_is_well_it_says_nothing(self):
        module = Transformer()
        with Recorder(rows=64).attach(module) as recorder:
            for _ in range(3):  # texts: a pass each, other rows
                recorder.begin_picture()
                module(torch.randn(2, 5, 16))
        self.assertEqual(recorder.advice(), [])
        module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        with Recorder(rows=64).attach(module) as recorder:
            for _ in range(9):  # word by word
                module(torch.randn(1, 4))
        self.assertEqual(recorder.advice(), [])


class QuantizedTensor(torch.Tensor):
    """As ComfyUI's: a tensor of floats by its type, codes within."""

    @classmethod
    def make(cls, x):
        scale = x.abs().max() / 127
        made = (x / scale).round().mul(scale).as_subclass(cls)
        return made

    def dequantize(self):
        return self.as_subclass(torch.Tensor)


class Fused(nn.Module):
    """The second layer's weight is used without calling it."""

    def __init__(self):
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, x):
        weight = self.ffn[2].weight.dequantize()
        return nn.functional.linear(nn.functional.gelu(self.ffn[0](x)), weight)


class Warnings(Case):
    def logged(self, function):
        with self.assertLogs("ctq_capture", logging.WARNING) as logs:
            function()
        return [line.getMessage() for line in logs.records]

    def test_a_quantized_model_is_told_once_and_its_inputs_are_recorded(self):
        for weight in (QuantizedTensor.make(torch.randn(8, 4)), torch.randn(8, 4).to(torch.float8_e4m3fn)):
            module = nn.Sequential(LooksLikeLinear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            module[0].weight = nn.Parameter(weight, requires_grad=False)
            module[0].forward = lambda x, w=weight: x.as_subclass(torch.Tensor) @ w.float().T
            recorder = Recorder(rows=8)
            lines = self.logged(lambda: recorder.attach(module).attach(module))
            self.assertEqual(
                lines, ["1 of 2 linear layers are quantized already: record the unquantized model (0)"]
            )
            with recorder, torch.no_grad():
                module(QuantizedTensor.make(torch.randn(3, 4)))
            self.assertEqual(recorder.uncalled, [])

    def test_a_quantized_layer_that_is_used_without_a_call(self):
        module = Fused()
        module.ffn[2].weight = nn.Parameter(QuantizedTensor.make(torch.randn(4, 8)), requires_grad=False)
        recorder = Recorder(rows=8)
        self.logged(lambda: recorder.attach(module))
        with recorder, torch.no_grad():
            module(torch.randn(3, 4))
        lines = self.logged(lambda: recorder.save(self.path))
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], r"never called, not in the file: ffn.2 \(1 of them quantized")

    def test_a_compiled_model_is_told(self):
        inner = Transformer(width=8, depth=1)
        for module in (
            torch.compile(inner, backend="eager"),
            nn.Sequential(torch.compile(inner, backend="eager")),
        ):
            with Recorder(rows=8).attach(module) as recorder:
                pass
            with self.assertRaisesRegex(ValueError, "nothing to write. The module is compiled"):
                recorder.save(self.path)

    def test_a_hook_that_is_met_within_a_graph(self):
        module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
        with Recorder(rows=8).attach(module) as recorder, torch.no_grad():
            graph = torch.compile(module[1], backend="eager")
            graph(module[0](torch.randn(3, 4)))
        lines = self.logged(lambda: recorder.save(self.path))
        self.assertRegex(lines[0], "never called, not in the file: 1.0")
        self.assertRegex(lines[1], "may lack something. The module is compiled")

    def test_one_line_of_each_kind(self):
        module = nn.Sequential(nn.Linear(4, 4), *(nn.Linear(3, 3) for _ in range(20)))
        with Recorder(rows=8).attach(module) as recorder:
            module[0](torch.tensor([[1.0, 2, 3, 4], [float("nan")] * 4]))
        lines = self.logged(lambda: recorder.save(self.path))
        self.assertEqual(len(lines), 2)
        self.assertIn("and 12 more", lines[0])
        self.assertEqual(lines[1], "1 rows left out: not finite")


class Metadata(Case):
    def test_it_says_what_it_was_made_of(self):
        module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5))
        _, metadata = self.record(
            module, [torch.randn(7, 3)] * 2, rows=4, seed=9, source="two batches", prefix="net"
        )
        lines = "net.0 2 3\nnet.1 5 2\n"
        self.assertEqual(metadata["layers_sha256"], hashlib.sha256(lines.encode()).hexdigest())
        expected = {
            "format": "ctq-calibration",
            "version": "1",
            "source": "two batches",
            "seed": "9",
            "samples": "2",
            "rows": "4",
            "uncalled": "[]",
            "shared": "{}",
            "skipped": "{}",
        }
        self.assertEqual({key: metadata[key] for key in expected}, expected)
        self.assertTrue(all(isinstance(value, str) for value in metadata.values()))

    def test_the_safetensors_package_reads_it(self):
        try:
            from safetensors import safe_open
        except ImportError:
            self.skipTest("the safetensors package is not installed")
        ours, metadata = self.record(Transformer(), [torch.randn(2, 5, 16)], rows=8, hessian=True)
        with safe_open(self.path, framework="pt") as file:
            self.assertEqual(file.metadata(), metadata)
            self.assertEqual(set(file.keys()), set(ours))
            for name, tensor in ours.items():
                self.assertTrue(torch.equal(file.get_tensor(name), tensor), name)
