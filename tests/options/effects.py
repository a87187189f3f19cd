#!/usr/bin/env python3
"""Nothing without effect: effects.py PROJECT BINARY [--only TEXT] [--table FILE] [--jobs N] [--quick] [--keep]

Reads all options of all commands from `--help-json`, and runs each mode of modes.py without and with each option, whose telling value
stands in values.py. An option changes something (exit code, files, what is printed), or a line that is new names it, or an
error does. Exit code 1, and a line each: where none of that holds and justified.py does not say why (SILENT); where the run
fails and its error does not name the option (UNNAMED); an option without a row, or a row without an option; and a reason in
justified.py that nothing needs any more.

`--only` takes a regular expression over "command option | mode". `--table` writes what was found as Markdown. Seconds and
memory in what is printed do not count. Python's standard library alone.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

PROJECT = (
    Path(sys.argv[1]).resolve() if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else Path(__file__).resolve().parents[2]
)
sys.path[1:1] = [str(PROJECT / "bench" / "bytes")]

import justified  # noqa: E402
import modes  # noqa: E402
import values  # noqa: E402
import world  # noqa: E402
from own_checks import OWN_CHECKS  # noqa: E402
from values import Row  # noqa: E402

LIMIT_S = 300  # of a run
VOLATILE = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"(?m)^about .* more, by the first \d+ tensors\n?", ""),  # where a run takes more than ten seconds
        (r"(?m)^ *\d+ %  \d+/\d+ tensors .*\n?", ""),
        (r"\b\d+(\.\d+)?(e-?\d+)? ?(ms|s|min|h)\b", "TIME"),
        (r"\b\d+:\d\d(:\d\d)?\b", "TIME"),
        (r"(peak memory:?) *[\d.]+ \w+", r"\1 MEMORY"),
        (r'"(seconds|eta_s|peak_\w+|elapsed\w*|duration\w*)": ?[\d.e+-]+', r'"\1": TIME'),
        (r"(?m)^\S+ +[\d.]+(?=  (converted|finished before|not started|exit code))", "TIME"),  # the table of a batch
    )
)


def steady(text: str) -> str:
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return text


@dataclass(frozen=True)
class Outcome:
    """What a run left: exit code, hashes of files by name, lines by stream."""

    code: int
    files: tuple[tuple[str, str], ...]
    out: str
    err: str

    def lines(self) -> list[str]:
        return (self.out + "\n" + self.err).splitlines()


def contents(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix in (".json", ".html", ".csv"):
        data = steady(data.decode(errors="replace")).encode()
    return re.sub(rb'(\\"plan\\":\s*\\")[^"\\]*', rb"\1", data)  # of a part: a hash over all options


class Runner:
    """Runs the program in folders of their own, equal runs once."""

    def __init__(self, binary: str, folder: Path, keep: bool):
        self.binary, self.folder, self.keep = str(Path(binary).resolve()), folder, keep
        kept = {
            name: value
            for name, value in os.environ.items()
            if not re.match("CTQ_(?!KERNELS)|CUDA_|MKL_NUM|OMPI_|SLURM_|PMI_|JOB_COMPLETION", name)
        }
        self.variables = kept | {
            "CTQ_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }
        self.lock, self.count, self.seconds = Lock(), 0, 0.0
        self.run = cache(self.run_anew)  # two at a time may do the same, which does no harm

    def run_anew(self, words: tuple[str, ...], first: tuple[str, ...] = ()) -> Outcome:
        with self.lock:
            self.count += 1
            folder = self.folder / "runs" / f"{self.count:05d}"
        folder.mkdir(parents=True)
        for name in first:
            name, _, source = name.partition("=")
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes((self.folder / "models" / source[2:]).read_bytes() if source else b"was here")
        words = [
            word.replace("M/", "../../models/", 1) if word.startswith("M/") or re.match(r"\S+=M/", word) else word
            for word in words
        ]
        began = time.monotonic()
        try:
            run = subprocess.run(
                [self.binary, *words],
                cwd=folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LIMIT_S,
            )
            code, out, err = run.returncode, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired:
            code, out, err = -1, "", "timeout"
        self.seconds += time.monotonic() - began
        files = tuple(
            (str(path.relative_to(folder)), hashlib.sha256(contents(path)).hexdigest())
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        )
        if not self.keep:
            shutil.rmtree(folder)
        return Outcome(code, files, steady(out), steady(err))


def spellings(option: dict) -> re.Pattern:
    """Finds the option in a line: any of its names, `-` and `_` alike, also negated."""
    names = [option["name"], *option["aliases"], *option.get("shortcuts", {})]
    found = "|".join(
        "-"
        + ("-(no-)?" if name.startswith("--") else "")
        + re.sub("[-_]", "[-_]", re.escape(name.lstrip("-")).replace(r"\-", "-"))
        for name in names
    )
    return re.compile(rf"(?<![\w-])({found})(?![\w-])")


@dataclass(frozen=True)
class Effect:
    kind: str  # changed, said, refused; or SILENT, UNNAMED, BROKEN
    detail: str  # what changed, or the line

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


def effect(base: Outcome, probe: Outcome, option: dict, fails: bool) -> Effect:
    """Of the option in a run beside the run without it."""
    new = list((Counter(probe.lines()) - Counter(base.lines())).elements())
    naming = [line for line in new if spellings(option).search(line)]
    if probe.code < 0:
        return Effect("BROKEN", f"ended by {probe.code}: {probe.err[-200:].strip()}")
    if base.code not in (0, 3) and not fails:
        return Effect("BROKEN", f"the run without it ends with {base.code}: {base.err.strip()[:200]}")
    if probe.code not in (0, 3, base.code):
        error = next((line for line in probe.lines() if "error: " in line), probe.err.strip()[:200])
        return Effect("refused" if naming else "UNNAMED", error)
    changed = [] if probe.code == base.code else [f"exit code {probe.code}"]
    before, after = dict(base.files), dict(probe.files)
    if before != after:
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        changed.append("files " + ", ".join(names[:3]))
    others = [line for line in new if line not in naming]
    gone = list((Counter(base.lines()) - Counter(probe.lines())).elements())
    if others or gone:
        changed.append("text")
    if changed and not (naming and changed == ["text"] and not others):
        return Effect("changed", ", ".join(changed) + (f"; {naming[0].strip()}" if naming else ""))
    if naming:
        return Effect("said", naming[0].strip())
    return Effect("SILENT", "")


@dataclass(frozen=True)
class Case:
    command: str  # "convert" for the conversion
    option: dict
    mode: str
    row: Row
    line: str  # the mode's command line

    def name(self) -> str:
        shown = "" if self.command == "convert" else f"{self.command} "
        beside = f" (beside {self.row.beside})" if self.row.beside else ""
        return f"{shown}{self.row.words}{beside} | {self.mode}"

    def commands(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Without and with the option."""
        base = shlex.split(self.line)
        strip = shlex.split(self.row.strip)
        if strip[-1:] == ["?"]:
            at = base.index(strip[0]) if strip[0] in base else len(base)
            base = base[:at] + base[at + 2 :]
        else:
            base = [word for word in base if word not in strip]
        if self.row.model:
            first = next((i for i, word in enumerate(base) if word.startswith("M/")), None)
            if first is not None:
                base[first] = self.row.model
        base += shlex.split(self.row.beside)
        return tuple(base), tuple(base + shlex.split(self.row.words))


