"""Losses that are a function of sums over the *global* batch: the same value and gradient on any number of devices.

A mean over valid pixels, or a Dice coefficient, is no mean of per-device values: a device whose images are mostly
void would count as much as one whose images are not. Here a loss is f(S), where S adds up over pixels, images,
devices and micro-batches. Each device computes its share s of S, the shares are all-reduced, and the device returns
f(S) / num_replicas with the gradient <df/dS, s>. Optimizers *sum* gradients over devices, so the step taken is the
one device's step, under Keras `fit` and in a loop of one's own alike; a logged loss (Keras multiplies by
num_replicas) is f(S) itself.

What it does not do: scale sums of gradients. Clip after the all-reduce (kseg.optimizers), or clipping is per device.
"""

import keras
import tensorflow as tf


def num_replicas() -> int:
    """Number of replicas that compute in step; 1 outside tf.distribute."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_reduce_sum(tensors):
    """Sum of a tensor (or a list of them) over all replicas; the argument itself where there is one replica.

    In a cross-replica context (Keras builds a model there, once, symbolically) it is the identity as well.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


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
        """value(total) and its gradient with respect to total, float32 [M]."""
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


def accumulated_gradients(
    loss: GlobalSumLoss, model, micro_batches, variables, scale_loss=None, channels=None, first_pass=None
):
    """Loss and gradients of a batch that is processed in parts: those of the whole batch, not a mean over parts.

    The sums of all parts come first: from the labels where they suffice (cross entropies, given `channels`), else
    from a forward-only pass. Then each part's gradient is taken with dvalue/dsums held at the whole batch's. Parts run
    one after another (control dependencies), so activations of only one part are alive. Exact for networks whose
    images do not see each other (group norm, none) and that draw nothing at random: batch norm normalises each part by
    itself and updates its statistics in both passes, and where a forward-only pass is taken (Dice, top-k) dropout draws
    other masks in it than the gradients see.

    Args:
        loss: a GlobalSumLoss.
        model: function from the inputs of a part to predictions, differentiable in `variables`.
        micro_batches: list of (inputs, y_true) or (inputs, y_true, sample_weight), tensors.
        variables: list of variables.
        scale_loss: None, or a function applied to what is differentiated (LossScaleOptimizer.scale_loss).
        channels: number of channels of the predictions, or None: always take the forward-only pass.
        first_pass: None, or the function to use instead of `model` in the forward-only pass (one that leaves moving
            statistics alone, say). Its predictions must be those of `model`.
    Returns:
        (value / num_replicas, [gradient]): sum both over replicas, as for a single batch.
    """
    forward = model if first_pass is None else first_pass
    done = []  # what must be computed before the next part may start
    total = None
    for part in micro_batches:
        sums = None if channels is None else loss.sums_of_labels(part[1], channels, *part[2:])
        if sums is None:
            inputs, *targets = _after(done, part)
            sums = loss.sums(targets[0], forward(inputs), *targets[1:])
            done = [sums]
        total = sums if total is None else total + sums
    _, slope = loss.value_and_slope(all_reduce_sum(tf.stop_gradient(total)))
    gradients = None
    total = None
    done = [slope]
    for part in micro_batches:
        inputs, *targets = _after(done, part)
        with tf.GradientTape() as tape:
            local = loss.sums(targets[0], model(inputs), *targets[1:])
            objective = tf.reduce_sum(tf.cast(slope, local.dtype) * local)
            if scale_loss is not None:
                objective = scale_loss(objective)
        new = tape.gradient(objective, variables)
        gradients = new if gradients is None else [_add(a, b) for a, b in zip(gradients, new)]
        total = local if total is None else total + local
        done = [gradient for gradient in gradients if gradient is not None]
    value = loss.value(all_reduce_sum(tf.stop_gradient(total)))
    return value / num_replicas(), gradients


def _after(done, tensors):
    with tf.control_dependencies(done):
        return tf.nest.map_structure(tf.identity, tensors)


def _add(a, b):
    return b if a is None else a if b is None else a + b
