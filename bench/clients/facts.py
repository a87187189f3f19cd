"""Facts about published models, from a real ComfyUI's own code, as the text files that the project's tests read.

    python bench/clients/facts.py --comfy TREE [--golden tests/golden] [--show] [NAME ...]

For every model named, or all: its layout (layouts/NAME.txt: names, types and shapes of its tensors) and, in
clients/comfyui-VERSION.txt, which of its weights read plain numbers only, which are tables, and which shapes ComfyUI takes the
model's configuration from. Without memory: the models are built on the meta device. Facts of models that were not named stay.
--show prints the facts and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import comfyui
import configurations
import layout

HEAD = """\
# What ComfyUI {version} makes of the weights of the layouts in ../layouts, by running its own code on their names and shapes.
#   layout NAME CLASS: the class of models that it detects
#   plain:   2-D weights of modules that read plain numbers only, or that it splits while it loads
#   table:   weights of its embedding tables, which read FP8 and INT8
#   columns: another number of columns in the file makes another configuration of the model, or none
#   rows:    the same of the number of rows
"""


def text(facts) -> str:
    """The lines of one model."""
    lines = [f"layout {facts.name} {facts.detected}"]
    for kind in ("plain", "table", "columns", "rows"):
        lines += [f"{kind} {name}" for name in getattr(facts, kind)]
    return "".join(f"{line}\n" for line in lines)


def read(path: Path) -> dict[str, str]:
    """The lines of each model in a file of facts."""
    models: dict[str, str] = {}
    name = ""
    for line in path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else []:
        if line.startswith("#"):
            continue
        if line.startswith("layout "):
            name = line.split()[1]
        models[name] = models.get(name, "") + line
    return models


def write(path: Path, version: str, models: dict[str, str]) -> None:
    """In the order of the table; models that it lacks come last."""
    order = [name for name in configurations.PUBLISHED if name in models]
    order += [name for name in models if name not in order]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD.format(version=version) + "".join(models[name] for name in order), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfy", type=Path, required=True, help="a ComfyUI tree")
    parser.add_argument("--golden", type=Path, default=Path(__file__).parents[2] / "tests" / "golden")
    parser.add_argument("--show", action="store_true", help="print the facts, write nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of configurations.PUBLISHED (default: all)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in configurations.PUBLISHED]:
        parser.error(f"no such model: {', '.join(unknown)}")
    version = ".".join(comfyui.start(args.comfy).split(".")[:2])
    import detection
    target = args.golden / "clients" / f"comfyui-{version}.txt"
    models, failed = read(target), 0
    for name in args.names or configurations.PUBLISHED:
        begun = time.monotonic()
        try:
            with comfyui.heard():
                found = detection.facts(name)
        except Exception as error:  # a tree that lacks the class, or takes the model for another
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed += 1
            continue
        models[name] = text(found)
        if args.show:
            print(models[name], end="", flush=True)
            continue
        (args.golden / "layouts").mkdir(parents=True, exist_ok=True)
        layout.write(args.golden / "layouts" / f"{name}.txt", found.family, found.tensors)
        write(target, version, models)
        print(f"{name}: {found.detected}, {len(found.tensors)} tensors, {time.monotonic() - begun:.0f} s", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
