"""Files of annotations, as labelling programs write them, become ids in one command, without a table by hand."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

import tfrecords
from tfrecords import images, labels
from tfrecords.conversion.folder import convert, shapes, tables

H, W = 12, 20


def _photo(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)).save(path, **options)


def _photos(folder, count=3, suffix=".png"):
    for number in range(count):
        _photo(folder / f"drive{number}_0001{suffix}", number)


def _convert(root, said=None, **options):
    options = {name: str(value) for name, value in options.items()} | {"val_fraction": 0.0}
    say = (said if said is not None else []).append
    return convert.convert(convert.Options(**options), root / "records", say, num_workers=1, num_shards=1)


def _stored(manifest):
    return {
        one.image_id: images.decode_map(one.ids_png, "")
        for name, split in manifest.splits.items()
        if split.has_labels
        for one in tfrecords.read(manifest.records_dir, name)
    }


def _box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _expected(*boxes, uncovered=255):
    """Ids painted in order: (id, left, top, right, bottom)."""
    ids = np.full((H, W), uncovered, np.uint8)
    for number, left, top, right, bottom in boxes:
        ids[top:bottom, left:right] = number
    return ids


def _mask_png(mask, packed):
    buffer = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(buffer, "PNG")
    data = zlib.compress(buffer.getvalue()) if packed else buffer.getvalue()
    return base64.b64encode(data).decode()


L_SHAPE = np.array([[1, 0], [1, 1]], bool)


# labelme.


def _labelme(folder, name, drawn, suffix=".png"):
    """A file as labelme writes it: `drawn` are (label, shape_type, points, further keys)."""
    entries = [
        {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}} | more
        for label, kind, points, more in drawn
    ]
    found = {"version": "5.4.1", "flags": {}, "shapes": entries, "imagePath": f"..\\pictures\\{name}{suffix}"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found | {"imageData": None, "imageHeight": H, "imageWidth": W}))


@pytest.mark.parametrize("beside", [True, False])
def test_labelme(tmp_path, beside):
    _photos(tmp_path / "images", suffix=".jpg")
    folder = tmp_path / ("images" if beside else "labels")
    shapes_of_first = [
        ("road", "polygon", _box(0, 0, 10, 6), {}),
        ("car", "rectangle", [[5, 0], [15, 6]], {}),
        ("road", "mask", [[2, 8], [3, 9]], {"mask": _mask_png(L_SHAPE, False)}),
        ("pole", "line", [[0, 0], [3, 3]], {}),
        ("car", "circle", [[16, 9], [16, 10]], {}),
    ]
    _labelme(folder, "drive0_0001", shapes_of_first)
    _labelme(folder, "drive1_0001", [("__ignore__", "polygon", _box(0, 0, W, H), {})])
    _labelme(folder, "drive2_0001", [])
    said = []
    manifest = _convert(tmp_path, said, images_dir=tmp_path / "images", labels_dir=folder)
    # Names in order of the alphabet: __ignore__ 0, car 1, road 2.
    first = _expected((2, 0, 0, 10, 6), (1, 5, 0, 15, 6), (1, 15, 8, 17, 10))
    first[8:10, 2:4][L_SHAPE] = 2
    stored = _stored(manifest)
    np.testing.assert_array_equal(stored["drive0_0001"], first)
    np.testing.assert_array_equal(stored["drive1_0001"], _expected(uncovered=0))
    np.testing.assert_array_equal(stored["drive2_0001"], _expected())
    assert manifest.table.class_names == ("car", "road")
    assert [(x.id, x.name, x.kind) for x in manifest.table.void_labels] == [
        (0, "__ignore__", "scene"),
        (255, "uncovered", "scene"),
    ]
    assert "passed over: 1 shapes without an area" in "\n".join(said)
    assert (
        "pixels that nothing covers are void (uncovered); --uncovered=NAME makes them a class; where shapes" in said[0]
    )


def test_uncovered_pixels_become_a_class_and_a_table_gives_the_ids(tmp_path):
    _photos(tmp_path / "images", 1)
    _labelme(
        tmp_path / "labels",
        "drive0_0001",
        [("car", "polygon", _box(0, 0, 4, 4), {}), ("bus", "polygon", _box(4, 0, 8, 4), {})],
    )
    options = {"images_dir": tmp_path / "images", "labels_dir": tmp_path / "labels"}
    manifest = _convert(tmp_path, **options, uncovered="ground")
    assert manifest.table.class_names == ("bus", "car", "ground") and not manifest.table.void_labels
    np.testing.assert_array_equal(
        _stored(manifest)["drive0_0001"], _expected((1, 0, 0, 4, 4), (0, 4, 0, 8, 4), uncovered=2)
    )
    (tmp_path / "classes.csv").write_text("id,name\n7,car\n9,bus\n3,ground\n")
    table = str(tmp_path / "classes.csv")
    (tmp_path / "records").rename(tmp_path / "old")
    manifest = _convert(tmp_path, **options, classes=table, uncovered="ground")
    np.testing.assert_array_equal(
        _stored(manifest)["drive0_0001"], _expected((7, 0, 0, 4, 4), (9, 4, 0, 8, 4), uncovered=3)
    )
    (tmp_path / "records").rename(tmp_path / "older")
    (tmp_path / "classes.csv").write_text("id,name\n7,cars\n9,bus\n")
    with pytest.raises(
        ValueError, match="labels: class 'car' of the annotations is not in the table .*; the nearest is 'cars'"
    ):
        _convert(tmp_path, **options, classes=table)


# CVAT's XML.

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><labels>
    <label><name>road</name><color>#804080</color><type>any</type><attributes></attributes></label>
    <label><name>car</name><color>#00008e</color><type>any</type><attributes></attributes></label>
  </labels></job></meta>
  <image id="0" name="drive0_0001.png" width="20" height="12">
    <polygon label="car" source="manual" occluded="0" points="5.00,0.00;15.00,0.00;15.00,6.00;5.00,6.00" z_order="1"/>
    <polygon label="road" source="manual" occluded="0" points="0.00,0.00;10.00,0.00;10.00,6.00;0.00,6.00" z_order="0"/>
    <mask label="car" source="manual" occluded="0" rle="0, 1, 1, 2" left="2" top="8" width="2" height="2" z_order="0"/>
    <box label="road" source="manual" occluded="0" xtl="18.00" ytl="0.00" xbr="20.00" ybr="12.00" z_order="0"/>
    <polyline label="road" source="manual" occluded="0" points="0,0;3,3" z_order="0"/>
  </image>
  <image id="1" name="below/drive1_0001.png" width="20" height="12">
    <ellipse label="car" source="manual" occluded="0" cx="4.00" cy="4.00" rx="1.00" ry="1.00" z_order="0"/>
    <tag label="road" source="manual"/>
  </image>
  <image id="2" name="drive2_0001.png" width="20" height="12"></image>
</annotations>
"""


