"""Tries what the documents of the five older programs promised: run.py PROGRAM BINARY [--only TEXT]

PROGRAM is one of fork, peer, clip_g, fp8_tpec, fp8_adaround, batch, or anything else for all of them. Prints a line for each row:
section | thing | command | verdict. Exit code 1 where a row fails. --only takes the rows of which section, thing or command
hold the text. Python's standard library alone.
"""

import argparse
import importlib
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import workshop

PROGRAMS = ("fork", "peer", "clip_g", "fp8_tpec", "fp8_adaround", "batch")


def rows_of(programs) -> list[workshop.Row]:
    found = []
    for name in programs:
        if (Path(__file__).resolve().parent / f"{name}.py").exists():
            found += importlib.import_module(name).ROWS
    return found


def command(row: workshop.Row) -> str:
    words = row.args if isinstance(row.args, str) else " ".join(row.args)
    first = "".join(f"{row.program} {args}; " for args in row.before)
    return f"{first}{row.program} {words}"


def judge(bench: workshop.Bench, row: workshop.Row) -> str | None:
    try:
        return row.check(bench.run(row))
    except Exception as error:  # a row is a test: whatever it stumbles on is its verdict
        return f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("binary")
    parser.add_argument("--only", default="", help="rows that hold this text")
    parser.add_argument("--failures", action="store_true", help="print only rows that fail")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time")
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where")
    args = parser.parse_args()
    rows = [
        row
        for row in rows_of([args.program] if args.program in PROGRAMS else PROGRAMS)
        if args.only in f"{row.section} | {row.thing} | {command(row)}"
    ]
    folder = Path(tempfile.mkdtemp(prefix="old-programs-"))
    failed = 0
    try:
        bench = workshop.Bench(args.binary, folder)
        with ThreadPoolExecutor(args.jobs) as pool:
            for row, problem in zip(rows, pool.map(lambda row: judge(bench, row), rows)):
                failed += problem is not None
                if problem is not None or not args.failures:
                    print(
                        f"{row.section} | {row.thing} | {command(row)} | {'ok' if problem is None else 'WRONG: ' + problem}",
                        flush=True,
                    )
    finally:
        print(folder) if args.keep else shutil.rmtree(folder)
    print(f"{len(rows)} rows, {failed} wrong")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
