"""Random crops, flips, turns and colours of (image, target) pairs, from uniform numbers that the caller draws.

The geometry of an example is a `Window`, decided from the image's size alone, before a pixel is decoded. Image and
target are then cut by the same window: the image bilinearly, the target by the nearest pixel, both with half-pixel
centres, so that they stay aligned. Pixels that augmentation invents are `PADDING` in the target and `GREY` in the
image. Colour changes the image only. Nothing here reads records, configs or label tables.

Targets are uint8 under any encoding: 0..K-1 are classes, K is void where it is trained, 255 is never trained on.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

PADDING = 255  # target of an invented pixel
GREY = 128  # image value of an invented pixel

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


class Window(NamedTuple):
    """A rectangle of the source image and the rectangle of the crop that it fills, in px, (vertical, horizontal).

    The rest of the crop is padding.

    Attributes:
      start, size: int32 [2], in the source.
      out_start, out_size: int32 [2], in the crop.
      flip: bool, mirrors left and right, after the turn.
      angle: float32, radians, turns the picture clockwise about the rectangle's centre; 0 where rotation is off.
    """

    start: tf.Tensor
    size: tf.Tensor
    out_start: tf.Tensor
    out_size: tf.Tensor
    flip: tf.Tensor
    angle: tf.Tensor


def check_options(options, crop_size) -> None:
    """Raises ValueError, in one line, for values of config.augment (or a crop size) that cannot be meant."""
    if len(crop_size) != 2 or min(crop_size) < 1:
        raise ValueError(f"config.data.crop_size={tuple(crop_size)}: expected a height and a width in px, both >= 1.")
    if not 0 < options.scale_min <= options.scale_max:
        raise ValueError(
            f"config.augment.scale_min={options.scale_min} and config.augment.scale_max={options.scale_max}: "
            "expected 0 < scale_min <= scale_max."
        )
    ranges = {
        "rotate_degrees": (0, 180),
        "brightness": (0, 1),
        "contrast": (0, 0.99),
        "saturation": (0, 1),
        "hue": (0, 0.5),
        "cutmix_probability": (0, 1),
        "copy_paste_probability": (0, 1),
    }
    for name, (low, high) in ranges.items():
        if not low <= options[name] <= high:
            raise ValueError(f"config.augment.{name}={options[name]}: expected a number from {low} to {high}.")
    if not 0 < options.cat_max_ratio <= 1:
        raise ValueError(f"config.augment.cat_max_ratio={options.cat_max_ratio}: expected a share above 0, 1 is off.")


def draw_window(uniforms, image_size, crop_size, scale_min, scale_max, flip=True, rotate_degrees=0.0) -> Window:
    """Scale, place, mirroring and turn of a crop.

    The scale s is log-uniform in [scale_min, scale_max]. Along each axis, a crop of c px needs c / s px of the source.
    Where the source has them, they are taken at a uniformly random place and fill the crop. Where it has fewer, all of
    the source fills round(size * s) px at a uniformly random place of the crop. Window edges are whole pixels, so the
    scale of an axis is exact to half a pixel over the crop's length.

    Args:
      uniforms: float32 [5] in [0, 1): for scale, vertical place, horizontal place, mirroring and turn.
      image_size: int32 [2], height and width in px.
      crop_size: (height, width), Python ints.
      scale_min, scale_max: floats > 0.
      flip: whether half of the crops are mirrored.
      rotate_degrees: the turn is uniform in +- this.
    """
    image_size, crop = tf.cast(image_size, tf.float32), tf.constant(crop_size, tf.float32)
    scale = scale_min * tf.exp(uniforms[0] * math.log(scale_max / scale_min))
    needed = crop / scale
    size = tf.clip_by_value(tf.round(needed), 1.0, image_size)
    out_size = tf.where(needed <= image_size, crop, tf.clip_by_value(tf.round(image_size * scale), 1.0, crop))
    # One of room + 1 whole places each; uniforms end just below 1, but their products are rounded.
    room = tf.stack([image_size - size, crop - out_size])
    start, out_start = tf.unstack(tf.cast(tf.minimum(tf.floor(uniforms[1:3] * (room + 1)), room), tf.int32))
    return Window(
        start=start,
        size=tf.cast(size, tf.int32),
        out_start=out_start,
        out_size=tf.cast(out_size, tf.int32),
        flip=uniforms[3] < 0.5 if flip else tf.constant(False),
        angle=(2 * uniforms[4] - 1) * math.radians(rotate_degrees),
    )


def turned_box(window: Window, image_size, crop_size):
    """The part of the source that a crop with an angle shows: its bounding box, int32 [2] start and size.

    The box is inside the image and holds at least one pixel; a pixel more on each side lets bilinear interpolation
    find its neighbours.
    """
    corners = tf.constant([[y, x] for y in (0.0, crop_size[0]) for x in (0.0, crop_size[1])])
    linear, shift = _affine(window)
    source = tf.linalg.matvec(linear, corners) + shift
    limit = tf.cast(image_size, tf.float32)
    low = tf.clip_by_value(tf.floor(tf.reduce_min(source, 0)) - 1, 0.0, limit - 1)
    high = tf.clip_by_value(tf.math.ceil(tf.reduce_max(source, 0)) + 1, low + 1, limit)
    return tf.cast(low, tf.int32), tf.cast(high - low, tf.int32)


def crop_target(labels, window: Window, crop_size, lookup=None):
    """The crop of a label map, by the nearest pixel; padding is 255.

    Args:
      labels: uint8 [h, w], the window's part of the map.
      window: what to cut; its angle is ignored, see `turn_target`.
      crop_size: (height, width), Python ints.
      lookup: uint8 [256], from id to target value, where `labels` are ids; None where they are targets.

    Returns:
      uint8 [height, width].
    """
    # floor((i + 1/2) * size / out_size), in whole numbers: the source pixel under the centre of pixel i.
    rows, columns = (
        (2 * tf.range(window.out_size[axis]) + 1) * window.size[axis] // (2 * window.out_size[axis]) for axis in (0, 1)
    )
    columns = tf.cond(window.flip, lambda: tf.reverse(columns, [0]), lambda: columns)
    # Gathering columns as rows of the transpose is four times as fast as gathering single pixels.
    crop = tf.transpose(tf.gather(tf.transpose(tf.gather(labels, rows)), columns))
    # Before the padding, which is 255 as a target: as an id 255 may be void that is trained.
    return _pad(_looked_up(crop, lookup), window, crop_size, PADDING)


def crop_image(pixels, window: Window, crop_size, matrix=None, offset=0.0, antialias=False):
    """The crop of an image, bilinear, recoloured where a matrix is given; padding is mid grey and is not recoloured.

    Args:
      pixels: uint8 [h, w, 3], the window's part of the source.
      window: the window it was cut by; its angle is ignored, see `turn_image`.
      crop_size: (height, width), Python ints.
      matrix, offset: from `colour_matrix`.
      antialias: where the image shrinks to less than half its size, average over all source pixels that a pixel covers.
        Above that, bilinear interpolation reads them all. Costs about 10 ms at 512x1024.

    Returns:
      uint8 [height, width, 3], rounded to the nearest value and clipped.
    """
    source = _to_float(pixels, matrix, offset)

    def resize(image):
        image = image[tf.newaxis]
        if not antialias:
            return tf.raw_ops.ResizeBilinear(images=image, size=window.out_size, half_pixel_centers=True)[0]
        return tf.cond(
            tf.reduce_any(2 * window.out_size < window.size),
            lambda: tf.image.resize(image, window.out_size, antialias=True),
            lambda: tf.raw_ops.ResizeBilinear(images=image, size=window.out_size, half_pixel_centers=True),
        )[0]

    crop = resize(source) if matrix is None else _recolour(resize(source), matrix)
    crop = _to_uint8(crop)
    crop = tf.cond(window.flip, lambda: tf.reverse(crop, [1]), lambda: crop)
    return _pad(crop, window, crop_size, GREY)


def turn_target(labels, window: Window, box, crop_size, lookup=None):
    """As `crop_target`, for a window with an angle.

    Args:
      labels: uint8 [h, w], the map inside `box`.
      window, crop_size, lookup: as elsewhere.
      box: from `turned_box`.
    """
    labels = _looked_up(labels, lookup)
    return _project(labels[..., tf.newaxis], window, box, crop_size, "NEAREST", PADDING)[..., 0]


def turn_image(pixels, window: Window, box, crop_size, matrix=None, offset=0.0):
    """As `crop_image`, for a window with an angle: scale, turn and mirroring in one bilinear interpolation.

    Grey where the nearest source pixel is outside the image, as the target is 255 there.

    Args:
      pixels: uint8 [h, w, 3], the source inside `box`.
      window, box, crop_size, matrix, offset: as elsewhere.
    """
    image = _project(_to_float(pixels, matrix, offset), window, box, crop_size, "BILINEAR", GREY)
    if matrix is not None:
        image = _recolour(image, matrix)
    inside = _project(tf.ones_like(pixels[..., :1]), window, box, crop_size, "NEAREST", 0)
    image = tf.where(inside == 1, _to_uint8(image), tf.constant(GREY, tf.uint8))
    return tf.ensure_shape(image, (*crop_size, 3))


def colour_matrix(uniforms, brightness, contrast, saturation, hue):
    """Brightness, contrast, saturation and hue as one affine map of RGB, x -> M x + offset, or (None, 0) if all are 0.

    With a u uniform in +-1 for each: brightness adds brightness * u of the full range. Contrast multiplies the distance
    to mid grey by 1 + contrast * u. Saturation does so with the distance to the pixel's luma (BT.601). Hue turns the IQ
    plane of YIQ by hue * u turns. Each keeps greys grey, so the order of the last two does not matter.

    Args:
      uniforms: float32 [4] in [0, 1).
      brightness, contrast, saturation, hue: Python floats >= 0; contrast < 1.

    Returns:
      (float32 [3, 3] to multiply from the right, float32 scalar).
    """
    if not any((brightness, contrast, saturation, hue)):
        return None, 0.0
    signed = 2 * uniforms - 1
    gain = 1 + contrast * signed[1]
    chroma = 1 + saturation * signed[2]
    angle = 2 * math.pi * hue * signed[3]
    luma = np.tile(_LUMA, (3, 1))
    quarter = np.linalg.inv(_YIQ) @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ _YIQ
    matrix = gain * (
        tf.constant(luma.T, tf.float32)
        + chroma * tf.cos(angle) * tf.constant((np.eye(3) - luma).T, tf.float32)
        + chroma * tf.sin(angle) * tf.constant(quarter.T, tf.float32)
    )
    return matrix, (1 - gain) * 127.5 + 255 * brightness * signed[0]


def largest_class_share(target, num_classes: int):
    """The share of a target's class pixels that its largest class has: float32 scalar, 1 where there is no class.

    Void and padding do not count, so that the answer is the same under every encoding.
    """
    counts = tf.math.bincount(tf.cast(tf.reshape(target, [-1]), tf.int32), minlength=256, maxlength=256)
    counts = tf.cast(counts[:num_classes], tf.float32)
    total = tf.reduce_sum(counts)
    return tf.where(total > 0, tf.reduce_max(counts) / tf.maximum(total, 1.0), 1.0)


def _looked_up(labels, lookup):
    if lookup is None:
        return labels
    return tf.gather_nd(tf.constant(lookup), tf.cast(labels, tf.int32)[..., tf.newaxis])


def _affine(window: Window):
    """Source (y, x) = linear @ (y, x of the crop) + shift, points from the top left corner: float32 [2, 2], [2]."""
    start, size, out_start, out_size = (tf.cast(value, tf.float32) for value in window[:4])
    mirror = tf.where(window.flip, -1.0, 1.0)
    cosine, sine = tf.cos(window.angle), tf.sin(window.angle)
    turn = tf.stack([tf.stack([cosine, -sine * mirror]), tf.stack([sine, cosine * mirror])])
    linear = (size / out_size)[:, tf.newaxis] * turn
    return linear, start + size / 2 - tf.linalg.matvec(linear, out_start + out_size / 2)


def _project(source, window: Window, box, crop_size, interpolation, fill):
    """The crop from the source inside `box`, `fill` where that has no pixel: [height, width, channels]."""
    linear, shift = _affine(window)
    # The op counts (x, y) from the centre of the first pixel, and its origin is the corner of the box.
    shift += tf.linalg.matvec(linear, [0.5, 0.5]) - tf.cast(box[0], tf.float32) - 0.5
    rows = tf.concat([linear[::-1, ::-1], shift[::-1, tf.newaxis]], 1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=source[tf.newaxis],
        transforms=tf.concat([tf.reshape(rows, [1, 6]), tf.zeros([1, 2])], 1),
        output_shape=crop_size,
        fill_value=float(fill),
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )[0]


def _pad(crop, window: Window, crop_size, value: int):
    """The crop in its place, `value` around it."""

    def padded():
        before = window.out_start
        margins = tf.stack([before, tf.constant(crop_size) - before - window.out_size], 1)
        margins = tf.pad(margins, [[0, crop.shape.rank - 2], [0, 0]])
        return tf.pad(crop, margins, constant_values=tf.constant(value, crop.dtype))

    placed = tf.cond(tf.reduce_all(window.out_size == crop_size), lambda: crop, padded)
    return tf.ensure_shape(placed, (*crop_size, *crop.shape[2:]))


def _to_float(pixels, matrix, offset):
    """uint8 -> float32; with a matrix, shifted such that x @ matrix comes out with `offset` added."""
    if matrix is None:
        return tf.cast(pixels, tf.float32)
    # Every column of the matrix has the same sum, the gain. Dequantize is a cast and an addition in one pass.
    low = offset / tf.reduce_sum(matrix[:, 0])
    quantized = tf.bitcast(pixels, tf.quint8)
    return tf.raw_ops.Dequantize(input=quantized, min_range=low, max_range=low + 255.0, mode="MIN_COMBINED")


def _recolour(image, matrix):
    # Four pixels to a row of the product, where that comes out even: a third faster than rows of three numbers.
    pixels = tf.where(tf.size(image) % 12 == 0, 4, 1)
    blocks = tf.eye(pixels)[:, tf.newaxis, :, tf.newaxis] * matrix[:, tf.newaxis, :]
    product = tf.matmul(tf.reshape(image, [-1, 3 * pixels]), tf.reshape(blocks, [3 * pixels, 3 * pixels]))
    return tf.ensure_shape(tf.reshape(product, tf.shape(image)), [None, None, 3])


def _to_uint8(image):
    """Clips, rounds and casts in one pass, where tf.saturate_cast takes three."""
    rounded = tf.raw_ops.QuantizeV2(
        input=image, min_range=0.0, max_range=255.0, T=tf.quint8, mode="MIN_COMBINED"
    ).output
    return tf.bitcast(rounded, tf.uint8)
