"""TensorFlow Addons' image ops inside tf.data (extra `addons`), as further augmentation of (image, target) pairs.

Why this is a file of its own: the library is archived; its last release is 0.23, for Keras 2 and Python up to 3.11.
`import tensorflow_addons` fails beside Keras 3, because it loads layers and optimizers that subclass Keras 2's. Its
compiled ops do not load into newer TensorFlow either. But `tensorflow_addons.image` is mostly pure TensorFlow, and
wants of Keras no more than the class KerasTensor, for type hints. So the package's own __init__ is not run. An empty
package of that name, with the right search path, stands in for it. KerasTensor is lent to it from where Keras 3 keeps
it. No environment variable, no tf_keras. Only ops that need no compiled code are offered here.

Strengths are fixed, and mild enough for street scenes: tables of numbers that nobody tunes do not belong in a config.
"""

import importlib
import importlib.util
import math
import sys
import types

import keras
import tensorflow as tf

from kseg.data import augment

_PROBABILITY = 0.5  # that an example gets an op
_ROTATE_DEGREES = 10.0  # uniform in +-
_BLUR_SIGMA = 2.0  # px; the blurred image is mixed into the sharp one by a uniform share
_SHARPNESS = 2.0  # factor, uniform from 0 (smoothed) over 1 (unchanged) to this
_CUTOUT_SHARE = 0.25  # of height and of width
_WARP_GRID = 64  # px between the nodes of the elastic warp
_WARP_PX = 6.0  # standard deviation of a node's shift


def check_names(names) -> None:
    """Raises ValueError, in one line, for an unknown op, or where the library is not installed."""
    for name in names:
        if name not in _OPS:
            raise ValueError(f"config.augment.addons names {name!r}: expected some of {', '.join(_OPS)}.")
    if names and importlib.util.find_spec("tensorflow_addons") is None:
        raise ValueError(
            f"config.augment.addons={tuple(names)} needs tensorflow-addons, which is not installed; "
            "pip install 'kseg[addons]' on Python 3.11, or set it to ()."
        )


def apply(names, image, target, seed):
    """The named ops in their order, each on half of the examples.

    Args:
      names: from `check_names`'s list; () gives the pair back, and the library is not loaded.
      image: uint8 [h, w, 3], static shape, h and w >= 8.
      target: uint8 [h, w]; pixels that an op invents become 255, and mid grey in the image.
      seed: int64 [2], the example's own.

    Returns:
      (uint8 [h, w, 3], uint8 [h, w]).
    """
    for index, name in enumerate(names):
        chance = seed + tf.constant([0, (2 * index + 1) << 50], tf.int64)
        strength = seed + tf.constant([0, (2 * index + 2) << 50], tf.int64)
        pair = (image, target)

        def changed(op=_OPS[name], seed=strength, pair=pair):
            return op(seed, *pair)

        applies = _uniform(chance) < _PROBABILITY
        image, target = tf.cond(applies, changed, lambda pair=pair: pair)
        image, target = tf.ensure_shape(image, pair[0].shape), tf.ensure_shape(target, pair[1].shape)
    return image, target


def _rotate(seed, image, target):
    angle = (2 * _uniform(seed) - 1) * math.radians(_ROTATE_DEGREES)
    turned = _library().rotate(tf.cast(image, tf.float32), angle, interpolation="bilinear", fill_mode="nearest")
    stacked = tf.stack([target, tf.ones_like(target)], -1)
    stacked = _library().rotate(stacked, angle, interpolation="nearest", fill_mode="constant", fill_value=0.0)
    return _padded(turned, stacked[..., 0], stacked[..., 1] == 1)


def _sharpness(seed, image, target):
    # Factor 0 is the smoothed image. The library wants factors as Python numbers; ours is a tensor.
    smooth = tf.cast(_library().sharpness(image, 0.0), tf.float32)
    return _uint8(smooth + _SHARPNESS * _uniform(seed) * (tf.cast(image, tf.float32) - smooth)), target


