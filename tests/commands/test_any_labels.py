"""Whatever made the labels: one command makes the same records of them, and these train, are scored and predicted."""

import json

import numpy as np
import pytest
from in_process import kseg_command
from PIL import Image

import tfrecords
from tfrecords import images
from tfrecords.conversion.folder import tables

H, W, COUNT = 48, 64, 8
VOID, STREET, CAR = 0, 1, 2
COLORS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)


def _scene(number):
    """(street's first row, the car's box left, top, right, bottom); above the street is what nobody drew."""
    random = np.random.default_rng(number)
    left, top = random.integers(0, W - 20), random.integers(22, H - 14)
    return 20, (int(left), int(top), int(left) + 20, int(top) + 12)


def _drawn(number):
    first, (left, top, right, bottom) = _scene(number)
    drawn = np.full((H, W), VOID, np.uint8)
    drawn[first:] = STREET
    drawn[top:bottom, left:right] = CAR
    return drawn


def _save(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if palette:
        picture.putpalette(palette)
    picture.save(path)


def _photos(folder, suffix=".png"):
    for number in range(COUNT):
        noise = np.random.default_rng(number).normal(0, 10, (H, W, 3))
        _save(folder / f"{_name(number)}{suffix}", np.clip(60 + 2 * COLORS[_drawn(number)] // 3 + noise, 0, 255))


def _name(number):
    return f"drive{number}_0001"


def _masks(root, ids, suffix="", images_dir="images", labels_dir="labels", palette=None):
    """Pictures and masks in which void, street and car have these ids or colours."""
    _photos(root / images_dir)
    for number in range(COUNT):
        values = np.array(ids, np.uint8)[_drawn(number)]
        _save(root / labels_dir / f"{_name(number)}{suffix}.png", values, palette)
    return [f"--images_dir={root / images_dir}", f"--labels_dir={root / labels_dir}"]


def _voc(root):
    palette = [channel for number in range(256) for channel in tables.default_color(number)]
    _masks(root, [255, 0, 7], "", "JPEGImages", "SegmentationClass", palette)
    for split, numbers in (("train", range(2, COUNT)), ("val", range(2))):
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{_name(number)}\n" for number in numbers))
    return [f"--images_dir={root}", "--classes=voc"]


def _kitti(root):
    _masks(root, [0, 7, 26], "", "training/image_2", "training/semantic")
    return [f"--images_dir={root}", "--classes=kitti"]


def _bdd100k(root):
    for split in ("train", "val"):
        _masks(root, [255, 0, 13], "", f"images/10k/{split}", f"labels/sem_seg/masks/{split}")
    return [f"--images_dir={root}", "--classes=bdd100k"]


def _rgb(root):
    flags = _masks(root, COLORS)
    (root / "classes.csv").write_text("name,r,g,b\nunlabeled,0,0,0\nstreet,128,64,128\ncar,0,0,142\n")
    return [*flags, f"--classes={root / 'classes.csv'}"]


def _binary(root):
    return _masks(root, [0, 0, 255], "_mask")


def _counts(mask, column_by_column):
    """COCO's or CVAT's run lengths."""
    flat = (mask.T if column_by_column else mask).ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]])))
    return np.diff([0, *edges]).tolist()


def _coco(root):
    _photos(root / "images" / "a b")
    listed, notes = [], []
    for number in range(COUNT):
        first, (left, top, right, bottom) = _scene(number)
        listed.append({"id": number, "file_name": f"a b/{_name(number)}.png", "height": H, "width": W})
        street = [[-2.5, first, W + 0.5, first, W + 0.5, H + 3, -2.5, H + 3]]
        car = {"size": [H, W], "counts": _counts(_drawn(number) == CAR, True)}
        notes.append({"id": 2 * number, "image_id": number, "category_id": 3, "segmentation": street, "iscrowd": 0})
        notes.append({"id": 2 * number + 1, "image_id": number, "category_id": 90, "segmentation": car, "iscrowd": 1})
    categories = [{"id": 90, "name": "car"}, {"id": 3, "name": "street"}]
    (root / "instances.json").write_text(
        json.dumps({"licenses": [{}], "images": listed, "annotations": notes, "categories": categories})
    )
    return [f"--images_dir={root / 'images'}", f"--labels_dir={root / 'instances.json'}"]


def _cvat_masks(root):
    _masks(root, COLORS, "", "JPEGImages", "SegmentationClass")
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nstreet:128,64,128::\ncar:0,0,142::\n"
    )
    return [f"--images_dir={root}", f"--labels_dir={root}"]


