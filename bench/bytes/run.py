#!/usr/bin/env python3
"""Are the bytes that the program writes the same as before? A fence for changes that should not show.

    bench/bytes/run.py [--binary build/release/convert_to_quant] [--only REGEX] [--jobs N]

Makes small seeded models, runs the command lines of cases.py, and compares the SHA-256 of everything they write, and their
exit codes, with a list. Exit code 1 and a line for each difference. See README.md. Python's standard library alone.
"""
import argparse
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import models
from cases import CASES

HERE = Path(__file__).resolve().parent
LIMIT_S = 900  # of a step, where the machine is busy
DECIDES = ("CTQ_KERNELS", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")


def processor() -> str:
    """Maker and instruction set, by which kernels and matrix libraries choose their code, and so the order of sums."""
    facts = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    flags = facts.get("flags", facts.get("Features", "")).split()
    best = next((name for flag, name in (("avx512f", "avx512"), ("avx2", "avx2"), ("asimd", "neon")) if flag in flags), "")
    return " ".join(filter(None, (platform.machine(), facts.get("vendor_id"), best)))


def circumstances(threads: int) -> dict[str, str]:
    """What the bytes may depend on besides the program."""
    return {"processor": processor(), "threads": str(threads),
            "variables": " ".join(f"{name}={os.environ[name]}" for name in DECIDES if name in os.environ)}


def environment(threads: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items()
            if not re.match("CTQ_(?!KERNELS)|CUDA_|OMP_|MKL_NUM|OMPI_|SLURM_|PMI_|JOB_COMPLETION", name)}
    return kept | {"CTQ_THREADS": str(threads), "CTQ_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", "LC_ALL": "C.UTF-8",
                   "TZ": "UTC", "TERM": "dumb"}


def digest(path: Path) -> str:
    data = path.read_bytes()
    if ".part-" in path.name:  # a hash over the version and the way options are written, which assemble compares
        data = re.sub(rb'(\\"plan\\":\s*\\")[^"\\]*', rb"\1", data)
    return hashlib.sha256(data).hexdigest()


def interrupt(words: list[str], folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Stops a conversion once its journal grows. Exit code, 0 where nothing was kept to go on from, and what it said."""
    for _ in range(5):
        with subprocess.Popen(words, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as run:
            started, sizes = time.monotonic(), set()
            while run.poll() is None and len(sizes) < 2 and time.monotonic() - started < LIMIT_S:
                sizes |= {journal.stat().st_size for journal in folder.glob(".*.journal")}
                time.sleep(0.002)
            run.send_signal(signal.SIGINT)
            error = run.communicate()[1]
        if any(folder.glob(".*.journal")):
            return run.returncode, error
    return 0, error


class Bench:
    def __init__(self, binary: str, folder: Path, threads: int, keep: bool):
        self.binary, self.folder, self.variables = str(Path(binary).resolve()), folder, environment(threads)
        self.keep = keep
        models.make_all(folder / "models")
        self.made = {f"models/{path.relative_to(folder / 'models')}": digest(path)
                     for path in sorted((folder / "models").rglob("*")) if path.is_file()}

    def run(self, name: str) -> dict[str, str]:
        """Of one case: what it wrote, by name and hash, and exit codes that are not what they should be."""
        folder = self.folder / "cases" / name.replace("/", "-")
        folder.mkdir(parents=True)
        found = {}
        for number, step in enumerate(CASES[name], 1):
            problem = self.step(step, folder)
            if problem:
                found[f"{name} step {number}"] = problem
        copied = {folder / step.split()[2] for step in CASES[name] if step.startswith("copy ")}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path not in copied:
                found[f"{name}/{path.relative_to(folder)}"] = digest(path)
        if not self.keep:
            shutil.rmtree(folder)
        return found

    def step(self, step: str, folder: Path) -> str:
        """Empty, or what went wrong, in words without blanks."""
        words = [word.replace("M/", "../../models/", 1) if word.startswith("M/") else word for word in shlex.split(step)]
        wanted = int(words.pop(0)[1:-1]) if words[0].startswith("[") else 0
        if words[0] == "copy":
            source, target = folder / words[1], folder / words[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            return ""
        if words[0] == "interrupt":
            code, error = interrupt([self.binary, *words[1:]], folder, self.variables)
            wanted = 130
        else:
            output = words[-1] if len(words) > 1 and words[-2] == ">" else None
            words = words[:-2] if output else words
            with open(folder / output if output else os.devnull, "wb") as out:
                try:
                    run = subprocess.run([self.binary, *words], cwd=folder, env=self.variables, stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=subprocess.PIPE, timeout=LIMIT_S)
                    code, error = run.returncode, run.stderr.decode(errors="replace")
                except subprocess.TimeoutExpired:
                    return "timeout"
        if code != wanted:
            print(f"{self.binary} {step}\n  exit code {code}, not {wanted}: {error.strip()[-400:]}", flush=True)
            return f"exit:{code}-not-{wanted}"
        return ""


def read_list(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    facts, hashes = {}, {}
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            key, _, value = line[2:].partition(": ")
            facts[key] = value
        else:
            name, _, value = line.rpartition("  ")
            hashes[name] = value
    return facts, hashes


def write_list(path: Path, facts: dict[str, str], hashes: dict[str, str]) -> None:
    lines = [f"# {key}: {value}" for key, value in facts.items()] + [f"{name}  {hashes[name]}" for name in sorted(hashes)]
    path.write_text("\n".join(lines) + "\n")


def case_of(name: str) -> str:
    """"grid/nvfp4-rtn/o.safetensors" and "grid/nvfp4-rtn step 1" are of "grid/nvfp4-rtn"."""
    return "/".join(name.split(" step ")[0].split("/")[:2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/release/convert_to_quant")
    parser.add_argument("--expected", type=Path, default=HERE / "expected.txt", help="the list")
    parser.add_argument("--write", action="store_true", help="write the list instead of comparing with it")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name matches")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cases at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each conversion")
    parser.add_argument("--keep", action="store_true", help="leave what the cases wrote, and say where")
    parser.add_argument("--folder", type=Path, help="where the folder of the run is made")
    args = parser.parse_args()
    names = [name for name in CASES if re.search(args.only, name)]
    if not names:
        parser.error(f"no case matches {args.only!r}")
    now = circumstances(args.threads)
    facts, expected = ({}, {}) if args.write and not args.expected.exists() else read_list(args.expected)
    others = "".join(f"\n  {key}: {facts.get(key, '')} (now {value})" for key, value in now.items() if facts.get(key, "") != value)
    if others and not args.write:
        print(f"{args.expected} was made on another kind of CPU, or in another way:{others}\nDifferences may come from that. "
              "Make a list of your own from the older binary with --write --expected FILE, and compare with it.", flush=True)
    if others and args.write and args.only and expected:
        parser.error(f"{args.expected} was made in another way, so it cannot be renewed in part:{others}")
    folder, started = Path(tempfile.mkdtemp(dir=args.folder, prefix="bytes-")), time.monotonic()
    try:
        bench = Bench(args.binary, folder, args.threads, args.keep)
        found = dict(bench.made)
        with ThreadPoolExecutor(args.jobs) as pool:
            for hashes in pool.map(bench.run, names):
                found.update(hashes)
    finally:
        print(folder, flush=True) if args.keep else shutil.rmtree(folder)
    seconds = time.monotonic() - started
    wrong = [name for name in found if " step " in name]
    if args.write:
        chosen = set(names)
        kept = {name: value for name, value in expected.items() if case_of(name) in CASES.keys() - chosen}
        write_list(args.expected, now, kept | found)
        print(f"{args.expected}: {len(names)} cases, {len(found)} entries, {seconds:.0f} s; wrong exit codes: {len(wrong)}")
        return 1 if wrong else 0
    wanted = {name: value for name, value in expected.items() if name.startswith("models/") or re.search(args.only, case_of(name))}
    lines = [f"differs  {name}" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]]
    lines += [f"missing  {name}" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"new      {name}  {found[name]}" for name in sorted(found.keys() - wanted.keys())]
    lines += [f"wrong    {name}  {found[name]}" for name in wrong if wanted.get(name) == found[name]]
    print("\n".join(lines + [f"{len(names)} cases, {len(found)} entries, {len(lines)} differences, {seconds:.0f} s"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
