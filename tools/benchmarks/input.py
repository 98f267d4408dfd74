"""Input pipeline against the bare limit and against the usual pipeline, in one run: images/s of 512x1024 crops.

From 1024x2048 PNG and JPEG (quality 95) records, with scale 0.5 to 2, flip and colour:

    limit    decoding the image and one label map, alone, from memory: what no pipeline on these records can pass
             (a JPEG can: only its crop is decoded)
    usual    parse, decode the whole PNG, resize the whole image and label map, pad, crop, flip, tf.image's colours
    kseg     kseg.data.input_pipeline.train_dataset

All run on all cores, in turn, several rounds; a figure is the median of the rounds' ratios. Where something else runs
too, `cpu_*` tells more: the same ratios of processor time, which is all the time there is while every core is busy.
`ms_*` is where the time of one image goes, each step on one thread.
"""

import itertools
import os
import pathlib
import statistics
import tempfile
import time

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFilter

import tfrecords
from kseg import config as config_module
from kseg.data import augment, decoding, input_pipeline

_SIZE, _CROP = (1024, 2048), (512, 1024)
_FRAMES, _BATCH, _BATCHES, _ROUNDS = 4, 8, 4, 4
_THREADS = len(os.sched_getaffinity(0))


def run() -> dict[str, dict]:
    """The figures: {name: {"value", "goal", "unit", "note"}}."""
    with tempfile.TemporaryDirectory() as folder:
        manifests = _records(pathlib.Path(folder))
        pipelines = {f"kseg_{name}": _kseg(manifest) for name, manifest in manifests.items()}
        pipelines |= {f"limit_{name}": _limit(manifest) for name, manifest in manifests.items()}
        pipelines["usual_png"] = _usual(manifests["png"])
        speeds = {name: [] for name in pipelines}
        for _ in range(_ROUNDS):
            for name, dataset in pipelines.items():
                speeds[name].append(_images_per_second(dataset))
        steps = {name: _steps(manifest) for name, manifest in manifests.items()}

    figures = {}
    for clock, kind in enumerate(("", "cpu_")):
        for name, of, to, goal in (
            ("png_share_of_limit", "kseg_png", "limit_png", ">= 0.9"),
            ("jpeg_share_of_limit", "kseg_jpeg", "limit_jpeg", ">= 0.9"),
            ("jpeg_times_usual", "kseg_jpeg", "usual_png", ">= 5"),
            ("png_times_usual", "kseg_png", "usual_png", ""),
        ):
            ratio = statistics.median(a[clock] / b[clock] for a, b in zip(speeds[of], speeds[to]))
            figures[kind + name] = _figure(
                ratio, "" if clock else goal, "ratio", "usual reads PNG" if "usual" in name else ""
            )
    for name, values in speeds.items():
        speed = statistics.median(wall for wall, _ in values)
        figures[f"images_per_s_{name}"] = _figure(speed, "", "images/s", f"{_THREADS} threads")
    for image_format, parts in steps.items():
        for name, milliseconds in parts.items():
            figures[f"ms_{image_format}_{name}"] = _figure(milliseconds, "", "ms", "one thread")
    return figures


def _figure(value: float, goal: str, unit: str, note: str = "") -> dict:
    return {"value": value, "goal": goal, "unit": unit, "note": note}


def _config():
    config = config_module.default()
    config.data.crop_size = _CROP
    config.data.calibration_fraction = 0.0
    config.data.num_parallel_calls = _THREADS
    config.train.batch_size = _BATCH
    return config


def _kseg(manifest):
    return input_pipeline.train_dataset(_config(), manifest, "ignore")


def _limit(manifest):
    examples = list(tfrecords.read(manifest.records_dir, "train"))
    images = tf.constant([example.image_encoded for example in examples])
    labels = tf.constant([example.ignore_png for example in examples])
    decode = tf.io.decode_jpeg if manifest.image_format == "jpeg" else tf.io.decode_png

    def load(index):
        index %= len(examples)
        return decode(images[index], channels=3), tf.io.decode_png(labels[index], channels=1)

    dataset = tf.data.Dataset.range(10**9).map(load, num_parallel_calls=_THREADS, deterministic=True)
    return dataset.prefetch(2).with_options(_options())


def _usual(manifest):
    def load(serialized):
        example = tfrecords.parse(serialized)
        image = tf.io.decode_png(example["image_encoded"], channels=3)
        label = tf.io.decode_png(example["ignore_png"], channels=1)
        scale = tf.exp(tf.random.uniform([], np.log(0.5), np.log(2.0)))
        size = tf.cast(tf.cast(tf.shape(image)[:2], tf.float32) * scale, tf.int32)
        image = tf.image.resize(image, size)
        label = tf.image.resize(label, size, "nearest")
        room = tf.maximum(tf.constant(_CROP) - size, 0)
        image = tf.image.pad_to_bounding_box(image, 0, 0, size[0] + room[0], size[1] + room[1])
        label = tf.image.pad_to_bounding_box(label - 255, 0, 0, size[0] + room[0], size[1] + room[1]) + 255
        both = tf.concat([image, tf.cast(label, tf.float32)], -1)
        both = tf.image.random_flip_left_right(tf.image.random_crop(both, [*_CROP, 4]))
        image = tf.image.random_brightness(both[..., :3], 32)
        image = tf.image.random_contrast(image, 0.75, 1.25)
        image = tf.image.random_saturation(image, 0.75, 1.25)
        image = tf.image.random_hue(image, 0.02)
        return tf.saturate_cast(image, tf.uint8), tf.cast(both[..., 3], tf.uint8)

    dataset = tf.data.TFRecordDataset(manifest.index("train").files).repeat()
    dataset = dataset.map(load, num_parallel_calls=_THREADS, deterministic=True)
    return dataset.batch(_BATCH).prefetch(2).with_options(_options())


