"""Runs the recorder's own tests: run_capture_tests.py FOLDER. Prints "[skipped] ..." and ends well where PyTorch, all of it, or NumPy is
missing."""
import importlib
import os
import subprocess
import sys

for package in ("numpy", "torch"):
    try:
        importlib.import_module(package)
    except (ImportError, OSError) as error:  # torch is there without CUDA's libraries: it serves the program, but not Python
        print(f"[skipped] {package}: {error}")
        sys.exit(0)
sys.exit(subprocess.run([sys.executable, "-m", "unittest"], cwd=sys.argv[1], env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode)
