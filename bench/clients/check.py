"""Converts small models in many formats, loads and runs every file in a real ComfyUI, and compares with what `verify` says.

    python bench/clients/check.py --binary BINARY --comfy TREE [--models FOLDER] [--families a,b] [--formats a,b]
                                  [--client comfyui,any] [--json OUT] [--verdicts OUT]
    python bench/clients/check.py --binary BINARY --comfy TREE --original MODEL --files FILE ...

The second form looks at files that exist already, damaged ones for instance. MODEL.json beside the original says how to load
and what to feed it.

A line for each file. It begins with `!!` where ComfyUI and `verify` disagree, and with ` x` where they agree that a file is
unreadable though it was written for ComfyUI, or where none was written though ComfyUI reads the one for any client. The exit code is 1 in either case; files that `--client any` wrote may be
unreadable, and so may those of the second form. Models that are not in the folder yet are made there (families.py).

--verdicts writes the same as lines that the project's tests read: family, format, client, loads, fails or refused, and how many
weights of each format ComfyUI holds as codes. Lines of what was not looked at stay, so that a long run may be done in parts.
"""

from __future__ import annotations

import argparse
import dataclasses
import filecmp
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import comfyui
import families

MARKED = "--comfy_quant"
INT8_ROWS = ("--int8", "--scaling_mode", "row", MARKED)
FORMATS = {  # by name: what is asked of the program
    **{f"recipe-{name}": ("--recipe", f"comfy-{name}") for name in ("fp8", "int8", "nvfp4", "mxfp8", "w4a4")},
    "fp8": ("--fp8", MARKED),
    "fp8-legacy": ("--fp8",),
    "fp8-legacy-input": ("--fp8", "--input_scale"),
    "fp8-e5m2": ("--format", "float8_e5m2", MARKED),
    "int8-row": INT8_ROWS,
    "int8-tensor": ("--int8", "--scaling_mode", "tensor", MARKED),
    "int8-convrot": (*INT8_ROWS, "--convrot"),
    "nvfp4": ("--nvfp4",),
    "mxfp8": ("--mxfp8",),
    "w4a4": ("--format", "convrot_w4a4", MARKED),
    "w4a8": ("--format", "asym_w4a8_int8", MARKED),
    "mixed": ("--fp8", MARKED, "--save-quant-metadata", "--custom-layers", r"(attn|attention|qkv|to_q)",
              "--custom-type", "int8", "--custom-scaling-mode", "row", "--custom-convrot"),
}
CLIENTS = ("comfyui", "any")

VERDICTS_HEAD = """\
# What ComfyUI {version} makes of small models of many families, converted in many formats for ComfyUI and for no client in
# particular (any): bench/clients/check.py loaded and ran every file. How each was converted is FORMATS there.
# refused: the program wrote none, and ComfyUI fails on the one that --client any writes.
# family format client loads|fails|refused layers
"""


@dataclasses.dataclass
class Checked:
    """A file, as ComfyUI and as `verify` see it."""

    family: str
    format: str
    client: str
    loads: bool
    why: str
    layers: dict[str, int]
    weight_error: float
    output_error: float
    verified: bool
    verify_why: str
    refused: bool = False  # no file was written for this client, and ComfyUI fails on the one for any

    @property
    def mark(self) -> str:
        if self.loads != self.verified:
            return "!!"
        return "  " if self.loads or self.refused or self.client == "any" else " x"

    def line(self) -> str:
        layers = ",".join(f"{name}:{count}" for name, count in sorted(self.layers.items())) or "-"
        verdict = "refused" if self.refused else "loads" if self.loads else "fails"
        return f"{self.family} {self.format} {self.client} {verdict} {layers}"

    def told(self) -> str:
        figures = f"weights {self.weight_error:.4f}  output {self.output_error:.4f}"
        said = [f"{self.mark} {self.line():72s} verify {'ok' if self.verified else 'refuses'}  {figures}"]
        said += [f"{who}: {_short(why)}" for who, why in (("ComfyUI", self.why), ("verify", self.verify_why)) if why]
        return "  ".join(said)


def _short(text: str, limit: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit - 3] + "..."


class Program:
    """convert_to_quant, writing and verifying for one version of ComfyUI."""

    def __init__(self, binary: Path, version: str):
        self.binary = binary
        self.known = "comfyui@" + ".".join(version.split(".")[:2]) if version else "comfyui"

    def convert(self, source: Path, target: Path, flags: tuple[str, ...], client: str) -> str:
        """Empty, or what the program said when it refused."""
        done = self._run("-i", source, "-o", target, *flags, "--client", self.known if client == "comfyui" else client,
                         "--quality", "fast", "--threads", "1", "--no-resume")
        return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-400:]}"

    def verify(self, file: Path, original: Path) -> tuple[bool, str]:
        done = self._run("verify", file, "--original", original, "--client", self.known, "--json")
        try:
            refused = json.loads(done.stdout)["refused"]
        except (ValueError, KeyError):
            return False, (done.stderr or done.stdout)[-400:]
        return done.returncode == 0, "; ".join(reason["text"] for reason in refused)

    def _run(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True)


