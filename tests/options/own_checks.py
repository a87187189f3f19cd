"""Options that steer speed, memory or a second run, and show in neither bytes nor words. Each check returns what is wrong."""

import re
import signal
import subprocess
import time
from pathlib import Path

ENCODER = "../../models/encoder.safetensors"
SLOW = ["-i", ENCODER, "-o", "o.safetensors", "--fp8", "--comfy_quant", "--optimizer", "original", "--num_iter", "400"]


def own_folder(runner, name: str) -> Path:
    folder = runner.folder / "runs" / name
    folder.mkdir(parents=True)
    return folder


def most_threads(runner, name: str, words: list[str], variables: dict[str, str]) -> int:
    """That a conversion had at one time."""
    most = 0
    with subprocess.Popen(
        [runner.binary, *SLOW, *words],
        cwd=own_folder(runner, name),
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        while run.poll() is None:
            try:
                most = max(most, len(list(Path(f"/proc/{run.pid}/task").iterdir())))
            except OSError:
                break
            time.sleep(0.005)
    return most


def check_threads(runner) -> list[str]:
    """More workers are more threads, by the option and by its variable."""
    if not Path("/proc/self/task").exists():
        return []
    free = {name: value for name, value in runner.variables.items() if name not in ("OMP_NUM_THREADS", "CTQ_THREADS")}
    one, four = (most_threads(runner, f"threads {count}", ["--threads", str(count)], free) for count in (1, 4))
    by_variable = most_threads(runner, "threads by variable", [], free | {"CTQ_THREADS": "4"})
    return [
        f"{what}: {count} threads, with one worker {one}"
        for what, count in (("--threads 4", four), ("CTQ_THREADS=4", by_variable))
        if count <= one
    ]


def interrupt(runner, folder: Path) -> bool:
    """Stops a conversion as soon as its journal has grown. True where it left something to go on from."""
    for _ in range(5):
        with subprocess.Popen(
            [runner.binary, *SLOW], cwd=folder, env=runner.variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            sizes = set()
            while run.poll() is None and len(sizes) < 2:
                sizes |= {journal.stat().st_size for journal in folder.glob(".*.journal")}
                time.sleep(0.002)
            run.send_signal(signal.SIGINT)
        if any(folder.glob(".*.journal")):
            return True
    return False


def check_resume(runner) -> list[str]:
    """An interrupted run goes on, and with --no-resume does not."""
    faults = []
    for words, goes_on in (([], True), (["--no-resume"], False)):
        folder = own_folder(runner, f"resume {goes_on}")
        if not interrupt(runner, folder):
            return ["no run could be interrupted"]
        run = subprocess.run([runner.binary, *SLOW, *words], cwd=folder, env=runner.variables, capture_output=True, text=True)
        said = run.stdout + run.stderr
        if bool(re.search("(?<!not )resuming: ", said)) is not goes_on:
            faults.append(f"{words}: {run.stdout[:200]}")
    return faults


OWN_CHECKS = {"--threads | own": check_threads, "--resume | own": check_resume}
