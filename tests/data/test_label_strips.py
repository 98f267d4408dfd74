"""Label maps in strips: plain PNG to any reader, of which training unpacks the rows that a crop needs."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfrecords
from kseg import config as config_module
from kseg.data import decoding, input_pipeline
from tfrecords import images, labels, png, strips

GOLDEN = (
    "89504e470d0a1a0a0000000d4948445200000003000000020800000000b81f39c600000010726f5753000000010000004700"
    "0000510000005bd0e8e2960000001c4944415478016260676707000000ffff62e064f80f000000ffff030001a0011e6ee86f"
    "3d0000000049454e44ae426082"
)


def _map(seed=0, height=100, width=70):
    """Areas of one id, single odd pixels, and rows that differ: uint8 [height, width]."""
    random = np.random.default_rng(seed)
    blocks = np.kron(random.integers(0, 34, (-(-height // 8), -(-width // 8))), np.ones((8, 8)))
    label_map = blocks.astype(np.uint8)[:height, :width].copy()
    label_map[random.integers(0, height, 50), random.integers(0, width, 50)] = 255
    return label_map


def _chunks(data):
    found, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


@pytest.mark.parametrize("height, rows", [(100, 32), (96, 32), (5, 32), (100, 1), (1, 1)])
def test_any_reader_reads_a_map_in_strips(height, rows):
    label_map = _map(height=height)
    data = strips.encode(label_map, rows)
    assert png.check(data, "a").color == "grey" and images.is_plain_map(data)
    png.check_pixels(data, "a")
    np.testing.assert_array_equal(images.decode_map(data, "a"), label_map)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), label_map)
    np.testing.assert_array_equal(tf.io.decode_png(data, channels=1)[..., 0], label_map)


def test_each_strip_unpacks_alone_from_where_the_chunk_says():
    label_map = _map()
    label_map[30:34] = 0  # a run that goes on over the end of a strip
    data = strips.encode(label_map, 32)
    ((kind, table),) = [chunk for chunk in _chunks(data) if chunk[0] == strips.KIND]
    assert data[strips.PLACE + 4 : strips.PLACE + 8] == kind
    rows, *offsets = struct.unpack(f">{len(table) // 4}I", table)
    assert (rows, len(offsets)) == (32, 5)  # 32 + 32 + 32 + 4 rows
    for top, begin, end in zip(range(0, 100, 32), offsets, offsets[1:]):
        unpacked = np.frombuffer(zlib.decompressobj(-15).decompress(data[begin:end]), np.uint8).reshape(-1, 71)
        np.testing.assert_array_equal(unpacked[:, 1:], label_map[top : top + 32])
        assert not unpacked[:, 0].any()


def test_the_bytes_of_a_small_map_in_strips_are_golden():
    # Two strips of one row of three pixels; what is packed lies at 71 to 81 and 81 to 91.
    data = strips.encode(np.array([[7, 7, 7], [9, 0, 255]], np.uint8), 1)
    assert [kind for kind, _ in _chunks(data)] == [b"IHDR", b"roWS", b"IDAT", b"IEND"]
    table = struct.unpack(">4I", _chunks(data)[1][1])
    assert table == (1, 71, 81, 91)
    assert data.hex() == GOLDEN


def test_large_maps_are_in_strips_and_small_ones_are_not():
    side = int(strips.MIN_PIXELS**0.5)
    for width, striped in ((side + 1, True), (side - 2, False)):
        data = images.encode_map(np.zeros((side + 1, width), np.uint8))
        assert (data[strips.PLACE + 4 : strips.PLACE + 8] == strips.KIND) is striped


def _example(data, height, width):
    return {"map": tf.constant(data), "height": height, "width": width, "image_id": tf.constant("a")}


@pytest.mark.parametrize("where", ["eager", "tf.function"])
@pytest.mark.parametrize("encode", [lambda m: strips.encode(m, 16), images.encode_map], ids=["strips", "whole"])
def test_a_box_of_a_map_is_the_same_box_of_all_of_it(encode, where):
    label_map = _map()
    example, random = _example(encode(label_map), 100, 70), np.random.default_rng(1)
    read = lambda start, size: decoding.decode_label_box(example, "map", (start, size))  # noqa: E731
    read = tf.function(read, reduce_retracing=True) if where == "tf.function" else read
    boxes = [(0, 0, 100, 70), (99, 69, 1, 1), (0, 0, 1, 1), (15, 0, 2, 70), (16, 3, 16, 9), (31, 0, 1, 5)]
    for _ in range(20):
        top, left = random.integers(0, 100), random.integers(0, 70)
        boxes.append((top, left, random.integers(1, 101 - top), random.integers(1, 71 - left)))
    for top, left, height, width in boxes:
        box = read(tf.constant([top, left], tf.int32), tf.constant([height, width], tf.int32))
        np.testing.assert_array_equal(box, label_map[top : top + height, left : left + width])


def test_a_map_in_strips_of_another_size_than_stated_is_refused():
    box = tf.constant([0, 0]), tf.constant([4, 4])
    for height, width in ((100, 71), (99, 70)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="label map"):
            decoding.decode_label_box(_example(strips.encode(_map()), height, width), "map", box)


@pytest.mark.parametrize("rotate_degrees, cat_max_ratio", [(0.0, 1.0), (20.0, 1.0), (0.0, 0.5)])
def test_batches_do_not_depend_on_how_label_maps_are_stored(tmp_path, monkeypatch, rotate_degrees, cat_max_ratio):
    pairs = []
    for n in range(3):
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (100, 70, 3), np.uint8)).save(tmp_path / f"{n}.png")
        Image.fromarray(np.minimum(_map(n), 33)).save(tmp_path / f"{n}_ids.png")
        pairs.append(tfrecords.Pair(f"a{n}_1", tmp_path / f"{n}.png", tmp_path / f"{n}_ids.png"))
    batches = []
    for name, least in (("whole", 10**9), ("strips", 0)):
        monkeypatch.setattr(strips, "MIN_PIXELS", least)
        manifest = tfrecords.write(tmp_path / name, labels.CITYSCAPES, {"train": pairs}, num_shards=1, num_workers=1)
        config = config_module.default()
        config.data.crop_size, config.data.calibration_fraction, config.train.batch_size = (48, 40), 0.0, 3
        config.augment.rotate_degrees, config.augment.cat_max_ratio = rotate_degrees, cat_max_ratio
        dataset = input_pipeline.train_dataset(config, manifest, "ignore")
        batches.append([(b["image"].numpy(), b["target"].numpy()) for b in dataset.take(3)])
    stored = {name: next(iter(tfrecords.read(tmp_path / name, "train"))).ignore_png for name in ("whole", "strips")}
    assert strips.KIND in stored["strips"] and strips.KIND not in stored["whole"]
    for one, other in zip(*batches):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_damage_within_a_label_strip_of_png_records_is_noticed(tmp_path):
    Image.fromarray(np.zeros((520, 520, 3), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.minimum(_map(0, 520, 520), 33)).save(tmp_path / "0_ids.png")
    pair = tfrecords.Pair("a_1", tmp_path / "0.png", tmp_path / "0_ids.png")
    manifest = tfrecords.write(tmp_path / "r", labels.CITYSCAPES, {"train": [pair]}, num_shards=1, num_workers=1)
    path = tmp_path / "r" / manifest.splits["train"].shards[0].file
    data = bytearray(path.read_bytes())
    data[data.index(strips.KIND) + 200] ^= 1
    path.write_bytes(data)
    with pytest.raises(tf.errors.DataLossError):
        decoding.reader(manifest, "train")(tf.constant(0, tf.int64))