def own_words(words: str, line: str) -> bool:
    """True where the mode says so already."""
    return f" {words} " in f" {line} "


def cases_of(command: str, options: list[dict], rows: dict, lines: dict[str, str]) -> tuple[list[Case], list[str]]:
    """Every option in every mode, and what the tables lack."""
    names = {option["name"] for option in options}
    faults = [f"no row: {command} {name} (values.py)" for name in sorted(names - rows.keys()) if not is_preset(options, name)]
    faults += [f"no option: {command} {name} has a row in values.py" for name in sorted(rows.keys() - names) if rows[name]]
    cases = []
    for option in options:
        of_option = rows.get(option["name"], (Row(option["name"]),) if is_preset(options, option["name"]) else ())
        met = modes_of(command, option, is_preset(options, option["name"]))
        for row in of_option:
            cases += [
                Case(command, option, mode, row, line)
                for mode, line in lines.items()
                if (re.search(row.modes, mode) if row.modes else met is None or mode in met) and not own_words(row.words, line)
            ]
        if command == "convert":
            cases += choices_of(option, of_option, lines)
    return cases, faults


def modes_of(command: str, option: dict, preset: bool) -> tuple[str, ...] | None:
    """Those that an option of the conversion meets where its row does not say; None: all."""
    if preset:
        return values.PRESET_MODES
    met = (
        next((modes for heading, modes in values.MEETS if re.search(heading, option["group"])), None)
        if command == "convert"
        else None
    )
    return met and met + values.ALSO.get(option["name"], ())


def choices_of(option: dict, rows: tuple[Row, ...], lines: dict[str, str]) -> list[Case]:
    """The other words of a choice, in the first mode that the option meets."""
    said = {row.words.split()[-1] for row in rows} | {option["default"]}
    if option["type"] != "choice" or not rows:
        return []
    row = rows[0]
    mode = next((mode for mode in ("fp8 tensor", *lines) if mode in lines and re.search(row.modes, mode)), None)
    return [
        Case("convert", option, mode, Row(f"{option['name']} {word}", row.beside, row.model, fails=row.fails), lines[mode])
        for word in option["choices"]
        if word not in said and not own_words(f"{option['name']} {word}", lines[mode])
    ]


