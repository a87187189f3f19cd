"""Runs the recorder's own tests: run_capture_tests.py FOLDER. Prints "[skipped] ..." and ends well where torch is missing."""
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("torch") is None:
    print("[skipped] not here: torch")
    sys.exit(0)
sys.exit(subprocess.run([sys.executable, "-m", "unittest"], cwd=sys.argv[1], env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode)