@pytest.mark.parametrize("as_file", [True, False])
def test_cvat_xml(tmp_path, as_file):
    _photos(tmp_path / "export" / "images")
    (tmp_path / "export" / "annotations.xml").write_text(CVAT)
    said = []
    source = tmp_path / "export" / ("annotations.xml" if as_file else "")
    options = {"images_dir": tmp_path / "export" / "images"} if as_file else {"images_dir": tmp_path / "export"}
    manifest = _convert(tmp_path, said, labels_dir=source, **options)
    first = _expected((0, 0, 0, 10, 6), (0, 18, 0, 20, 12), (1, 5, 0, 15, 6))
    first[8:10, 2:4][L_SHAPE] = 1
    stored = {name.removeprefix("images_"): ids for name, ids in _stored(manifest).items()}
    np.testing.assert_array_equal(stored["drive0_0001"], first)
    np.testing.assert_array_equal(stored["drive1_0001"], _expected((1, 3, 3, 5, 5)))
    assert (stored["drive2_0001"] == 255).all()
    assert manifest.table.class_names == ("road", "car")
    assert tuple(manifest.table.class_colors[0]) == (128, 64, 128)
    assert "passed over: 1 shapes without an area" in "\n".join(said)


@pytest.mark.parametrize(
    "old, new, words",
    [
        (
            'polygon label="car"',
            'polygon label="cart"',
            "its polygon of label 'cart' is of none in the file's list of labels; the nearest is 'car'",
        ),
        ('points="5.00,0.00;', 'points="5.00,x;', "image drive0_0001.png: could not convert string to float: 'x'"),
        ('points="5.00,0.00;', 'points="5.00;', "image drive0_0001.png: a polygon has points '5.00;15"),
        (
            'rle="0, 1',
            'rle="9, 1',
            "a.xml, of .*drive0_0001.png: a mask of id 1 is wrong: its runs are 13 pixels, its size 4",
        ),
    ],
)
def test_a_shape_of_cvat_that_is_wrong_is_told_with_its_image(tmp_path, old, new, words):
    _photos(tmp_path / "images")
    assert old in CVAT
    (tmp_path / "a.xml").write_text(CVAT.replace(old, new, 1))
    with pytest.raises(ValueError, match=words):
        _convert(tmp_path, images_dir=tmp_path / "images", labels_dir=tmp_path / "a.xml")


