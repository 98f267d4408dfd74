"""The network on several views of an image, its probabilities averaged: mirrored, and at other scales.

What comes out are logits again, so that every decision rule and void score applies to them as they are.
"""

import tensorflow as tf

from kseg.models import full_size

_SCALES = (0.25, 4.0)  # the least and greatest
_MOST = 16


def views(text):
    """[(scale, mirrored)] of a text such as "flip,0.75,1.25": the image as it is, then each scale; each mirrored too.

    Raises:
      ValueError: on another word, a scale outside 0.25 to 4, or one that comes twice; one line.
    """
    words = [word.strip() for word in str(text).split(",") if word.strip()]
    scales, flip = [1.0], False
    for word in words:
        try:
            scale = float(word)
        except ValueError:
            scale = None
        if word == "flip" and not flip:
            flip = True
        elif scale is not None and _SCALES[0] <= scale <= _SCALES[1] and scale not in scales:
            scales.append(scale)
        else:
            raise ValueError(
                f"average={text!r}: {word!r} is not understood; expected flip and scales between {_SCALES[0]} and "
                f"{_SCALES[1]:g} besides 1, each once, such as flip,0.75,1.25."
            )
    if len(scales) * (1 + flip) > _MOST:
        raise ValueError(f"average={text!r}: {len(scales) * (1 + flip)} views; at most {_MOST}.")
    return [(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))]


def logits(model, treatment, images, input_size=(0, 0), average=""):
    """As full_size.logits, of the mean probability over the views of `average`; "" is full_size.logits itself.

    The mean p of the softmax outputs comes back as log p plus the mean logsumexp of the views. That of a sigmoid output
    comes back as log p / (1 - p): one view gives its own logits back. Views are computed one after the other.

    Args:
      model, images, input_size: as in full_size.logits.
      treatment: treatments.Treatment; says which outputs share a softmax.
      average: text of `views`.

    Returns:
      float32 [N, H, W, outputs].
    """
    chosen = views(average)
    if len(chosen) == 1:
        return full_size.logits(model, images, input_size)
    images = tf.cast(images, tf.float32)
    shape = tf.shape(images)[1:3]
    base = tf.cast(shape if tuple(input_size) == (0, 0) else tf.constant(input_size), tf.float32)
    scales, mirrored = tf.constant([view[0] for view in chosen]), tf.constant([view[1] for view in chosen])
    first = full_size.logits(model, images, input_size)
    static = first.shape

    def add(number, sums):
        seen = tf.cond(mirrored[number], lambda: images[:, :, ::-1], lambda: images)
        size = tf.maximum(tf.cast(tf.round(base * scales[number]), tf.int32), 1)
        z = full_size.resized_logits(model, seen, size)
        z = tf.cond(mirrored[number], lambda: z[:, :, ::-1], lambda: z)
        return number + 1, tuple(join(one, other) for join, one, other in zip(_JOIN, sums, _parts(z, treatment)))

    invariants = tuple(part.shape[:3] + [None] for part in _parts(first, treatment))
    _, sums = tf.while_loop(
        lambda number, _: number < len(chosen),
        add,
        (tf.constant(1), _parts(first, treatment)),
        shape_invariants=(tf.TensorShape([]), tuple(tf.TensorShape(shape) for shape in invariants)),
        parallel_iterations=1,
    )
    return tf.ensure_shape(_logits(sums, len(chosen)), static)


def _parts(z, treatment):
    """(log p, logsumexp) of the softmax outputs, (log p, log (1 - p)) of the others: what is summed over views."""
    joint, single = z[..., : treatment.softmax_outputs], z[..., treatment.softmax_outputs :]
    total = tf.reduce_logsumexp(joint, -1, keepdims=True) if treatment.softmax_outputs else joint
    return joint - total, total, tf.math.log_sigmoid(single), tf.math.log_sigmoid(-single)


def _log_add(a, b):
    """log(exp(a) + exp(b)), which the mean of probabilities needs where they are too small for float32."""
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b)))


_JOIN = (_log_add, tf.add, _log_add, _log_add)


def _logits(sums, number):
    log_p, total, log_on, log_off = sums
    count = tf.cast(number, tf.float32)
    return tf.concat([log_p - tf.math.log(count) + total / count, log_on - log_off], -1)
