"""Label tables and folder layouts of published data sets: names, ids and colours as published.

Each has its source in a comment. What is void is the publisher's choice where there is one; its kind is this project's.
"""

import dataclasses
import difflib
import os

from tfrecords import files, labels
from tfrecords.conversion.folder import published, tables


@dataclasses.dataclass(frozen=True)
class Preset:
    """A published data set.

    Attributes:
      table: its ids.
      splits: (split, folder of images, folder of labels or None), below the data set's folder. With * it is every
        such folder; with | the first that is there.
      image_suffix, label_suffix, drop: as in pairing.keyed.
      lists: (split, file of names), below the data set's folder: where they are there, they say what is used.
      inside: names of the folder that the data set may be in, below what is given.
      known: endings of files that lie beside the labels and are not asked for.
      by_color: labels are pictures in the table's colours.
    """

    table: labels.LabelTable
    splits: tuple[tuple[str, str, str | None], ...]
    image_suffix: str = ""
    label_suffix: str = ""
    drop: str = ""
    lists: tuple[tuple[str, str], ...] = ()
    inside: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    by_color: bool = False


def _named(table: labels.LabelTable, name: str, more=()) -> labels.LabelTable:
    return labels.LabelTable(name, (*table.labels, *more))


def _void(number: int) -> labels.Label:
    return labels.Label(number, "unlabeled", None, "scene", (0, 0, 0))


# Pixels hold Cityscapes' train ids, 255 where they have none (doc.bdd100k.com, bdd100k/label/label.py).
_BDD100K = labels.LabelTable(
    "bdd100k",
    tuple(
        labels.Label(label.class_index, label.name, label.class_index, None, label.color)
        for label in labels.CITYSCAPES.labels
        if label.class_index is not None
    )
    + (_void(255),),
)

# VOCdevkit, VOCinit.m; 255 is the border that the benchmark leaves out. Colours are those of its palette.
_VOC_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()
_VOC = tables.from_rows(
    "voc",
    [{"id": i, "name": name} for i, name in enumerate(_VOC_NAMES)]
    + [{"id": 255, "name": "void", "void": "scene", "color": "#e0e0c0"}],
)

# AutoNUE public-code, helpers/anue_labels.py: the ids of level 3, on which the benchmark is scored; 255 is void.
_IDD_NAMES = (
    "road|parking / drivable fallback|sidewalk|rail track / non-drivable fallback|person / animal|rider|motorcycle|"
    "bicycle|autorickshaw|car|truck|bus|caravan / trailer / train / vehicle fallback|curb|wall|fence|guard rail|"
    "billboard|traffic sign|traffic light|pole / polegroup|obs-str-bar-fallback|building|bridge / tunnel|vegetation|"
    "sky / fallback background"
).split("|")
_IDD_COLORS = (
    "804080 faaaa0 f423e8 e6968c dc143c ff0000 0000e6 770b20 ffcc36 00008e 000046 003c64 00005a dcbe28 66669c be9999 "
    "b4a5b4 ae4043 dcdc00 faaa1e 999999 a9bbd6 464646 966464 6b8e23 4682b4"
).split()
_IDD = tables.from_rows(
    "idd",
    [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(zip(_IDD_NAMES, _IDD_COLORS))]
    + [{"id": 255, "name": "unlabeled", "void": "scene", "color": "#000000"}],
)

# Lost and Found's labels.py (dataset of 6D-Vision): 0 is all that nobody drew, 1 is free road, the rest are objects on
# it; what it calls no hazard is no class in its evaluation.
_NO_HAZARD = (31, 33, 34, 36, 37, 38, 39)
_LOST_AND_FOUND = labels.LabelTable(
    "lost_and_found",
    (
        _void(0),
        labels.Label(1, "free", 0, None, (128, 64, 128)),
        *(labels.Label(i, "obstacle", 1, None, (0, 0, 142)) for i in range(2, 44) if i not in _NO_HAZARD),
        *(labels.Label(i, "no hazard", None, "dropped", (0, 0, 0)) for i in _NO_HAZARD),
    ),
)