def _steps(manifest) -> dict[str, float]:
    """Milliseconds of each step of one image: differences between pipelines that end after it."""
    config = _config()
    read, image_format = decoding.reader(manifest, "train"), manifest.image_format

    def load(stop, number):
        out = [read(number % _FRAMES)]
        if stop == 0:
            return out
        example = tfrecords.parse(out[0])
        if stop == 1:
            return example
        numbers = tf.random.stateless_uniform([9], [0, number])
        window = augment.draw_window(numbers, decoding.image_size(example), _CROP, 0.5, 2.0)
        labels = decoding.decode_label_box(example, "ignore_png", window[:2])
        if stop == 2:
            return labels, window
        pixels = decoding.decode_box(example, image_format, window[:2])
        if stop == 3:
            return labels, pixels
        target = augment.crop_target(labels, window, _CROP)
        if stop == 4:
            return target, pixels
        options = config.augment
        matrix, offset = augment.colour_matrix(
            numbers[5:], options.brightness, options.contrast, options.saturation, options.hue
        )
        return target, augment.crop_image(pixels, window, _CROP, matrix, offset)

    names = ["read", "parse", "decode_label", "decode_image", "crop_label", "crop_image"]
    times = [[] for _ in names]
    numbers = tf.data.Dataset.range(16)
    datasets = [
        numbers.map(
            tf.autograph.experimental.do_not_convert(lambda number, stop=stop: load(stop, number))
        ).with_options(_options())
        for stop in range(len(names))
    ]
    for _ in range(2):
        for stop, dataset in enumerate(datasets):
            iterator = iter(dataset)
            next(iterator)
            begin = time.perf_counter()
            count = sum(1 for _ in iterator)
            times[stop].append((time.perf_counter() - begin) / count * 1e3)
    medians = [0.0] + [statistics.median(values) for values in times]
    return {name: after - before for name, before, after in zip(names, medians, medians[1:])}


def _options():
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    return options


def _images_per_second(dataset) -> tuple[float, float]:
    """Per second and per CPU second, from the first batch to the last, each taken as soon as it is there."""
    batched = isinstance(dataset.element_spec, dict) or dataset.element_spec[0].shape.rank == 4
    elements = iter(dataset)
    per_batch = 1 if batched else _BATCH
    for _ in itertools.islice(elements, per_batch):
        pass
    begin, cpu_begin = time.perf_counter(), time.process_time()
    for _ in itertools.islice(elements, per_batch * (_BATCHES - 1)):
        pass
    images = _BATCH * (_BATCHES - 1)
    return images / (time.perf_counter() - begin), images / (time.process_time() - cpu_begin)


def _records(folder: pathlib.Path) -> dict[str, tfrecords.Manifest]:
    """PNG and JPEG records of the same frames."""
    pairs = []
    for number in range(_FRAMES):
        files = [str(folder / f"{number}_{name}.png") for name in ("image", "label")]
        for file, array in zip(files, _frame(number)):
            Image.fromarray(array).save(file)
        pairs.append(tfrecords.Pair(f"bench_{number:06d}_000019", *files))
    return {
        image_format: tfrecords.write(
            folder / image_format,
            tfrecords.labels.CITYSCAPES,
            {"train": pairs},
            image_format=image_format,
            num_shards=1,
        )
        for image_format in ("png", "jpeg")
    }


def _frame(seed: int):
    """Blurred polygons with texture and sensor noise: files about as large as Cityscapes' (2.3 MB and 40 kB)."""
    height, width = _SIZE
    random = np.random.default_rng(seed)
    image, labels = Image.new("RGB", (width, height), (90, 110, 140)), Image.new("L", (width, height), 23)
    for _ in range(220):
        x, y, (across, down) = random.integers(width), random.integers(height), random.integers(8, 260, 2)
        corners = [
            (x + across * np.cos(turn) * random.uniform(0.6, 1), y + down * np.sin(turn) * random.uniform(0.6, 1))
            for turn in np.linspace(0, 2 * np.pi, 12)
        ]
        ImageDraw.Draw(image).polygon(corners, fill=tuple(int(value) for value in random.integers(20, 200, 3)))
        ImageDraw.Draw(labels).polygon(corners, fill=int(random.integers(4, 34)))
    texture = Image.fromarray(random.normal(128, 30, (height // 8, width // 8)).clip(0, 255).astype(np.uint8))
    texture = np.asarray(texture.resize((width, height), Image.Resampling.BICUBIC), np.float32) - 128
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), np.float32) + 0.4 * texture[..., np.newaxis]
    pixels += random.normal(0, 0.8, (height, width, 1)) + random.normal(0, 0.4, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8), np.asarray(labels)