def test_numbers_of_a_polygon_may_have_exponents(tmp_path):
    _photos(tmp_path / "images")
    (tmp_path / "a.xml").write_text(CVAT.replace("15.00,6.00", "1.5e+1,6.0E0"))
    stored = _stored(_convert(tmp_path, images_dir=tmp_path / "images", labels_dir=tmp_path / "a.xml"))
    assert (stored["drive0_0001"][:6, 5:15] == 1).all()


def test_a_video_of_cvat_and_a_file_of_something_else_are_refused(tmp_path):
    _photos(tmp_path / "images", 1)
    for text, words in (
        ("<annotations><track id='0'/></annotations>", "has tracks of a video"),
        ("<annotation/>", "its root is annotation"),
        ("<annotations>", "it is no XML of CVAT"),
    ):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(ValueError, match=words):
            _convert(tmp_path, images_dir=tmp_path / "images", labels_dir=tmp_path / "a.xml")


# Ultralytics.


def _yolo(root, **more):
    for split in ("train", "val"):
        _photos(root / "images" / split, 2)
    lines = {"path": "elsewhere", "train": "images/train", "val": "images/val", "names": {0: "road", 1: "car"}} | more
    (root / "data.yaml").write_text(json.dumps(lines))


def test_polygons_of_ultralytics(tmp_path):
    _yolo(tmp_path)
    for split in ("train", "val"):
        for number in range(2):
            path = tmp_path / "labels" / split / f"drive{number}_0001.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                "0 0 0 0.5 0 0.5 0.5 0 0.5\n1 0.25 0 0.75 0 0.75 0.5 0.25 0.5\n1 0.5 0.5 0.1 0.1\n" * number
            )
    said = []
    manifest = _convert(tmp_path, said, labels_dir=tmp_path / "data.yaml")
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 2, "val": 2}
    stored = _stored(manifest)
    np.testing.assert_array_equal(stored["drive1_0001"], _expected((0, 0, 0, 10, 6), (1, 5, 0, 15, 6)))
    assert (stored["drive0_0001"] == 255).all()
    assert manifest.table.class_names == ("road", "car")
    assert "passed over: 2 boxes without an outline" in "\n".join(said)
    # The folder alone, without a YAML.
    (tmp_path / "records").rename(tmp_path / "old")
    manifest = _convert(tmp_path, images_dir=tmp_path / "images", labels_dir=tmp_path / "labels")
    np.testing.assert_array_equal(_stored(manifest)["drive1_0001"], stored["drive1_0001"])
    (tmp_path / "labels/train/drive0_0001.txt").write_text("7 0 0 1 0 1 1\n")
    with pytest.raises(ValueError, match="drive0_0001.txt, line 1: class 7, of 2 names"):
        _convert(tmp_path, labels_dir=tmp_path / "data.yaml")


