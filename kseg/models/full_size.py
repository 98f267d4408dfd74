"""The network on whole images, at their own size or at the one it is evaluated at."""

import keras
import tensorflow as tf


def logits(model, images, input_size=(0, 0)):
    """float32 [N, H, W, outputs] at the images' own size, the network seeing them at `config.eval.input_size`.

    Resized bilinearly, averaging over source pixels where a side shrinks to less than half (as training crops are);
    (0, 0) = no resizing.
    """
    run = (lambda x: model(x, training=False)) if isinstance(model, keras.layers.Layer) else model
    if tuple(input_size) == (0, 0):
        return tf.cast(run(images), tf.float32)
    full, images = tf.shape(images)[1:3], tf.cast(images, tf.float32)
    small = tf.reduce_any(2 * tf.constant(input_size) < full)
    images = tf.cond(
        small,
        lambda: tf.image.resize(images, input_size, antialias=True),
        lambda: tf.image.resize(images, input_size),
    )
    return tf.image.resize(tf.cast(run(images), tf.float32), full)
