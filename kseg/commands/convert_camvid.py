"""CamVid with the SegNet tutorial's 11 classes -> TFRecords.

    kseg convert-camvid --camvid_dir=D --records_dir=R

D holds the tutorial's folders {train,val,test}/X.png and {train,val,test}annot/X.png. In some sequences the car's
bonnet stands at fixed pixels, published as id 11 like all other void. Positions that are void in at least 90 % of a
sequence's frames, over all splits that D has, become id 12 there: "bonnet", of kind geometry. --keep_published_ids
turns that off. tfrecords/FORMAT.md says what is written.
"""

import pathlib
import re

from absl import flags

import tfrecords
from kseg.commands import conversion
from tfrecords import labels, pixels
from tfrecords.conversion.folder import pairing, survey
from tfrecords.conversion.pairs import Derived

_CAMVID_DIR = flags.DEFINE_string("camvid_dir", None, "Folder with train/, trainannot/, ...")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder to write.")
_SPLITS = flags.DEFINE_list("splits", [], "Splits to convert; default: those of train, val, test that are there.")
_KEEP_PUBLISHED_IDS = flags.DEFINE_bool("keep_published_ids", False, "Do not derive id 12 (bonnet).")
conversion.define(4)

_SPLIT_NAMES = ("train", "val", "test")
_VOID, _BONNET = 11, 12


def main(argv):
    conversion.run(argv, ("camvid_dir", "records_dir"), _convert)


def _convert():
    root = pathlib.Path(_CAMVID_DIR.value)
    present = [name for name in _SPLIT_NAMES if (root / name).is_dir()]
    if not present:
        raise FileNotFoundError(f"{root} has none of the folders train, val, test; expected CamVid (see --help)")
    splits = _SPLITS.value or present
    passed, options = pairing.Passed(), conversion.options()
    found = {name: _files(root, name, passed if name in splits else pairing.Passed()) for name in {*present, *splits}}
    pairs, last = conversion.whole({name: _pairs(root, name, *found[name]) for name in splits})
    derived, lines = None, []
    if not _KEEP_PUBLISHED_IDS.value:
        # The frames of splits that are not asked for tell, too, where a bonnet is, as far as they are there.
        others = [name for name in present if name not in splits and all(found[name])]
        frames = [pair for name in splits for pair in pairs[name]]
        frames += [pair for name in others for pair in _pairs(root, name, *found[name])]
        where, lines_of_bonnets = survey.fixed(survey.look(frames, (_VOID,), options["num_workers"], False))
        derived = Derived(_VOID, _BONNET, where)
        lines += [line.replace("void at", "bonnet at") for line in lines_of_bonnets]
    manifest = tfrecords.write(_RECORDS_DIR.value, labels.CAMVID, pairs, derived=derived, **options)
    return manifest, passed.lines() + lines, last


def _pairs(root: pathlib.Path, split: str, frames, annotations) -> list[tfrecords.Pair]:
    """Images of a split with their label files; ValueError where one is without the other."""
    for folder, found in ((root / split, frames), (root / f"{split}annot", annotations)):
        if not found:
            raise FileNotFoundError(f"{folder} has no *.png; expected CamVid's frames (see --help)")
    for image_id in sorted(frames.keys() ^ annotations.keys()):
        if image_id in frames:
            raise ValueError(f"{frames[image_id]} has no label file {root / f'{split}annot' / image_id}.png")
        raise ValueError(f"{annotations[image_id]} has no image {root / split / image_id}.png")
    return [
        tfrecords.Pair(image_id, path, annotations[image_id], _sequence(image_id)) for image_id, path in frames.items()
    ]


def _files(root: pathlib.Path, split: str, passed: pairing.Passed):
    """Frames and label maps of a split, by id, whatever the case of their suffixes."""
    if split not in _SPLIT_NAMES:
        raise ValueError(f"unknown split {split!r}; expected some of {', '.join(_SPLIT_NAMES)}")
    found = []
    for folder, suffixes in ((root / split, pixels.SUFFIXES), (root / f"{split}annot", (".png",))):
        paths = pairing.find(folder, suffixes, passed) if folder.is_dir() else []
        found.append({pairing.image_id(key): path for key, path in pairing.keyed(paths, folder).items()})
    return tuple(found)


def _sequence(image_id: str) -> str:
    """The name's head before the frame number: "0001TP" of "0001TP_006690", "0006R0" of "0006R0_f01080"."""
    return re.sub(r"_f?\d+$", "", image_id)
