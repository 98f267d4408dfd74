"""Two runtimes that share no code with TensorFlow agree on the exported network: OpenVINO, and ONNX Runtime by tf2onnx.

They read the float network, not the string signatures, whose PNG ops they do not have.
"""

import subprocess
import sys

import numpy as np
import pytest
import small_models
import tensorflow as tf

from kseg.export import export, folding, signatures, verify
from kseg.serving import cpp_session

pytestmark = pytest.mark.extras
SIZES = [(64, 96), (33, 50), (128, 64)]


@pytest.fixture(scope="module", params=["ignore", "background_class"])
def saved(request, tmp_path_factory):
    """(folder, treatment): a SavedModel of the folded network alone, float32 images -> logits."""
    model, treatment = small_models.network(request.param, width=8, depth=3)
    network = folding.fold(model)
    folder = str(tmp_path_factory.mktemp("parity") / "network")

    def logits(image):
        return {"logits": network(image, training=False)}

    specification = [tf.TensorSpec([None, None, None, 3], tf.float32, name="image")]
    export.write_saved_model(folder, network, {"serving_default": (logits, specification)})
    return folder, treatment


def compare(session, other, treatment, sizes):
    for height, width in sizes:
        image = small_models.picture(height, width)[None].astype(np.float32)
        ours, theirs = session.run("serving_default", image=image)["logits"], other(image)
        answers = [signatures.answer(treatment, None, z) for z in (ours, theirs)]
        differ = answers[0]["mask"].numpy() != answers[1]["mask"].numpy()
        near = verify.near_tie(treatment, None, ours, 1e-4)
        distance = np.abs(ours - theirs).max()
        print(f"{height}x{width}: {differ.sum()} pixels differ, largest logit difference {distance:.1e}")
        assert not np.any(differ & ~near)
        assert distance < 1e-3
        assert len(np.unique(answers[0]["mask"])) > 2  # a network that answers one class would agree with anything


def test_openvino_agrees_in_float32(saved):
    import openvino

    folder, treatment = saved
    # Its default on this kind of CPU is bfloat16.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.convert_model(folder), "CPU", hint)
    with cpp_session.CppSession(folder) as session:
        compare(session, lambda image: compiled(image)[0], treatment, SIZES)


def test_onnx_runtime_agrees_through_tf2onnx(saved, tmp_path):
    import onnxruntime

    folder, treatment = saved
    model = str(tmp_path / "network.onnx")
    convert = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", folder, "--output", model, "--opset", "17"]
    done = subprocess.run(convert, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    runtime = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    with cpp_session.CppSession(folder) as session:
        compare(session, lambda image: runtime.run(None, {"image": image})[0], treatment, SIZES)


def test_onnx_runtime_reads_the_tensor_signature_of_a_whole_export(tmp_path_factory, tmp_path):
    import onnxruntime

    path, _, _ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    model = str(tmp_path / "tensor.onnx")
    convert = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", path, "--signature_def", "tensor"]
    convert += ["--use_default", "StatefulPartitionedCall/PlaceholderWithDefault"]
    done = subprocess.run([*convert, "--output", model, "--opset", "17"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    runtime = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = small_models.picture(64, 96)[None]
    theirs = dict(zip([output.name for output in runtime.get_outputs()], runtime.run(None, {"image": image})))
    with cpp_session.CppSession(path) as session:
        ours = session.run("tensor", image=image)
    differ = {name: int(np.sum(ours[name] != theirs[name])) for name in ours}
    print(differ)
    assert differ["mask"] == differ["class"] == 0
