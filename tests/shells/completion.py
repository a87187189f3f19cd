"""Types into a real shell, presses Tab, and looks at the line: completion.py SHELL BINARY. `man` reads the man page."""
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

shell, binary = sys.argv[1], pathlib.Path(sys.argv[2])
if not shutil.which(shell):
    sys.exit(f"[skipped] there is no {shell} here") if shell != "man" else None
script = subprocess.run([binary, "completion", shell], capture_output=True, text=True, check=True).stdout

# Typed, and what the line then is. Each completion has one answer.
CASES = [
    ("convert_to_quant inspe", "convert_to_quant inspect "),
    ("convert_to_quant --report-qual", "convert_to_quant --report-quality "),
    ("convert_to_quant inspect --summ", "convert_to_quant inspect --summary "),
    ("convert_to_quant --format float8_e5", "convert_to_quant --format float8_e5m2 "),
    ("convert_to_quant -i only_", "convert_to_quant -i only_model.safetensors "),
    ("convert_to_quant inspect only_", "convert_to_quant inspect only_model.safetensors "),
    ("convert_to_quant batch --output-di", "convert_to_quant batch --output-dir "),
    ("convert_to_quant batch --fallback-bl", "convert_to_quant batch --fallback-block-size "),
    ("convert_to_quant completion fi", "convert_to_quant completion fish "),
    ("convert_to_quant --device au", "convert_to_quant --device auto "),
]


def check_man_page():
    assert ".SH OPTIONS\n" in script and "\\-\\-scaling_mode" in script and ".SH OPTIONS OF BATCH\n" in script
    if not shutil.which("groff"):
        sys.exit("[skipped] there is no groff here; the sections are there")
    run = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=script, capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr, run.stderr


def check_bash(folder):
    """Runs the function as bash's own line editor does: with COMP_WORDS and COMP_CWORD."""
    for typed, wanted in CASES:
        words = typed.split(" ")
        program = (f"source ./script; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
                   "_convert_to_quant; printf '%s\\n' \"${COMPREPLY[@]}\"")
        run = subprocess.run(["bash", "--norc", "-c", program], cwd=folder, capture_output=True, text=True)
        assert run.stdout.split() == [wanted.split()[-1]], (typed, wanted, run)


class Terminal:
    """An interactive shell behind a pseudo terminal; control-X prints the line between < and >."""

    def __init__(self, command, folder, setup):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="dumb", HOME=str(folder), PS1="> ")
            os.execvp(command[0], command)
        for line in setup:
            os.write(self.end, line.encode() + b"\n")
        os.write(self.end, b"echo rea''dy\n")
        self.read_until(r"\nready")

    def read_until(self, pattern):
        text, deadline = "", time.monotonic() + 30
        while not re.search(pattern, text):
            assert select.select([self.end], [], [], max(0.0, deadline - time.monotonic()))[0], f"no {pattern}: {text!r}"
            text += os.read(self.end, 65536).decode(errors="replace")
        return re.search(pattern, text)

    def completed(self, typed):
        os.write(self.end, typed.encode() + b"\t")
        time.sleep(0.3)
        os.write(self.end, b"\x18")
        line = self.read_until(r"LINE<(.*?)>").group(1)
        os.write(self.end, b"\x15")
        return line


def check_zsh(folder):
    terminal = Terminal(["zsh", "-f", "-i"], folder, [
        "unsetopt prompt_cr prompt_sp", "autoload -Uz compinit && compinit -u -D", "source ./script",
        "show() { print -r -- \"LINE<$BUFFER>\" }; zle -N show; bindkey '^X' show; bindkey '^U' kill-whole-line"])
    for typed, wanted in CASES:
        line = terminal.completed(typed)
        assert line == wanted, (typed, wanted, line)


def check_fish(folder):
    for typed, wanted in CASES:
        run = subprocess.run(["fish", "--no-config", "-c", f"source ./script; complete -C '{typed}'"], cwd=folder,
                             capture_output=True, text=True, env={**os.environ, "HOME": str(folder)})
        offered = [line.split("\t")[0] for line in run.stdout.splitlines()]
        assert offered == [wanted.split()[-1]], (typed, wanted, run)


if shell == "man":
    check_man_page()
else:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "script").write_text(script)
        (folder / "only_model.safetensors").write_text("")
        {"bash": check_bash, "zsh": check_zsh, "fish": check_fish}[shell](folder)
print(f"{shell}: {len(script)} bytes, works")
