"""A folder of pictures and one of labels, whatever made them -> records.

    kseg convert-folder --images_dir=I --labels_dir=L --records_dir=R [--classes=FILE|PRESET]

Labels are told apart by looking: pictures of ids (grey, palette, 0 and 255), pictures in colour, a folder that CVAT
exported (labelmap.txt, SegmentationClass/), or COCO's JSON. Without --classes the ids found are classes, 255 is void,
and R/classes.csv is written for you to edit. Folders train, val and test below I and L are splits; without them
--val_fraction is held out. With a preset and without --labels_dir, I is the data set's own folder. Killed or stopped,
the same command goes on. tfrecords/FORMAT.md says what is written.
"""

import sys

from absl import flags

from tfrecords.conversion.folder import convert
from tfrecords.review import review

_IMAGES_DIR = flags.DEFINE_string("images_dir", None, "Folder of pictures.")
_LABELS_DIR = flags.DEFINE_string("labels_dir", "", "Folder of label pictures, or COCO's JSON.")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder to write.")
_CLASSES = flags.DEFINE_string(
    "classes",
    "",
    "CSV, JSON, YAML or labelmap.txt of classes (id, name, void, color), or one of cityscapes, kitti, camvid, bdd100k, "
    "idd, voc, lost_and_found.",
)
_LABEL_FORMAT = flags.DEFINE_enum("label_format", "auto", list(convert.FORMATS), "ids: 255 is void, 0 and 255 or not.")
_IMAGE_SUFFIX = flags.DEFINE_string("image_suffix", "", "What every image's name ends in, such as _leftImg8bit.")
_LABEL_SUFFIX = flags.DEFINE_string("label_suffix", "", "What every label's name ends in, such as _mask.")
_VAL_FRACTION = flags.DEFINE_float("val_fraction", None, "Share held out where there is no folder val; default 0.1.")
_UNLABELLED = flags.DEFINE_enum("unlabelled", "error", ["error", "skip"], "What to do about files without a partner.")
_UNCOVERED = flags.DEFINE_string("uncovered", "", "Class of pixels that no polygon covers; default: they are void.")
_FIXED_VOID = flags.DEFINE_enum(
    "fixed_void", "auto", ["auto", "off"], "auto: what is void at fixed places of a sequence is of kind geometry."
)
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 10, "Files per split; the unit of parallel work.", lower_bound=1)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 0, "Processes; 0 = one per core.", lower_bound=0)
_IMAGE_FORMAT = flags.DEFINE_enum("image_format", "auto", ["auto", "png", "jpeg"], "auto: as the pictures are.")
_JPEG_QUALITY = flags.DEFINE_integer("jpeg_quality", 95, "Of --image_format=jpeg.", lower_bound=1, upper_bound=100)
_VERIFY = flags.DEFINE_enum("verify", "fast", ["fast", "full"], "fast: checksums of every chunk. full: decode, too.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what is in --records_dir, once all is built.")
_REPORT = flags.DEFINE_string(
    "report", "", "HTML page to write: classes, void, a contact sheet, and what is suspicious; decodes every picture."
)


def main(argv):
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; options are --name=value (see --help)")
    for flag in ("images_dir", "records_dir"):
        if not flags.FLAGS[flag].value:  # "" would mean the current folder
            sys.exit(f"error: --{flag} is missing or empty; see --help")
    options = convert.Options(
        images_dir=_IMAGES_DIR.value,
        labels_dir=_LABELS_DIR.value,
        classes=_CLASSES.value,
        label_format=_LABEL_FORMAT.value,
        image_suffix=_IMAGE_SUFFIX.value,
        label_suffix=_LABEL_SUFFIX.value,
        val_fraction=_VAL_FRACTION.value,
        unlabelled=_UNLABELLED.value,
        uncovered=_UNCOVERED.value,
        fixed_void=_FIXED_VOID.value,
    )
    try:
        review.check_path(_REPORT.value, _RECORDS_DIR.value)
        manifest = convert.convert(
            options,
            _RECORDS_DIR.value,
            image_format=_IMAGE_FORMAT.value,
            jpeg_quality=_JPEG_QUALITY.value,
            num_shards=_NUM_SHARDS.value,
            num_workers=_NUM_WORKERS.value,
            verify=_VERIFY.value,
            overwrite=_OVERWRITE.value,
            progress=True,
        )
        for name, split in manifest.splits.items():
            print(f"{_RECORDS_DIR.value}: {name}, {split.examples} examples in {len(split.shards)} shards")
        review.review(_RECORDS_DIR.value, _REPORT.value, _NUM_WORKERS.value, progress=True)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")
