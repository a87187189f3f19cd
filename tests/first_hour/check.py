#!/usr/bin/env python3
"""Runs the commands of docs/first_hour.md at a terminal, as a new user types them, and compares what is printed.

check.py PROJECT BINARY [--write]

In the page's `console` blocks a line that begins with "$ " is a command; what follows is its output. "..." stands for any lines.
Durations and memory differ from machine to machine and are compared as such. --write puts in what was printed.
"""

import argparse
import fcntl
import os
import pty
import re
import shutil
import struct
import sys
import tempfile
import termios
from pathlib import Path

COLUMNS = 110
VARIES = (
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min \d\d s)\b"), "<time>"),
    (re.compile(r"peak memory [\d.]+ [KMG]iB"), "peak memory <size>"),
    (re.compile(r"\b\d+\.\d+(e-\d+)?\b"), "<number>"),  # instruction sets differ in the last digits
    (re.compile(r" +"), " "),
)


def make_models(project: Path, folder: Path) -> None:
    sys.path[:0] = [str(project / "bench/bytes")]
    import models
    models.make_all(folder / "all")
    for name in ("flux", "clip", "t5", "broken", "flux_recorded"):
        (folder / "all" / f"{name}.safetensors").rename(folder / f"{name}.safetensors")
    (folder / "all" / "lora_small.safetensors").rename(folder / "style_lora.safetensors")
    (folder / "all" / "flux_diffusers").rename(folder / "flux_diffusers")
    shutil.rmtree(folder / "all")


def typed(command: str, folder: Path, binary: Path) -> str:
    """What a terminal shows of a command."""
    environment = {
        "PATH": f"{binary.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TERM": "xterm",
        "NO_COLOR": "1",
        "LANG": "C.UTF-8",
    }
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 50, COLUMNS, 0, 0))
        os.chdir(folder)
        os.execve("/bin/bash", ["bash", "--norc", "-c", command], environment)
    chunks = []
    while True:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:  # what Linux says at the end
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.waitpid(child, 0)
    os.close(terminal)
    text = b"".join(chunks).decode(errors="replace").replace("\r\n", "\n")
    lines = [re.sub(r".*\r\x1b\[K", "", line) for line in text.split("\n")]
    slow = re.compile(r"about .* more, by the first \d+ tensors")  # said after ten seconds, on busy machines
    return "\n".join(line.rstrip() for line in lines if not slow.fullmatch(line)).strip("\n")


def steady(line: str) -> str:
    for pattern, name in VARIES:
        line = pattern.sub(name, line)
    return line


def matches(wanted: list[str], seen: list[str]) -> bool:
    if not wanted:
        return not seen
    if wanted[0] == "...":
        return any(matches(wanted[1:], seen[skipped:]) for skipped in range(len(seen) + 1))
    return bool(seen) and steady(wanted[0]) == steady(seen[0]) and matches(wanted[1:], seen[1:])


def shortened(wanted: list[str], seen: list[str]) -> list[str]:
    """What was seen, without what the page leaves out."""
    if "..." not in wanted:
        return seen
    at = wanted.index("...")
    tail = len(wanted) - at - 1
    return seen[:at] + ["..."] + (seen[-tail:] if tail else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    page = options.project.resolve() / "docs/first_hour.md"
    wrong, count, written = 0, 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_models(options.project.resolve(), folder)
        lines = page.read_text().split("\n")
        at, inside = 0, False
        while at < len(lines):
            line = lines[at]
            written.append(line)
            at += 1
            if line.startswith("```"):
                inside = line == "```console"
            if not inside or not line.startswith("$ "):
                continue
            wanted = []
            while not lines[at].startswith(("$ ", "```")):
                wanted.append(lines[at])
                at += 1
            while wanted and not wanted[-1]:
                wanted.pop()
            seen = typed(line[2:], folder, options.binary.resolve()).split("\n")
            seen = [] if seen == [""] else seen
            count += 1
            if matches(wanted, seen):
                written += wanted
            else:
                wrong += 1
                written += shortened(wanted, seen)
                print(f"{line}\n  the page:")
                print("\n".join(f"    {each}" for each in wanted) + "\n  printed:")
                print("\n".join(f"    {each}" for each in seen))
            if lines[at].startswith("$ "):
                written.append("")
    if options.write:
        page.write_text("\n".join(written))
    print(f"{count} commands, {wrong} whose output is another than the page's")
    return 0 if options.write or not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