_CITYSCAPES_LIKE = dict(
    image_suffix="_leftImg8bit",
    known=("_color.png", "ids.png", "ids16.png", "_polygons.json"),
)
PRESETS = {
    "cityscapes": Preset(
        _named(labels.CITYSCAPES, "cityscapes"),
        (
            ("train", "leftImg8bit/train", "gtFine/train"),
            ("val", "leftImg8bit/val", "gtFine/val"),
            ("test", "leftImg8bit/test", None),
        ),
        label_suffix="_gtFine_labelIds.png",
        **_CITYSCAPES_LIKE,
    ),
    # cvlibs.net/datasets/kitti/eval_semseg.php: "conform with the Cityscapes dataset".
    "kitti": Preset(
        _named(labels.CITYSCAPES, "kitti"),
        (("train", "training/image_2", "training/semantic"), ("test", "testing/image_2", None)),
    ),
    "camvid": Preset(
        labels.LabelTable("camvid", tuple(label for label in labels.CAMVID.labels if label.id != 12)),
        (("train", "train", "trainannot"), ("val", "val", "valannot"), ("test", "test", "testannot")),
    ),
    "bdd100k": Preset(
        _BDD100K,
        (
            ("train", "images/10k/train", "labels/sem_seg/masks/train"),
            ("val", "images/10k/val", "labels/sem_seg/masks/val"),
            ("test", "images/10k/test", None),
        ),
    ),
    "idd": Preset(
        _IDD,
        (
            ("train", "leftImg8bit/train", "gtFine/train"),
            ("val", "leftImg8bit/val", "gtFine/val"),
            ("test", "leftImg8bit/test", None),
        ),
        label_suffix="_gtFine_labellevel3Ids.png",
        **_CITYSCAPES_LIKE,
    ),
    "voc": Preset(
        _VOC,
        (("train", "JPEGImages", "SegmentationClass"),),
        lists=(("train", "ImageSets/Segmentation/train.txt"), ("val", "ImageSets/Segmentation/val.txt")),
        inside=("VOC2012", "VOCdevkit/VOC2012"),
    ),
    "ade20k": Preset(
        published.ADE20K,
        (
            ("train", "images/training", "annotations/training"),
            ("val", "images/validation", "annotations/validation"),
        ),
        inside=("ADEChallengeData2016",),
    ),
    # <drive>/camera/<camera>/<time>_camera_<camera>_<frame>.png, and label in place of camera.
    "a2d2": Preset(
        published.A2D2,
        (("", "*/camera", "*/label"),),
        drop=r"(?<=/)(camera|label)/|_(camera|label)(?=_[^/]*$)",
        inside=("camera_lidar_semantic",),
        known=(".json",),
        by_color=True,
    ),
    "mapillary_v1.2": Preset(
        published.MAPILLARY_V1_2,
        (
            ("train", "training/images", "training/labels|training/v1.2/labels"),
            ("val", "validation/images", "validation/labels|validation/v1.2/labels"),
            ("test", "testing/images", None),
        ),
    ),
    "lost_and_found": Preset(
        _LOST_AND_FOUND,
        (("train", "leftImg8bit/train", "gtCoarse/train"), ("test", "leftImg8bit/test", "gtCoarse/test")),
        label_suffix="_gtCoarse_labelIds.png",
        **_CITYSCAPES_LIKE,
    ),
}


def find(classes: str) -> Preset | None:
    """The preset that --classes names; None where it names a file, or nothing.

    Raises:
      FileNotFoundError: neither; the message has the nearest preset.
    """
    if not classes or classes in PRESETS or os.path.exists(classes):
        return PRESETS.get(classes)
    near = difflib.get_close_matches(classes, PRESETS, 1)
    hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(PRESETS)}"
    raise FileNotFoundError(f"--classes={files.place(classes)} is neither a file nor a preset; {hint}")
