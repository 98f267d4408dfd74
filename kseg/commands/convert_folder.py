"""A folder of pictures and one of labels, whatever made them -> records.

    kseg convert-folder --images_dir=I --labels_dir=L --records_dir=R [--classes=FILE|PRESET]

Labels are told apart by looking. They are pictures of ids (grey, palette, 0 and 255) or in colour, or annotations: of
COCO, labelme, CVAT (annotations.xml, or labelmap.txt and masks), Ultralytics (L is its YAML) or Supervisely (I is the
project). A picture and its labels have the same name. Folders train, val and test below I and L are splits; without val
--val_fraction is held out. With a preset and without --labels_dir, I is the data set's own folder.

Without --classes what is found is a class and 255 is void: what belongs to no class. R/classes.csv lists what was
found. Name it there, and write into column void: nothing for a class; scene for what nobody labelled or has no class;
geometry for what is of the camera (bonnet, border); dropped for a class to leave out. Then convert again with
--classes=R/classes.csv --overwrite. What is done to pictures and what is passed over is counted.
Killed or stopped, the same command goes on.
"""

from absl import flags

from kseg.commands import conversion
from kseg.commands import flags as command_flags
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
        skip_damaged=bool(flags.FLAGS.skip_damaged),
    )
    last = []

    def whole(splits):
        splits, lines = conversion.whole(splits)
        last.extend(lines)
        return splits

    manifest = convert.convert(options, _RECORDS_DIR.value, whole=whole, **conversion.options())
    return manifest, [], [*_next(_RECORDS_DIR.value), *last]


def _next(records_dir):
    """What to type next."""
    sheet = f"{records_dir.rstrip('/')}.png"
    yield f"next:    {command_flags.typed('inspect_records', records_dir=records_dir, contact_sheet=sheet)}"
    yield f"or:      {command_flags.typed('train', config=f'own_folder:{records_dir}', workdir='runs/first')}"
