"""The network on whole images, at their own size or at the one it is evaluated at."""

import keras
import tensorflow as tf

EXACT = "exact"  # scope of what `portable_logits` computes beside the network


def logits(model, images, input_size=(0, 0)):
    """float32 [N, H, W, outputs] at the images' own size, the network seeing them at `config.eval.input_size`.

    Resized bilinearly, averaging over source pixels where a side shrinks to less than half (as training crops are);
    (0, 0) = no resizing.
    """
    if tuple(input_size) == (0, 0):
        return tf.cast(_run(model, images), tf.float32)
    return resized_logits(model, images, tf.constant(input_size))


def resized_logits(model, images, size):
    """As `logits` with an `input_size`, which may be an int32 tensor here."""
    full, images = tf.shape(images)[1:3], tf.cast(images, tf.float32)
    small = tf.reduce_any(2 * size < full)
    images = tf.cond(
        small,
        lambda: tf.image.resize(images, size, antialias=True),
        lambda: tf.image.resize(images, size),
    )
    return tf.image.resize(tf.cast(_run(model, images), tf.float32), full)


def portable_logits(network, images, input_size=(0, 0)):
    """As `logits`, in ops that every runtime has: resizing of the images is two matrix products."""
    if tuple(input_size) == (0, 0):
        return network(images, training=False)
    shape, (height, width) = tf.shape(images), input_size
    with tf.name_scope(EXACT):
        small = tf.reduce_any(2 * tf.constant(input_size) < shape[1:3])
        x = tf.matmul(_interpolation(shape[1], height, small), tf.reshape(images, [shape[0], shape[1], shape[2] * 3]))
        x = tf.matmul(_interpolation(shape[2], width, small), tf.reshape(x, [shape[0] * height, shape[2], 3]))
        x = tf.reshape(x, [shape[0], height, width, 3])
    z = network(x, training=False)
    with tf.name_scope(EXACT):
        return tf.image.resize(z, shape[1:3])


def _run(model, images):
    return model(images, training=False) if isinstance(model, keras.layers.Layer) else model(images)


def _interpolation(before, after, antialias):
    """float32 [after, before]: bilinear resizing along one axis, as tf.image.resize does it with half-pixel centres.

    With `antialias` the triangle is as wide as the step where a side shrinks.
    """
    step = tf.cast(before, tf.float32) / after
    centres = (tf.range(after, dtype=tf.float32) + 0.5) * step - 0.5
    width = tf.where(antialias, tf.maximum(step, 1.0), 1.0)
    distance = tf.abs(centres[:, None] - tf.range(tf.cast(before, tf.float32))[None]) / width
    weights = tf.maximum(1.0 - distance, 0.0)
    return weights / tf.reduce_sum(weights, 1, keepdims=True)
