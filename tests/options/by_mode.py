"""docs/options_by_mode.md: what each option does in each group of modes, by the letters that effects.py found.

It is read as well: an option without a row, and a letter that a run finds and the document lacks, are faults. Rows are written of
options all of whose pairs were run; the others stay as they are.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import modes

LETTERS = {"changed": "C", "said": "n", "refused": "r"}
ORDER = "Ctnr=!"
PAGES = {
    "standard": "Standard",
    "filters": "Layer filters",
    "experimental": "Layers with a target of their own",
    "learned": "Learned rounding",
    "advanced": "Learning rate and early stopping",
    "modes": "Other commands by old names",
    "lora": "LoRA extraction",
}
HEAD = """# What each option does in each mode

Written by `tests/options/effects.py --table`, which runs each option in each mode that it could meet ([how](../tests/options/README.md)). No other
pair than those with `!` leaves an option without effect and without a word: the test `options` holds that, and that this page is true, on a part of the pairs.

| Letter | With the option |
|---|---|
| C | what is written is different, or the exit code |
| t | what is printed is different, and nothing else |
| n | a line names the option and says why it changes nothing |
| r | an error refuses it |
| ! | nothing, or an error that does not name it: a fault that is known and open |
| = | nothing, for a reason in `tests/options/justified.py`: the value is the default's, or memory, threads or the terminal show it |

Several letters: it depends on the mode of that column, or on what is given beside the option. An empty cell: not tried there; what an option of its kind does there,
another of its kind shows. An empty row: tried by a test of its own.
"""


def columns_of(command: str) -> list[str]:
    return list(modes.COLUMNS if command == "convert" else modes.COMMANDS.get(command, {}))


def column_of(command: str, mode: str) -> str:
    if command != "convert":
        return mode
    return next(column for column, of in modes.COLUMNS.items() if mode in of)


def letter(kind: str, detail: str, excused: bool) -> str:
    """Of an effect."""
    if kind == "changed" and (text := re.match("text(;|$)", detail)):
        return "n" if re.search(r"\b(no effect|does nothing)\b", detail[text.end() :]) else "t"
    return LETTERS.get(kind) or ("=" if excused else "!")


def cells_of(line: str) -> list[str]:
    return [word.strip() for word in line.removeprefix("|").removesuffix("|").split("|")]


def cell(letters: set[str]) -> str:
    return "".join(sorted(letters, key=ORDER.index))


Option = tuple[str, str]  # command and name


@dataclass(frozen=True)
class Seen:
    """What one pair showed."""

    option: Option
    column: str
    letter: str
    pair: str  # what to call it


class Document:
    """Letters by option and column."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[Option, dict[str, set[str]]] = {}
        command, columns = "", []
        for line in path.read_text().splitlines() if path.exists() else ():
            if line.startswith("## "):
                command = line[3:]
            elif line.startswith("| Option"):
                columns = cells_of(line)[1:]
            elif command and line.startswith("| `"):
                first, *cells = cells_of(line)
                for name in re.findall("`([^`]+)`", first):
                    self.rows[command, name] = {column: set(shown) for column, shown in zip(columns, cells) if shown}

    def faults(self, options: set[Option], letters: list[Seen], whole: set[Option]) -> list[str]:
        """What the document lacks, or says though nothing shows it. `whole`: options all of whose pairs were run."""
        if not self.rows:
            return [f"not there: {self.path} (--table writes it)"]
        at = f"({self.path.name}; --table writes it)"
        found = [f"no row: {' '.join(option)} {at}" for option in sorted(options - self.rows.keys())]
        found += [f"no option: {' '.join(option)} {at}" for option in sorted(self.rows.keys() - options)]
        shown: dict[tuple[Option, str], set[str]] = {}
        for seen in letters:
            shown.setdefault((seen.option, seen.column), set()).add(seen.letter)
            written = self.rows.get(seen.option, {}).get(seen.column, set())
            if seen.option in self.rows and seen.letter not in written:
                found.append(f"not written: {seen.pair} in '{seen.column}': {seen.letter}, not {cell(written) or 'empty'} {at}")
        for option in sorted(whole & self.rows.keys()):
            for column, written in self.rows[option].items():
                if not_shown := written - shown.get((option, column), set()):
                    found.append(f"not shown: {' '.join(option)} in '{column}': {cell(not_shown)} {at}")
        return found

    def write(self, tables: list[tuple[str, list[dict]]], letters: list[Seen], whole: set[Option]) -> None:
        """`tables`: every command with its options, as --help-json has them."""
        self.rows = {option: {} if option in whole else cells for option, cells in self.rows.items()}
        for seen in letters:
            if seen.option in whole:
                self.rows.setdefault(seen.option, {}).setdefault(seen.column, set()).add(seen.letter)
        lines = [HEAD]
        for command, options in tables:
            lines.append(f"## {command}\n")
            for page in dict.fromkeys(option.get("page") for option in options):
                if page:
                    lines.append(f"### {PAGES.get(page, page)}\n")
                lines += self.table(command, [option for option in options if option.get("page") == page])
        self.path.write_text("\n".join(lines).rstrip() + "\n")

    def table(self, command: str, options: list[dict]) -> list[str]:
        """Presets of layers that do the same share a row."""
        columns = columns_of(command)
        rows: dict[tuple[str, str], list[str]] = {}
        for option in options:
            cells = self.rows.get((command, option["name"]), {})
            shown = " | ".join(cell(cells.get(column, set())) for column in columns)
            rows.setdefault(("" if is_preset(option) else option["name"], shown), []).append(option["name"])
        lines = [f"| Option | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
        return lines + [f"| `{'`, `'.join(of)}` | {shown} |" for (_, shown), of in rows.items()] + [""]


def is_preset(option: dict) -> bool:
    """A switch of the page of filters: one for each family of models."""
    return option.get("page") == "filters" and option["type"] == "switch" and option["name"] != "--list-filters"
