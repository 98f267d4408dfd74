"""Losses that are a function of sums over the *global* batch: the same value and gradient on any number of devices.

A mean over valid pixels, or a Dice coefficient, is no mean of per-device values. A device whose images are mostly void
would count as much as one whose images are not. Here a loss is f(S), where S adds up over pixels, images, devices and
micro-batches. Each device computes its share s of S, the shares are all-reduced, and the device returns f(S) /
num_replicas with the gradient <df/dS, s>. Optimizers *sum* gradients over devices, so the step is the one that a single
device would take. That holds under Keras `fit` and in a loop of one's own. Keras multiplies a logged loss by
num_replicas, which gives f(S) itself.

What it does not do: scale sums of gradients. Clip after the all-reduce (kseg.optimizers), or clipping is per device.
"""

import keras
import tensorflow as tf

from kseg.distribution.collectives import all_reduce_sum, num_replicas


class GlobalSumLoss(keras.losses.Loss):
    """A loss that is a function of additive sums. Subclasses give `sums` and `value`; this class does the rest.

    Calling it returns a scalar: value(total) / num_replicas, with the gradient of value(total) with respect to this
    replica's predictions, where total is the sum of `sums` over all replicas. Keras applies no reduction to a scalar,
    so there is no `reduction` argument.
    """

    def __init__(self, name=None):
        super().__init__(name=name)

    def sums(self, y_true, y_pred, sample_weight=None) -> tf.Tensor:
        """Sums of this batch, float32 [M] (float64 where y_pred is): additive over images, replicas, micro-batches."""
        raise NotImplementedError

    def value(self, sums) -> tf.Tensor:
        """The loss from the sums of the global batch, a scalar of their dtype; 0 where nothing is valid."""
        raise NotImplementedError

    def sums_of_labels(self, y_true, channels, sample_weight=None):
        """Sums that are enough for dvalue/dsums and need labels only; None where predictions are needed for them."""
        del y_true, channels, sample_weight
        return None

    def value_and_slope(self, total):
        """value(total) and its gradient with respect to total, [M] of total's type."""
        total = tf.stop_gradient(total)
        with tf.GradientTape() as tape:
            tape.watch(total)
            value = self.value(total)
        return value, tape.gradient(value, total, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def call(self, y_true, y_pred, sample_weight=None):
        local = self.sums(y_true, y_pred, sample_weight)
        value, slope = self.value_and_slope(all_reduce_sum(tf.stop_gradient(local)))
        return _with_slope(local, value / num_replicas(), slope)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The scalar loss. sample_weight: None, or [N] or [N, H, W], a factor on the pixels' weights."""
        # Keras' own __call__ casts predictions to float32 and labels to float before they are masked: a copy of both.
        with tf.name_scope(self.name):
            return self.call(y_true, y_pred, sample_weight)

    def get_config(self):
        return {"name": self.name}


def _with_slope(local, value, slope):
    """`value`, with the gradient `slope` with respect to `local`."""

    @tf.custom_gradient
    def attach(local):
        return tf.identity(value), lambda upstream: upstream * slope

    return attach(local)