def test_polygons_of_a_turned_picture_are_shares_of_it_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    _photo(tmp_path / "images" / "a.jpg", exif=exif)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0 0 0.5 0 0.5 0.5 0 0.5\n1 0.5 0.5 1 0.5 1 1 0.5 1\n")
    ids = _stored(_convert(tmp_path, images_dir=tmp_path / "images", labels_dir=tmp_path / "labels"))["a"]
    assert ids.shape == (W, H)
    assert (ids[: W // 2, : H // 2] == 0).all() and (ids[W // 2 :, H // 2 :] == 1).all()
    assert (ids[: W // 2, H // 2 :] == 255).all()


def test_masks_of_ultralytics(tmp_path):
    _yolo(tmp_path, masks_dir="masks")
    made = {}
    for split in ("train", "val"):
        for number in range(2):
            path = tmp_path / "masks" / split / f"drive{number}_0001.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            made[split, number] = np.random.default_rng(number).choice(np.array([0, 1, 255], np.uint8), (H, W))
            Image.fromarray(made[split, number]).save(path)
    manifest = _convert(tmp_path, labels_dir=tmp_path / "data.yaml")
    np.testing.assert_array_equal(_stored(manifest)["drive1_0001"], made["val", 1])
    assert manifest.table.class_names == ("road", "car")
    assert [(x.id, x.kind) for x in manifest.table.void_labels] == [(255, "scene")]


def test_what_is_no_data_set_of_ultralytics_is_refused_in_one_line(tmp_path):
    for text, words in (
        ("names: [a, b]\n", "data.yaml: it is no data set of Ultralytics: expected names, and train or val"),
        ("names: [a\n", "data.yaml: it is no YAML"),
        ("names: {1: a, 2: b}\ntrain: images\n", r"data.yaml: its names are numbered \[1, 2\]; expected 0, 1, 2"),
        ("names: [a]\ntrain: nowhere\n", "data.yaml names 'nowhere', which is not in"),
    ):
        _photos(tmp_path / "images", 1)
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises((ValueError, OSError), match=words) as caught:
            _convert(tmp_path, labels_dir=tmp_path / "data.yaml")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="--images_dir is missing or empty"):
        _convert(tmp_path, labels_dir=tmp_path / "images")


# Supervisely.


def _supervisely(root):
    kinds = [("road", "polygon", 9284611), ("car", "bitmap", 9284612)]
    classes = [{"title": t, "shape": s, "color": "#804080", "geometry_config": {}, "id": i} for t, s, i in kinds]
    root.mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": [], "projectType": "images"}))
    _photos(root / "ds0" / "img", suffix=".jpg")


def test_machine_masks_of_supervisely(tmp_path):
    root = tmp_path / "project"
    _supervisely(root)
    (root / "obj_class_to_machine_color.json").write_text(json.dumps({"car": [1, 1, 1], "road": [2, 2, 2]}))
    made = {}
    for number in range(3):
        path = root / "ds0" / "masks_machine" / f"drive{number}_0001.png"
        path.parent.mkdir(exist_ok=True)
        ids = np.random.default_rng(number).integers(0, 3, (H, W), np.uint8)
        Image.fromarray(np.stack([ids] * 3, -1)).save(path)
        made[f"ds0_drive{number}_0001"] = ids
    manifest = _convert(tmp_path, images_dir=root)
    stored = _stored(manifest)
    assert stored.keys() == made.keys()
    for name, ids in made.items():
        np.testing.assert_array_equal(stored[name], ids)
    assert manifest.table.class_names == ("car", "road")
    assert [(x.id, x.name) for x in manifest.table.void_labels] == [(0, "uncovered")]
    (root / "obj_class_to_machine_color.json").unlink()  # then the classes are numbered as meta.json lists them
    (tmp_path / "records").rename(tmp_path / "old")
    assert _convert(tmp_path, images_dir=root).table.class_names == ("road", "car")


def test_annotations_of_supervisely(tmp_path):
    root = tmp_path / "project"
    _supervisely(root)
    (root / "ds0" / "ann").mkdir()
    for number in range(3):
        ring = {"exterior": _box(0, 0, 10, 6), "interior": [_box(2, 2, 4, 4)]}
        things = [
            {"classTitle": "road", "geometryType": "polygon", "points": ring},
            {
                "classTitle": "car",
                "geometryType": "bitmap",
                "bitmap": {"data": _mask_png(L_SHAPE, True), "origin": [9, 5]},
            },
            {"classTitle": "road", "geometryType": "rectangle", "points": {"exterior": [[18, 0], [19, 11]]}},
        ]
        found = {"description": "", "tags": [], "size": {"height": H, "width": W}, "objects": things}
        (root / "ds0" / "ann" / f"drive{number}_0001.jpg.json").write_text(json.dumps(found))
    manifest = _convert(tmp_path, images_dir=root)
    expected = _expected((0, 0, 0, 10, 6), (255, 2, 2, 4, 4), (0, 18, 0, 20, 12))
    expected[5:7, 9:11][L_SHAPE] = 1
    np.testing.assert_array_equal(_stored(manifest)["ds0_drive0_0001"], expected)
    assert manifest.table.class_names == ("road", "car")


# What they have in common.


def _coco(root, change=lambda found: None):
    """A COCO file of one image with a square of class 1."""
    _photos(root / "images", 1)
    square = [[0, 0, 4, 0, 4, 4, 0, 4]]
    found = {
        "images": [{"id": 1, "file_name": "drive0_0001.png", "height": H, "width": W}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "segmentation": square}],
        "categories": [{"id": 1, "name": "road"}, {"id": 2, "name": "car"}],
    }
    found = change(found) or found
    (root / "c.json").write_text(json.dumps(found))
    return {"images_dir": root / "images", "labels_dir": root / "c.json"}


def test_polygons_of_coco_without_an_area_are_passed_over_and_counted(tmp_path):
    said = []
    options = _coco(tmp_path, lambda found: found["annotations"][0]["segmentation"].extend([[1, 1, 9, 9], []]))
    stored = _stored(_convert(tmp_path, said, **options))
    np.testing.assert_array_equal(stored["drive0_0001"], _expected((1, 0, 0, 4, 4)))
    assert "passed over: 2 shapes without an area" in "\n".join(said)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda found: found["annotations"][0].update(segmentation=[0, 0, 4, 0, 4, 4]),
            r"annotation 7 has segmentation \[0, 0, .*; expected a list of polygons",
        ),
        (
            lambda found: found["annotations"][0].update(segmentation=[[0, 0, 4, 0, 4, 4, 1]]),
            "annotation 7 has a polygon of 7 numbers; expected pairs of x and y",
        ),
        (lambda found: found["images"][0].pop("height") and None, "'height' is missing"),
        (lambda found: found["annotations"], "it is a list; a file of results has no images and categories"),
        (
            lambda found: found["categories"].append({"id": 1, "name": "sky"}),
            r"ids of categories must differ, got \[1, 1, 2\]",
        ),
        (
            lambda found: found["annotations"][0].update(segmentation={"size": [W, H], "counts": [W * H]}),
            r"c.json, of .*drive0_0001.png: a mask of id 1 is wrong: its size is \[20, 12\]",
        ),
        (
            lambda found: (
                [row.update(id=row["id"] + 255) for row in [*found["categories"]]] and found["annotations"].clear()
            ),
            "category ids must lie in 0..255, got up to 257; --classes=FILE of the same names",
        ),
    ],
)
def test_what_is_wrong_in_a_coco_file_is_named(tmp_path, change, words):
    options = _coco(tmp_path, change)
    with pytest.raises(ValueError, match=words) as caught:
        _convert(tmp_path, **options, label_format="coco")
    assert "\n" not in str(caught.value)


