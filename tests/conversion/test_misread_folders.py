"""What could be misread in a folder, or lost on the way without a word, is refused in one line, or counted and said."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from test_convert_folder import H, W, _convert, _folder, _ids, _photo, _same, _save, _stored

from tfrecords import pixels, png
from tfrecords.conversion import damaged
from tfrecords.conversion.folder import convert, masks, tables


def _splits(root, **counts):
    """images/ and labels/ with a folder a split, whose pictures have the same names; returns ids by split and name."""
    made = {}
    for place, (split, count) in enumerate(counts.items()):
        for number in range(count):
            _save(root / "images" / split / f"{number:04d}.png", _photo(10 * place + number))
            made[split, number] = _ids(10 * place + number, [0, 1, 2])
            _save(root / "labels" / split / f"{number:04d}.png", made[split, number])
    return made


def _examples(manifest):
    return {name: split.examples for name, split in manifest.splits.items()}


# Splits.


def test_images_of_no_split_beside_train_are_trained_on_and_said(tmp_path):
    _folder(tmp_path, [0, 1], count=5)
    rows = [
        f"images/drive{n}_0001.png,labels/drive{n}_0001.png,{s}" for n, s in enumerate(["train", "", "", "val", ""])
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,label,split", *rows]))
    said = []
    manifest = _convert(tmp_path, said=said, pairs=str(tmp_path / "pairs.csv"), images_dir="", labels_dir="")
    assert _examples(manifest) == {"train": 4, "val": 1}
    assert "train: 3 images of no split are among them" in said


def test_a_list_takes_pictures_of_the_folder_that_it_names(tmp_path):
    made = _splits(tmp_path, train=3, val=3)
    (tmp_path / "train.txt").write_text("train/0000\ntrain/0002\n")
    manifest = _convert(tmp_path, train_list=str(tmp_path / "train.txt"))
    _same(_stored(manifest), {"train_0000": made["train", 0], "train_0002": made["train", 2]})
    (tmp_path / "train.txt").write_text("0000\n")
    with pytest.raises(ValueError, match="'0000' may be train/0000 or val/0000; name the folder, too"):
        _convert(tmp_path, records="other", train_list=str(tmp_path / "train.txt"))


def test_a_folder_of_labels_under_another_name_is_an_error_unless_such_pictures_are_kept_or_skipped(tmp_path):
    _splits(tmp_path, train=2, val=2)
    (tmp_path / "labels" / "val").rename(tmp_path / "labels" / "vall")
    (tmp_path / "images" / "extra").mkdir()
    (tmp_path / "images" / "loose.png").write_bytes(b"")
    message = r"labels has no folder val of the labels of .*images/val \(its folders: train, vall\)"
    with pytest.raises(ValueError, match=message) as error:
        _convert(tmp_path)
    assert "\n" not in str(error.value)
    for unlabelled, splits in (("skip", {"train": 2}), ("keep", {"train": 2, "val": 2})):
        said = []
        manifest = _convert(tmp_path, said=said, records=unlabelled, unlabelled=unlabelled, val_fraction=0.0)
        assert _examples(manifest) == splits and manifest.split("train").has_labels
        counted = [line for line in said if line.startswith("passed over: ")]
        assert any("2 folders beside those of splits" in line for line in counted), counted
        assert any("1 files beside those of splits" in line and "loose.png" in line for line in counted)
        assert any("1 folders of pictures without one of labels" in line for line in counted) == (unlabelled == "skip")


def test_a_list_of_pictures_without_labels_is_no_split_without_labels_unless_it_is_test(tmp_path):
    _folder(tmp_path, [0, 1], count=4)
    for number in (2, 3):
        (tmp_path / "labels" / f"drive{number}_0001.png").unlink()
    for name, numbers in (("train", (0, 1)), ("rest", (2, 3))):
        (tmp_path / f"{name}.txt").write_text("".join(f"drive{number}_0001\n" for number in numbers))
    train, rest = str(tmp_path / "train.txt"), str(tmp_path / "rest.txt")
    with pytest.raises(ValueError, match="drive2_0001.png: this image has no label file"):
        _convert(tmp_path, train_list=train, val_list=rest)
    assert _examples(_convert(tmp_path, train_list=train, test_list=rest)) == {"train": 2, "test": 2}


# Names.


def test_pictures_of_one_name_are_refused_and_those_that_are_listed_twice_counted(tmp_path):
    for folder in ("a", "b"):
        _save(tmp_path / folder / "images" / "x.png", _photo(0))
        (tmp_path / folder / "labels").mkdir()
        (tmp_path / folder / "labels" / "x.txt").write_text("0 0 0 1 0 1 1\n")
    lines = {"path": ".", "train": ["a/images", "b/images"], "names": ["road", "car"]}
    (tmp_path / "data.yaml").write_text(json.dumps(lines))
    options = {"images_dir": "", "labels_dir": str(tmp_path / "data.yaml")}
    with pytest.raises(ValueError, match="a/images/x.png and .*b/images/x.png of train have the same name"):
        _convert(tmp_path, **options)
    (tmp_path / "data.yaml").write_text(json.dumps(lines | {"train": ["a/images", "a/images"]}))
    said = []
    assert _examples(_convert(tmp_path, said=said, **options)) == {"train": 1}
    assert any("1 pictures that are listed twice" in line for line in said)


@pytest.mark.parametrize(
    "second, words",
    [
        ({"id": 1, "file_name": "b.png"}, "ids of images must differ, got 2 images with 1 ids"),
        ({"id": 2, "file_name": "a.png"}, "two images have the file name 'a.png'"),
    ],
)
def test_images_of_coco_that_are_there_twice_are_refused(tmp_path, second, words):
    _save(tmp_path / "images" / "a.png", _photo(0))
    size = {"height": H, "width": W}
    found = {"images": [{"id": 1, "file_name": "a.png"} | size, second | size], "annotations": [], "categories": []}
    (tmp_path / "c.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match=words):
        _convert(tmp_path, labels="c.json")


def test_an_image_of_cvat_that_is_there_twice_is_refused(tmp_path):
    _save(tmp_path / "images" / "a.png", _photo(0))
    image = f'<image name="a.png" height="{H}" width="{W}"/>'
    (tmp_path / "c.xml").write_text(f"<annotations>{image}{image}</annotations>")
    with pytest.raises(ValueError, match="image a.png is there twice"):
        _convert(tmp_path, labels="c.xml")


def test_data_sets_of_one_name_in_a_project_of_supervisely_are_two(tmp_path):
    root = tmp_path / "project"
    made = {}
    for place, folder in enumerate(("a/ds", "b/ds")):
        _save(root / folder / "img" / "x.png", _photo(place))
        made[f"{folder.replace('/', '_')}_x"] = _ids(place, [0, 1])
        _save(root / folder / "masks_machine" / "x.png", made[f"{folder.replace('/', '_')}_x"])
    (root / "meta.json").write_text(json.dumps({"classes": [{"title": "road", "shape": "polygon"}]}))
    manifest = _convert(tmp_path, images_dir=str(root), labels_dir="", val_fraction=0.0)
    _same(_stored(manifest), made)


# Annotations.


def _yolo(root, **texts):
    """images/ and labels/ of train and val, a text "class ..." each; returns what _convert needs."""
    for split, text in texts.items():
        _save(root / "images" / split / f"{split}_jpg.rf.0123.png", _photo(0))
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / f"{split}_jpg.rf.0123.txt").write_text(text)
    return {"val_fraction": 0.0}


def test_a_split_may_lack_the_highest_class_and_names_may_have_points(tmp_path):
    options = _yolo(tmp_path, train="2 0 0 1 0 1 1\n", val="0 0 0 1 0 1 1\n")
    manifest = _convert(tmp_path, **options)
    assert manifest.table.class_names == ("class_0", "class_1", "class_2")
    assert _stored(manifest).keys() == {"train_jpg.rf.0123", "val_jpg.rf.0123"}


def test_texts_without_a_picture_are_refused_or_counted(tmp_path):
    options = _yolo(tmp_path, train="0 0 0 1 0 1 1\n1 0 0 1 0 1 1\n")
    (tmp_path / "labels" / "train" / "lone.txt").write_text("0 0 0 1 0 1 1\n")
    (tmp_path / "labels" / "train" / "classes.txt").write_text("road\n")
    with pytest.raises(ValueError, match="lone.txt has no picture of the same name; --unlabelled=skip"):
        _convert(tmp_path, **options)
    said = []
    _convert(tmp_path, said=said, unlabelled="skip", **options)
    assert any("1 annotated images that are not there" in line and "lone.txt" in line for line in said)
    assert any("1 texts that are no annotations" in line and "classes.txt" in line for line in said)


def _labelme(path):
    shapes = [{"label": name, "points": [[0, 0], [4, 4]], "shape_type": "rectangle"} for name in ("road", "car")]
    path.write_text(json.dumps({"shapes": shapes, "imagePath": "", "imageHeight": H, "imageWidth": W}))


def _supervisely(path):
    ring = {"exterior": [[0, 0], [4, 0], [4, 4]], "interior": []}
    things = [{"classTitle": name, "geometryType": "polygon", "points": ring} for name in ("road", "car")]
    path.write_text(json.dumps({"objects": things, "size": {"height": H, "width": W}}))


@pytest.mark.parametrize("kind", ["yolo", "labelme", "supervisely"])
def test_damaged_pictures_and_annotations_are_listed_and_left_out(tmp_path, kind):
    root = tmp_path / "set"
    pictures, notes = (root / "ds" / "img", root / "ds" / "ann") if kind == "supervisely" else (root / "i", root / "l")
    notes.mkdir(parents=True)
    for number in range(4):
        _save(pictures / f"{number}.png", _photo(number))
        if kind == "yolo":
            (notes / f"{number}.txt").write_text("0 0 0 1 0 1 1\n1 0 0 1 0 1 1\n")
        elif kind == "labelme":
            _labelme(notes / f"{number}.json")
        else:
            _supervisely(notes / f"{number}.png.json")
    options = {"images_dir": str(pictures), "labels_dir": str(notes), "val_fraction": 0.0}
    if kind == "supervisely":
        classes = [{"title": name, "shape": "polygon"} for name in ("road", "car")]
        (root / "meta.json").write_text(json.dumps({"classes": classes}))
        options |= {"images_dir": str(root), "labels_dir": ""}
    broken = pictures / "2.png" if kind == "yolo" else sorted(notes.iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:20])
    with pytest.raises(ValueError, match=broken.name) as error:
        _convert(root, **options)
    assert "\n" not in str(error.value)

    said, listed = [], tmp_path / "damaged.txt"

    def whole(splits):
        splits, lines = damaged.without(splits, listed, num_workers=1)
        said.extend(lines)
        return splits

    asked = convert.Options(**options, skip_damaged=True)
    manifest = convert.convert(asked, root / "records", said.append, whole, num_workers=1)
    assert _examples(manifest) == {"train": 3}
    assert f"passed over: 1 of 4 examples with a damaged file, listed in {listed}" in said
    assert str(broken) in listed.read_text()
    if kind != "yolo":  # a file of something else is no damage
        broken.write_text("[]")
        with pytest.raises(ValueError, match=f"{broken.name}: it is no"):
            convert.convert(asked, root / "other", said.append, whole, num_workers=1)


# Pictures of labels.


def _tiff(bits, channels, rows):
    """A TIFF of one strip."""
    entries = [(256, 3, 1, W), (257, 3, 1, H), (259, 3, 1, 1), (262, 3, 1, 1 if channels == 1 else 2)]
    place = 8 + 2 + 12 * 9 + 4  # behind the directory: bits of each channel, then pixels
    entries += [(258, 3, channels, bits if channels == 1 else place), (273, 4, 1, place + 2 * channels)]
    entries += [(277, 3, 1, channels), (278, 3, 1, H), (279, 4, 1, len(rows))]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0)
    return head + struct.pack(f"<{channels}H", *[bits] * channels) + rows


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_tiff_of_few_bits_is_not_stretched(bits):
    ids = np.random.default_rng(0).integers(0, 2**bits, (H, W), np.uint8)
    weights = (2 ** (bits * np.arange(8 // bits)))[::-1]
    rows = (ids.reshape(H, -1, 8 // bits) @ weights).astype(np.uint8).tobytes()
    np.testing.assert_array_equal(masks.Reader().read(_tiff(bits, 1, rows), "a.tif"), ids)


def _deep_grey_with_alpha():
    rows = b"".join(b"\0" + np.full((W, 2), 3, ">u2").tobytes() for _ in range(H))
    header = png.chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 16, 4, 0, 0, 0))
    return png.SIGNATURE + header + png.chunk(b"IDAT", zlib.compress(rows)) + png.chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data, words",
    [
        (_deep_grey_with_alpha(), "of 16 bits; expected ids, or colours of 8 bits"),
        (
            _tiff(16, 3, np.full((H, W, 3), 3, "<u2").tobytes()),
            "TIFF of 3 channels of 16 bits; expected ids",
        ),
    ],
    ids=["grey with alpha", "TIFF"],
)
def test_of_deep_channels_upper_bytes_are_no_ids(data, words):
    with pytest.raises(ValueError, match=words):
        masks.Reader().read(data, "a")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_a_palette_is_read_by_its_colours_where_that_is_asked(tmp_path, suffix):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    picture.putpalette([0, 0, 9, 0, 9, 0])
    picture.save(tmp_path / f"a{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    reader = masks.Reader(b"", ((0, 0, 9, 5, "sky"), (0, 9, 0, 6, "grass")), by_color=True)
    np.testing.assert_array_equal(reader.read(data, "a"), [[5, 6], [6, 5]])
    np.testing.assert_array_equal(masks.Reader().read(data, "a"), [[0, 1], [1, 0]])


def test_whether_three_equal_channels_are_ids_is_decided_for_all_masks(tmp_path):
    """Black is the colour of `sky`, id 1, and a mask of zeros alone holds id 0: `road`."""
    made = {}
    for number in range(5):
        made[f"{number}"] = _ids(number, [0, 1]) if number else np.zeros((H, W), np.uint8)
        _save(tmp_path / "images" / f"{number}.png", _photo(number))
        _save(tmp_path / "labels" / f"{number}.png", np.stack([made[f"{number}"]] * 3, -1))
    (tmp_path / "c.csv").write_text("id,name,color\n0,road,#804080\n1,sky,#000000\n")
    said = []
    options = {"classes": str(tmp_path / "c.csv"), "val_fraction": 0.0}
    _same(_stored(_convert(tmp_path, said=said, **options)), made)
    assert any("three equal channels and none is in colour: all are read as ids" in line for line in said)
    # In colour, all of them are read by colour, also one that is all black.
    colors = np.array([[128, 64, 128], [0, 0, 0]], np.uint8)
    made["0"] += 1
    for name, ids in made.items():
        _save(tmp_path / "labels" / f"{name}.png", colors[ids])
    _same(_stored(_convert(tmp_path, records="other", **options)), made)


# Tables of classes.


def test_rows_are_not_numbered_where_a_column_may_hold_the_ids(tmp_path):
    (tmp_path / "t.csv").write_text("class_id,name\n7,road\n11,car\n")
    assert [label.id for label in tables.read(tmp_path / "t.csv").labels] == [7, 11]
    for text in ("label,name\n7,road\n11,car\n", "name,code\nroad,7\ncar,11\n"):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ValueError, match="no column is named id, and column '(label|code)' holds numbers"):
            tables.read(tmp_path / "t.csv")
    for text in ("label,name\n0,road\n1,car\n", "name,r,g,b\nroad,1,2,3\ncar,4,5,6\n", "name,void\nroad,0\nx,1\n"):
        (tmp_path / "t.csv").write_text(text)
        assert [label.id for label in tables.read(tmp_path / "t.csv").labels] == [0, 1]


def test_a_table_has_one_name_however_its_file_is_given(tmp_path, monkeypatch):
    (tmp_path / "classes.csv").write_text("id,name\n0,road\n1,car\n")
    monkeypatch.chdir(tmp_path)
    assert tables.read("classes.csv") == tables.read(tmp_path / "classes.csv") == tables.read("./classes.csv")
    assert tables.read("classes.csv").name == "own"  # as what is found without a table
    (tmp_path / "labelmap.txt").write_text("road:1,2,3::\ncar:4,5,6::\n")
    assert tables.read("labelmap.txt").name == tables.read(tmp_path / "labelmap.txt").name == tmp_path.name


# Pictures.


def test_exif_that_nobody_can_read_turns_nothing(tmp_path):
    Image.fromarray(_photo(0)).save(tmp_path / "a.webp", exif=b"Exif\0\0no TIFF", lossless=True)
    data = (tmp_path / "a.webp").read_bytes()
    assert pixels.look(data, "a.webp")[1] == 1
    np.testing.assert_array_equal(pixels.decode(data, "a.webp"), _photo(0))


def test_of_what_phones_append_to_a_jpeg_the_way_out_is_said(tmp_path):
    Image.fromarray(_photo(0)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="4 bytes after the JPEG's end, as phones .*; open it and save it again"):
        pixels.look((tmp_path / "a.jpg").read_bytes() + b"film", "a.jpg")
