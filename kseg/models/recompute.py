"""Less memory for more time: a UNet whose blocks forget their activations and compute them again for the gradient.

What stays alive between the passes is one tensor a block (the skips and the decoder's outputs); inside, one block at
a time is whole. Gradients are those of the model itself, and moving statistics are updated once, in the first pass.
"""

import inspect

import keras
import tensorflow as tf

from kseg.models import layers, unet


def by_blocks(model):
    """A function equal to model(image, training=True), with less of it kept for the backward pass.

    Blocks that draw random numbers (an encoder's stochastic depth) are not recomputed: the numbers would be others.

    Args:
      model: keras.Model of kseg.models.unet.build.
    """
    levels = unet.decoder_levels(model)
    if not levels:
        return lambda image: model(image, training=True)
    image = model.inputs[0]
    coarsest, _, _ = levels[-1]
    skips = [skip for _, skip, _ in levels] + [coarsest]
    down = [_recomputed(_Block(model, [a], b)) for a, b in zip([image, *skips], skips)]
    x, up = skips[-1], []
    for _, skip, after in reversed(levels):
        up.append(_recomputed(_Block(model, [x, skip], after)))
        x = after
    head = _Block(model, [x, image], model.outputs[0])

    def forward(image):
        image = tf.cast(image, tf.float32)
        kept = [image]
        for block in down:
            kept.append(block(kept[-1]))
        x = kept.pop()
        for block in up:
            x = block(x, kept.pop())
        return head(x, image)

    return forward


class _Block:
    """A part of a functional model: f(values of `inputs`) -> value of `output`, in training."""

    def __init__(self, model, inputs, output):
        made_by = {id(operation.output): operation for operation in model.operations}
        self._inputs, self._output = [id(x) for x in inputs], id(output)
        needed, waiting = set(), [output]
        while waiting:
            tensor = waiting.pop()
            if id(tensor) not in self._inputs:
                operation = made_by[id(tensor)]
                needed.add(id(operation))
                waiting += _inputs(operation)
        # Layers, and operations of keras.ops, such as the sums in some encoders; in topological order.
        self.operations = [operation for operation in model.operations if id(operation) in needed]

    def __call__(self, *inputs):
        values = dict(zip(self._inputs, inputs))
        for operation in self.operations:
            given = [values[id(x)] for x in _inputs(operation)]
            if isinstance(operation, keras.layers.Layer):
                training = {"training": True} if "training" in inspect.signature(operation.call).parameters else {}
                result = operation(given if len(given) > 1 else given[0], **training)
            else:
                result = operation(*given)
            values[id(operation.output)] = result
        return values[self._output]


def _inputs(operation):
    return operation.input if isinstance(operation.input, list) else [operation.input]


def _recomputed(block):
    """The block's function, which keeps its inputs alone for the backward pass."""
    if any(hasattr(operation, "seed_generator") for operation in block.operations):
        return block

    @tf.custom_gradient
    def forward(*inputs):
        def gradient(upstream, variables=()):
            # After the upstream gradient: else both passes could be merged into one, or run side by side.
            with tf.GradientTape() as tape, tf.control_dependencies([upstream]), layers.keeping_statistics():
                again = [tf.identity(x) for x in inputs]
                tape.watch(again)
                result = block(*again)
            gradients = tape.gradient(result, [*again, *variables], upstream)
            return gradients[: len(inputs)], gradients[len(inputs) :]

        return block(*inputs), gradient

    return forward
