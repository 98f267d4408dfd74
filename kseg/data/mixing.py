"""Two augmented crops in one: a rectangle of the other (CutMix), or some of its classes (copy-paste).

Image and target move together. Targets are uint8 under any encoding: 0..K-1 are classes, K is void where it is trained,
255 is never trained on. Nothing is random here: the caller draws the uniform numbers.
"""

import tensorflow as tf


def cutmix(uniforms, image, target, other_image, other_target):
    """A random rectangle of another crop, in its place: its area share is uniform in [0, 1], its shape the crop's own.

    Source: Yun et al. 2019, "CutMix", section 3.1 with alpha = 1; for segmentation French et al. 2020. Padding of the
    other crop comes along as padding.
    """
    size = tf.cast(tf.shape(target), tf.float32)
    side = tf.sqrt(uniforms[0]) * size
    start = uniforms[1:3] * (size - side)
    low, high = tf.cast(start, tf.int32), tf.cast(start + side, tf.int32)
    rows, columns = tf.range(tf.shape(target)[0]), tf.range(tf.shape(target)[1])
    inside = ((rows >= low[0]) & (rows < high[0]))[:, tf.newaxis] & (columns >= low[1]) & (columns < high[1])
    return _paste(inside, image, target, other_image, other_target)


def copy_paste(uniforms, image, target, other_image, other_target, num_classes: int):
    """The pixels of half of another crop's classes (a random half, rounded up), pasted in their places.

    Only classes are pasted, never void or padding, so the picture is the same under every encoding.

    Args:
      uniforms: float32 [num_classes] in [0, 1): the classes present with the smallest numbers are taken.

    Source: Ghiasi et al. 2021, "Simple Copy-Paste", with the choice by class of Olsson et al. 2021, "ClassMix".
    """
    counts = tf.math.bincount(tf.cast(tf.reshape(other_target, [-1]), tf.int32), minlength=256, maxlength=256)
    present = counts[:num_classes] > 0
    rank = tf.argsort(tf.argsort(tf.where(present, uniforms, 2.0)))
    taken = present & (rank < (tf.reduce_sum(tf.cast(present, tf.int32)) + 1) // 2)
    taken = tf.concat([taken, tf.zeros([256 - num_classes], tf.bool)], 0)
    inside = tf.gather(taken, tf.cast(other_target, tf.int32))
    return _paste(inside, image, target, other_image, other_target)


def _paste(inside, image, target, other_image, other_target):
    return tf.where(inside[..., tf.newaxis], other_image, image), tf.where(inside, other_target, target)
