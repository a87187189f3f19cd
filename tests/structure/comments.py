"""Comments keep the form that style asks for: comments.py SOURCE_DIR

A docstring's "throws" and "returns" begin a line, or they vanish in the sentence before; comment lines end by column 110.
"""
import pathlib
import re
import sys

COLUMNS = 110
INSIDE = re.compile(r"///.*\S\s+(throws|returns)  +\S")


def faults(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        comment = line.strip()
        if not comment.startswith("//"):
            continue
        if inside := INSIDE.search(comment):
            yield number, f"'{inside[1]}' wants a line of its own"
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns, more than {COLUMNS}"


def main():
    root = pathlib.Path(sys.argv[1])
    paths = [path for folder in ("include", "src", "examples", "tests", "bench") for path in sorted((root / folder).rglob("*"))
             if path.suffix in (".h", ".cpp")]
    if len(paths) < 100:
        sys.exit(f"{root}: {len(paths)} sources found; is it the project's folder?")
    found = [f"{path.relative_to(root)}:{number}: {fault}" for path in paths for number, fault in faults(path)]
    print("\n".join(found) or f"{len(paths)} files")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
