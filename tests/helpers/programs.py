"""Programs of the repository, run from its root."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def run_tool(*command, check=True):
    """Runs a program of the repository from its root; returns the finished process."""
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr[-4000:]
    return done
