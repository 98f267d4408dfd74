"""A toy data set whose evaluation can be worked out by loops: the image says what the model will answer.

Red is the class the model likes best, green its void score. 3 classes; void of every kind; one id without annotation.
"""

import numpy as np
import tensorflow as tf
from PIL import Image

import tfrecords
from kseg import config as config_module
from kseg import treatments

K = 3
GREY = (128, 128, 128)
TABLE = tfrecords.LabelTable(
    "toy",
    (
        tfrecords.Label(0, "road", 0, None, GREY),
        tfrecords.Label(1, "car", 1, None, GREY),
        tfrecords.Label(2, "tree", 2, None, GREY),
        tfrecords.Label(3, "static", None, "scene", GREY),
        tfrecords.Label(4, "bridge", None, "dropped", GREY),
        tfrecords.Label(5, "bonnet", None, "geometry", GREY),
        tfrecords.Label(6, "nobody looked", None, "unannotated", GREY),
        tfrecords.Label(7, "trailer", None, "dropped", GREY),
    ),
)
SIZES = [(12, 16), (12, 16), (9, 21), (12, 16), (9, 21), (1, 1), (12, 16)]


def scene(number):
    """(image uint8 [H, W, 3], ids uint8 [H, W]) of scene `number`."""
    rng = np.random.default_rng(number)
    height, width = SIZES[number % len(SIZES)]
    blocks = rng.choice(8, (height // 6 + 1, width // 6 + 1), p=[0.35, 0.15, 0.1, 0.1, 0.1, 0.08, 0.04, 0.08])
    ids = np.kron(blocks, np.ones((6, 6), int))[:height, :width].astype(np.uint8)
    likes = np.where(rng.random(ids.shape) < 0.8, np.minimum(ids, 2), rng.integers(0, K, ids.shape))
    score = np.clip(rng.normal(100 + 70 * (ids > 2), 45), 0, 255)
    return np.stack([likes, score, rng.integers(0, 256, ids.shape)], -1).astype(np.uint8), ids


def write_records(folder, count=7, labels=True):
    """Records of `count` scenes as split "val"; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(count):
        image, ids = scene(number)
        name = f"{'ab'[number % 2]}_{number:06d}_000019"
        Image.fromarray(image).save(folder / f"{name}.png")
        Image.fromarray(ids).save(folder / f"{name}_ids.png")
        pairs.append(
            tfrecords.Pair(name, str(folder / f"{name}.png"), str(folder / f"{name}_ids.png") if labels else None)
        )
    return tfrecords.write(folder / "records", TABLE, {"val": pairs}, num_shards=2, num_workers=1)


def number_of(image_id):
    return int(image_id.split("_")[1])


def config(**data):
    value = config_module.default()
    value.treatment.name = "background_class"
    value.data.train_split = "val"
    value.data.update(data)
    return value


def treatment(name="background_class", num_classes=K):
    value = config_module.default().treatment
    value.name = name
    return treatments.get(value, num_classes)


def model(images):
    """Logits [.., K + 1]: 20 for the class that red names, 0 for the others, green / 10 for void."""
    images = tf.cast(images, tf.float32)
    classes = 20 * tf.one_hot(tf.cast(images[..., 0], tf.int32), K)
    return tf.concat([classes, images[..., 1:2] / 10], -1)
