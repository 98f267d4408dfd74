"""A trained network -> the network that is served: same function, fewer and, if wanted, smaller numbers.

Batch normalisation behind a convolution becomes part of its kernel and bias, dropout goes, and the precision is
chosen anew whatever the training precision was. Nothing here knows treatments, signatures or files.
"""

import collections

import keras
import numpy as np
import tensorflow as tf

PRECISIONS = ("float32", "bfloat16")

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)
_TRAINING_ONLY = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
)
_IN_PLACE = ("BiasAdd", "Relu", "Identity", "EnsureShape", "AddV2", "Mul", "Sub", "StopGradient", "Reshape")


def fold(model, precision="float32"):
    """A functional copy without the layers that inference does not need.

    A BatchNormalization that is the only reader of a linear convolution's output is folded into it. In float64, kernel'
    = kernel * f and bias' = beta + (bias - mean) * f, with f = gamma / sqrt(variance + epsilon).

    Args:
      model: functional keras.Model.
      precision: "float32", or "bfloat16": variables and arithmetic from the first convolution to the last but one. What
        scales the image before, and makes the logits after, stays float32.

    Returns:
      keras.Model with the same input and output, layer for layer under the same names (Identity where one is gone).

    Raises:
      ValueError: on another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}.")
    pairs = _folded_pairs(model)
    folded_into = {convolution.name: norm for norm, convolution in pairs}
    gone = {norm.name for norm, _ in pairs}
    low_precision = _inner_layers(model) if precision == "bfloat16" else set()

    def clone(layer):
        if not isinstance(layer, keras.layers.Layer):  # an operation of keras.ops, which has no precision of its own
            return layer.__class__.from_config(layer.get_config())
        policy = "bfloat16" if layer.name in low_precision else "float32"
        if layer.name in gone or isinstance(layer, _TRAINING_ONLY):
            return keras.layers.Identity(name=layer.name, dtype=policy)
        config = {**layer.get_config(), "dtype": policy}
        if layer.name in folded_into:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer, *inputs, **arguments):  # Identity takes neither `mask` nor `training`
        return layer(*inputs) if isinstance(layer, keras.layers.Identity) else layer(*inputs, **arguments)

    network = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.name in folded_into:
            network.get_layer(layer.name).set_weights(_folded_weights(layer, folded_into[layer.name]))
        elif layer.weights and layer.name not in gone and not isinstance(layer, _TRAINING_ONLY):
            network.get_layer(layer.name).set_weights(layer.get_weights())
    network.trainable = False
    return network


def activation_bytes_per_pixel(function, side=256):
    """How much memory a forward pass needs at its peak, in bytes per image pixel, weights not counted.

    Tensors of the traced graph are counted from the op that makes them to the last that reads them. Ops that TensorFlow
    runs in place cost nothing. An estimate: a convolution's scratch memory is not in it.

    Args:
      function: of float32 images [1, side, side, 3], in TensorFlow ops.
      side: px, a multiple of the network's stride.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([1, side, side, 3], tf.float32))
    operations = graph.graph.get_operations()
    from_image = {graph.inputs[0].name}  # weights, scalars and shapes are not activations
    last_use, readers = {}, collections.Counter()
    for step, operation in enumerate(operations):
        for tensor in operation.inputs:
            last_use[tensor.name] = step
            readers[tensor.name] += 1
        if any(tensor.name in from_image for tensor in operation.inputs):
            from_image.update(tensor.name for tensor in operation.outputs)
    live = peak = 0
    freed = collections.defaultdict(int)  # bytes, by the step that reads a tensor last
    for step, operation in enumerate(operations):
        for tensor in operation.outputs:
            if tensor.name in from_image and tensor.shape.is_fully_defined():
                size = tensor.shape.num_elements() * tensor.dtype.size
                live += size
                freed[last_use.get(tensor.name, len(operations))] += size
        in_place = operation.type in _IN_PLACE and operation.inputs and readers[operation.inputs[0].name] == 1
        if in_place:  # the input's memory is the output's
            live -= freed.pop(step, 0)
        peak = max(peak, live)
        live -= freed.pop(step, 0)
    return peak / side**2


def _folded_pairs(model):
    """[(batch normalisation, the convolution that it is folded into)]."""
    producers, readers = _wiring(model)
    pairs = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization) or not _called_once(layer):
            continue
        source = producers.get(id(layer.input))
        if (
            isinstance(source, _CONVOLUTIONS)
            and readers[id(layer.input)] == 1
            and source.activation is keras.activations.linear
            and layer.axis in (-1, 3)
        ):
            pairs.append((layer, source))
    return pairs


def _folded_weights(convolution, norm):
    factor = 1 / np.sqrt(np.float64(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        factor = factor * np.float64(norm.gamma)
    bias = np.float64(convolution.bias) if convolution.use_bias else 0.0
    bias = (bias - np.float64(norm.moving_mean)) * factor
    if norm.center:
        bias = bias + np.float64(norm.beta)
    kernel = np.float64(convolution.kernel)
    if isinstance(convolution, keras.layers.Conv2DTranspose):  # [h, w, out, in]
        kernel = kernel * factor[:, None]
    elif isinstance(convolution, keras.layers.DepthwiseConv2D):  # [h, w, in, multiplier]: output = in * multiplier
        kernel = kernel * factor.reshape(kernel.shape[2:])
    else:  # [h, w, in, out]
        kernel = kernel * factor
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def _inner_layers(model):
    """Names of the layers that may compute in low precision: behind a convolution, before the logits."""
    producers, _ = _wiring(model)
    behind = set()
    for layer in model.operations:  # in topological order
        sources = [producers.get(id(tensor)) for tensor in _inputs(layer)]
        if isinstance(layer, _CONVOLUTIONS) or any(source is not None and source.name in behind for source in sources):
            behind.add(layer.name)
    kept, pending = set(), [producers[id(tensor)] for tensor in model.outputs]
    while pending:  # from the outputs back to the layers with weights, those included
        layer = pending.pop()
        if layer.name in kept:
            continue
        kept.add(layer.name)
        if not getattr(layer, "weights", None):
            sources = (producers.get(id(tensor)) for tensor in _inputs(layer))
            pending.extend(source for source in sources if source is not None and source.name in behind)
    return behind - kept


def _wiring(model):
    """({id of a tensor: the layer that makes it}, {id of a tensor: how many layers or outputs read it})."""
    producers, readers = {}, collections.Counter(id(tensor) for tensor in model.outputs)
    for layer in model.operations:  # layers, and operations of keras.ops
        for tensor in _inputs(layer):
            readers[id(tensor)] += 1
        if _called_once(layer):
            for tensor in keras.tree.flatten(layer.output):
                producers[id(tensor)] = layer
    return producers, readers


def _inputs(layer):
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return keras.tree.flatten(layer.input) if _called_once(layer) else []


def _called_once(layer):
    try:
        return layer.output is not None
    except (AttributeError, ValueError):  # a layer used in several places has no single output
        return False
