"""Tests of bench/clients that need no ComfyUI: bench_clients.py PROJECT. Prints "[skipped] ..." where torch is missing."""
import importlib
import json
import random
import sys
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(sys.argv.pop(1)) if len(sys.argv) > 1 else Path(__file__).parents[2]
GOLDEN = PROJECT / "tests" / "golden"
sys.path.insert(0, str(PROJECT / "bench" / "clients"))
try:
    importlib.import_module("torch")
except (ImportError, OSError) as absent:  # also where CUDA's libraries are missing: the program needs none
    print(f"[skipped] torch: {absent}")
    sys.exit(0)

import check  # noqa: E402
import configurations  # noqa: E402
import encoders  # noqa: E402
import facts  # noqa: E402
import layout  # noqa: E402


class Names(unittest.TestCase):
    def test_a_range_stands_for_each_number(self):
        self.assertEqual(layout.expand("a.{9-11}.b"), ["a.9.b", "a.10.b", "a.11.b"])
        self.assertEqual(layout.expand("{0-1}.{2-3}"), ["0.2", "0.3", "1.2", "1.3"])
        self.assertEqual(layout.expand("a.0.b"), ["a.0.b"])

    def test_the_longest_run_is_one_line(self):
        names = [f"blocks.{i}.mlp.{j}.weight" for i in range(12) for j in (0, 2)]
        entries = [layout.Entry("BF16", (4, 4), name) for name in names]
        self.assertEqual([entry.name for entry in layout.collapse(entries)],
                         ["blocks.{0-11}.mlp.0.weight", "blocks.{0-11}.mlp.2.weight"])

    def test_other_types_and_shapes_are_not_joined(self):
        entries = [layout.Entry("BF16", (4, 4), "a.0"), layout.Entry("F32", (4, 4), "a.1"),
                   layout.Entry("BF16", (4, 5), "a.2")]
        self.assertEqual(layout.shortest(entries), entries)

    def test_numbers_with_zeros_before_them_stay(self):
        entries = [layout.Entry("BF16", (1,), name) for name in ("a.00", "a.01", "a.02")]
        self.assertEqual(layout.shortest(entries), entries)

    def test_any_set_of_names_comes_back(self):
        rng = random.Random(16)
        for _ in range(50):
            found = {(".".join(rng.choice(["a", "b", "0", "1", "2", "3", "10", "x1"]) for _ in range(rng.randint(1, 4))))
                     for _ in range(rng.randint(1, 40))}
            entries = [layout.Entry(rng.choice(["BF16", "F32"]), (rng.randint(1, 2),), name) for name in sorted(found)]
            for joined in (layout.collapse(entries), layout.shortest(entries)):
                again = [entry._replace(name=name) for entry in joined for name in layout.expand(entry.name)]
                self.assertEqual(sorted(again), sorted(entries))


class Golden(unittest.TestCase):
    def test_layouts_are_those_of_the_tables(self):
        for folder, table in (("layouts", {name: row[0] for name, row in configurations.PUBLISHED.items()}),
                              ("encoders", {name: row.family for name, row in encoders.ENCODERS.items()})):
            files = {path.stem: path for path in (GOLDEN / folder).glob("*.txt")}
            self.assertEqual(set(files), set(table), folder)
            for name, path in files.items():
                family, tensors = layout.read(path)
                self.assertEqual(family, table[name], name)
                self.assertEqual(len({entry.name for entry in tensors}), len(tensors), name)

    def test_a_layout_is_written_as_it_was_read(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in sorted((GOLDEN / "layouts").glob("*.txt")):
                copy = Path(folder) / path.name
                family, tensors = layout.read(path)
                layout.write(copy, family, tensors)
                self.assertEqual(sorted(copy.read_text("utf-8").splitlines()),
                                 sorted(path.read_text("utf-8").splitlines()), path.name)

    def test_facts_are_about_weights_of_the_layouts(self):
        for path in (GOLDEN / "clients").glob("comfyui-*.txt"):
            for name, lines in facts.read(path).items():
                tensors = {entry.name for entry in layout.read(GOLDEN / "layouts" / f"{name}.txt")[1]}
                for line in lines.splitlines()[1:]:
                    kind, layers = line.split(" ", 1)
                    self.assertIn(kind, ("plain", "table", "columns", "rows"))
                    for layer in layout.expand(layers):
                        self.assertIn(f"{layer}.weight", tensors, f"{name}: {kind}")

    def test_facts_are_written_as_they_were_read(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in (GOLDEN / "clients").glob("comfyui-*.txt"):
                copy = Path(folder) / path.name
                facts.write(copy, path.stem.removeprefix("comfyui-"), facts.read(path))
                self.assertEqual(copy.read_text("utf-8"), path.read_text("utf-8"))

    def test_facts_of_encoders_name_every_layout(self):
        known = json.loads((GOLDEN / "encoders.json").read_text("utf-8"))
        self.assertEqual(set(known), {path.stem for path in (GOLDEN / "encoders").glob("*.txt")})

    def test_verdicts_are_of_known_families_and_formats(self):
        for path in (GOLDEN / "clients").glob("verdicts-*.txt"):
            lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
            self.assertTrue(lines, path.name)
            seen = set()
            for line in lines:
                family, format_name, client, verdict, layers = line.split(" ")
                self.assertIn(family, check.families.ALL)
                self.assertIn(format_name, check.FORMATS)
                self.assertIn(client, check.CLIENTS)
                self.assertIn(verdict, ("loads", "refused") if client == "comfyui" else ("loads", "fails"), line)
                self.assertNotIn((family, format_name, client), seen)
                seen.add((family, format_name, client))


class Marks(unittest.TestCase):
    def checked(self, loads: bool, verified: bool, client: str) -> check.Checked:
        return check.Checked("flux", "fp8", client, loads, "", {"nvfp4": 2, "float8_e4m3fn": 1}, 0.0, 0.0, verified, "")

    def test_a_disagreement_is_wrong_whoever_it_was_written_for(self):
        for client in check.CLIENTS:
            self.assertEqual(self.checked(True, False, client).mark, "!!")
            self.assertEqual(self.checked(False, True, client).mark, "!!")
            self.assertEqual(self.checked(True, True, client).mark, "  ")

    def test_an_unreadable_file_is_wrong_where_it_was_written_for_the_client(self):
        self.assertEqual(self.checked(False, False, "comfyui").mark, " x")
        self.assertEqual(self.checked(False, False, "any").mark, "  ")

    def test_a_refusal_is_right_where_the_file_for_any_client_fails(self):
        forced = check.Checked("clip_l", "fp8", "any", False, "?", {}, 0.0, 0.0, False, "?")
        refused = check.dataclasses.replace(forced, client="comfyui", refused=True)
        self.assertEqual((refused.mark, refused.line()), ("  ", "clip_l fp8 comfyui refused -"))

    def test_a_verdict_is_one_line_of_five_words(self):
        self.assertEqual(self.checked(True, True, "any").line(), "flux fp8 any loads float8_e4m3fn:1,nvfp4:2")

    def test_a_verdict_takes_the_place_of_an_older_one(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "verdicts.txt"
            for loads, client in ((True, "any"), (True, "comfyui"), (False, "any")):
                check.add_verdict(path, "0.0", self.checked(loads, loads, client))
            lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
            self.assertEqual([line.split()[2:4] for line in lines], [["comfyui", "loads"], ["any", "fails"]])


if __name__ == "__main__":
    unittest.main()
