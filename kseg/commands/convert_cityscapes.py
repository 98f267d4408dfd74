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

import os
import pathlib
import sys

from absl import flags

import tfrecords
from tfrecords import labels
from tfrecords.review import review

_CITYSCAPES_DIR = flags.DEFINE_string("cityscapes_dir", None, "Folder with leftImg8bit/ and gtFine/.")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder to write.")
_SPLITS = flags.DEFINE_list("splits", [], "Splits to convert; default: those of train, val, test that are there.")
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 10, "Files per split; the unit of parallel work.", lower_bound=1)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 0, "Processes; 0 = one per core.", lower_bound=0)
_IMAGE_FORMAT = flags.DEFINE_enum(
    "image_format", "png", ["png", "jpeg"], "png: the published bytes. jpeg: smaller and faster to read, not lossless."
)
_JPEG_QUALITY = flags.DEFINE_integer("jpeg_quality", 95, "Of --image_format=jpeg.", lower_bound=1, upper_bound=100)
_VERIFY = flags.DEFINE_enum("verify", "fast", ["fast", "full"], "fast: checksums of every chunk. full: decode, too.")
_RUNNER = flags.DEFINE_enum("runner", "local", ["local", "beam"], "beam: Apache Beam (pip install 'kseg[beam]').")
_BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own options, such as --runner=FlinkRunner.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what is in --records_dir, once all is built.")
_REPORT = flags.DEFINE_string(
    "report", "", "HTML page to write: classes, void, a contact sheet, and what is suspicious; decodes every picture."
)

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


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; options are --name=value (see --help)")
    for flag in ("cityscapes_dir", "records_dir"):
        if not flags.FLAGS[flag].value:  # "" would mean the current folder
            sys.exit(f"error: --{flag} is missing or empty; see --help")
    try:
        review.check_path(_REPORT.value, _RECORDS_DIR.value)
        root = pathlib.Path(_CITYSCAPES_DIR.value)
        if not (root / "leftImg8bit").is_dir():
            raise FileNotFoundError(f"{root} has no folder leftImg8bit; expected Cityscapes' layout (see --help)")
        splits = _SPLITS.value or [name for name in _DEFAULT_SPLITS if (root / "leftImg8bit" / name).is_dir()]
        if not splits:
            raise FileNotFoundError(f"{root / 'leftImg8bit'} has none of the folders {', '.join(_DEFAULT_SPLITS)}")
        pairs = {name: _pairs(root, name) for name in splits}
        manifest = tfrecords.write(
            _RECORDS_DIR.value,
            labels.CITYSCAPES,
            pairs,
            image_format=_IMAGE_FORMAT.value,
            jpeg_quality=_JPEG_QUALITY.value,
            num_shards=_NUM_SHARDS.value,
            num_workers=_NUM_WORKERS.value,
            verify=_VERIFY.value,
            overwrite=_OVERWRITE.value,
            unannotated_ids={name: (0,) for name in splits if _LAYOUT[name][1] == "gtCoarse"},
            runner=_RUNNER.value,
            beam_options=tuple(_BEAM_OPTIONS.value),
            progress=True,
        )
        for name, split in manifest.splits.items():
            print(f"{_RECORDS_DIR.value}: {name}, {split.examples} examples in {len(split.shards)} shards")
        review.review(_RECORDS_DIR.value, _REPORT.value, _NUM_WORKERS.value, progress=True)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")


def _pairs(root: pathlib.Path, split: str) -> list[tfrecords.Pair]:
    """Images of a split with their label files; ValueError where one is without the other."""
    if split not in _LAYOUT:
        raise ValueError(f"unknown split {split!r}; expected some of {', '.join(_LAYOUT)}")
    folder, annotation = _LAYOUT[split]
    images = _find(root / "leftImg8bit" / folder, "_leftImg8bit.png")
    if annotation is None:
        return [tfrecords.Pair(image_id, str(path)) for image_id, path in images.items()]
    found = _find(root / annotation / folder, f"_{annotation}_labelIds.png")
    for image_id in sorted(images.keys() ^ found.keys()):
        if image_id in images:
            raise ValueError(
                f"{images[image_id]} has no label file; expected "
                f"{root / annotation / folder / images[image_id].parent.name / image_id}_{annotation}_labelIds.png"
            )
        raise ValueError(f"{found[image_id]} has no image under {root / 'leftImg8bit' / folder}; is a part missing?")
    return [tfrecords.Pair(image_id, str(path), str(found[image_id])) for image_id, path in images.items()]


def _find(folder: pathlib.Path, suffix: str) -> dict[str, pathlib.Path]:
    """id -> file, for <folder>/<city>/<id><suffix>."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected <city>/*{suffix} in it (see --help)")
    found = {}
    for city in _entries(folder):
        for entry in _entries(city) if city.is_dir() else ():
            if not entry.name.endswith(suffix):
                continue
            image_id, path = entry.name.removesuffix(suffix), pathlib.Path(entry)
            if image_id in found:
                raise ValueError(f"{path} and {found[image_id]} have the same id; remove one")
            found[image_id] = path
    if not found:
        raise FileNotFoundError(f"{folder} has no <city>/*{suffix}; expected Cityscapes' layout (see --help)")
    return found


def _entries(folder) -> list[os.DirEntry]:
    """What is in a folder, by name; OSError where it cannot be read (pathlib's glob would find nothing in it)."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
