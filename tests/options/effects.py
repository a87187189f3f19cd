#!/usr/bin/env python3
"""Nothing without effect: effects.py PROJECT BINARY [--only REGEX | --sample] [--turn N] [--table] [--details FILE] [--jobs N]
                                                    [--quick] [--keep]

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
from threading import Lock, local

PROJECT = (
    Path(sys.argv[1]).resolve() if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else Path(__file__).resolve().parents[2]
)
sys.path[1:1] = [str(PROJECT / "bench" / "bytes")]

import by_mode  # noqa: E402
import justified  # noqa: E402
import modes  # noqa: E402
import values  # noqa: E402
import world  # noqa: E402
from fork_server import ForkServer, library_in  # noqa: E402
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
        self.library = library_in(folder)
        self.own, self.servers = local(), []
        self.run = cache(self.run_anew)  # two at a time may do the same, which does no harm

    def forked(self, words: list[str], folder: Path) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        if not hasattr(self.own, "server"):
            self.own.server = ForkServer(self.binary, self.library, self.variables)
            self.servers.append(self.own.server)
        return self.own.server.run(words, folder, folder.with_suffix(""), LIMIT_S)

    def started(self, words: list[str], folder: Path) -> tuple[int, str, str]:
        try:
            run = subprocess.run(
                [self.binary, *words],
                cwd=folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LIMIT_S,
            )
            return run.returncode, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired:
            return -1, "", "timeout"

    def close(self) -> None:
        for server in self.servers:
            server.close()

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
        code, out, err = self.forked(words, folder) if self.library else self.started(words, folder)
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


def effect(base: Outcome, probe: Outcome, option: dict, row: Row) -> Effect:
    """Of the option in a run beside the run without it."""
    new = list((Counter(probe.lines()) - Counter(base.lines())).elements())
    naming = [line for line in new if spellings(option).search(line)]
    if probe.code < 0:
        return Effect("BROKEN", f"ended by {probe.code}: {probe.err[-200:].strip()}")
    if base.code not in (0, 3) and not row.fails:
        return Effect("BROKEN", f"the run without it ends with {base.code}: {base.err.strip()[:200]}")
    if probe.code not in (0, 3, base.code, row.exits):
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
        of = f" of {self.row.model}" if self.row.model else ""
        return f"{shown}{self.row.words}{beside}{of} | {self.mode}"

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


def rows_of(command: str, option: dict, rows: dict, names: set[str]) -> tuple[Row, ...]:
    """Its own, else those of the conversion's option where the help says that it is the same one. `names`: what the command takes."""
    own = rows.get(option["name"], ())
    if not own and option["group"] == values.SHARED_GROUP and command != "convert":
        of_conversion = values.CONVERSION.get(option["name"], ())
        return tuple(row for row in of_conversion if set(re.findall(r"(?<!\S)--[\w-]+", row.beside)) <= names)
    return own or ((Row(option["name"]),) if by_mode.is_preset(option) else ())


def cases_of(command: str, options: list[dict], rows: dict, lines: dict[str, str]) -> tuple[list[Case], list[str]]:
    """Every option in every mode, and what the tables lack."""
    names = {option["name"] for option in options}
    faults = [f"no option: {command} {name} has a row in values.py" for name in sorted(rows.keys() - names) if rows[name]]
    cases = []
    for option in options:
        of_option = rows_of(command, option, rows, names)
        if not of_option:
            faults.append(f"no row: {command} {option['name']} (values.py)")
        met = modes_of(command, option)
        for row in of_option:
            cases += [
                Case(command, option, mode, row, line)
                for mode, line in lines.items()
                if meets(row, mode, met) and not own_words(row.words, line)
            ]
        if command == "convert":
            cases += choices_of(option, of_option, lines)
    return cases, faults


def meets(row: Row, mode: str, met: tuple[str, ...] | None) -> bool:
    if row.but and re.search(row.but, mode):
        return False
    return bool(re.search(row.modes, mode)) if row.modes else met is None or mode in met


def modes_of(command: str, option: dict) -> tuple[str, ...] | None:
    """Those that an option of the conversion meets where its row does not say; None: all."""
    if command != "convert":
        return None
    if by_mode.is_preset(option):
        return values.PRESET_MODES
    met = next((modes for heading, modes in values.MEETS if re.search(heading, option["group"])), None)
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


def sample(cases: list[Case], turn: int) -> list[Case]:
    """Of each option one pair in each of modes.PARTS, another with each turn: those that come first by a hash."""
    parts: dict[tuple, Case] = {}
    for case in sorted(cases, key=lambda case: hashlib.sha256(f"{turn} {case.name()}".encode()).digest()):
        parts.setdefault((case.command, case.option["name"], case.command == "convert" and modes.part_of(case.mode)), case)
    chosen = set(map(id, parts.values()))
    return [case for case in cases if id(case) in chosen]


def details(found: list[tuple[Case, Effect]]) -> str:
    """Markdown: option, effect, modes."""
    rows = {}
    for case, what in found:
        shown = "" if case.command == "convert" else f"{case.command} "
        given = f"`{shown}{case.row.words}`" + (f" beside `{case.row.beside}`" if case.row.beside else "")
        text = re.sub(r"(\.\./)+models/", "", str(what)).replace("|", "\\|")
        rows.setdefault((given, text[:160]), []).append(case.mode)
    lines = ["| Option | Effect | Modes |", "|---|---|---|"]
    return "\n".join(lines + [f"| {given} | {text} | {'; '.join(of)} |" for (given, text), of in rows.items()]) + "\n"


