"""A network in TensorFlow ops -> the file of another runtime, in float32 or in int8.

What int8 leaves alone is named by its scope, full_size.EXACT: what scales the image, and what decides on the logits.
"""

import contextlib
import io
import logging
import os
import sys
import tempfile

import tensorflow as tf

from kseg.export import export
from kseg.models import full_size

_ONNX_OPSET = 17


def write(format, path, network, function, specification, pictures=None):
    """Writes the file of a format.

    Args:
      format: "tflite" | "onnx" | "openvino".
      path: of the file.
      network: keras.Model whose variables the function uses.
      function: of the input, to {output name: tensor}.
      specification: tf.TensorSpec of the input, named "image".
      pictures: list of uint8 [H, W, 3] that calibrate int8; None = float32.

    Raises:
      Exception: whatever the converter raises about the network.
    """
    writer = {"tflite": _write_tflite, "onnx": _write_onnx, "openvino": _write_openvino}[format]
    with _quiet():
        writer(path, network, function, specification, pictures)


def _write_tflite(path, network, function, specification, pictures):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
        export.write_saved_model(folder, network, {"serving_default": (function, [specification])})
        contents = _tflite(folder, pictures)
    with open(path, "wb") as file:
        file.write(contents)


def _tflite(folder, pictures):
    def converter():
        return tf.lite.TFLiteConverter.from_saved_model(folder)

    def examples(of):
        return lambda: ([picture[None]] for picture in of)

    contents = converter().convert()
    if pictures:
        # Decisions in int8 would round every score to some 16 steps; the ops are named by what the float file has.
        quantized = converter()
        quantized.optimizations = [tf.lite.Optimize.DEFAULT]
        quantized.representative_dataset = examples(pictures)
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=_exact_tensors(contents))
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=quantized, debug_dataset=examples(pictures[:1]), debug_options=options
        )
        contents = debugger.get_nondebug_quantized_model()
    return contents


def _exact_tensors(contents):
    details = tf.lite.Interpreter(model_content=contents).get_tensor_details()
    return [entry["name"] for entry in details if entry["name"].split("/")[0].startswith(full_size.EXACT)]


def _write_onnx(path, network, function, specification, pictures):
    import tf2onnx

    function = tf.function(function, input_signature=[specification], autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=[specification], opset=_ONNX_OPSET)
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def _write_openvino(path, network, function, specification, pictures):
    import openvino

    model = openvino.convert_model(tf.function(function, input_signature=[specification], autograph=False))
    model.reshape(openvino.PartialShape([-1 if side is None else side for side in specification.shape]))
    if pictures:
        os.environ.setdefault("NNCF_CI", "1")  # it reports its use over the network otherwise
        import nncf

        nncf.set_log_level(logging.ERROR)
        exact = nncf.IgnoredScope(patterns=[rf"(.*/)?{full_size.EXACT}[_0-9]*/.*"], validate=False)
        dataset = nncf.Dataset(pictures, lambda picture: picture[None])
        model = nncf.quantize(model, dataset, subset_size=len(pictures), ignored_scope=exact)
    openvino.save_model(model, path, compress_to_fp16=False)


@contextlib.contextmanager
def _quiet():
    """Without what converters print from Python and from C++, and what they log."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryFile() as sink:
        before = {stream.flush() or number: os.dup(number) for number, stream in ((1, sys.stdout), (2, sys.stderr))}
        try:
            for number in before:
                os.dup2(sink.fileno(), number)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            for number, copy in before.items():
                os.dup2(copy, number)
                os.close(copy)
            logging.disable(level)
