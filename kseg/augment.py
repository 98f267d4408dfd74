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
    """A rectangle of the source image and the rectangle of the crop that it fills; scalar tensors, px.

    The rest of the crop is padding. `angle` (radians, counter-clockwise as seen, about the rectangle's centre) is 0
    where rotation is off; `flip` mirrors left and right after the turn.
    """

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    out_top: tf.Tensor
    out_left: tf.Tensor
    out_height: tf.Tensor
    out_width: tf.Tensor
    flip: tf.Tensor
    angle: tf.Tensor


def check_options(options, crop_size) -> None:
    """Raises ValueError, in one line, for values of config.augment (or a crop size) that cannot be meant."""
    if len(crop_size) != 2 or min(crop_size) < 1:
        raise ValueError(f"data.crop_size is {tuple(crop_size)}; expected a height and a width in px, both >= 1.")
    if not 0 < options.scale_min <= options.scale_max:
        raise ValueError(
            f"augment.scale_min is {options.scale_min} and augment.scale_max {options.scale_max}; "
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
            raise ValueError(f"augment.{name} is {options[name]}; expected a number from {low} to {high}.")
    if not 0 < options.cat_max_ratio <= 1:
        raise ValueError(f"augment.cat_max_ratio is {options.cat_max_ratio}; expected a share above 0, up to 1 (off).")


def draw_window(uniforms, image_size, crop_size, scale_min, scale_max, flip=True, rotate_degrees=0.0) -> Window:
    """Scale, place, mirroring and turn of a crop.

    The scale s is log-uniform in [scale_min, scale_max]. Along each axis, a crop of c px needs c / s px of the source.
    Where the source has them, they are taken at a uniformly random place and fill the crop; where it has not, all of
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
    scale = scale_min * tf.exp(uniforms[0] * math.log(scale_max / scale_min))
    vertical = _draw_axis(uniforms[1], image_size[0], crop_size[0], scale)
    horizontal = _draw_axis(uniforms[2], image_size[1], crop_size[1], scale)
    mirrored = uniforms[3] < 0.5 if flip else tf.constant(False)
    angle = (2 * uniforms[4] - 1) * math.radians(rotate_degrees)
    (top, height, out_top, out_height), (left, width, out_left, out_width) = vertical, horizontal
    return Window(top, left, height, width, out_top, out_left, out_height, out_width, mirrored, angle)


def source_box(window: Window, image_size, crop_size, rotated: bool):
    """The part of the source that the crop shows: int32 (top, left, height, width), inside the image.

    Without rotation that is the window itself; with it, the bounding box of the turned crop.
    """
    if not rotated:
        return window.top, window.left, window.height, window.width
    corners = tf.constant([[x, y] for y in (0.0, crop_size[0]) for x in (0.0, crop_size[1])])
    source = tf.linalg.matvec(_affine(window)[:, :2], corners) + _affine(window)[:, 2]
    size = tf.cast(image_size[::-1], tf.float32)  # x, y, as the corners
    # One pixel more on each side, so that bilinear interpolation finds its neighbours. A box holds at least a pixel.
    low = tf.clip_by_value(tf.floor(tf.reduce_min(source, 0)) - 1, 0.0, size - 1)
    high = tf.clip_by_value(tf.math.ceil(tf.reduce_max(source, 0)) + 1, low + 1, size)
    left, top = tf.unstack(tf.cast(low, tf.int32))
    right, bottom = tf.unstack(tf.cast(high, tf.int32))
    return top, left, bottom - top, right - left


def crop_target(labels, window: Window, crop_size):
    """The crop of a label map, by the nearest pixel; padding is 255.

    Args:
      labels: uint8 [H, W], the whole map.
      window: what to cut; its angle is ignored, see `turn_target`.
      crop_size: (height, width), Python ints.

    Returns: uint8 [height, width].
    """
    rows = window.top + _nearest(window.height, window.out_height)
    columns = window.left + _nearest(window.width, window.out_width)
    columns = tf.cond(window.flip, lambda: columns[::-1], lambda: columns)
    # Rows are contiguous and single pixels are not: gathering columns as rows of the transpose is four times as fast.
    crop = tf.transpose(tf.gather(tf.transpose(tf.gather(labels, rows)), columns))
    crop = tf.pad(crop, _margins(window, crop_size), constant_values=tf.constant(PADDING, tf.uint8))
    return tf.ensure_shape(crop, crop_size)


def crop_image(pixels, window: Window, crop_size, matrix=None, offset=0.0, antialias=False):
    """The crop of an image, bilinear, recoloured where a matrix is given; padding is mid grey and is not recoloured.

    Args:
      pixels: uint8 [height, width, 3], the window's part of the source.
      window: the window it was cut by; its angle is ignored, see `turn_image`.
      crop_size: (height, width), Python ints.
      matrix, offset: from `colour_matrix`.
      antialias: average over the source pixels that a pixel covers when the image shrinks to less than half its size
        (between half and full size bilinear interpolation reads every source pixel as it is). Costs about 10 ms at
        512x1024.

    Returns: uint8 [height, width, 3], rounded to the nearest value and clipped.
    """
    size = tf.stack([window.out_height, window.out_width])
    source = _to_float(pixels, matrix, offset)[tf.newaxis]

    def bilinear():
        return tf.raw_ops.ResizeBilinear(images=source, size=size, half_pixel_centers=True)

    if antialias:
        small = 2 * window.out_height < window.height
        resized = tf.cond(small, lambda: tf.image.resize(source, size, antialias=True), bilinear)
    else:
        resized = bilinear()
    crop = _to_uint8(resized[0], matrix)
    crop = tf.cond(window.flip, lambda: tf.reverse(crop, [1]), lambda: crop)
    margins = tf.concat([_margins(window, crop_size), [[0, 0]]], 0)
    crop = tf.pad(crop, margins, constant_values=tf.constant(GREY, tf.uint8))
    return tf.ensure_shape(crop, (*crop_size, 3))


def turn_target(labels, window: Window, box, crop_size):
    """As `crop_target`, for a window with an angle.

    Args:
      labels: uint8 [H, W], the whole map.
      window, crop_size: as elsewhere.
      box: (top, left, height, width) from `source_box`.
    """
    labels = tf.slice(labels, box[:2], box[2:])[..., tf.newaxis]
    return _project(labels, window, box, crop_size, "NEAREST", PADDING)[..., 0]


def turn_image(pixels, window: Window, box, crop_size, matrix=None, offset=0.0):
    """As `crop_image`, for a window with an angle: scale, turn and mirroring in one bilinear interpolation.

    Grey where the nearest source pixel is outside the image, as the target is 255 there.

    Args:
      pixels: uint8 [h, w, 3], the source inside `box`.
      window, box, crop_size, matrix, offset: as elsewhere.
    """
    image = _project(_to_float(pixels, matrix, offset), window, box, crop_size, "BILINEAR", GREY)
    inside = _project(tf.ones_like(pixels[..., :1]), window, box, crop_size, "NEAREST", 0)
    return tf.where(inside == 1, _to_uint8(image, matrix), tf.constant(GREY, tf.uint8))


def colour_matrix(uniforms, brightness, contrast, saturation, hue):
    """Brightness, contrast, saturation and hue as one affine map of RGB, x -> M x + offset, or (None, 0) if all are 0.

    With u uniform in +-1: offset adds `brightness` * u of the full range; contrast multiplies the distance to mid grey
    by 1 + contrast * u; saturation the distance to the pixel's luma (BT.601) likewise; hue turns the IQ plane of YIQ by
    hue * u turns. Each keeps greys grey, so the order of the last two does not matter.

    Args:
      uniforms: float32 [4] in [0, 1).
      brightness, contrast, saturation, hue: Python floats >= 0; contrast < 1.

    Returns: (float32 [3, 3] to multiply from the right, float32 scalar).
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


def _draw_axis(uniform, size, crop: int, scale):
    """(start, length) in the source and (start, length) in the crop, int32."""
    needed = crop / scale
    length = tf.cast(tf.clip_by_value(tf.round(needed), 1.0, tf.cast(size, tf.float32)), tf.int32)
    filled = tf.cast(tf.clip_by_value(tf.round(tf.cast(size, tf.float32) * scale), 1.0, float(crop)), tf.int32)
    filled = tf.where(needed <= tf.cast(size, tf.float32), crop, filled)
    return _place(uniform, size - length), length, _place(uniform, crop - filled), filled


def _place(uniform, room):
    """One of the room + 1 whole places, uniformly."""
    return tf.minimum(tf.cast(uniform * tf.cast(room + 1, tf.float32), tf.int32), room)


def _nearest(length, out_length):
    """floor((i + 1/2) * length / out_length) in whole numbers: the source pixel under the centre of pixel i."""
    return (2 * tf.range(out_length) + 1) * length // (2 * out_length)


def _margins(window: Window, crop_size):
    """int32 [2, 2] paddings before and after."""
    bottom = crop_size[0] - window.out_top - window.out_height
    right = crop_size[1] - window.out_left - window.out_width
    return tf.stack([tf.stack([window.out_top, bottom]), tf.stack([window.out_left, right])])


def _affine(window: Window):
    """float32 [2, 3]: source (x, y) of a crop's point (x, y), both from the top left corner in px."""
    numbers = [tf.cast(value, tf.float32) for value in window[:8]]
    top, left, height, width, out_top, out_left, out_height, out_width = numbers
    mirror = tf.where(window.flip, -1.0, 1.0)
    cosine, sine = tf.cos(window.angle), tf.sin(window.angle)
    across, down = width / out_width, height / out_height
    linear = tf.stack(
        [
            tf.stack([across * cosine * mirror, -across * sine]),
            tf.stack([down * sine * mirror, down * cosine]),
        ]
    )
    centre = tf.stack([left + width / 2, top + height / 2])
    out_centre = tf.stack([out_left + out_width / 2, out_top + out_height / 2])
    return tf.concat([linear, (centre - tf.linalg.matvec(linear, out_centre))[:, tf.newaxis]], 1)


def _project(source, window: Window, box, crop_size, interpolation, fill):
    """The crop from the source inside `box`, `fill` where that has no pixel: [height, width, channels]."""
    affine = _affine(window)
    # The op counts from the centre of the first pixel, and its origin is the corner of the box.
    corner = tf.cast(tf.stack([box[1], box[0]]), tf.float32)
    shift = affine[:, 2] + tf.linalg.matvec(affine[:, :2], [0.5, 0.5]) - corner - 0.5
    rows = tf.concat([affine[:, :2], shift[:, tf.newaxis]], 1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=source[tf.newaxis],
        transforms=tf.concat([tf.reshape(rows, [1, 6]), tf.zeros([1, 2])], 1),
        output_shape=crop_size,
        fill_value=float(fill),
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )[0]


def _to_float(pixels, matrix, offset):
    """uint8 -> float32, the colour offset included, where there is a matrix, such that x @ matrix adds `offset`."""
    if matrix is None:
        return tf.cast(pixels, tf.float32)
    # Every column of the matrix has the same sum, the gain. Dequantize is a cast and an addition in one pass.
    low = offset / tf.reduce_sum(matrix[:, 0])
    quantized = tf.bitcast(pixels, tf.quint8)
    return tf.raw_ops.Dequantize(input=quantized, min_range=low, max_range=low + 255.0, mode="MIN_COMBINED")


def _to_uint8(image, matrix):
    """Colours applied, rounded and clipped."""
    if matrix is not None:
        image = tf.reshape(tf.matmul(tf.reshape(image, [-1, 3]), matrix), tf.shape(image))
    # Clip, round and cast in one pass, where saturate_cast takes three.
    rounded = tf.raw_ops.QuantizeV2(
        input=image, min_range=0.0, max_range=255.0, T=tf.quint8, mode="MIN_COMBINED"
    ).output
    return tf.bitcast(rounded, tf.uint8)