def test_of_what_coco_publishes_the_instances_are_read_and_the_rest_is_counted(tmp_path):
    listed, categories = [], [{"id": 1, "name": "road"}, {"id": 2, "name": "car"}]
    for number, split in enumerate(("train", "val", "test")):
        _photo(tmp_path / f"{split}2017" / f"{number:012d}.jpg", number)
        listed.append({"id": number, "file_name": f"{number:012d}.jpg", "height": H, "width": W})
    for number, split in enumerate(("train", "val")):
        shape = {"id": 1, "image_id": number, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
        found = {"images": [listed[number]], "annotations": [shape], "categories": categories}
        for name, more in (("instances", {}), ("person_keypoints", {}), ("captions", {"categories": None})):
            path = tmp_path / "annotations" / f"{name}_{split}2017.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(found | more))
    said = []
    manifest = _convert(tmp_path, said, images_dir=tmp_path, labels_dir=tmp_path / "annotations")
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 1, "val": 1}
    for ids in _stored(manifest).values():
        np.testing.assert_array_equal(ids, _expected((1, 0, 0, 4, 4)))
    assert any(line.startswith("passed over: 4 other files beside instances_train2017.json") for line in said)
    assert any(line.startswith("passed over: 1 images that are not in the annotations") for line in said)


def test_names_with_accents_match_whoever_wrote_them(tmp_path):
    # macOS stores "ä" of a file's name as "a" and a diaeresis; annotations have it as typed.
    composed, taken_apart = "stra\u00dfe \u00e4.png", "stra\u00dfe a\u0308.png"
    options = _coco(tmp_path, lambda found: found["images"][0].update(file_name=composed))
    (tmp_path / "images" / "drive0_0001.png").rename(tmp_path / "images" / taken_apart)
    assert list(_stored(_convert(tmp_path, **options))) == [composed.removesuffix(".png")]