def _equalize(seed, image, target):
    del seed
    return _library().equalize(image), target


def _gaussian_blur(seed, image, target):
    # The library wants its sigma as a Python number; a share of the blurred image varies the strength.
    size = min(2 * math.ceil(2 * _BLUR_SIGMA) + 1, *(2 * (side // 2) - 1 for side in image.shape[:2]))
    sharp = tf.cast(image, tf.float32)
    blurred = _library().gaussian_filter2d(sharp, (size, size), _BLUR_SIGMA)
    return _uint8(sharp + _uniform(seed) * (blurred - sharp)), target


def _cutout(seed, image, target):
    size = [max(2, 2 * round(side * _CUTOUT_SHARE / 2)) for side in image.shape[:2]]
    centre = tf.cast(_uniform(seed, [1, 2]) * tf.constant([*image.shape[:2]], tf.float32), tf.int32)
    stacked = tf.concat([tf.ones_like(image[..., :1]), target[..., tf.newaxis], image], -1)[tf.newaxis]
    kept = _library().cutout(stacked, size, centre)[0]
    return _padded(tf.cast(kept[..., 2:], tf.float32), kept[..., 1], kept[..., 0] == 1)


def _elastic_warp(seed, image, target):
    height, width = image.shape[:2]
    nodes = [1, max(2, height // _WARP_GRID + 1), max(2, width // _WARP_GRID + 1), 2]
    shifts = tf.random.stateless_normal(nodes, seed, stddev=_WARP_PX, alg="philox")
    # Where each output pixel is read from is its place minus the flow; the target is read there too.
    flow = tf.image.resize(shifts, [height, width], "bicubic")
    warped = _library().dense_image_warp(tf.cast(image, tf.float32)[tf.newaxis], flow)[0]
    places = tf.stack(tf.meshgrid(tf.range(height), tf.range(width), indexing="ij"), -1)
    places = tf.cast(tf.floor(tf.cast(places, tf.float32) - flow[0] + 0.5), tf.int32)
    limits = tf.constant([height - 1, width - 1])
    inside = tf.reduce_all((places >= 0) & (places <= limits), -1)
    return _padded(warped, tf.gather_nd(target, tf.clip_by_value(places, 0, limits)), inside)


_OPS = {
    "rotate": _rotate,
    "sharpness": _sharpness,
    "equalize": _equalize,
    "gaussian_blur": _gaussian_blur,
    "cutout": _cutout,
    "elastic_warp": _elastic_warp,
}


def _library():
    """The module tensorflow_addons.image; see the head of this file."""
    name = "tensorflow_addons.image"
    if name in sys.modules:
        return sys.modules[name]
    # Made from its spec but not executed: that is, without running its __init__.
    package = importlib.util.module_from_spec(importlib.util.find_spec("tensorflow_addons"))
    engine, tensor = types.ModuleType("keras.src.engine"), types.ModuleType("keras.src.engine.keras_tensor")
    tensor.KerasTensor, engine.keras_tensor = keras.KerasTensor, tensor
    lent = {module.__name__: module for module in (engine, tensor)}
    sys.modules["tensorflow_addons"] = package
    sys.modules.update(lent)
    try:
        return importlib.import_module(name)
    finally:
        for module in lent:
            del sys.modules[module]


def _uniform(seed, shape=()):
    return tf.random.stateless_uniform(shape, seed, alg="philox")


def _padded(image, target, inside):
    """Invented pixels set to what `augment` gives them everywhere."""
    grey, padding = tf.constant(augment.GREY, tf.uint8), tf.constant(augment.PADDING, tf.uint8)
    return tf.where(inside[..., tf.newaxis], _uint8(image), grey), tf.where(inside, target, padding)


def _uint8(image):
    return tf.saturate_cast(image + 0.5, tf.uint8)
