"""Sums of a loss as two XLA programs, forward and backward, that keep little between them and work in strips.

Private to kseg.losses: kseg/losses/label_map_loss.py says what is computed, this module says how.
"""

import tensorflow as tf

from kseg.losses import terms as pixel_losses

# Elements of y_pred from which compiling (a third of a second for each shape) pays.
_WORTH_COMPILING = 1 << 17
_STRIP_PIXELS = 1 << 16


class Compilation:
    """Computes sums(labels, predictions, sample_weight, keep), compiled where that pays.

    Args:
      sums: function of tensors that gives a tensor; `keep` is as in pixel_losses.compute.
      when: True, False, or "auto": where height, width and channels are known and large enough.
    """

    def __init__(self, sums, when):
        if when not in (True, False, "auto"):
            raise ValueError(f'jit_compile must be True, False or "auto"; got {when!r}.')
        self._sums = sums
        self._when = when
        self._compiled = None

    def __call__(self, labels, predictions, sample_weight):
        if not self._compiles(predictions.shape):
            return self._sums(labels, predictions, sample_weight, pixel_losses.compute)
        if self._compiled is None:
            with tf.init_scope():
                self._compiled = [
                    tf.function(function, jit_compile=True, autograph=False)
                    for function in (self._sums_and_kept, self._gradient)
                ]
        forward, backward = self._compiled

        # Left to itself, TensorFlow keeps every tensor that the gradient mentions: copies of the logits among them.
        @tf.custom_gradient
        def sums(predictions):
            value, kept = forward(labels, tf.stop_gradient(predictions), sample_weight)
            return value, lambda upstream: backward(labels, predictions, sample_weight, kept, upstream)

        return sums(predictions)

    def _sums_and_kept(self, labels, predictions, sample_weight):
        kept = []

        def keep(function, *maps):
            kept.append(_in_strips(function, *maps))
            return kept[-1]

        return self._sums(labels, predictions, sample_weight, keep), kept

    def _gradient(self, labels, predictions, sample_weight, kept, upstream):
        """That of the sums in the predictions; what it need not compute again XLA leaves out."""
        remaining = list(kept)
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = self._sums(labels, predictions, sample_weight, lambda *_: remaining.pop(0))
        return tape.gradient(value, predictions, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _compiles(self, shape):
        if self._when != "auto":
            return self._when
        inner = shape[1:].num_elements()
        return inner is not None and inner * (shape[0] or 1) >= _WORTH_COMPILING


def _in_strips(function, *maps):
    """function(*maps) of maps [N, H, W, ...], strip by strip: what it needs meanwhile is of a strip's size."""
    images, height, pixels_of_row, *_ = maps[0].shape
    if None in (images, height, pixels_of_row):
        return function(*maps)
    rows = max(n for n in range(1, height + 1) if height % n == 0 and (n == 1 or n * pixels_of_row <= _STRIP_PIXELS))
    strips = height // rows

    # Slices of the whole, over numbers of strips: mapping over the tensors, or a reshape, would copy them.
    def strip(number):
        begin = [number // strips, number % strips * rows]
        return function(*(tf.slice(x, begin + [0] * (x.shape.rank - 2), [1, rows, *x.shape[2:]]) for x in maps))

    # Four results, as kseg/losses/terms.py keeps: softmax_terms alone keeps any.
    made = tf.map_fn(strip, tf.range(images * strips), fn_output_signature=(maps[0].dtype,) * 4)
    joined = []
    for tensor in made:
        if tensor.shape.rank == 4:  # [strips, 1, rows, W]
            joined.append(tf.reshape(tensor, [images, height, pixels_of_row]))
        else:  # sums [strips, 1, C]
            joined.append(tf.reduce_sum(tf.reshape(tensor, [images, strips, tensor.shape[-1]]), 1))
    return tuple(joined)
