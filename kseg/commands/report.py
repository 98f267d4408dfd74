"""Draws the page of a run: what it scored, how it got there, what it looks like, and what to type next.

  kseg report --workdir=W [--split=val] [--pictures=2]

Writes W/report.html, one file that loads nothing from outside. Training writes it at its end, with what the held-out
images say; after kseg evaluate it shows the split that was evaluated.
"""

import os
import sys

from absl import flags

import kseg
from tfrecords import files

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of kseg train.")
_SPLIT = flags.DEFINE_string("split", None, "Evaluated split to show in full; without it the run's own.")
_PICTURES = flags.DEFINE_integer("pictures", 2, "How many best and how many worst pictures; 0 = none.", lower_bound=0)


def main(argv):
    folder = _WORKDIR.value or (argv[1] if len(argv) == 2 else None)
    if folder is None or len(argv) > (1 if _WORKDIR.value else 2):
        sys.exit("error: give one run, as --workdir=W; see --help.")
    if _PICTURES.value:
        kseg.load_tensorflow_quietly()
    from kseg.report import run_page

    try:
        files.check_folder(folder, "--workdir")
        path, problem = run_page.write(folder, _SPLIT.value, pictures=_PICTURES.value)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if problem:
        print(f"without pictures: {problem}", file=sys.stderr)
    print(f"written: {os.path.join(path)}")
