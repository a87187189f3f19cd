"""Runs the program by forks of one that is started already (fork_server.c), which saves most of the time of a short run."""

import os
import signal
import struct
import subprocess
from pathlib import Path
from threading import Timer


class ForkServer:
    """Of one thread."""

    def __init__(self, binary: str, library: Path, variables: dict[str, str]):
        self.binary = binary
        self.server = subprocess.Popen(
            [binary], env=variables | {"LD_PRELOAD": str(library)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def answer(self) -> int:
        return struct.unpack("i", self.server.stdout.read(4))[0]

    def run(self, words: list[str], folder: Path, streams: Path, limit_s: float) -> tuple[int, str, str]:
        """Exit code, minus the number of a signal that ended it, and what was printed. `streams` begins the names of two files."""
        out, err = Path(f"{streams}.out"), Path(f"{streams}.err")
        request = b"".join(os.fsencode(word) + b"\0" for word in (folder, out, err, self.binary, *words))
        self.server.stdin.write(struct.pack("I", len(request)) + request)
        timer = Timer(limit_s, os.kill, (self.answer(), signal.SIGKILL))
        timer.start()
        status = self.answer()
        timer.cancel()
        texts = [path.read_text(errors="replace") for path in (out, err)]
        out.unlink()
        err.unlink()
        return os.waitstatus_to_exitcode(status), *texts

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()


def library_in(folder: Path) -> Path | None:
    """Compiles it. None: the machine has no compiler, or other libraries than glibc."""
    library = folder / "fork_server.so"
    words = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_suffix(".c"), "-ldl"]
    try:
        return library if subprocess.run(words, capture_output=True).returncode == 0 else None
    except OSError:
        return None
