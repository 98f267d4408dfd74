"""Time of a 512x1024 picture with different networks: decoders and encoders, against the UNet of width 32.

Every network is untrained, its batch norm folded, and answers the best class of each of 19 through TensorFlow's C++
session. All take turns, and each one's median counts. OpenVINO reads the same SavedModels; it comes with the extra
`parity`, and without it the figures that need it are left empty. What accuracy each has is docs/benchmarks.md's.
"""

import importlib.util
import os
import statistics
import tempfile
import time

import numpy as np
import serving  # tools/benchmarks/serving.py

from kseg import config
from kseg.export import folding
from kseg.models import unet
from kseg.serving import cpp_session

_LIGHT = (64, 48, 32, 24)
_LITE0 = {"encoder": "efficientnet_lite0", "decoder_widths": _LIGHT}
NETWORKS = {
    "unet_width_16": {"width": 16},
    "unet_width_32": {"width": 32},
    "lite0": _LITE0,
    "lite0_wide": _LITE0 | {"decoder_widths": (128, 96, 64, 48)},
    "lite0_separable": _LITE0 | {"decoder_block": "separable"},
    "lite0_one_convolution_at_stride_2": _LITE0 | {"decoder_convs": (2, 2, 2, 1)},
    "lite0_pyramid": _LITE0 | {"pyramid_pooling": (3, 7, 15)},
    "lite1": _LITE0 | {"encoder": "efficientnet_lite1"},
    "lite2": _LITE0 | {"encoder": "efficientnet_lite2"},
}
_TURNS = 5
_CLASSES = 19


def run() -> dict[str, dict]:
    """The figures: {name: {"value", "goal", "unit", "note"}}."""
    images = serving._picture(512, 1024)[None].astype(np.float32)
    answers, parameters = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, changes in NETWORKS.items():
            model = _model(changes)
            parameters[name] = model.count_params()
            path = os.path.join(scratch, name)
            serving._save_network(folding.fold(model, "float32"), path)
            session = cpp_session.CppSession(path)
            answers[name] = lambda session=session: session.run("serving_default", image=images)["mask"]
            if name in ("lite0", "unet_width_32") and importlib.util.find_spec("openvino"):
                answers[f"{name}, OpenVINO"] = serving._openvino(path, "f32", images)
        seconds = {name: [] for name in answers}
        for turn in range(_TURNS + 1):
            for name, answer in answers.items():
                began = time.perf_counter()
                answer()
                if turn:  # the first builds primitives
                    seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {}
    for name, count in parameters.items():
        goal = "<= 0.2" if name == "lite0" else ""
        note = f"{1e3 * median[name]:.0f} ms, {count / 1e6:.2f} M parameters"
        ratio = median[name] / median["unet_width_32"]
        figures[f"{name} against unet_width_32"] = {"value": ratio, "goal": goal, "unit": "x", "note": note}
    theirs = median.get("lite0, OpenVINO")
    figures["lite0: C++ session against OpenVINO"] = {
        "value": median["lite0"] / theirs if theirs else None,
        "goal": "<= 1.05",
        "unit": "x",
        "note": f"{1e3 * median['lite0']:.0f} ms against {1e3 * theirs:.0f} ms" if theirs else "OpenVINO is missing",
    }
    return figures


def _model(changes):
    settings = config.default().model
    settings.update(changes)
    return unet.build(settings, _CLASSES)
