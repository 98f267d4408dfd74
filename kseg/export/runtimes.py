"""The runtimes that run an exported network without TensorFlow's session: TensorFlow Lite, ONNX Runtime, OpenVINO.

Each loads the one file that kseg/export/portable.py writes and answers pixels, as the `tensor` signature of a served
model does. A runtime is imported when it is asked for.
"""

import importlib.util
import os
import warnings

import numpy as np

# Format: its file, what converts to it and runs it, and the precisions that it can be written in.
FORMATS = {
    "tflite": ("model.tflite", (), ("float32", "int8")),
    "onnx": ("model.onnx", ("tf2onnx", "onnxruntime"), ("float32",)),
    "openvino": ("model.xml", ("openvino",), ("float32", "int8")),
}


def require(format, precision="float32"):
    """Raises ValueError, in one line, if the format is unknown or a package that writes it is not installed."""
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: expected one of savedmodel, {', '.join(FORMATS)}.")
    _, packages, precisions = FORMATS[format]
    if precision not in precisions:
        raise ValueError(f"--format={format} is written in {' or '.join(precisions)}, not in {precision}.")
    if (format, precision) == ("openvino", "int8"):
        packages = (*packages, "nncf")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--format={format} needs {' and '.join(missing)}, not installed here: pip install 'kseg[parity]'."
        )


def refuse_other_formats(export_dir, format):
    """Raises ValueError if there are versions of another format: what polls the folder would try to load them.

    Args:
      export_dir: folder of versions, or none yet.
      format: one of FORMATS, or "savedmodel".
    """
    files = {"savedmodel": "saved_model.pb", **{name: entry[0] for name, entry in FORMATS.items()}}
    present = [v for v in os.listdir(export_dir) if v.isdecimal()] if os.path.isdir(export_dir) else []
    for version in sorted(present, key=int):
        for other, name in files.items():
            if other != format and os.path.exists(os.path.join(export_dir, version, name)):
                raise ValueError(
                    f"{export_dir} holds versions of another format ({version} is {other}); give --format={format} a "
                    "folder of its own."
                )


def load(folder):
    """What runs an exported network.

    Args:
      folder: a version folder of `portable.export`.

    Returns:
      f(image uint8 [N, H, W, 3]) -> {"class", "mask", "void_score"}, uint8 [N, H, W] each. For one thread at a time;
      raises ValueError for an image of another shape than the file is for.

    Raises:
      ValueError: if no file of a known format is there, or its runtime is not installed.
    """
    for format, (name, _, _) in FORMATS.items():
        path = os.path.join(folder, name)
        if os.path.exists(path):
            require(format)
            return {"tflite": _tflite, "onnx": _onnx, "openvino": _openvino}[format](path)
    raise ValueError(f"{folder} has none of {', '.join(name for name, _, _ in FORMATS.values())}.")


def _tflite(path):
    import tensorflow as tf

    runner, shape = None, None

    def run(image):
        # An interpreter plans its memory for one shape, and a second plan in the same one is not reliable.
        nonlocal runner, shape
        if image.shape != shape:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a note that the class moves to a package of its own
                interpreter = tf.lite.Interpreter(model_path=path, num_threads=os.cpu_count())
            (given,) = interpreter.get_input_details()
            _require_shape(image, given["shape_signature"])
            interpreter.resize_tensor_input(given["index"], image.shape)
            runner, shape = interpreter.get_signature_runner(), image.shape
        return runner(image=image)

    return run


def _onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (given,) = session.get_inputs()

    def run(image):
        _require_shape(image, given.shape)
        return dict(zip(names, session.run(names, {"image": image})))

    return run


def _openvino(path):
    import openvino

    # Its default on CPUs that have bfloat16 is to compute in that.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    shape = [side.get_length() if side.is_static else None for side in compiled.input(0).partial_shape]

    def run(image):
        _require_shape(image, shape)
        return {output.get_any_name(): value.copy() for output, value in compiled(image).items()}

    return run


def _require_shape(image, shape):
    """`shape` has a positive number where a side is fixed."""
    for side, fixed in zip(image.shape, shape):
        if isinstance(fixed, (int, np.integer)) and fixed > 0 and side != fixed:
            raise ValueError(f"the file is for images of {tuple(shape)}, got {image.shape}; export without --size.")