class Judge:
    """What ComfyUI and `verify` make of files that stand for one original."""

    def __init__(self, original: Path, program: Program):
        self.original, self.program = original, program
        self.spec = json.loads(original.with_suffix(".json").read_text("utf-8"))
        with comfyui.heard():
            loaded = comfyui.load(original, self.spec)
            self.weights = {name: tensor.clone() for name, tensor in comfyui.tensors(loaded).items()}
            self.outputs = comfyui.run(loaded, self.spec)

    def __call__(self, family: str, name: str, client: str, file: Path) -> Checked:
        seen = comfyui.judge(file, self.spec, self.weights, self.outputs)
        verified, why = self.program.verify(file, self.original)
        return Checked(family, name, client, seen.loads, seen.why, seen.layers, seen.weight_error, seen.output_error,
                       verified, why)


def check_family(family: str, args: argparse.Namespace, program: Program, work: Path) -> Iterator[Checked | str]:
    """Every format of one family; a text where the program refused to convert."""
    original = args.models / f"{family}.safetensors"
    if not original.is_file() or not original.with_suffix(".json").is_file():
        families.make(family, args.models)
    judge = Judge(original, program)
    for name in args.formats:
        judged: dict[Path, Checked] = {}

        def look(client: str) -> Checked | str:
            """At the file for this client; one that another client gets too is judged once."""
            file = work / f"{family}.{name}.{client}.safetensors"
            if file in judged:
                return judged[file]
            if refusal := program.convert(original, file, FORMATS[name], client):
                return refusal
            same = next((one for other, one in judged.items() if filecmp.cmp(file, other, shallow=False)), None)
            judged[file] = dataclasses.replace(same, client=client) if same else judge(family, name, client, file)
            return judged[file]

        for client in args.client:
            seen = look(client)
            if isinstance(seen, str) and client != "any" and isinstance(forced := look("any"), Checked) and not forced.loads:
                seen = dataclasses.replace(forced, client=client, refused=True, layers={})
            yield f"{family} {name} {client}: {seen}" if isinstance(seen, str) else seen
        for file in judged:
            file.unlink()


def check_files(args: argparse.Namespace, program: Program) -> Iterator[Checked]:
    """Files that somebody made of args.original."""
    judge = Judge(args.original, program)
    for file in args.files:
        yield judge(args.original.stem, file.stem, "any", file)


def add_verdict(path: Path, version: str, result: Checked) -> None:
    """In place of an older one of the same file, in the order of the tables."""
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    verdicts = {tuple(line.split()[:3]): line for line in [*lines, result.line()] if not line.startswith("#")}
    orders = [list(order).index for order in (families.ALL, FORMATS, CLIENTS)]
    ranked = sorted(verdicts, key=lambda key: [place(word) for place, word in zip(orders, key)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(VERDICTS_HEAD.format(version=version) + "".join(f"{verdicts[key]}\n" for key in ranked), "utf-8")


def names_in(choices):
    """For argparse: names with commas between, all of them known."""
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in choices]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(choices)}")
        return names
    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="convert_to_quant")
    parser.add_argument("--comfy", type=Path, required=True, help="a ComfyUI tree")
    parser.add_argument("--models", type=Path, help="where small models are, or are made (default: a temporary folder)")
    parser.add_argument("--families", type=names_in(families.ALL), default=families.SMALL, help="default: the small ones")
    parser.add_argument("--formats", type=names_in(FORMATS), default=list(FORMATS), help="default: all")
    parser.add_argument("--client", type=names_in(CLIENTS), default=["comfyui"], help="for whom to write (comfyui)")
    parser.add_argument("--original", type=Path, help="of --files")
    parser.add_argument("--files", type=Path, nargs="+", help="look at these, convert nothing")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--verdicts", type=Path, help="write the verdicts here")
    args = parser.parse_args()
    if bool(args.files) != bool(args.original):
        parser.error("--files and --original go together")
    return args


def results(args: argparse.Namespace, program: Program, work: Path) -> Iterator[Checked | str]:
    if args.files:
        yield from check_files(args, program)
        return
    args.models = args.models or work
    for family in args.families:
        yield from check_family(family, args, program, work)


def main() -> int:
    args = arguments()
    version = comfyui.start(args.comfy)
    checked: list[Checked] = []
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        for result in results(args, Program(args.binary, version), Path(work)):
            wrong += isinstance(result, str) or result.mark != "  "
            print(f" x {result}" if isinstance(result, str) else result.told(), flush=True)
            if isinstance(result, Checked):
                checked.append(result)
                if args.verdicts:
                    add_verdict(args.verdicts, version, result)
    print(f"{len(checked)} files in ComfyUI {version}, {wrong} wrong")
    if args.json:
        rows = [dataclasses.asdict(result) for result in checked]
        args.json.write_text(json.dumps({"comfyui": version, "files": rows}, indent=1) + "\n", "utf-8")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
