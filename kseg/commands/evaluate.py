"""Scores a trained model on a split, at full image size.

  kseg evaluate --workdir=W --split=val [--records_dir=R] [--official_dir=PNGS] [--checkpoint=model|best]
      [--average=flip,0.75,1.25] [--tile=HEIGHTxWIDTH]

Writes W/eval_<split>.json and .npz (kseg/evaluation/report.py says what is in them) and prints the main numbers. With
--official_dir also one PNG of published ids per image, as Cityscapes' own scorer wants them; a split without labels
gives these only. Uses every GPU. What is asked in another way than the run's own has files of its own, named
W/eval_<split>_best, _other_records, _averaged and _tiled. kseg report and kseg compare take such a name as --split.
"""

import os
import sys

from absl import flags

import kseg
from kseg.commands import flags as command_flags
from tfrecords import files

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run of kseg train.")
_SPLIT = flags.DEFINE_string("split", "val", "Split of the records.")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Other records than the run's own, with the same classes.")
_OFFICIAL_DIR = flags.DEFINE_string("official_dir", None, "Folder for predictions as official PNGs; new or empty.")
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "model", ["model", "best"], "The final weights, or the best ones.")
_QUIET = flags.DEFINE_bool("quiet", False, command_flags.QUIET_HELP)

_AVERAGE = flags.DEFINE_string(
    "average", None, "Instead of config.eval.average: views whose probabilities are averaged."
)
_TILE = flags.DEFINE_string("tile", None, "Instead of config.eval.tile_size: HEIGHTxWIDTH of tiles; off for none.")


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is not a flag; the run is given as --workdir={argv[1]}.")
    if _WORKDIR.value is None:
        sys.exit("error: --workdir is missing; see --help.")
    kseg.load_tensorflow_quietly()
    from kseg.evaluation import evaluate

    try:
        files.check_folder(_WORKDIR.value, "--workdir")
        if _OFFICIAL_DIR.value:
            files.check_folder(_OFFICIAL_DIR.value, "--official_dir")
        report = evaluate.evaluate_run(
            _WORKDIR.value,
            _SPLIT.value,
            _RECORDS_DIR.value,
            _OFFICIAL_DIR.value,
            _CHECKPOINT.value,
            progress="lines" if _QUIET.value else True,
            average=_AVERAGE.value,
            tile_size=None if _TILE.value is None else _tile_size(_TILE.value),
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if report is not None:
        print(report.summary())
        print(f"\nwritten: {_WORKDIR.value}/eval_{_SPLIT.value}{report.suffix}.json and .npz")
    if _OFFICIAL_DIR.value:
        print(f"written: {_OFFICIAL_DIR.value}/*.png")
    if report is not None:
        page = {"workdir": _WORKDIR.value} | ({"split": _SPLIT.value + report.suffix} if report.suffix else {})
        print(f"next:    {command_flags.typed('report', **page)}")
        export_dir = os.path.join(_WORKDIR.value, "export")
        print(f"or:      {command_flags.typed('export', workdir=_WORKDIR.value, export_dir=export_dir)}")


def _tile_size(text):
    """config.eval.tile_size of a text such as `kseg predict --tile` takes; "auto" needs an export's limits."""
    from kseg.serving import tiles

    size = tiles.parse(text)
    if size == "auto":
        raise ValueError("--tile=auto: expected HEIGHTxWIDTH in px, such as 1024x1024, or off.")
    return (0, 0) if size == "off" else size
