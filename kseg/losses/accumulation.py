"""Gradients of a batch that does not fit into memory at once: computed in parts, equal to those of the whole."""

import tensorflow as tf

from kseg import inputs as loss_inputs
from kseg.distribution.collectives import all_reduce_sum, num_replicas
from kseg.losses.global_sum_loss import GlobalSumLoss


def accumulated_gradients(
    loss: GlobalSumLoss, model, micro_batches, variables, scale_loss=None, channels=None, first_pass=None
):
    """Loss and gradients of a batch that is processed in parts: those of the whole batch, not a mean over parts.

    The sums of all parts come first: from the labels where they suffice (cross entropies, given `channels`), else from
    a forward-only pass. Then each part's gradient is taken with dvalue/dsums held at the whole batch's. Parts run one
    after another (control dependencies), so activations of only one part are alive. Exact for networks that draw
    nothing at random and whose images do not depend on each other (group norm, or none). Batch norm normalises each
    part by itself, and updates its statistics in both passes. Where a forward-only pass is taken (Dice, top-k), dropout
    draws other masks in it than the gradients see.

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
    total, from_labels = None, False
    for part in micro_batches:
        sums = None if channels is None else loss.sums_of_labels(part[1], channels, *part[2:])
        from_labels = sums is not None
        if not from_labels:
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
            predictions = model(inputs)
            if from_labels and loss_inputs.keras_mask(predictions) is not None:
                raise ValueError(
                    "the predictions have a Keras mask, of which labels know nothing: leave channels=None."
                )
            local = loss.sums(targets[0], predictions, *targets[1:])
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
