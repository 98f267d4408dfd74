"""Less memory for more time: a UNet whose blocks forget their activations and compute them again for the gradient.

What stays alive between the passes is one tensor a block (the skips and the decoder's outputs); inside, one block at
a time is whole. Gradients are those of the model itself, and moving statistics are updated once, in the first pass.
"""

import keras
import tensorflow as tf

from kseg import layers


def by_blocks(model):
    """A function equal to model(image, training=True), with less of it kept for the backward pass.

    Blocks that draw random numbers (an encoder's stochastic depth) are not recomputed: the numbers would be others.

    Args:
      model: keras.Model of kseg.unet.build.
    """
    names = {layer.name for layer in model.layers}
    levels = 0
    while f"up{levels}_concat" in names:
        levels += 1
    if not levels:
        return lambda image: model(image, training=True)
    image, logits = model.inputs[0], model.outputs[0]
    skips = [model.get_layer(f"up{level}_concat").input[1] for level in range(levels)]
    first_up = next(name for name in (f"up{levels - 1}_reduce", f"up{levels - 1}_transpose") if name in names)
    skips.append(model.get_layer(first_up).input)
    down = [_recomputed(keras.Model(a, b)) for a, b in zip([image, *skips], skips)]
    x, up = skips[-1], []
    for level in reversed(range(levels)):
        after = model.get_layer(f"up{level}_act1").output
        up.append(_recomputed(keras.Model([x, skips[level]], after)))
        x = after
    head = keras.Model([x, image], logits)

    def forward(image):
        kept = [image]
        for block in down:
            kept.append(block(kept[-1]))
        x = kept.pop()
        for block in up:
            x = block(x, kept.pop())
        return head([x, image], training=True)

    return forward


def _recomputed(block):
    """f(inputs) = block(inputs, training=True), which keeps its inputs alone for the backward pass."""

    def run(*inputs):
        return block(inputs[0] if len(inputs) == 1 else list(inputs), training=True)

    if any(hasattr(layer, "seed_generator") for layer in block.layers):
        return run

    @tf.custom_gradient
    def forward(*inputs):
        result = run(*inputs)

        def gradient(upstream, variables=()):
            # After the upstream gradient: else both passes could be merged into one, or run side by side.
            with tf.GradientTape() as tape, tf.control_dependencies([upstream]), layers.keeping_statistics():
                again = [tf.identity(x) for x in inputs]
                tape.watch([x for x in again if x.dtype.is_floating])
                result = run(*again)
            gradients = tape.gradient(result, [*again, *variables], upstream)
            return gradients[: len(inputs)], gradients[len(inputs) :]

        return result, gradient

    return forward
