"""The functional UNet, from scratch or on an encoder of keras.applications.

A model takes images [N, H, W, 3] of values 0..255 (uint8 or float), of any size from 1x1. It returns float32 logits [N,
H, W, num_outputs]. Scaling, padding to the network's stride and cropping back are layers of the model, so that
training, evaluation and export cannot disagree about them. What the outputs mean is the treatment's business
(kseg/treatments.py), not this module's.
"""

import contextlib
import hashlib
import os

import keras

from kseg import errors
from kseg.models import encoders, layers

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DECODER_BLOCKS = ("conv", "separable")

_DECODER_LEVELS = 5  # an encoder's deepest feature map has stride 32


def build(model_config, num_outputs, precision="float32", seed=0, detached_outputs=0, pretrained=True):
    """The model that `config.model` describes.

    Every initializer is seeded by (seed, layer name), that of the head by (seed, number of the output). So two models
    that differ in their outputs alone start alike: in the trunk, and in the outputs that both have.

    Args:
      model_config: `config.model`; see kseg/config.py for each key.
      num_outputs: channels of the logits.
      precision: a name of PRECISIONS, the Keras dtype policy. Variables and logits are float32 under each.
      seed: non-negative int.
      detached_outputs: that many of the last outputs come from a head behind a stop_gradient, so that their loss
        trains the head and never the trunk.
      pretrained: False leaves `encoder_weights` alone, for a model whose weights come from elsewhere.

    Returns:
      keras.Model from "image" float [N, H, W, 3] to "logits" float32 [N, H, W, num_outputs].

    Raises:
      ValueError: on an unknown name or an impossible size, in one line.

    Source: Ronneberger et al. 2015, "U-Net"; with padded convolutions, normalisation before the activation and, by
    default, bilinear upsampling behind a 1x1 convolution in place of the transposed one.
    """
    _check(model_config, num_outputs, precision, detached_outputs)
    with _dtype_policy(precision):
        image = keras.Input((None, None, 3), name="image", dtype="float32")
        if model_config.encoder == "none":
            x = keras.layers.Rescaling(1 / 127.5, -1.0, name="scale", dtype="float32")(image)
            x = layers.PadToStride(stride(model_config), name="pad")(x)
            skips = _encoder_from_scratch(x, model_config, seed)
        else:
            skips = encoders.feature_maps(
                image, model_config, stride(model_config), model_config.encoder_weights if pretrained else "none"
            )
        x = _decoder(skips, model_config, seed)
        if model_config.dropout > 0:
            x = keras.layers.Dropout(model_config.dropout, seed=_seed(seed, "dropout"), name="dropout")(x)
        attached = num_outputs - detached_outputs
        logits = _head(x, range(attached), "head", seed)
        if detached_outputs:
            detached = _head(layers.StopGradient(name="detach")(x), range(attached, num_outputs), "detached_head", seed)
            logits = keras.layers.Concatenate(name="heads", dtype="float32")([logits, detached])
        if model_config.encoder != "none":
            # The finest skip of an encoder is at half resolution (a quarter for ConvNeXt): the rest is interpolated.
            logits = layers.ResizeLike(name="resize", dtype="float32")([logits, image])
        else:
            logits = layers.CropLike(name="crop", dtype="float32")([logits, image])
        logits = keras.layers.Activation("linear", name="logits", dtype="float32")(logits)
        return keras.Model(image, logits, name="unet")


def stride(model_config):
    """Pixels of the image by which a position of the coarsest features moves on: what sides are padded to."""
    return 2 ** (model_config.depth if model_config.encoder == "none" else _DECODER_LEVELS)


def is_in_encoder(model):
    """A bool for each trained variable of `model`, in order: whether it is the encoder's."""
    return [
        not layer.name.startswith(("up", "head", "detached_head"))
        for layer in model.layers
        for _ in layer.trainable_variables
    ]


