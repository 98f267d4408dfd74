"""Serving: the C++ session against OpenVINO on the same SavedModel, bytes of an answer, and the first request.

The network is the demo's UNet at width 32 on 512x1024 px, untrained, its batch norm folded. Both runtimes get float
images and give the best class of each pixel, with the threads that they choose by themselves. They take turns, and each
one's median counts. OpenVINO comes with the extra `parity`; without it the figures that need it are left empty.
"""

import importlib.util
import io
import os
import statistics
import tempfile
import time

import keras
import numpy as np
import PIL.Image
import tensorflow as tf

from kseg import config, treatments
from kseg.export import export, folding
from kseg.models import unet
from kseg.serving import cpp_session
from tfrecords import labels

_HEIGHT, _WIDTH = 512, 1024
_TURNS = 5
_CLASSES = 19


def run() -> dict[str, dict]:
    model, treatment = _model()
    image = _picture(_HEIGHT, _WIDTH)
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        figures |= _against_openvino(model, image, scratch)
        figures |= _answers(model, treatment, image, scratch)
    return figures


def _against_openvino(model, image, scratch):
    networks = {precision: folding.fold(model, precision) for precision in folding.PRECISIONS}
    networks["as trained"] = model
    images = image[None].astype(np.float32)
    sessions, masks = {}, {}
    for precision, network in networks.items():
        path = os.path.join(scratch, precision)
        _save_network(network, path)
        session = cpp_session.CppSession(path)
        sessions[f"C++ {precision}"] = lambda session=session: session.run("serving_default", image=images)["mask"]
    if importlib.util.find_spec("openvino"):
        for precision, hint in (("float32", "f32"), ("bfloat16", "bf16")):
            # One SavedModel, the float32 one; OpenVINO lowers the precision by itself.
            sessions[f"OpenVINO {precision}"] = _openvino(os.path.join(scratch, "float32"), hint, images)
    seconds = {name: [] for name in sessions}
    for turn in range(_TURNS + 1):
        for name, answer in sessions.items():
            began = time.perf_counter()
            masks[name] = np.asarray(answer())
            if turn:  # the first builds primitives
                seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {}
    for precision, goal in (("float32", "<= 1.05"), ("bfloat16", "<= 1.15")):
        ours, theirs = median[f"C++ {precision}"], median.get(f"OpenVINO {precision}")
        figures[f"{precision}: C++ session against OpenVINO"] = {
            "value": ours / theirs if theirs else None,
            "goal": goal,
            "unit": "x",
            "note": f"{1e3 * ours:.0f} ms against {1e3 * theirs:.0f} ms" if theirs else "OpenVINO is not installed",
        }
    for name, other in (("bfloat16", "float32"), ("float32", "as trained")):
        ours, theirs = median[f"C++ {name}"], median[f"C++ {other}"]
        note = f"{1e3 * ours:.0f} ms against {1e3 * theirs:.0f} ms"
        figures[f"C++ session, {name} against {other}"] = {
            "value": ours / theirs,
            "goal": "",
            "unit": "x",
            "note": note,
        }
    for name in masks:
        if name != "C++ float32":
            figures[f"pixels with another class than C++ float32: {name}"] = {
                "value": float(np.mean(masks[name] != masks["C++ float32"])),
                "goal": "<= 1e-5" if name == "OpenVINO float32" else "",
                "unit": "share",
                "note": "of an untrained network, whose classes are close together",
            }
    return figures


def _answers(model, treatment, image, scratch):
    figures = {}
    path = export.export_model(
        model, treatment, labels.CITYSCAPES, os.path.join(scratch, "export"), warmup_sizes=[(_HEIGHT, _WIDTH)]
    )
    request = {"image_bytes": [_encode(image)]}
    with cpp_session.CppSession(path) as session:
        began = time.perf_counter()
        session.run("serving_default", **request)
        cold = time.perf_counter() - began
    with cpp_session.CppSession(path) as session:
        for record in tf.data.TFRecordDataset(os.path.join(path, export.WARMUP)).as_numpy_iterator():
            _replay(session, record)
        began = time.perf_counter()
        session.run("serving_default", **request)
        warm = time.perf_counter() - began
        pixels, encoded = [], []
        for _ in range(_TURNS):
            began = time.perf_counter()
            session.run("tensor", image=image[None])
            pixels.append(time.perf_counter() - began)
            began = time.perf_counter()
            session.run("serving_default", **request)
            encoded.append(time.perf_counter() - began)
    figures["first request, with warm-up against without"] = {
        "value": warm / cold,
        "goal": "< 1",
        "unit": "x",
        "note": f"{1e3 * warm:.0f} ms against {1e3 * cold:.0f} ms",
    }
    ratio = statistics.median(encoded) / statistics.median(pixels)
    note = f"{1e3 * statistics.median(encoded):.0f} ms against {1e3 * statistics.median(pixels):.0f} ms"
    figures["PNG in and out against pixels in and out"] = {"value": ratio, "goal": "<= 1.1", "unit": "x", "note": note}
    png, logits = len(tf.io.encode_png(_mask()[..., None]).numpy()), 4 * (_CLASSES + 1) * 1024 * 2048
    figures["bytes of an answer, PNG mask against logits"] = {
        "value": png / logits,
        "goal": "<= 0.00125",
        "unit": "x",
        "note": f"{png / 1e3:.0f} kB against {logits / 1e6:.0f} MB, 1024x2048",
    }
    return figures


def _model():
    settings = config.default()
    settings.model.width = 32
    treatment = treatments.get(settings.treatment, _CLASSES)
    model = unet.build(settings.model, treatment.num_outputs)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, *_ = layer.get_weights()
            values = [random.uniform(0.5, 1.5, gamma.shape), *random.normal(0, 0.3, (2, *gamma.shape))]
            layer.set_weights([*values, random.uniform(0.5, 1.5, gamma.shape)])
    return model, treatment


def _save_network(network, path):
    """The network alone, float image in and class out: what every runtime can read."""
    archive = keras.export.ExportArchive()
    archive.add_variable_collection("weights", [variable.value for variable in network.variables])

    def answer(image):
        return {"mask": tf.argmax(network(image, training=False), -1, output_type=tf.int32)}

    specification = [tf.TensorSpec([None, None, None, 3], tf.float32, name="image")]
    archive.add_endpoint("serving_default", answer, input_signature=specification)
    archive.write_out(path, verbose=False)


def _openvino(path, hint, images):
    import openvino

    model = openvino.convert_model(path)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    return lambda: compiled(images)[0]


def _replay(session, record):
    from kseg.serving import messages

    request = messages.PredictionLog.FromString(record).predict_log.request
    inputs = {name: tensor.SerializeToString() for name, tensor in request.inputs.items()}
    session.run(request.model_spec.signature_name, **inputs)


def _picture(height, width):
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (9, 17, 3), dtype=np.uint8)
    smooth = np.array(PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + random.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def _mask():
    """A mask as busy as a street: forty ragged regions, uint8 [1024, 2048]."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((1024, 2048), sparse=True)
    mask = np.zeros((1024, 2048), np.uint8)
    for _ in range(40):
        y, x, height, width = random.integers(0, 1024), random.integers(0, 2048), *random.integers(40, 400, 2)
        waves = sum(
            random.normal(0, 0.06) * np.sin(columns / random.uniform(3, 40) + rows / random.uniform(3, 40))
            for _ in range(4)
        )
        mask[((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 + waves < 1] = random.integers(0, _CLASSES)
    return mask


def _encode(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
