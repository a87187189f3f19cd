"""Four processes of a real launcher write the parts of one conversion: launchers.py mpirun|slurm BINARY

mpirun: Open MPI's, with four ranks on this machine. slurm: a controller and a node of their own in a temporary folder, and an array of four tasks.
Joined, the parts must be the bytes of one process. Skipped where the launcher is not installed, or, for Slurm, without root.
"""
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

launcher, binary = sys.argv[1], str(Path(sys.argv[2]).resolve())
PARTS = 4
ONE_THREAD = ["--threads", "1"]  # a sum's last bit may depend on their number
OPTIONS = ["--fp8", "--comfy_quant", "--optimizer", "direct"]


def skip(why):
    print("[skipped]", why)
    sys.exit(0)


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, **more)
    if done.returncode != 0:
        sys.exit(f"{words[0]}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_model(path):
    draw, header, data = random.Random(5), {}, b""
    for layer in range(9):
        shape = [64 + 32 * (layer % 3), 128]
        raw = bytearray(draw.randbytes(2 * shape[0] * shape[1]))
        raw[1::2] = bytes(0x3C if byte < 128 else 0xBC for byte in raw[1::2])  # bfloat16 of magnitude 0.01 to 0.03
        header[f"blocks.{layer}.fc.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """A cluster of this machine alone, while it is entered."""

    def __init__(self, folder):
        self.folder, self.daemons = folder, []
        self.environment = dict(os.environ, SLURM_CONF=str(folder / "slurm.conf"))

    def __enter__(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        (self.folder / "slurm.conf").write_text(f"""ClusterName=parts
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=10 State=UP
""")
        for daemon in (["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]):
            log = open(self.folder / f"{daemon[0]}.log", "w")
            self.daemons.append(subprocess.Popen([shutil.which(daemon[0], path=os.environ["PATH"] + ":/usr/sbin"), *daemon[1:]],
                                                 env=self.environment, stdout=log, stderr=log))
        for _ in range(60):
            seen = subprocess.run(["sinfo", "-h", "-o", "%T"], env=self.environment, capture_output=True, text=True)
            if seen.stdout.strip() == "idle":
                return self
            time.sleep(0.5)
        logs = "".join(path.read_text() for path in self.folder.glob("*.log"))
        self.__exit__()
        sys.exit(f"the node did not come up: {seen.stdout}{seen.stderr}\n{logs}")

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def run_array(self, command):
        script = self.folder / "job.sh"
        script.write_text(f"#!/bin/bash\n#SBATCH --array=1-{PARTS}\n#SBATCH --output={self.folder}/task-%a.txt\n{command}\n")
        run("sbatch", "--wait", script, env=self.environment, cwd=self.folder)


def write_parts(folder, words):
    words = [binary, *words, *ONE_THREAD, "--partition", "auto"]
    if launcher == "mpirun":
        as_root = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        run("mpirun", "-n", PARTS, "--oversubscribe", "--bind-to", "none", *words, env=as_root)
        return
    with Slurm(folder) as cluster:
        cluster.run_array(" ".join(f"'{word}'" for word in words))


def main():
    needed = ["mpirun"] if launcher == "mpirun" else ["sbatch", "slurmctld", "slurmd"]
    for program in needed:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            skip(f"{program} is not installed")
    if launcher == "slurm" and os.geteuid() != 0:
        skip("Slurm's daemons want root")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.safetensors"
        write_model(model)
        run(binary, "-i", model, "-o", folder / "one.safetensors", *OPTIONS, *ONE_THREAD)
        write_parts(folder, ["-i", str(model), "-o", str(folder / "many.safetensors"), *OPTIONS])
        parts = sorted(folder.glob("many.part-*-of-*.safetensors"))
        if len(parts) != PARTS:
            sys.exit(f"{len(parts)} parts: " + "".join(path.read_text() for path in folder.glob("task-*.txt")))
        run(binary, "assemble", *parts, "-o", folder / "joined.safetensors")
        if (folder / "joined.safetensors").read_bytes() != (folder / "one.safetensors").read_bytes():
            sys.exit("the joined parts differ from the file of one process")
    print("the bytes of one process")


main()