def is_preset(options: list[dict], name: str) -> bool:
    """A switch of the page of filters: one for each family of models."""
    option = next(option for option in options if option["name"] == name)
    return option.get("page") == "filters" and option["type"] == "switch" and name != "--list-filters"


def make_world(runner: Runner) -> None:
    folder = runner.folder / "models"
    world.make_files(folder)
    for line in world.MADE:
        run = subprocess.run(
            [runner.binary, *shlex.split(line)], cwd=folder, env=runner.variables, capture_output=True, text=True
        )
        if run.returncode != 0:
            sys.exit(f"{line}\n{run.stderr}")
    world.make_more(folder)


def unsteady(runner: Runner, lines: dict[str, str]) -> list[str]:
    """Modes whose second run differs from the first: nothing can be seen there."""
    faults = []
    for mode, line in lines.items():
        words = tuple(shlex.split(line))
        once, again = runner.run(words), runner.run_anew(words)
        if once != again:
            shown = [line for a, b in zip(once.lines(), again.lines()) if a != b for line in (a, b)][:2]
            faults.append(f"unsteady: {mode}: {shown or sorted(set(once.files) ^ set(again.files))}")
        if once.code != 0:
            faults.append(f"fails: {mode}: exit code {once.code}: {once.err.strip()[:200]}")
    return faults


def table(found: list[tuple[Case, Effect]]) -> str:
    """Markdown: option, effect, modes."""
    rows = {}
    for case, what in found:
        shown = "" if case.command == "convert" else f"{case.command} "
        given = f"`{shown}{case.row.words}`" + (f" beside `{case.row.beside}`" if case.row.beside else "")
        text = re.sub(r"(\.\./)+models/", "", str(what)).replace("|", "\\|")
        rows.setdefault((given, text[:160]), []).append(case.mode)
    lines = ["| Option | Effect | Modes |", "|---|---|---|"]
    return "\n".join(lines + [f"| {given} | {text} | {'; '.join(of)} |" for (given, text), of in rows.items()]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", help="the project's folder, for bench/bytes")
    parser.add_argument("binary")
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--table", type=Path, metavar="FILE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="do not look whether a second run of each mode gives the same")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the runs, and say where")
    args = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="effects-")), time.monotonic()
    runner = Runner(args.binary, folder, args.keep)
    try:
        make_world(runner)
        known = json.loads(subprocess.run([runner.binary, "--help-json"], capture_output=True, text=True, check=True).stdout)
        tables = [("convert", known["options"], values.CONVERSION, modes.CONVERSIONS)]
        for command in known["commands"]:
            if "options" in command:
                tables.append(
                    (
                        command["name"],
                        command["options"],
                        values.COMMANDS.get(command["name"], {}),
                        modes.COMMANDS.get(command["name"], {}),
                    )
                )
        cases, faults = [], []
        for table_of in tables:
            more, lacking = cases_of(*table_of)
            cases += more
            faults += lacking
        cases = [case for case in cases if re.search(args.only, case.name())]
        met = {(case.command, case.mode): case.line for case in cases}
        faults += [] if args.quick else unsteady(runner, {f"{command} {mode}": line for (command, mode), line in met.items()})

        def judge(case: Case) -> tuple[Case, Effect]:
            base, probe = case.commands()
            what = effect(runner.run(base, case.row.first), runner.run(probe, case.row.first), case.option, case.row.fails)
            if not args.table:
                print(f"{case.name()} | {what}"[:240], flush=True)
            return case, what

        with ThreadPoolExecutor(args.jobs) as pool:
            found = list(pool.map(judge, cases))
        for name, check in OWN_CHECKS.items():
            if re.search(args.only, name):
                faults += [f"{name}: {fault}" for fault in check(runner)]
    finally:
        print(folder) if args.keep else shutil.rmtree(folder)
    reasons = justified.Reasons()
    open_cases = [
        (case, what)
        for case, what in found
        if what.kind.isupper() and not (what.kind == "SILENT" and reasons.excuses(case.name()))
    ]
    faults += [f"{what.kind}: {case.name()}{': ' + what.detail if what.detail else ''}" for case, what in open_cases]
    faults += [f"not needed: justified.py {reason}" for reason in reasons.unused() if not args.only]
    if args.table:
        args.table.write_text(table(found))
    kinds = Counter(what.kind for _, what in found)
    print("\n".join(faults))
    print(
        f"{len(cases)} pairs ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}), {runner.count} runs, {runner.seconds:.0f} s of them, "
        f"{time.monotonic() - began:.0f} s; {len(faults)} faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
