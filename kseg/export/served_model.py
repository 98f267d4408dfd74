"""A model as it is served: folded, behind its guards, with what it says about itself; on disk or in this process."""

import collections.abc
import dataclasses
import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

import kseg
from kseg import treatments
from kseg.export import folding, guards, signatures
from kseg.models import averaging, layers

_MEMORY_BUDGET = 2 * 2**30  # bytes of activations that the default of max_pixels allows one request


@dataclasses.dataclass(frozen=True)
class Options:
    """How a model is served, whichever it is.

    Attributes:
      precision: "float32" or "bfloat16".
      max_pixels: that a request may have, see guards.Limits; 0 = what 2 GiB of activations hold, at most 8.4 M.
      input_size: as config.eval.input_size.
      average: views whose probabilities are averaged in the graph, as config.eval.average; "" for none.
      png_compression: 0..9 or -1, zlib's level for the answered PNGs.
    """

    precision: str = "float32"
    max_pixels: int = 0
    input_size: tuple[int, int] = (0, 0)
    average: str = ""
    png_compression: int = -1


@dataclasses.dataclass(frozen=True)
class Served:
    """What an export writes.

    Attributes:
      network: keras.Model that holds the weights.
      logits: f(images float32 [N, H, W, 3]) -> logits float32 [N, H, W, outputs], views averaged.
      limits: guards.Limits.
      about, about_json: what the signature `about` answers: JSON object, and as text.
      signatures: {name: (function, [tf.TensorSpec])}.
    """

    network: keras.Model
    logits: collections.abc.Callable
    limits: guards.Limits
    about: dict
    about_json: str
    signatures: dict


def prepare(
    model,
    treatment: treatments.Treatment,
    table,
    threshold=None,
    calibration=None,
    options: Options = Options(),
) -> Served:
    """The network that an export holds and the functions that it serves; other arguments as in export.export_model.

    Raises:
      ValueError: in one line, on weights that are not finite, or on limits or views that make no sense.
    """
    for variable in model.variables:
        if not np.isfinite(np.asarray(variable, np.float32)).all():
            raise ValueError(f"weight {variable.path} is not finite; this model cannot be served.")
    views = averaging.views(options.average)
    network = folding.fold(model, options.precision)

    def logits(images):
        return averaging.logits(network, treatment, images, options.input_size, options.average)

    bytes_per_pixel = folding.activation_bytes_per_pixel(
        lambda images: signatures.answer(treatment, threshold, network(images, training=False))
    )
    if len(views) > 1:  # the largest view, beside the sums of the others
        bytes_per_pixel = bytes_per_pixel * max(scale for scale, _ in views) ** 2 + 4 * 3 * treatment.num_outputs
    chosen = limits(network, options.input_size, options.max_pixels, bytes_per_pixel)
    about = {
        **describe(table, treatment, threshold, calibration),
        "precision": options.precision,
        "input_size": list(options.input_size),
        "average": options.average,
        "parameters": int(network.count_params()),
        "weights_sha256": _weights_digest(network),
        "limits": dataclasses.asdict(chosen),
        "activation_bytes_per_pixel": round(bytes_per_pixel, 1),
    }
    about_json = json.dumps(about, allow_nan=False, separators=(",", ":"))
    built = signatures.build(logits, treatment, threshold, chosen, about_json, options.png_compression)
    return Served(network, logits, chosen, about, about_json, built)


def limits(network, input_size, max_pixels, bytes_per_pixel):
    """guards.Limits; where `max_pixels` is 0, as many as the memory budget allows, and one image in any case."""
    default = guards.Limits()
    least = int(np.prod(input_size))
    if not 0 <= max_pixels <= default.max_side**2 or 0 < max_pixels < least:
        raise ValueError(
            f"max_pixels={max_pixels}: expected {max(least, 1)} to {default.max_side**2}, or 0 for what "
            f"{_MEMORY_BUDGET / 2**30:g} GiB of activations allow."
        )
    stride = max((layer.stride for layer in network.layers if isinstance(layer, layers.PadToStride)), default=1)
    return dataclasses.replace(
        default,
        max_pixels=max_pixels or max(min(default.max_pixels, int(_MEMORY_BUDGET / bytes_per_pixel)), least),
        # Every image is seen at one size, or at its own, padded.
        **({"least_pixels": least} if least else {"stride": stride}),
    )


def describe(table, treatment, threshold, calibration):
    """What a client needs to read the answers: JSON object; arguments as in `export_model`."""
    k = treatment.num_classes
    if table.num_classes != k:
        raise ValueError(f"the label table {table.name} has {table.num_classes} classes, the model {k}.")
    abstain_id = table.abstain_id
    if abstain_id is None:  # an id that says nothing else
        abstain_id = max(set(range(256)) - {label.id for label in table.labels}, default=255)
    ids = [int(number) for number in table.official_ids(abstain=abstain_id)]
    return {
        "kseg": kseg.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "num_classes": k,
        "abstain_index": k,  # in masks; class indices are 0..K-1
        "official_ids": ids,  # of class 0..K-1, then of "abstain"
        "classes": [
            {"name": name, "color": [int(v) for v in color], "id": ids[i]}
            for i, (name, color) in enumerate(zip(table.class_names, table.class_colors))
        ],
        "table": table.to_json(),
        "treatment": treatment.name,
        "operating_point": "native" if threshold is None else "calibrated",
        "score_map": signatures.score_map(treatment, threshold).to_json(),
        "calibration": calibration,
    }


def _weights_digest(network):
    digest = hashlib.sha256()
    for variable in network.variables:
        digest.update(np.asarray(variable, np.float32).tobytes())
    return digest.hexdigest()
