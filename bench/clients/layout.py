"""Layouts: the tensors of a model as text, one line for those that differ in a number only.

    BF16 [9216,3072] double_blocks.{0-18}.img_attn.qkv.weight

`{0-18}` stands for each of the numbers, and several for every combination. Needs Python's standard library only.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

RANGE = re.compile(r"\{(\d+)-(\d+)\}")
NUMBER = re.compile(r"(?<![\d{-])(?:0|[1-9]\d*)(?!\d)")  # not one of a range, and not "007"


class Entry(NamedTuple):
    """A tensor, or several of the same type and shape whose names are a range."""

    dtype: str  # as a safetensors header has it; may be left empty
    shape: tuple[int, ...]
    name: str

    def text(self) -> str:
        return f"{self.dtype} {json.dumps(self.shape, separators=(',', ':'))} {self.name}"


def expand(name: str) -> list[str]:
    """Every name that a range stands for: "a.{0-1}.b" -> ["a.0.b", "a.1.b"]."""
    found = RANGE.search(name)
    if not found:
        return [name]
    before, after = name[:found.start()], name[found.end():]
    return [text for i in range(int(found[1]), int(found[2]) + 1) for text in expand(f"{before}{i}{after}")]


def collapse(entries: Iterable[Entry]) -> list[Entry]:
    """Joins entries that differ in one number into ranges, the longest first. An entry's place is that of its first member."""
    entries = list(entries)
    place = {entry.name: i for i, entry in enumerate(entries)}
    heap = [_ranked(*run) for run in _runs(entries)]
    heapq.heapify(heap)
    taken, out = set(), []
    while heap:
        _, _, before, after, run = heapq.heappop(heap)
        free = [(number, name) for number, name in run if name not in taken]
        if len(free) < len(run):  # a longer run has some of them: what is left is ranked anew
            for part in _consecutive(free):
                heapq.heappush(heap, _ranked(before, after, part))
            continue
        taken |= {name for _, name in run}
        out.append((place[run[0][1]], f"{before}{{{run[0][0]}-{run[-1][0]}}}{after}"))
    out += [(i, name) for name, i in place.items() if name not in taken]
    return [entries[i]._replace(name=text) for i, text in sorted(out)]


def shortest(entries: Iterable[Entry]) -> list[Entry]:
    """collapse(), repeated until several ranges stand in a name, where that takes fewer characters."""
    once = now = collapse(entries)
    while len(again := collapse(now)) < len(now):
        now = again
    return min(once, now, key=lambda some: sum(len(entry.text()) + 1 for entry in some))


def names(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> list[str]:
    """Names as ranges, where the shapes are the same."""
    return [entry.name for entry in collapse(Entry("", tuple(shape), name) for name, shape in tensors)]


def write(path: Path, family: str, entries: Iterable[Entry]) -> None:
    """A file that says the same already stays as it is."""
    entries = list(entries)
    if path.is_file():
        known, tensors = read(path)
        if known == family and sorted(tensors) == sorted(entries):
            return
    path.write_text(f"family {family}\n" + "".join(f"{entry.text()}\n" for entry in shortest(entries)), "utf-8")


def read(path: Path) -> tuple[str, list[Entry]]:
    """The family, and all tensors with their names written out."""
    family, entries = "", []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("family "):
            family = line.split(" ", 1)[1]
        elif line and not line.startswith("#"):
            dtype, shape, name = line.split(" ", 2)
            entries += [Entry(dtype, tuple(json.loads(shape)), one) for one in expand(name)]
    return family, entries


def _ranked(before: str, after: str, run: list[tuple[int, str]]) -> tuple:
    return -len(run), len(before), before, after, run


def _runs(entries: list[Entry]) -> Iterable[tuple[str, str, list[tuple[int, str]]]]:
    """All runs of two and more consecutive numbers: text before, text after, (number, name)."""
    groups: dict[tuple, list[tuple[int, str]]] = {}
    for entry in entries:
        for number in NUMBER.finditer(entry.name):
            before, after = entry.name[:number.start()], entry.name[number.end():]
            groups.setdefault((entry.dtype, entry.shape, before, after), []).append((int(number[0]), entry.name))
    for (_, _, before, after), members in groups.items():
        for run in _consecutive(sorted(members)):
            yield before, after, run


def _consecutive(members: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    runs: list[list[tuple[int, str]]] = []
    for member in members:
        if runs and runs[-1][-1][0] + 1 == member[0]:
            runs[-1].append(member)
        else:
            runs.append([member])
    return [run for run in runs if len(run) > 1]
