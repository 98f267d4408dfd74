"""Own data: each kind of label becomes records, and what does not fit is refused in one line."""

import json
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import tfrecords
from tfrecords import images, png
from tfrecords.conversion.folder import convert, masks, pairing, presets, shapes, tables

H, W = 12, 20


def _save(path: pathlib.Path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette is not None and array.ndim == 2:
        picture.putpalette(palette)
    picture.save(path)


def _photo(seed):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)


def _ids(seed, values):
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), (H, W))


def _folder(root, values, count=5, **options):
    """images/ and labels/ of `count` frames; returns the ids by name."""
    made = {}
    for number in range(count):
        name = f"drive{number}_0001"
        _save(root / "images" / f"{name}.png", _photo(number))
        made[name] = _ids(number, values)
        _save(root / "labels" / f"{name}.png", made[name], **options)
    return made


def _convert(root, labels="labels", said=None, records="records", **options):
    options = {"images_dir": str(root / "images"), "labels_dir": str(root / labels)} | options
    say = (said if said is not None else []).append
    return convert.convert(convert.Options(**options), root / records, say, num_workers=1, num_shards=2)


def _stored(manifest):
    """image id -> ids, of all splits."""
    return {
        one.image_id: images.decode_map(one.ids_png, "")
        for name, split in manifest.splits.items()
        if split.has_labels
        for one in tfrecords.read(manifest.records_dir, name)
    }


def _same(stored, made):
    assert stored.keys() == made.keys()
    for name, ids in made.items():
        np.testing.assert_array_equal(stored[name], ids)


def test_ids_that_are_found_are_classes_and_255_is_void(tmp_path):
    made, said = _folder(tmp_path, [0, 3, 7, 255]), []
    manifest = _convert(tmp_path, said=said)
    _same(_stored(manifest), made)
    assert manifest.table.class_names == ("class_0", "class_3", "class_7")
    assert [(x.id, x.kind) for x in manifest.table.void_labels] == [(255, "scene")]
    colors = np.array([tables.shown_color(number) for number in range(30)])
    assert [tuple(color) for color in manifest.table.class_colors] == [tuple(colors[number]) for number in (0, 3, 7)]
    assert colors.max(1).min() > 150 and len(np.unique(colors, axis=0)) == 30  # none is black
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 4, "val": 1}
    assert any("classes.csv" in line for line in said)
    assert tables.read(tmp_path / "records" / "classes.csv").labels == manifest.table.labels


def test_names_are_written_into_the_table_that_was_found_and_are_kept(tmp_path):
    made, said, named = _folder(tmp_path, [0, 3, 255]), [], tmp_path / "records" / "classes.csv"
    _convert(tmp_path, said=said)
    assert f"--classes={named} --overwrite" in said[-1]
    named.write_text(named.read_text().replace("class_3,", "car,"))
    text = named.read_text()
    _convert(tmp_path, said=said)  # the same command again: nothing to do
    assert f"--classes={named} uses it" in said[-1] and named.read_text() == text
    with pytest.raises(ValueError, match="--overwrite replaces it"):
        _convert(tmp_path, classes=str(named))
    options = convert.Options(str(tmp_path / "images"), str(tmp_path / "labels"), classes=str(named))
    manifest = convert.convert(options, tmp_path / "records", said.append, num_workers=1, overwrite=True)
    _same(_stored(manifest), made)
    assert manifest.table.class_names == ("class_0", "car") and named.read_text() == text


def test_a_palette_picture_is_read_by_index_with_a_preset(tmp_path):
    palette = [value for number in range(256) for value in tables.default_color(number)]
    made = _folder(tmp_path, [0, 1, 15, 255], palette=palette)
    manifest = _convert(tmp_path, classes="voc")
    _same(_stored(manifest), made)
    assert manifest.table.num_classes == 21
    assert manifest.table.class_names[15] == "person"
    assert tuple(manifest.table.class_colors[15]) == (192, 128, 128)  # as VOC prints it


