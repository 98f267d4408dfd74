"""CamVid with the SegNet tutorial's 11 classes -> TFRecords.

    kseg convert-camvid --camvid_dir=D --records_dir=R

D holds the tutorial's folders {train,val,test}/X.png and {train,val,test}annot/X.png. In some sequences the car's
bonnet stands at fixed pixels, published as id 11 like all other void. Positions that are void in at least 90 % of a
sequence's frames (over all splits that D has) become id 12 there, "bonnet", of kind geometry;
--keep_published_ids turns that off. tfrecords/FORMAT.md says what is written.
"""

import os
import pathlib
import re
import sys

from absl import flags

import tfrecords
from tfrecords import labels
from tfrecords.conversion.convert import Derived
from tfrecords.conversion.folder import survey
from tfrecords.review import review

_CAMVID_DIR = flags.DEFINE_string("camvid_dir", None, "Folder with train/, trainannot/, ...")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder to write.")
_SPLITS = flags.DEFINE_list("splits", [], "Splits to convert; default: those of train, val, test that are there.")
_KEEP_PUBLISHED_IDS = flags.DEFINE_bool("keep_published_ids", False, "Do not derive id 12 (bonnet).")
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 4, "Files per split; the unit of parallel work.", lower_bound=1)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 0, "Processes; 0 = one per core.", lower_bound=0)
_IMAGE_FORMAT = flags.DEFINE_enum("image_format", "png", ["png", "jpeg"], "png: the published bytes.")
_JPEG_QUALITY = flags.DEFINE_integer("jpeg_quality", 95, "Of --image_format=jpeg.", lower_bound=1, upper_bound=100)
_VERIFY = flags.DEFINE_enum("verify", "fast", ["fast", "full"], "fast: checksums of every chunk. full: decode, too.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what is in --records_dir, once all is built.")
_REPORT = flags.DEFINE_string(
    "report", "", "HTML page to write: classes, void, a contact sheet, and what is suspicious; decodes every picture."
)

_SPLIT_NAMES = ("train", "val", "test")
_VOID, _BONNET = 11, 12


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; options are --name=value (see --help)")
    for flag in ("camvid_dir", "records_dir"):
        if not flags.FLAGS[flag].value:  # "" would mean the current folder
            sys.exit(f"error: --{flag} is missing or empty; see --help")
    try:
        review.check_path(_REPORT.value, _RECORDS_DIR.value)
        root = pathlib.Path(_CAMVID_DIR.value)
        present = [name for name in _SPLIT_NAMES if (root / name).is_dir()]
        if not present:
            raise FileNotFoundError(f"{root} has none of the folders train, val, test; expected CamVid (see --help)")
        splits = _SPLITS.value or present
        pairs = {name: _pairs(root, name) for name in splits}
        derived = None
        if not _KEEP_PUBLISHED_IDS.value:
            # The frames of splits that are not asked for tell, too, where a bonnet is, as far as they are there.
            others = [name for name in present if name not in splits and all(_files(root, name))]
            derived = _find_bonnets([pair for name in [*pairs, *others] for pair in _pairs(root, name)])
        manifest = tfrecords.write(
            _RECORDS_DIR.value,
            labels.CAMVID,
            pairs,
            image_format=_IMAGE_FORMAT.value,
            jpeg_quality=_JPEG_QUALITY.value,
            num_shards=_NUM_SHARDS.value,
            num_workers=_NUM_WORKERS.value,
            verify=_VERIFY.value,
            overwrite=_OVERWRITE.value,
            derived=derived,
            progress=True,
        )
        for sequence, mask in (derived.masks if derived else {}).items():
            print(f"{sequence}: bonnet at {mask.sum()} positions, {mask.mean():.1%} of the frame")
        for name, split in manifest.splits.items():
            print(f"{_RECORDS_DIR.value}: {name}, {split.examples} examples in {len(split.shards)} shards")
        review.review(_RECORDS_DIR.value, _REPORT.value, _NUM_WORKERS.value, progress=True)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")


def _pairs(root: pathlib.Path, split: str) -> list[tfrecords.Pair]:
    """Images of a split with their label files; ValueError where one is without the other."""
    if split not in _SPLIT_NAMES:
        raise ValueError(f"unknown split {split!r}; expected some of {', '.join(_SPLIT_NAMES)}")
    frames, annotations = _files(root, split)
    for folder, found in ((root / split, frames), (root / f"{split}annot", annotations)):
        if not found:
            raise FileNotFoundError(f"{folder} has no *.png; expected CamVid's frames (see --help)")
    for image_id in sorted(frames.keys() ^ annotations.keys()):
        if image_id in frames:
            raise ValueError(f"{frames[image_id]} has no label file {root / f'{split}annot' / image_id}.png")
        raise ValueError(f"{annotations[image_id]} has no image {root / split / image_id}.png")
    return [
        tfrecords.Pair(image_id, str(path), str(annotations[image_id]), _sequence(image_id))
        for image_id, path in frames.items()
    ]


def _files(root: pathlib.Path, split: str) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """Frames and label maps of a split, by id; OSError where a folder cannot be read (pathlib's glob finds nothing)."""
    found = {}, {}
    for folder, paths in zip((root / split, root / f"{split}annot"), found):
        if folder.is_dir():
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.name.endswith(".png"))
            paths.update((name.removesuffix(".png"), folder / name) for name in names)
    return found


def _sequence(image_id: str) -> str:
    """The name's head before the frame number: "0001TP" of "0001TP_006690", "0006R0" of "0006R0_f01080"."""
    return re.sub(r"_f?\d+$", "", image_id)


def _find_bonnets(pairs: list[tfrecords.Pair]) -> Derived:
    """Where each sequence is void in nearly all frames."""
    seen = survey.look(pairs, (_VOID,), _NUM_WORKERS.value, progress=True)
    return Derived(_VOID, _BONNET, survey.fixed(seen)[0])