def test_a_name_that_may_be_two_pictures_is_refused(tmp_path):
    for folder in ("a", "b"):
        _photo(tmp_path / "images" / folder / "1.png")
    (tmp_path / "c.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "1.png", "height": H, "width": W}],
                "annotations": [],
                "categories": [{"id": 1, "name": "x"}],
            }
        )
    )
    with pytest.raises(ValueError, match="'1.png' may be a/1.png or b/1.png; name the folder, too"):
        _convert(tmp_path, images_dir=tmp_path / "images", labels_dir=tmp_path / "c.json")


@pytest.mark.parametrize("layout", ["beside", "one folder"])
def test_coco_files_of_several_splits(tmp_path, layout):
    root = tmp_path / "set"
    for number, split in enumerate(("train", "valid")):
        folder = root / split if layout == "beside" else root
        _photo(folder / f"{split}_0.jpg", number)
        notes = [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[0, 0, 10, 0, 10, 6, 0, 6]]}]
        found = {
            "images": [{"id": 0, "file_name": f"{split}_0.jpg", "height": H, "width": W}],
            "annotations": notes,
            "categories": [{"id": 0, "name": "things"}, {"id": 1, "name": "road"}],
        }
        name = "_annotations.coco.json" if layout == "beside" else f"instances_{split}.json"
        (folder / name).write_text(json.dumps(found))
    manifest = _convert(tmp_path, images_dir=root, labels_dir=root)
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 1, "val": 1}
    for ids in _stored(manifest).values():
        np.testing.assert_array_equal(ids, _expected((1, 0, 0, 10, 6)))


def test_a_turned_box_covers_what_its_corners_enclose():
    ids = np.zeros((8, 8), np.uint8)
    shapes.paint(ids, 1, "box", [4, 4, 3, 1, 90])
    assert np.argwhere(ids).tolist() == [[row, column] for row in range(1, 7) for column in (3, 4)]


def test_config_json_of_mapillary_is_a_table(tmp_path):
    found = [
        {
            "color": [128, 64, 128],
            "instances": False,
            "readable": "Road",
            "name": "construction--flat--road",
            "evaluate": True,
        },
        {"color": [0, 0, 142], "instances": True, "readable": "Car", "name": "object--vehicle--car", "evaluate": True},
        {"color": [0, 0, 0], "instances": False, "readable": "Unlabeled", "name": "void--unlabeled", "evaluate": False},
    ]
    (tmp_path / "config.json").write_text(json.dumps({"labels": found, "version": "1.2", "folder_structure": {}}))
    table = tables.read(tmp_path / "config.json")
    assert table.labels == (
        labels.Label(0, "Road", 0, None, (128, 64, 128)),
        labels.Label(1, "Car", 1, None, (0, 0, 142)),
        labels.Label(2, "Unlabeled", None, "scene", (0, 0, 0)),
    )
