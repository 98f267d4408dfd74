"""What losses and metrics are called with: labels, predictions and weights, made fit to be used or refused in words.

A mistake in a shape, or in values of eager tensors, is a ValueError of one line. In a graph a mistake in values is an
assertion. XLA allows no assertion: there the boolean that comes with a value says whether it may be used.
"""

import tensorflow as tf

# What int32 holds whatever the value.
_FIT = (tf.bool, tf.uint8, tf.int8, tf.uint16, tf.int16, tf.int32)


def label_map(name, y_true, shape):
    """(int32 [N, H, W], whether all labels are integers) of y_true, whose shape must be y_pred's without channels.

    Args:
      name: of the loss, for messages.
      y_true: integers, or floats that are integers, [N, H, W] or [N, H, W, 1].
      shape: TensorShape of y_pred, [N, H, W, C].

    Raises:
      ValueError: shapes that do not fit; eagerly also labels that are no integers.
    """
    labels = tf.convert_to_tensor(y_true)
    if labels.shape.rank == 4 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if shape.rank != 4 or labels.shape.rank != 3 or not labels.shape.is_compatible_with(shape[:3]):
        raise ValueError(
            f"{name}: expected y_true [N, H, W] of integers and y_pred [N, H, W, C] of the same N, H, W; got "
            f"{tuple(labels.shape)} and {tuple(shape)}{_hint(labels.shape, shape)}."
        )
    return integers(name, labels)


def integers(name, labels):
    """(int32, whether `labels` are integers that int32 holds); eagerly a ValueError if not."""
    if labels.dtype in _FIT:
        return tf.cast(labels, tf.int32), True
    whole = tf.cast(labels, tf.int32)
    same = tf.reduce_all(tf.equal(tf.cast(whole, labels.dtype), labels))
    message = f"{name}: y_true has labels that are no integers of 32 bits; were label maps resized by interpolation?"
    return given(whole, same, message + ' Take "nearest" for them.'), same


def pixel_factor(name, sample_weight, shape, mask=None):
    """(factor on the pixels' weights that broadcasts over [N, H, W], or None; whether it may be used).

    Args:
      name: of the loss, for messages.
      sample_weight: [N], [N, 1], [N, H, W] or [N, H, W, 1], none below 0; None = 1 for all.
      shape: TensorShape that begins with N, H, W.
      mask: `keras_mask` of the predictions, of the same shapes as sample_weight: the factor is 0 outside it.

    Raises:
      ValueError: shapes that do not fit; eagerly also a factor below 0.
    """
    factor, usable = None, True
    if sample_weight is not None:
        factor = _over_pixels(name, "sample_weight", tf.convert_to_tensor(sample_weight), shape)
        if factor.dtype.is_floating or factor.dtype.is_integer and not factor.dtype.is_unsigned:
            usable = tf.reduce_all(tf.logical_not(factor < 0))  # NaN may stand where a pixel is ignored
            factor = given(factor, usable, f"{name}: sample_weight has values below 0; expected 0 or more.")
    if mask is not None:
        mask = tf.cast(_over_pixels(name, "the mask of y_pred", tf.convert_to_tensor(mask), shape), tf.bool)
        inside = tf.ones((), tf.float32) if factor is None else factor
        factor = tf.where(mask, inside, tf.zeros((), inside.dtype))
    return factor, usable


def keras_mask(y_pred):
    """The mask that Keras layers have left on predictions, or None."""
    return getattr(y_pred, "_keras_mask", None)


def given(value, condition, message, shown=lambda: []):
    """`value` where the scalar `condition` holds; a ValueError eagerly, an assertion in a graph, where it does not.

    `shown()` gives tensors that the assertion shows beside the message.
    """
    if tf.executing_eagerly():
        if not condition:
            raise ValueError(message)
        return value
    check = tf.debugging.Assert(condition, [message, *shown()])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(value)


def _over_pixels(name, what, values, shape):
    """`values` so that they broadcast over [N, H, W]."""
    if values.shape.rank is None:  # Keras traces a function anew with any shape when it has seen two
        values = tf.reshape(values, tf.concat([tf.shape(values), [1, 1]], 0)[:3])
        return tf.ensure_shape(values, [None, None, None])
    given_shape = values.shape
    if given_shape.rank in (2, 4) and given_shape[-1] == 1:
        values = tf.squeeze(values, -1)
    if values.shape.rank == 1:
        values = values[:, None, None]
    if values.shape.rank == 3 and all(None in (a, b) or a in (b, 1) for a, b in zip(values.shape, shape[:3])):
        return values
    hint = ""
    if given_shape.rank == 2:  # what Keras makes of class_weight in fit, which takes label maps for one-hot
        hint = "; weights of classes are the loss's own class_weights, not those of fit"
    raise ValueError(f"{name}: expected {what} [N] or [N, H, W] = {tuple(shape[:3])}; got {tuple(given_shape)}{hint}.")


def _hint(labels, predictions):
    """What to do about shapes that are often met and do not fit."""
    if predictions.rank == 4 and labels.rank == 4 and labels.is_compatible_with(predictions):
        return "; y_true looks one-hot: give class indices, tf.argmax(y_true, -1)"
    if predictions.rank == 3:
        return "; y_pred is flat, or has no channels: reshape it, and y_true with it, to the image's height and width"
    if predictions.rank == 4 and labels.rank == 3:
        first = tf.TensorShape([predictions[0], predictions[2], predictions[3]])
        if labels.is_compatible_with(first):
            return "; y_pred has its channels first: move them to the end, tf.transpose(y_pred, [0, 2, 3, 1])"
    return ""
