"""Cityscapes -> TFRecords.

    kseg convert-cityscapes --cityscapes_dir=D --records_dir=R

D is the folder that Cityscapes' archives unpack into:

    leftImg8bit/{train,val,test}/<city>/<id>_leftImg8bit.png            leftImg8bit_trainvaltest.zip
    gtFine/{train,val}/<city>/<id>_gtFine_labelIds.png                  gtFine_trainvaltest.zip
    leftImg8bit/train_extra/<city>/<id>_leftImg8bit.png                 leftImg8bit_trainextra.zip (optional)
    gtCoarse/{train,val,train_extra}/<city>/<id>_gtCoarse_labelIds.png  gtCoarse.zip (optional)

Splits: train, val (fine labels), test (images alone: its published label maps are dummies), train_extra, train_coarse,
val_coarse (coarse labels, in which id 0 means that nobody looked). Killed or stopped, the same command goes on; onto a
finished folder it checks, adds splits, or refuses. tfrecords/FORMAT.md says what is written.
"""

import pathlib
import re

from absl import flags

import tfrecords
from kseg.commands import conversion
from tfrecords import labels, pixels
from tfrecords.conversion.folder import pairing

_CITYSCAPES_DIR = flags.DEFINE_string("cityscapes_dir", None, "Folder with leftImg8bit/ and gtFine/.")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder to write.")
_SPLITS = flags.DEFINE_list("splits", [], "Splits to convert; default: those of train, val, test that are there.")
_RUNNER = flags.DEFINE_enum("runner", "local", ["local", "beam"], "beam: Apache Beam (pip install 'kseg[beam]').")
_BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own options, such as --runner=FlinkRunner.")
conversion.define(10, format_help="png: the published bytes. jpeg: smaller and faster to read, not lossless.")

# split -> (folder under leftImg8bit, annotation folder or None, folder under it)
_LAYOUT = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    "test": ("test", None),
    "train_extra": ("train_extra", "gtCoarse"),
    "train_coarse": ("train", "gtCoarse"),
    "val_coarse": ("val", "gtCoarse"),
}
_DEFAULT_SPLITS = ("train", "val", "test")


# What else lies beside the label maps.
_OTHER_LABELS = ("_color.png", "instanceids.png", "trainids.png", "_polygons.json")


def main(argv):
    conversion.run(argv, ("cityscapes_dir", "records_dir"), _convert)


def _convert():
    root = pathlib.Path(_CITYSCAPES_DIR.value)
    if not (root / "leftImg8bit").is_dir():
        raise FileNotFoundError(f"{root} has no folder leftImg8bit; expected Cityscapes' layout (see --help)")
    splits = _SPLITS.value or [name for name in _DEFAULT_SPLITS if (root / "leftImg8bit" / name).is_dir()]
    if not splits:
        raise FileNotFoundError(f"{root / 'leftImg8bit'} has none of the folders {', '.join(_DEFAULT_SPLITS)}")
    passed = pairing.Passed()
    pairs, last = conversion.whole({name: _pairs(root, name, passed) for name in splits})
    manifest = tfrecords.write(
        _RECORDS_DIR.value,
        labels.CITYSCAPES,
        pairs,
        unannotated_ids={name: (0,) for name in splits if _LAYOUT[name][1] == "gtCoarse"},
        runner=_RUNNER.value,
        beam_options=tuple(_BEAM_OPTIONS.value),
        **conversion.options(),
    )
    return manifest, passed.lines(), last


def _pairs(root: pathlib.Path, split: str, passed: pairing.Passed) -> list[tfrecords.Pair]:
    """Images of a split with their label files; ValueError where one is without the other."""
    if split not in _LAYOUT:
        raise ValueError(f"unknown split {split!r}; expected some of {', '.join(_LAYOUT)}")
    folder, annotation = _LAYOUT[split]
    images = _find(root / "leftImg8bit" / folder, "_leftImg8bit", pixels.SUFFIXES, passed)
    if annotation is None:
        return [tfrecords.Pair(image_id, path) for image_id, path in images.items()]
    found = _find(root / annotation / folder, f"_{annotation}_labelIds", (".png",), passed)
    for image_id in sorted(images.keys() ^ found.keys()):
        if image_id in images:
            raise ValueError(
                f"{images[image_id]} has no label file; expected "
                f"{root / annotation / folder / images[image_id].parent.name / image_id}_{annotation}_labelIds.png"
            )
        raise ValueError(f"{found[image_id]} has no image under {root / 'leftImg8bit' / folder}; is a part missing?")
    return [tfrecords.Pair(image_id, path, found[image_id]) for image_id, path in images.items()]


def _find(folder: pathlib.Path, ending: str, suffixes, passed: pairing.Passed) -> dict[str, pathlib.Path]:
    """id -> file, for <folder>/<city>/<id><ending>.png, or another of the suffixes, in upper or lower case."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected <city>/*{ending}.png in it (see --help)")
    endings = [f"{ending}{suffix}".lower() for suffix in suffixes]
    found: dict[str, pathlib.Path] = {}
    for path in pairing.find(folder, endings, passed, _OTHER_LABELS):
        image_id = re.sub(rf"{ending}\.[^.]+$", "", path.name, flags=re.IGNORECASE)
        if image_id in found:
            raise ValueError(f"{path} and {found[image_id]} have the same id; remove one")
        found[image_id] = path
    if not found:
        raise FileNotFoundError(f"{folder} has no <city>/*{ending}.png; expected Cityscapes' layout (see --help)")
    return found
