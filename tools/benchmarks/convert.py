"""Converter: images/s against deeplab2's, one worker against two, and what the label maps' PNG encoding costs.

Frames of 1024x2048 px are generated: a smooth picture with sensor noise whose PNG is as large as Cityscapes' (about
2.3 MB), and a label map of polygons. The peer is what deeplab2's data/build_cityscapes_data.py does per image for
semantic labels, restated: read both files, decode both with Pillow to learn their sizes, fill a tf.train.Example, write
it; label maps as they are. Ours checks every checksum, decodes the ids, checks them, and writes three label maps.
"""

import io
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np
from PIL import Image, ImageDraw, ImageOps

import tfrecords
from tfrecords import images, labels

_HEIGHT, _WIDTH = 1024, 2048
_FRAMES = 8  # different pictures
# Images converted per trial. Two processes take half a second to start: little beside 640 images, as beside a data set.
_OURS, _PEER = 640, 16
_TRIALS = 2  # the faster of each counts: the rest is other programs


def run() -> dict[str, dict]:
    with tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        root = pathlib.Path(scratch)
        pairs = _make_pairs(root)
        seconds = {"peer": [], "one": [], "two": []}
        for _ in range(_TRIALS):
            seconds["peer"].append(_time(lambda: _peer(pairs[:_PEER], root / "peer.tfrecord")) / _PEER)
            for name, workers in (("one", 1), ("two", 2)):
                seconds[name].append(_time(lambda workers=workers: _ours(pairs, root / "records", workers)) / _OURS)
                shutil.rmtree(root / "records")
        peer, one, two = (1 / min(seconds[name]) for name in ("peer", "one", "two"))
        label_map = np.asarray(Image.open(pairs[0].label_path))
    ours_ms, ours_bytes = _encoding(lambda: images.encode_map(label_map))
    figures = {
        "two workers against deeplab2": (two / peer, ">= 4", "x", f"{two:.1f} against {peer:.1f} images/s"),
        "two workers against one": (two / one, ">= 1.8", "x", f"{two:.1f} against {one:.1f} images/s"),
    }
    for level in (1, 6):
        ms, size = _encoding(lambda level=level: _pillow_png(label_map, level))
        note = f"{ms:.1f} ms and {size} bytes against {ours_ms:.1f} ms and {ours_bytes} bytes"
        figures[f"label map PNG, Pillow level {level}, time"] = (ms / ours_ms, ">= 1", "x", note)
        figures[f"label map PNG, Pillow level {level}, size"] = (size / ours_bytes, ">= 0.95", "x", note)
    return {
        name: {"value": value, "goal": goal, "unit": unit, "note": note}
        for name, (value, goal, unit, note) in figures.items()
    }


def _scratch() -> str | None:
    """A folder in memory where there is room (4 GB), so that the disk, the same for both, does not hide the work."""
    memory = "/dev/shm"
    return memory if os.path.isdir(memory) and shutil.disk_usage(memory).free > 4e9 else None


def _ours(pairs, records_dir, workers) -> None:
    tfrecords.write(records_dir, labels.CITYSCAPES, {"train": pairs}, num_shards=4, num_workers=workers)


def _peer(pairs, path) -> None:
    import tensorflow as tf

    def size(data):
        return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size  # decodes the picture

    with tf.io.TFRecordWriter(str(path)) as writer:
        for pair in pairs:
            with tf.io.gfile.GFile(pair.image_path, "rb") as file:
                image = file.read()
            with tf.io.gfile.GFile(pair.label_path, "rb") as file:
                label = file.read()
            (width, height), label_size = size(image), size(label)
            assert label_size == (width, height)
            values = {
                "image/encoded": image,
                "image/filename": pair.image_id.encode(),
                "image/format": b"png",
                "image/height": height,
                "image/width": width,
                "image/channels": 3,
                "image/segmentation/class/encoded": label,
                "image/segmentation/class/format": b"png",
            }
            feature = {
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                if isinstance(value, bytes)
                else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
                for key, value in values.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _make_pairs(root: pathlib.Path) -> list[tfrecords.Pair]:
    """_OURS examples over _FRAMES different pictures, each with files of its own name."""
    pairs = []
    for number in range(_OURS):
        image, label = root / f"{number:06d}_image.png", root / f"{number:06d}_ids.png"
        if number < _FRAMES:
            rng = np.random.default_rng(number)
            _picture(rng).save(image, compress_level=6)
            _label_map(rng).save(label, compress_level=6)
        else:
            os.link(root / f"{number % _FRAMES:06d}_image.png", image)
            os.link(root / f"{number % _FRAMES:06d}_ids.png", label)
        pairs.append(tfrecords.Pair(f"{number:06d}", str(image), str(label)))
    return pairs


def _picture(rng: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 256, (16, 32, 3), np.uint8)).resize((_WIDTH, _HEIGHT), Image.BICUBIC)
    noise = rng.normal(0, 1.0, (_HEIGHT, _WIDTH, 1))  # the same in all channels, as of one sensor's luminance
    return Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))


def _label_map(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("L", (_WIDTH, _HEIGHT), 7)
    draw = ImageDraw.Draw(picture)
    for _ in range(250):
        x, y, size = rng.integers(0, _WIDTH), rng.integers(0, _HEIGHT), rng.integers(5, 220)
        angles, radii = np.linspace(0, 2 * np.pi, 24), size * rng.uniform(0.6, 1.2, 24)
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)
        draw.polygon([tuple(point) for point in points.tolist()], fill=int(rng.integers(0, 34)))
    return picture


def _pillow_png(label_map: np.ndarray, level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(label_map).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _encoding(encode) -> tuple[float, int]:
    """Milliseconds (best of ten) and bytes of one label map."""
    return 1000 * min(_time(encode) for _ in range(10)), len(encode())


def _time(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