def test_masks_of_0_and_255_are_two_classes_unless_told_otherwise(tmp_path):
    made = _folder(tmp_path, [0, 255])
    manifest = _convert(tmp_path)
    _same(_stored(manifest), {name: ids // 255 for name, ids in made.items()})
    assert manifest.table.class_names == ("background", "object")
    manifest = _convert(tmp_path, records="void", label_format="ids")
    _same(_stored(manifest), made)
    assert manifest.table.num_classes == 1


def test_colours_follow_the_table_and_a_stranger_is_named(tmp_path):
    (tmp_path / "classes.csv").write_text("name,r,g,b\nroad,128,64,128\ncar,0,0,142\nVoid,0,0,0\n")
    lookup = np.array([[128, 64, 128], [0, 0, 142], [0, 0, 0]], np.uint8)
    made = _folder(tmp_path, [0, 1, 2])
    for name, ids in made.items():
        _save(tmp_path / "labels" / f"{name}.png", lookup[ids])
    manifest = _convert(tmp_path, classes=str(tmp_path / "classes.csv"))
    _same(_stored(manifest), made)
    assert [label.name for label in manifest.table.void_labels] == ["Void"]
    odd = lookup[made["drive0_0001"]]
    odd[0, 0] = (127, 64, 128)
    _save(tmp_path / "labels" / "drive0_0001.png", odd)
    with pytest.raises(ValueError, match=r"drive0_0001.png has 1 pixels of colour \(127, 64, 128\).*nearest is road"):
        _convert(tmp_path, records="other", classes=str(tmp_path / "classes.csv"))
    assert not (tmp_path / "other").exists()


def test_colours_without_a_table_are_classes_and_black_is_void(tmp_path):
    lookup = np.array([[0, 0, 0], [70, 70, 70], [128, 64, 128]], np.uint8)  # in order of their codes
    made, said = _folder(tmp_path, [0, 1, 2]), []
    made["drive0_0001"][:] = 1  # a frame that is all grey
    for name, ids in made.items():
        _save(tmp_path / "labels" / f"{name}.png", lookup[ids])
    manifest = _convert(tmp_path, said=said)
    _same(_stored(manifest), made)
    assert [(x.id, x.kind, x.color) for x in manifest.table.labels] == [
        (0, "scene", (0, 0, 0)),
        (1, None, (70, 70, 70)),
        (2, None, (128, 64, 128)),
    ]
    assert "masks in colour" in "\n".join(said)


@pytest.mark.parametrize(
    "stored",
    [
        lambda ids: ids.astype(np.uint16),
        lambda ids: np.stack([ids] * 3, -1),
        lambda ids: np.stack([ids, ids, ids, ids * 0 + 255], -1),
    ],
    ids=["16 bits", "RGB of equal channels", "RGBA of equal channels"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_ids_are_read_from_other_pixel_types(tmp_path, stored, suffix):
    ids = _ids(0, [0, 4, 200, 255])
    Image.fromarray(stored(ids)).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(masks.Reader().read((tmp_path / f"a{suffix}").read_bytes(), "a"), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_not_stretched(bits):
    ids = np.random.default_rng(0).integers(0, 2**bits, (H, 24), np.uint8)
    weights = (2 ** (bits * np.arange(8 // bits)))[::-1]
    rows = b"".join(b"\0" + bytes((row.reshape(-1, 8 // bits) @ weights).astype(np.uint8)) for row in ids)
    header = struct.pack(">IIBBBBB", 24, H, bits, 0, 0, 0, 0)
    data = png.SIGNATURE + png.chunk(b"IHDR", header) + png.chunk(b"IDAT", zlib.compress(rows))
    np.testing.assert_array_equal(masks.Reader().read(data + png.chunk(b"IEND", b""), "a"), ids)


def test_a_jpeg_mask_and_values_above_255_are_refused(tmp_path):
    Image.fromarray(_ids(0, [0, 1])).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="a.jpg is a JPEG, which does not keep ids"):
        masks.Reader().read((tmp_path / "a.jpg").read_bytes(), "a.jpg")
    Image.fromarray(np.array([[0, 256, 7]], np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png has 1 pixels of value 256"):
        masks.Reader().read((tmp_path / "b.png").read_bytes(), "b.png")


def test_a_pixel_is_inside_where_its_centre_is():
    square = shapes.inside(4, 5, [[1, 1, 3, 1, 3, 3, 1, 3]])
    assert np.argwhere(square).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    hole = shapes.inside(4, 4, [[0, 0, 4, 0, 4, 4, 0, 4], [1, 1, 3, 1, 3, 3, 1, 3]])
    assert hole.sum() == 12 and not hole[1:3, 1:3].any()


def test_two_polygons_with_a_common_edge_share_no_pixel_and_leave_none_out():
    left, right = [0, 0, 3.3, 0, 5.1, 9, 0, 9], [3.3, 0, 12, 0, 12, 9, 5.1, 9]
    both = shapes.inside(9, 12, [left]).astype(int) + shapes.inside(9, 12, [right])
    assert (both == 1).all()


def test_run_lengths_go_down_the_columns_and_may_be_text():
    # 3x2, column by column: 0 1 1, 1 0 0.
    ids = np.zeros((3, 2), np.uint8)
    shapes.paint(ids, 7, "rle", {"size": [3, 2], "counts": [1, 3, 2]})
    assert ids.tolist() == [[0, 7], [7, 0], [7, 0]]
    # In text each of these counts is one character, counted from "0" on.
    again = np.zeros((3, 2), np.uint8)
    shapes.paint(again, 7, "rle", {"size": [3, 2], "counts": "132"})
    np.testing.assert_array_equal(ids, again)


def _coco(root):
    _folder(root, [0], count=4)
    notes = [
        {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 10, 0, 10, 6, 0, 6]]},
        {"id": 2, "image_id": 0, "category_id": 9, "segmentation": [[5, 0, 15, 0, 15, 6, 5, 6]]},
        {"id": 3, "image_id": 1, "category_id": 3, "segmentation": {"size": [H, W], "counts": [0, H, H * (W - 1)]}},
        {"id": 4, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2]},
    ]
    frames = [{"id": i, "file_name": f"drive{i}_0001.png", "height": H, "width": W} for i in range(4)]
    kinds = [{"id": 3, "name": "road"}, {"id": 9, "name": "car"}]
    (root / "instances.json").write_text(json.dumps({"images": frames, "annotations": notes, "categories": kinds}))


def test_coco_is_painted_in_order_and_what_is_uncovered_is_void(tmp_path):
    _coco(tmp_path)
    said = []
    manifest = _convert(tmp_path, "instances.json", said)
    first, second = np.full((H, W), 255), np.full((H, W), 255)
    first[:6, :10], first[:6, 5:15] = 3, 9
    second[:, 0] = 3
    stored = _stored(manifest)
    np.testing.assert_array_equal(stored["drive0_0001"], first)
    np.testing.assert_array_equal(stored["drive1_0001"], second)
    assert manifest.table.class_names == ("road", "car")
    assert "passed over: 1 annotations without a segmentation" in "\n".join(said)
    manifest = _convert(tmp_path, "instances.json", records="other", uncovered="ground")
    assert manifest.table.class_names == ("ground", "road", "car")


def test_a_cvat_export_is_read_by_the_colours_of_its_labelmap(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    lookup = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)
    for number, (name, ids) in enumerate(made.items()):
        (tmp_path / "labels" / f"{name}.png").unlink()
        picture = Image.fromarray(lookup[ids])
        if number % 2:  # a palette in another order than the classes'
            picture = picture.quantize(3)
        path = tmp_path / "labels" / "SegmentationClass" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        picture.save(path)
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "road:128,64,128::", "car:0,0,142::"]
    (tmp_path / "labels" / "labelmap.txt").write_text("\n".join(lines))
    manifest = _convert(tmp_path)
    _same(_stored(manifest), made)
    assert manifest.table.class_names == ("road", "car")
    assert [label.name for label in manifest.table.void_labels] == ["background"]


def _cvat_masks(root, count=12):
    """An export of CVAT in which nobody drew the upper half of any frame."""
    for number in range(count):
        _save(root / "JPEGImages" / f"drive_{number:04d}.png", _photo(number))
        ids = _ids(number, [0, 1])
        ids[: H // 3] = 0
        _save(root / "SegmentationClass" / f"drive_{number:04d}.png", np.array([[0, 0, 0], [9, 8, 7]], np.uint8)[ids])
    (root / "labelmap.txt").write_text("background:0,0,0::\nroad:9,8,7::\n")


def test_what_nobody_drew_in_an_export_of_cvat_is_no_part_of_the_camera(tmp_path):
    _cvat_masks(tmp_path / "labels")
    manifest = _convert(tmp_path, images_dir=str(tmp_path / "labels"))
    assert [(label.name, label.kind) for label in manifest.table.void_labels] == [("background", "scene")]


def test_what_nobody_drew_in_masks_may_be_a_class_and_other_masks_have_no_such_thing(tmp_path):
    _cvat_masks(tmp_path / "labels", 4)
    manifest = _convert(tmp_path, images_dir=str(tmp_path / "labels"), uncovered="sky")
    assert manifest.table.class_names == ("sky", "road") and not manifest.table.void_labels
    _folder(tmp_path / "ids", [0, 1])
    with pytest.raises(ValueError, match="--uncovered=sky: masks say what each pixel is; name the id's class in"):
        _convert(tmp_path / "ids", uncovered="sky")


def test_a_palette_with_the_tables_colours_under_other_numbers_is_read_by_colour(tmp_path):
    made = _folder(tmp_path, [0, 1, 2], palette=[9, 9, 9, 255, 0, 0, 0, 255, 0])
    (tmp_path / "c.csv").write_text("name,color\na,#ff0000\nb,#00ff00\nvoid,#090909\n")
    said = []
    stored = _stored(_convert(tmp_path, classes=str(tmp_path / "c.csv"), said=said))
    _same(stored, {name: np.array([2, 0, 1], np.uint8)[ids] for name, ids in made.items()})
    assert any("under other numbers: read by colour" in line for line in said)
    by_number = _convert(tmp_path, classes=str(tmp_path / "c.csv"), label_format="ids", records="numbers")
    _same(_stored(by_number), made)
    # Colours that are not the table's say nothing.
    (tmp_path / "c.csv").write_text("name,color\na,#ff0000\nb,#00ff00\nvoid,#010101\n")
    _same(_stored(_convert(tmp_path, classes=str(tmp_path / "c.csv"), records="other")), made)


def test_an_export_of_cvat_without_images_says_so(tmp_path):
    _cvat_masks(tmp_path / "labels", 4)
    (tmp_path / "labels" / "JPEGImages").rename(tmp_path / "pictures")
    with pytest.raises(FileNotFoundError, match="labels has no folder JPEGImages: CVAT exported masks without images"):
        _convert(tmp_path, images_dir=str(tmp_path / "labels"))
    assert _convert(tmp_path, images_dir=str(tmp_path / "pictures")).splits["train"].examples == 3


def test_files_are_found_whatever_their_case_and_links_and_the_rest_is_counted(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    for folder in ("images", "labels"):
        (tmp_path / folder / "drive0_0001.png").rename(tmp_path / folder / "drive0_0001.PNG")
        (tmp_path / folder / "._x.png").write_bytes(b"x")
        (tmp_path / folder / "Thumbs.db").write_bytes(b"x")
        outside = tmp_path / "outside" / folder
        _save(outside / "7.png", _photo(7) if folder == "images" else _ids(7, [0, 1, 2]))
        (tmp_path / folder / "linked").symlink_to(outside, target_is_directory=True)
    (tmp_path / "images" / "notes.txt").write_text("x")
    said = []
    _same(_stored(_convert(tmp_path, said=said)), made | {"linked_7": _ids(7, [0, 1, 2])})
    text = "\n".join(said)
    assert "passed over: 4 hidden files" in text
    assert "notes.txt" in text


def test_an_image_without_label_is_an_error_that_names_it(tmp_path):
    _folder(tmp_path, [0, 1, 2])
    (tmp_path / "labels" / "drive2_0001.png").unlink()
    with pytest.raises(ValueError, match="images/drive2_0001.png: this image has no label file"):
        _convert(tmp_path)
    assert not (tmp_path / "records").exists()
    said = []
    assert len(_stored(_convert(tmp_path, said=said, unlabelled="skip"))) == 4
    assert "passed over: 1 files: this image has no label file" in "\n".join(said)


def test_a_list_of_names_need_not_say_that_255_is_void_but_a_published_table_is_complete(tmp_path):
    made, said = _folder(tmp_path, [0, 1, 255]), []
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    manifest = _convert(tmp_path, said=said, classes=str(tmp_path / "classes.txt"))
    _same(_stored(manifest), made)
    assert manifest.table.class_names == ("road", "car")
    assert [(x.id, x.kind) for x in manifest.table.void_labels] == [(255, "scene")]
    assert "masks have id 255, which the table of classes does not have: it is void" in said
    with pytest.raises(ValueError, match="pixels of id 255, which the label table kitti does not have"):
        _convert(tmp_path, records="other", classes="kitti")


def test_images_and_labels_may_lie_in_each_split(tmp_path):
    made = {}
    for split in ("train", "Validation"):
        for number in range(2):
            _save(tmp_path / "set" / split / "images" / f"{split}_{number}.png", _photo(number))
            made[f"{split}_{number}"] = _ids(number, [0, 1])
            _save(tmp_path / "set" / split / "masks" / f"{split}_{number}.png", made[f"{split}_{number}"])
    root = str(tmp_path / "set")
    manifest = _convert(tmp_path, images_dir=root, labels_dir=root)
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 2, "val": 2}
    _same(_stored(manifest), made)


def test_labels_may_have_a_suffix_of_their_own(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    for path in list((tmp_path / "labels").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    _same(_stored(_convert(tmp_path)), made)
    _save(tmp_path / "labels" / "drive0_0001_instances.png", _ids(0, [0]))
    said = []
    _same(_stored(_convert(tmp_path, said=said, records="named", label_suffix="_mask")), made)
    assert any(line.startswith("passed over: 1 files whose names do not end in _mask") for line in said)


def test_what_is_void_at_fixed_places_of_a_sequence_becomes_geometry(tmp_path):
    for number in range(10):
        ids = _ids(number, [0, 1])
        ids[-2:] = 255  # the bonnet
        ids[number % 5, 3] = 255  # void that moves
        _save(tmp_path / "images" / f"a_{number:03d}.png", _photo(number))
        _save(tmp_path / "labels" / f"a_{number:03d}.png", ids)
    said = []
    manifest = _convert(tmp_path, said=said, val_fraction=0.0)
    kinds = {label.name: (label.id, label.kind) for label in manifest.table.void_labels}
    assert kinds == {"void": (255, "scene"), "fixed void": (2, "geometry")}
    for ids in _stored(manifest).values():
        assert (ids[-2:] == 2).all() and (ids[:-2] == 255).sum() == 1
    assert any("fixed positions" in line for line in said)
    manifest = _convert(tmp_path, records="off", val_fraction=0.0, fixed_void="off")
    assert [label.id for label in manifest.table.void_labels] == [255]


@pytest.mark.parametrize("name", sorted(presets.PRESETS.keys() - {"a2d2"}))
def test_each_preset_knows_its_layout(tmp_path, name):
    preset = presets.PRESETS[name]
    values = [label.id for label in preset.table.labels]
    for _, image_folder, label_folder in preset.splits:
        for number in range(3):
            stem = f"s{number}/s{number}_000001_000019" if "leftImg8bit" in image_folder else f"{number:06d}_10"
            _save(tmp_path / image_folder / f"{stem}{preset.image_suffix}.png", _photo(number))
            if label_folder:
                _save(
                    tmp_path / label_folder.split("|")[0] / f"{stem}{preset.label_suffix or '.png'}",
                    _ids(number, values),
                )
    options = convert.Options(str(tmp_path), "", classes=name)
    manifest = convert.convert(options, tmp_path / "records", [].append, num_workers=1)
    assert manifest.table.labels == preset.table.labels
    assert manifest.splits.keys() >= {split for split, *_ in preset.splits}


def test_a2d2_pairs_camera_and_label_of_each_drive(tmp_path):
    table = presets.PRESETS["a2d2"].table
    assert len(table.labels) == 55 and [x.name for x in table.void_labels] == ["Ego car"]
    colors, made = np.array([x.color for x in table.labels], np.uint8), {}
    for day in ("20180807_145028", "20180810_142822"):
        for frame in (91, 135):
            root, stamp = tmp_path / "camera_lidar_semantic" / day, day.replace("_", "")
            ids = _ids(frame, range(55))
            _save(root / f"camera/cam_front_center/{stamp}_camera_frontcenter_{frame:09d}.png", _photo(frame))
            _save(root / f"label/cam_front_center/{stamp}_label_frontcenter_{frame:09d}.png", colors[ids])
            made[f"{day}_cam_front_center_{stamp}_frontcenter_{frame:09d}"] = ids
            (root / f"camera/cam_front_center/{stamp}_camera_frontcenter_{frame:09d}.json").write_text("{}")
    said = []
    options = convert.Options(str(tmp_path), "", classes="a2d2")
    manifest = convert.convert(options, tmp_path / "records", said.append, num_workers=1)
    _same(_stored(manifest), made)
    assert not any("passed over" in line for line in said)


def test_published_tables():
    ade, vistas = (presets.PRESETS[name].table for name in ("ade20k", "mapillary_v1.2"))
    assert ade.num_classes == 150 and ade.void_labels[0].id == 0
    assert [(x.id, x.name, x.color) for x in ade.labels if x.id in (1, 13, 150)] == [
        (1, "wall", (120, 120, 120)),
        (13, "person", (150, 5, 61)),
        (150, "flag", (92, 0, 255)),
    ]
    assert vistas.num_classes == 65 and [(x.id, x.name) for x in vistas.void_labels] == [(65, "Unlabeled")]
    assert [(x.id, x.name) for x in vistas.labels if x.id in (13, 19, 55, 64)] == [
        (13, "Road"),
        (19, "Person"),
        (55, "Car"),
        (64, "Ego Vehicle"),
    ]


def test_vocs_lists_say_what_is_used_and_its_unlabelled_pictures_are_passed_over(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    palette = [value for number in range(256) for value in tables.default_color(number)]
    made = {f"2007_{number:06d}": _ids(number, [0, 15, 255]) for number in range(4)}
    for number in range(6):
        _save(root / f"JPEGImages/2007_{number:06d}.jpg", _photo(number))
    for name, ids in made.items():
        _save(root / f"SegmentationClass/{name}.png", ids, palette)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, numbers in (("train", (0, 1, 2)), ("val", (3,))):
        lines = "".join(f"2007_{number:06d}\n" for number in numbers)
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(lines)
    said = []
    options = convert.Options(str(tmp_path), "", classes="voc")
    manifest = convert.convert(options, tmp_path / "records", said.append, num_workers=1)
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 3, "val": 1}
    _same(_stored(manifest), made)
    assert any(line.startswith("passed over: 2 pictures that no list names") for line in said)


def test_lists_of_names_in_whichever_way_they_are_written(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    (tmp_path / "train.txt").write_text("drive0_0001\nimages/drive1_0001.png labels/drive1_0001.png\n# x\n\n")
    (tmp_path / "val.txt").write_text(f"{tmp_path}/images/drive2_0001.png\n")
    lists = {"train_list": str(tmp_path / "train.txt"), "val_list": str(tmp_path / "val.txt")}
    said = []
    manifest = _convert(tmp_path, said=said, **lists)
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 2, "val": 1}
    _same(_stored(manifest), {name: made[name] for name in sorted(made)[:3]})
    assert any(line.startswith("passed over: 2 pictures that no list names") for line in said)
    for text, words in (
        ("drive9\n", "names 'drive9', which is no picture"),
        ("drive0_0001\n", "is in the list of train"),
    ):
        (tmp_path / "val.txt").write_text(text)
        with pytest.raises(ValueError, match=words):
            _convert(tmp_path, records="other", **lists)


def test_names_in_lists_may_have_spaces(tmp_path):
    for number in range(3):
        _save(tmp_path / "images" / f"frame {number}.png", _photo(number))
        _save(tmp_path / "labels" / f"frame {number}.png", _ids(number, [0, 1]))
    (tmp_path / "train.txt").write_text("frame 0.png\nframe 2.png\n")
    manifest = _convert(tmp_path, train_list=str(tmp_path / "train.txt"))
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 2}
    assert _stored(manifest).keys() == {"frame 0", "frame 2"}


def test_of_train_without_val_a_tenth_is_held_out_unless_told_otherwise(tmp_path):
    for number in range(10):
        _save(tmp_path / "training/image_2" / f"{number:06d}_10.png", _photo(number))
        _save(tmp_path / "training/semantic" / f"{number:06d}_10.png", _ids(number, [7, 26]))
    for name, fraction, expected in (
        ("kitti", None, {"train": 9, "val": 1}),
        ("none", 0.0, {"train": 10}),
        ("more", 0.2, {"train": 8, "val": 2}),
    ):
        options = convert.Options(str(tmp_path), classes="kitti", val_fraction=fraction)
        manifest = convert.convert(options, tmp_path / name, [].append, num_workers=1)
        assert {split: found.examples for split, found in manifest.splits.items()} == expected
    with pytest.raises(FileNotFoundError, match="has no folder images/10k/train, .*; it is laid out as kitti"):
        convert.convert(convert.Options(str(tmp_path), classes="bdd100k"), tmp_path / "b", [].append)
    with pytest.raises(FileNotFoundError, match=f"training has no folder training/image_2, .*; give {tmp_path}"):
        convert.convert(convert.Options(str(tmp_path / "training"), classes="kitti"), tmp_path / "b", [].append)


def test_images_and_labels_in_one_folder_are_told_apart_by_a_suffix(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    for name in made:
        (tmp_path / "labels" / f"{name}.png").rename(tmp_path / "images" / f"{name}_mask.png")
    with pytest.raises(ValueError, match="--images_dir and --labels_dir are both .*/images; --label_suffix"):
        _convert(tmp_path, labels="images")
    said = []
    _same(_stored(_convert(tmp_path, labels="images", label_suffix="_mask", said=said)), made)
    assert not any("passed over" in line for line in said)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda folder: [path.rename(path.with_name(f"x{path.name}")) for path in sorted(folder.iterdir())],
            r"drive0_0001.png: this image has no label file of the same name, nor has any of 5 images "
            r"\(xdrive0_0001.png is a label's\); --image_suffix and --label_suffix say",
        ),
        (
            lambda folder: [path.rename(path.with_suffix(".npy")) for path in sorted(folder.iterdir())],
            "drive0_0001.png: this image has no label file of the same name, since there are no label pictures; passed "
            "over: 5 files that are no png.*drive0_0001.npy",
        ),
        (
            lambda folder: [path.unlink() or path.symlink_to("/no/1.png") for path in [folder / "drive1_0001.png"]],
            "labels/drive1_0001.png is a link to /no/1.png, which is not there",
        ),
    ],
)
def test_why_labels_have_no_partner_is_said(tmp_path, change, words):
    _folder(tmp_path, [0, 1, 2])
    change(tmp_path / "labels")
    with pytest.raises(ValueError, match=words):
        _convert(tmp_path)
    assert not (tmp_path / "records").exists()


def test_a_table_that_is_not_in_utf_8_is_refused(tmp_path):
    _folder(tmp_path, [0, 1])
    (tmp_path / "c.csv").write_bytes("id,name\n0,Stra\u00dfe\n1,Haus\n".encode("cp1252"))
    with pytest.raises(ValueError, match="c.csv is not in UTF-8, and names would be garbled; save it as UTF-8"):
        _convert(tmp_path, classes=str(tmp_path / "c.csv"))


def test_accents_of_file_names_match_however_they_are_stored(tmp_path):
    _save(tmp_path / "images" / "a\u0308.png", _photo(0))
    _save(tmp_path / "labels" / "\u00e4.png", _ids(0, [0, 1]))
    assert list(_stored(_convert(tmp_path, val_fraction=0.0))) == ["\u00e4"]


def test_a_csv_of_pairs(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    rows = ["image,label,split,sequence"]
    rows += [
        f"images/{name}.png,labels/{name}.png,{'valid' if i == 2 else 'train'},s{i}" for i, name in enumerate(made)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    manifest = _convert(tmp_path, images_dir="", labels_dir="", pairs=str(tmp_path / "pairs.csv"))
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 4, "val": 1}
    _same(_stored(manifest), {f"images_{name}": ids for name, ids in made.items()})
    (tmp_path / "pairs.csv").write_text("image,label\nimages/none.png,labels/none.png\n")
    with pytest.raises(FileNotFoundError, match="pairs.csv names .*none.png, which is not there"):
        _convert(tmp_path, images_dir="", labels_dir="", records="other", pairs=str(tmp_path / "pairs.csv"))


def test_images_without_label_are_kept_as_a_split_of_their_own(tmp_path):
    made = _folder(tmp_path, [0, 1, 2])
    (tmp_path / "labels" / "drive2_0001.png").unlink()
    made.pop("drive2_0001")
    manifest = _convert(tmp_path, unlabelled="keep")
    _same(_stored(manifest), made)
    split = manifest.splits["unlabelled"]
    assert split.examples == 1 and not split.has_labels


def test_the_same_folder_again_is_checked_and_nothing_is_written(tmp_path):
    _folder(tmp_path, [0, 1, 255])
    first = _convert(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    assert _convert(tmp_path).digest == first.digest
    assert before == {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}


def test_a_table_that_was_edited_is_kept(tmp_path):
    _folder(tmp_path, [0, 1, 255])
    _convert(tmp_path)
    path = tmp_path / "records" / "classes.csv"
    path.write_text(path.read_text().replace("class_1", "road"))
    (tmp_path / "records" / "classes.csv.0123.tmp").write_text("half")  # of a run that was killed
    said = []
    _convert(tmp_path, said=said)
    assert "1,road" in path.read_text() and "records/classes.csv says otherwise and is kept" in said[-1]
    assert [x.name for x in (tmp_path / "records").glob("classes*")] == ["classes.csv"]


def test_names_of_examples_and_sequences():
    assert pairing.image_id("city/city_0001") == "city_0001"
    assert pairing.image_id("a/b/0001") == "a_b_0001"
    found = [pairing.sequence(key) for key in ("0001TP_006690", "0006R0_f01080", "a/7", "12")]
    assert found == ["0001TP", "0006R0", "a", ""]
