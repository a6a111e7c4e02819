#!/usr/bin/env python3
"""Makes Headway's own environment in .venv on first use, then runs it. Needs Python 3.11 or later, nothing else;
Debian and Ubuntu have a part of Python in the package python3-venv.

python3 start.py demo          see it all on sample data
python3 start.py test          run the tests
python3 start.py COMMAND ...   anything else that `headway` does
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMP = VENV / "headway-installed"
INPUTS = ("requirements.lock", "pyproject.toml")


def main() -> None:
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        sys.exit(f"Headway needs Python 3.11 to 3.14; this is {sys.version.split()[0]}")
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in INPUTS)).hexdigest()
    if not STAMP.exists() or STAMP.read_text() != wanted:
        install()
        STAMP.write_text(wanted)
    arguments = sys.argv[1:] or ["--help"]
    if arguments[0] == "test":
        two_at_a_time = ["--numprocesses", "2", "--dist", "loadgroup", "--no-loadscope-reorder"]
        command = [str(BIN / "python"), "-m", "pytest", *two_at_a_time, *arguments[1:]]
        sys.exit(subprocess.call(command, cwd=ROOT))
    os.execv(BIN / "headway", [str(BIN / "headway"), *arguments])


def install() -> None:
    print("Setting up .venv from requirements.lock (once, a minute or two) ...", flush=True)
    if not has_pip() and subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        sys.exit("The set-up failed: Python could not make .venv. Debian and Ubuntu need: apt install python3-venv")
    pip = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.check_call([*pip, "--require-hashes", "--requirement", str(ROOT / "requirements.lock")])
    subprocess.check_call([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def has_pip() -> bool:
    """Whether .venv can be gone on with; a set-up that failed may have left a Python without pip."""
    python = str(BIN / "python")
    return os.path.exists(python) and subprocess.run([python, "-m", "pip", "-V"], capture_output=True).returncode == 0


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"The set-up failed: {' '.join(error.cmd)} ended with {error.returncode}")
    except KeyboardInterrupt:
        sys.exit("Stopped; the next start goes on with the set-up.")