def decoder_levels(model):
    """Where each level of the decoder begins and ends, the finest level first.

    Levels are found by the names that `_up`, `_decoder` and `_block` give their layers.

    Args:
      model: keras.Model of `build`.

    Returns:
      [(input from below, skip, output)] of Keras tensors; [] for a network without a decoder.
    """
    names, levels = {layer.name for layer in model.layers}, []
    while f"up{len(levels)}_concat" in names:
        up = f"up{len(levels)}"
        first = next(name for name in (f"{up}_reduce", f"{up}_transpose") if name in names)
        skip = model.get_layer(f"{up}_concat").input[1]
        acts = [name for name in names if name.startswith(f"{up}_act")]
        levels.append((model.get_layer(first).input, skip, model.get_layer(f"{up}_act{len(acts) - 1}").output))
    return levels


def load_matching_weights(model, path):
    """Copies weights from another saved model, layer by layer name, where every shape fits.

    Args:
      model: keras.Model to change.
      path: a `.keras` file, or the workdir of a finished run, whose model.keras is taken.

    Returns:
      (names loaded, names left as they were), layers with weights only.

    Raises:
      ValueError: if the file cannot be read or nothing fits.
    """
    if os.path.isdir(path):
        path = os.path.join(path, "model.keras")
    try:
        source = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} is not a readable .keras model ({errors.first_line(error)}).") from None
    theirs = {layer.name: layer for layer in source.layers}
    loaded, kept = [], []
    for layer in model.layers:
        if not layer.weights:
            continue
        other = theirs.get(layer.name)
        if other is not None and [w.shape for w in other.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(other.get_weights())
            loaded.append(layer.name)
        else:
            kept.append(layer.name)
    if not loaded:
        raise ValueError(f"no layer of {path} has the name and shapes of one of this model's; nothing was loaded.")
    return loaded, kept


def _encoder_from_scratch(x, config, seed):
    """Feature maps from the finest to the coarsest, `depth` + 1 of them."""
    skips = []
    for level in range(config.depth + 1):
        if level:
            x = keras.layers.MaxPooling2D(name=f"down{level}_pool")(x)
        x = _block(x, config.width * 2**level, f"down{level}", config, seed)
        skips.append(x)
    return skips


def _decoder(skips, config, seed):
    x = _pyramid_pooling(skips[-1], config, seed) if config.pyramid_pooling else skips[-1]
    levels = len(skips) - 1
    widths, convs = _decoder_widths(config, levels), _decoder_convs(config, levels)
    for level, channels, count in zip(reversed(range(levels)), widths, convs):
        x = _up(x, channels, f"up{level}", config, seed)
        x = keras.layers.Concatenate(name=f"up{level}_concat")([x, skips[level]])
        x = _block(x, channels, f"up{level}", config, seed, count, config.decoder_block == "separable")
    return x


def _pyramid_pooling(x, config, seed):
    """The features, and beside each of them the means around it: of windows of several sides, a 1x1 convolution each.

    Windows of fixed sides see the same of a large picture and of its tiles, which a mean of the whole would not.
    Source: Zhao et al. 2017, "Pyramid Scene Parsing Network", whose windows divide the picture.
    """
    sides = tuple(config.pyramid_pooling)
    if min(sides) < 2 or len(set(sides)) < len(sides):
        raise ValueError(f"config.model.pyramid_pooling={sides}: expected sides of windows, each another, at least 2.")
    channels, seen = max(1, x.shape[-1] // (2 * len(sides))), [x]
    for side in sides:
        name = f"up_pool{side}"
        mean = keras.layers.AveragePooling2D(side, 1, padding="same", name=name)(x)
        seen.append(_conv(mean, channels, 1, name, "", config, seed))
    return keras.layers.Concatenate(name="up_pools")(seen)


def _decoder_convs(config, levels):
    """Convolutions of the decoder's levels, from the coarsest."""
    convs = tuple(config.decoder_convs) or (2,) * levels
    if len(convs) != levels or min(convs, default=1) < 1:
        raise ValueError(
            f"config.model.decoder_convs={convs}: expected {levels} numbers of at least 1, one for each level of the "
            "decoder, or () for two each."
        )
    return convs


def _decoder_widths(config, levels):
    """Channels of the decoder's levels, from the coarsest."""
    widths = tuple(config.decoder_widths)
    if widths and (len(widths) != levels or min(widths) < 1):
        raise ValueError(
            f"config.model.decoder_widths={widths}: expected {levels} widths of at least 1, one for each level of the "
            "decoder, or () for those that follow from config.model.width."
        )
    if widths:
        return widths
    finest_first = [level if config.encoder == "none" else min(level, 3) for level in range(levels)]
    return [config.width * 2**power for power in reversed(finest_first)]


def _up(x, channels, name, config, seed):
    if config.upsample == "transpose":
        return keras.layers.Conv2DTranspose(
            channels,
            2,
            strides=2,
            kernel_initializer=_he(seed, f"{name}_transpose"),
            name=f"{name}_transpose",
        )(x)
    # The 1x1 convolution and the interpolation commute; in this order the convolution costs a quarter.
    x = keras.layers.Conv2D(channels, 1, kernel_initializer=_he(seed, f"{name}_reduce"), name=f"{name}_reduce")(x)
    return layers.Upsample2x(name=f"{name}_resize")(x)


def _block(x, channels, name, config, seed, convs=2, separable=False):
    for i in range(convs):
        if separable:
            depthwise = f"{name}_depthwise{i}"
            x = keras.layers.DepthwiseConv2D(
                3, padding="same", use_bias=False, depthwise_initializer=_he(seed, depthwise), name=depthwise
            )(x)
        x = _conv(x, channels, 1 if separable else 3, name, i, config, seed)
    return x


def _conv(x, channels, size, name, number, config, seed):
    """A convolution, its normalisation and its activation."""
    x = keras.layers.Conv2D(
        channels,
        size,
        padding="same",
        use_bias=config.norm == "none",
        kernel_initializer=_he(seed, f"{name}_conv{number}"),
        name=f"{name}_conv{number}",
    )(x)
    if config.norm == "batch":
        x = layers.GlobalBatchNormalization(name=f"{name}_norm{number}")(x)
    elif config.norm == "group":
        groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
        x = keras.layers.GroupNormalization(groups, name=f"{name}_norm{number}")(x)
    return keras.layers.Activation(config.activation, name=f"{name}_act{number}")(x)


def _head(x, outputs, name, seed):
    # A seed for each output: one draw over the whole kernel gives every output other weights once there is one more of
    # them, and two treatments then differ by that lottery beside what they are compared for.
    initializer = layers.EachOutputsOwnUniform([_seed(seed, f"head/{number}") for number in outputs])
    return keras.layers.Conv2D(len(outputs), 1, kernel_initializer=initializer, dtype="float32", name=name)(x)


def _he(seed, name):
    return keras.initializers.HeNormal(seed=_seed(seed, name))


def _seed(seed, name):
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little") & 0x7FFFFFFF


@contextlib.contextmanager
def _dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check(config, num_outputs, precision, detached_outputs):
    allowed = {
        "model.encoder": (config.encoder, ("none", *encoders.NAMES)),
        "model.norm": (config.norm, ("batch", "group", "none")),
        "model.upsample": (config.upsample, ("bilinear", "transpose")),
        "model.decoder_block": (config.decoder_block, DECODER_BLOCKS),
        "train.precision": (precision, PRECISIONS),
    }
    for key, (value, names) in allowed.items():
        if value not in names:
            raise ValueError(f"config.{key}={value!r}: expected one of {', '.join(names)}.")
    if config.width < 1 or not 0 <= config.depth <= 8:
        raise ValueError(
            f"config.model.width={config.width}, config.model.depth={config.depth}: "
            "expected a width of at least 1 and a depth of 0 to 8."
        )
    if not 0 <= detached_outputs < num_outputs:
        raise ValueError(f"detached_outputs={detached_outputs}: expected 0 to num_outputs - 1 = {num_outputs - 1}.")