def figures(found: list[tuple[Case, Effect]]) -> list[tuple[str, Counter]]:
    """Kinds of effects by mode."""
    kinds: dict[str, Counter] = {}
    for case, what in found:
        mode = case.mode if case.command == "convert" else f"{case.command} {case.mode}"
        kinds.setdefault(mode, Counter())[what.kind] += 1
    return list(kinds.items())


def tables_of(runner: Runner) -> list[tuple[str, list[dict]]]:
    """The conversion and every command with its options."""
    known = json.loads(subprocess.run([runner.binary, "--help-json"], capture_output=True, text=True, check=True).stdout)
    own = [(command["name"], command["options"]) for command in known["commands"] if "options" in command]
    return [("convert", known["options"]), *own]


def all_cases(tables: list[tuple[str, list[dict]]]) -> tuple[list[Case], list[str]]:
    cases, faults = [], []
    for command, options in tables:
        conversion = command == "convert"
        more, lacking = cases_of(
            command,
            options,
            values.CONVERSION if conversion else values.COMMANDS.get(command, {}),
            modes.CONVERSIONS if conversion else modes.COMMANDS.get(command, {}),
        )
        cases += more
        faults += lacking
    return cases, faults


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="the project's folder, for bench/bytes and docs")
    parser.add_argument("binary")
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--sample", action="store_true", help="a part of the pairs: each option in some modes")
    parser.add_argument("--turn", type=int, default=0, metavar="N", help="which part")
    parser.add_argument("--table", action="store_true", help="write docs/options_by_mode.md")
    parser.add_argument("--details", type=Path, metavar="FILE", help="write every pair and what came of it, as Markdown")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="do not look whether a second run of each mode gives the same")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the runs, and say where")
    return parser.parse_args()


def judge(runner: Runner, case: Case, shows: bool) -> tuple[Case, Effect]:
    base, probe = case.commands()
    what = effect(runner.run(base, case.row.first), runner.run(probe, case.row.first), case.option, case.row)
    if shows:
        print(f"{case.name()} | {what}"[:240], flush=True)
    return case, what


def check_document(args, tables, every: list[Case], found: list[tuple[Case, Effect]], excused: set[int]) -> list[str]:
    """Writes it first where that is asked for."""
    document = by_mode.Document(args.project / "docs" / "options_by_mode.md")
    options = {(command, option["name"]) for command, of in tables for option in of}
    letters = [
        by_mode.Seen(
            (case.command, case.option["name"]),
            by_mode.column_of(case.command, case.mode),
            by_mode.letter(what.kind, what.detail, id(case) in excused),
            case.name(),
        )
        for case, what in found
    ]
    run = Counter(seen.option for seen in letters)
    there = Counter((case.command, case.option["name"]) for case in every)
    whole = {option for option in options if run[option] == there[option] and (run[option] or not args.only)}
    if args.table:
        document.write(tables, letters, whole)
    return document.faults(options, letters, whole)


def main() -> int:
    args = arguments()
    folder, began = Path(tempfile.mkdtemp(prefix="effects-")), time.monotonic()
    runner = Runner(args.binary, folder, args.keep)
    try:
        make_world(runner)
        tables = tables_of(runner)
        every, faults = all_cases(tables)
        cases = [case for case in every if re.search(args.only, case.name())]
        if args.sample:
            cases = sample(cases, args.turn)
        met = {(case.command, case.mode): case.line for case in cases}
        faults += [] if args.quick else unsteady(runner, {f"{command} {mode}": line for (command, mode), line in met.items()})
        with ThreadPoolExecutor(args.jobs) as pool:
            found = list(pool.map(lambda case: judge(runner, case, not args.details), cases))
        for name, check in OWN_CHECKS.items():
            if re.search(args.only, name):
                faults += [f"{name}: {fault}" for fault in check(runner)]
    finally:
        runner.close()
        print(folder) if args.keep else shutil.rmtree(folder)
    reasons, known = justified.Reasons(justified.REASONS), justified.Reasons(justified.OPEN)
    excused = {id(case) for case, what in found if what.kind == "SILENT" and reasons.excuses(case.name())}
    faults += [
        f"{what.kind}: {case.name()}{': ' + what.detail if what.detail else ''}"
        for case, what in found
        if what.kind.isupper() and id(case) not in excused and not (what.kind != "BROKEN" and known.excuses(case.name()))
    ]
    if len(cases) == len(every):
        faults += [f"not needed: justified.py {reason}" for reason in reasons.unused() + known.unused()]
    faults += check_document(args, tables, every, found, excused)
    if args.details:
        args.details.write_text(details(found))
    for mode, kinds in figures(found):
        print(f"{mode}: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    kinds = Counter(what.kind for _, what in found)
    print("\n".join(faults))
    print(
        f"{len(cases)} pairs ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}), {runner.count} runs, {runner.seconds:.0f} s of them, "
        f"{time.monotonic() - began:.0f} s; {len(faults)} faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