def _cvat_xml(root):
    _photos(root / "images")
    shown = []
    for number in range(COUNT):
        first, (left, top, right, bottom) = _scene(number)
        counts = ", ".join(map(str, _counts(_drawn(number)[top:bottom, left:right] == CAR, False)))
        shown.append(
            f'<image id="{number}" name="{_name(number)}.png" width="{W}" height="{H}">'
            f'<mask label="car" rle="{counts}" left="{left}" top="{top}" width="{right - left}" '
            f'height="{bottom - top}" z_order="1"/>'
            f'<polygon label="street" points="-1.5,{first};{W}.5,{first};{W}.5,{H};-1.5,{H}" z_order="0"/>'
            "</image>"
        )
    names = "".join(f"<label><name>{name}</name></label>" for name in ("street", "car"))
    (root / "annotations.xml").write_text(
        f"<annotations><meta><task><labels>{names}</labels></task></meta>{''.join(shown)}</annotations>"
    )
    return [f"--images_dir={root}", f"--labels_dir={root}"]


# format -> what writes it, and the names of what nobody drew, street and car.
FORMATS = {
    "voc": (_voc, ("void", "background", "car")),
    "kitti": (_kitti, ("unlabeled", "road", "car")),
    "bdd100k": (_bdd100k, ("unlabeled", "road", "car")),
    "rgb": (_rgb, ("unlabeled", "street", "car")),
    "binary": (_binary, ("background", "background", "object")),
    "coco": (_coco, ("uncovered", "street", "car")),
    "cvat_masks": (_cvat_masks, ("background", "street", "car")),
    "cvat_xml": (_cvat_xml, ("uncovered", "street", "car")),
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Converts a format once: (folder of the data set, records)."""
    made = {}

    def convert(name):
        if name not in made:
            root = tmp_path_factory.mktemp(name)
            flags = FORMATS[name][0](root / "data set")
            done = kseg_command("convert-folder", *flags, f"--records_dir={root / 'records'}", "--num_workers=1")
            assert done.status == 0, done.err
            made[name] = (root / "data set", root / "records")
        return made[name]

    return convert


@pytest.mark.parametrize("name", FORMATS)
def test_one_command_makes_the_records_that_were_drawn(converted, name):
    _, records = converted(name)
    manifest, seen = tfrecords.info(records), 0
    assert manifest.splits.keys() >= {"train", "val"}
    table, names = manifest.full_table, FORMATS[name][1]
    names_of = {label.id: label.name for label in table.labels}
    is_void = {label.name for label in table.void_labels}
    assert (names[VOID] in is_void) == (name != "binary") and not {names[STREET], names[CAR]} & is_void
    for split in manifest.splits:
        for one in tfrecords.read(records, split):
            number = int(one.image_id.rpartition("drive")[2].partition("_")[0])
            ids = images.decode_map(one.ids_png, one.image_id)
            found = np.vectorize(names_of.get)(ids)
            np.testing.assert_array_equal(found, np.array(names)[_drawn(number)])
            seen += 1
    assert seen == COUNT * (2 if name == "bdd100k" else 1)


@pytest.mark.parametrize("name", ["coco", "binary"])  # with void and without; other formats make such records, too
def test_what_was_converted_trains_and_is_scored_and_predicted(converted, name, tmp_path):
    data, records = converted(name)
    pictures = sorted(data.glob("images/**/*.png"))[:3]
    for command in (
        ["inspect-records", f"--records_dir={records}", "--verify", f"--report={tmp_path / 'page.html'}"],
        [
            "train", f"--workdir={tmp_path / 'run'}", f"--config.data.records_dir={records}",
            "--config.data.crop_size=(32, 64)", "--config.model.width=4", "--config.model.depth=1",
            "--config.train.total_steps=20", "--config.train.batch_size=2", "--config.optimizer.warmup_steps=2",
        ],
        ["evaluate", f"--workdir={tmp_path / 'run'}", "--split=val"],
        ["predict", f"--model={tmp_path / 'run'}", f"--output_dir={tmp_path / 'masks'}", *pictures],
    ):  # fmt: skip
        done = kseg_command(*command)
        assert done.status == 0, done.err[-2000:]
    assert "contact sheet" in (tmp_path / "page.html").read_text().lower()
    report = json.loads((tmp_path / "run" / "eval_val.json").read_text())
    assert np.sum(report["confusion_matrix"]) == tfrecords.info(records).splits["val"].examples * H * W
    masks = list((tmp_path / "masks").rglob("*_mask.png"))
    table = tfrecords.info(records).full_table
    assert len(masks) == 3
    assert {int(i) for path in masks for i in np.unique(Image.open(path))} <= {label.id for label in table.labels} | {
        255
    }
