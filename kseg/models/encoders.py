"""Encoders with pretrained weights as feature maps for the UNet's decoder: EfficientNet-Lite, keras.applications."""

import keras

from kseg import errors
from kseg.models import efficientnet_lite, layers

# keras.applications constructors, their keyword arguments, and whether they scale 0..255 themselves.
FROM_APPLICATIONS = {
    "resnet50": ("ResNet50", {}, False),
    "efficientnetv2b0": ("EfficientNetV2B0", {"include_preprocessing": True}, True),
    "efficientnetv2s": ("EfficientNetV2S", {"include_preprocessing": True}, True),
    "convnext_tiny": ("ConvNeXtTiny", {"include_preprocessing": True}, True),
}


NAMES = (*efficientnet_lite.SIZES, *FROM_APPLICATIONS)


def feature_maps(image, config, stride, weights):
    """Feature maps [N, H / s, W / s, C] of a pretrained encoder at strides s = 2 .. `stride`, finest first.

    Args:
      image: the model's input, float [N, H, W, 3] of values 0..255.
      config: `config.model`; `encoder` is one of NAMES.
      stride: what the image is padded to a multiple of.
      weights: "none", "imagenet" or a path; see `encoder_weights`.

    Raises:
      ValueError: if the weights cannot be loaded; one line.
    """
    if config.encoder in efficientnet_lite.SIZES:
        return _lite(image, config, stride, weights)
    return _from_applications(image, config, stride, weights)


def _lite(image, config, stride, weights):
    x = layers.PadToStride(stride, name="pad")(efficientnet_lite.scale(image))
    maps = efficientnet_lite.feature_maps(x, config.encoder)
    encoder = keras.Model(image, maps)
    if weights != "none":
        efficientnet_lite.load_weights(encoder, config.encoder, weights)
    _freeze(encoder, config)
    return maps


def _from_applications(image, config, stride, weights):
    name, arguments, scales_itself = FROM_APPLICATIONS[config.encoder]
    constructor = getattr(keras.applications, name)
    # What ends each resolution, a layer or a sum by keras.ops, is read off a copy of known size; by position from the
    # end, since not all have a name of their own.
    probe = constructor(include_top=False, weights=None, input_shape=(256, 256, 3), **arguments)
    last = {}
    for i, operation in enumerate(probe.operations):
        shape = operation.output.shape
        if len(shape) == 4 and shape[1] and 256 % shape[1] == 0:
            last[256 // shape[1]] = i - len(probe.operations)
    x = layers.PadToStride(stride, name="pad")(image)
    if not scales_itself:
        x = layers.SubtractMeanBGR(name="scale", dtype="float32")(x)
    weights = None if weights == "none" else weights
    try:
        encoder = constructor(include_top=False, weights=weights, input_tensor=x, **arguments)
    except Exception as error:  # without a network Keras raises nothing more special
        if weights is None:
            raise
        raise ValueError(
            f"config.model.encoder_weights={weights}: {errors.first_line(error).rstrip('. ')}; give a path to the "
            "weights file, or none."
        ) from None
    encoder = _with_our_normalization(encoder, image)
    _freeze(encoder, config)
    return [encoder.operations[last[s]].output for s in sorted(last) if 2 <= s <= stride]


def _freeze(encoder, config):
    for layer in encoder.layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not (config.freeze_encoder or (config.freeze_encoder_norm and is_norm))


def _with_our_normalization(encoder, image):
    """A copy in which every BatchNormalization of Keras is one of our layers, with its momentum, epsilon and weights.

    Keras' own would update its moving statistics in the second pass of recomputation and accumulation too.
    """

    def clone(operation):
        kind = type(operation)
        if kind is keras.layers.BatchNormalization:
            kind = layers.GlobalBatchNormalization
        return kind.from_config(operation.get_config())

    inputs = keras.tree.map_structure(lambda _: image, encoder.input)  # for some a tensor, for others a list of one
    copy = keras.models.clone_model(encoder, input_tensors=inputs, clone_function=clone)
    copy.set_weights(encoder.get_weights())
    return copy
