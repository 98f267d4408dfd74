"""Draws a page that has finished runs side by side, with the difference to the first for each class.

  kseg compare W1 W2 ... [--output=compare.html] [--split=val] [--pictures=3]

All of them must have been evaluated on the same images (kseg evaluate); without --split, on a split that all have. One
run each says little: kseg study repeats runs over seeds and gives intervals.
"""

import sys

from absl import flags

import kseg
from tfrecords import files

_OUTPUT = flags.DEFINE_string("output", "compare.html", "The page; written over.")
_SPLIT = flags.DEFINE_string("split", None, "Evaluated split; without it one that all runs have.")
_PICTURES = flags.DEFINE_integer("pictures", 3, "How many images to show; 0 = none.", lower_bound=0)


def main(argv):
    if len(argv) < 3:
        sys.exit("error: give the workdirs of two runs or more; see --help.")
    if _PICTURES.value:
        kseg.load_tensorflow_quietly()
    from kseg.report import compare_page

    try:
        files.check_file(_OUTPUT.value, "--output")
        split, problem = compare_page.write(argv[1:], _OUTPUT.value, _SPLIT.value, _PICTURES.value)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if problem:
        print(f"without pictures: {problem}", file=sys.stderr)
    print(f"written: {_OUTPUT.value} ({len(argv) - 1} runs on {split}; one run each says little)")
