"""A folder of pictures and one of labels, whatever made them -> records.

    kseg convert-folder --images_dir=I --labels_dir=L --records_dir=R [--classes=FILE|PRESET]

Labels are told apart by looking. They are pictures of ids (grey, palette, 0 and 255) or in colour, or annotations: of
COCO, labelme, CVAT (annotations.xml, or labelmap.txt and masks), Ultralytics (L is its YAML) or Supervisely (I is the
project). Without --classes what is found is a class, 255 is void, and R/classes.csv is written for you to edit. Folders
train, val and test below I and L are splits; without val --val_fraction is held out. With a preset and without
--labels_dir, I is the data set's own folder. What is done to pictures and what is passed over is counted:
docs/own_folder.md. Killed or stopped, the same command goes on. tfrecords/FORMAT.md says what is written.
"""

from absl import flags

from kseg.commands import conversion
from tfrecords.conversion.folder import convert, presets

_IMAGES_DIR = flags.DEFINE_string("images_dir", "", "Folder of pictures; of a preset or an export, its own folder.")
_LABELS_DIR = flags.DEFINE_string("labels_dir", "", "Folder of labels, or a file: COCO's JSON, CVAT's XML, a YAML.")
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder to write.")
_CLASSES = flags.DEFINE_string(
    "classes",
    "",
    f"CSV, JSON, YAML or labelmap.txt of classes (id, name, void, color), or one of {', '.join(presets.PRESETS)}.",
)
_LABEL_FORMAT = flags.DEFINE_enum(
    "label_format",
    "auto",
    list(convert.FORMATS),
    "ids, palette: 255 is void, 0 and 255 or not. rgb: by colours, those of palettes, too.",
)
_IMAGE_SUFFIX = flags.DEFINE_string("image_suffix", "", "What every image's name ends in, such as _leftImg8bit.")
_LABEL_SUFFIX = flags.DEFINE_string("label_suffix", "", "What every label's name ends in, such as _mask.")
_TRAIN_LIST = flags.DEFINE_string("train_list", "", "File with the name of a picture on each line.")
_VAL_LIST = flags.DEFINE_string("val_list", "", "As --train_list.")
_TEST_LIST = flags.DEFINE_string("test_list", "", "As --train_list.")
_PAIRS = flags.DEFINE_string("pairs", "", "CSV of columns image, label, and split and sequence if they are known.")
_VAL_FRACTION = flags.DEFINE_float(
    "val_fraction", None, "Share held out where there is no val; default 0.1, of lists none."
)
_UNLABELLED = flags.DEFINE_enum(
    "unlabelled", "error", ["error", "skip", "keep"], "Images without label; keep: as a split of their own."
)
_UNCOVERED = flags.DEFINE_string("uncovered", "", "Class of pixels that no polygon covers; default: they are void.")
_FIXED_VOID = flags.DEFINE_enum(
    "fixed_void", "auto", ["auto", "off"], "auto: what is void at fixed places of a sequence is of kind geometry."
)
conversion.define(10, ("auto", "png", "jpeg"), "auto: what keeps the pictures' bytes, or loses nothing.")


def main(argv):
    conversion.run(argv, ("records_dir",), _convert)


def _convert():
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
        train_list=_TRAIN_LIST.value,
        val_list=_VAL_LIST.value,
        test_list=_TEST_LIST.value,
        pairs=_PAIRS.value,
    )
    last = []

    def whole(splits):
        splits, lines = conversion.whole(splits)
        last.extend(lines)
        return splits

    return convert.convert(options, _RECORDS_DIR.value, whole=whole, **conversion.options()), [], last
