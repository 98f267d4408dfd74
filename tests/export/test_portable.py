"""A network for other runtimes answers, in each of them, what TensorFlow's C++ session answers."""

import json
import os
import types

import numpy as np
import pytest
import small_models
import tensorflow as tf

from kseg import config as defaults
from kseg.export import portable, runtimes, verify
from kseg.models import full_size
from kseg.serving import cpp_session
from tfrecords import labels

EXTRA = pytest.mark.extras
FORMATS = ["tflite", pytest.param("onnx", marks=EXTRA), pytest.param("openvino", marks=EXTRA)]
SIZES = [(101, 203), (64, 96), (1, 1), (33, 7)]


def exported(folder, format, treatment_name="ignore", threshold=2.4, **options):
    model, treatment = small_models.network(treatment_name)
    path = portable.export_model(
        model, treatment, labels.CITYSCAPES, str(folder / "portable"), format, threshold=threshold, **options
    )
    return path, model, treatment


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("treatment_name, threshold", [("ignore", 2.4), ("background_class", None)])
def test_a_runtime_answers_as_the_cpp_session_does_at_odd_sizes(
    tmp_path, tmp_path_factory, format, treatment_name, threshold
):
    path, model, treatment = exported(tmp_path, format, treatment_name, threshold)
    served, _, _ = small_models.exported(tmp_path_factory.getbasetemp(), treatment_name, threshold)
    run = runtimes.load(path)
    with cpp_session.CppSession(served) as session:
        for height, width in SIZES:
            image = small_models.picture(height, width)[None]
            ours, theirs = session.run("tensor", image=image), run(image)
            z = model(image.astype(np.float32)).numpy()
            clear = ~verify.near_tie(treatment, threshold, z, verify.TIES["float32"])
            assert clear.mean() > 0.99
            for name in ("mask", "class"):
                np.testing.assert_array_equal(theirs[name][clear], ours[name][clear])
            assert np.abs(theirs["void_score"].astype(int) - ours["void_score"])[clear].max() <= 1
            if height > 7:
                assert len(np.unique(ours["class"])) > 3 and 0 < np.mean(ours["void_score"] >= 128) < 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_one_size_takes_that_size_and_a_file_of_any_size_takes_batches(tmp_path, format):
    fixed, _, _ = exported(tmp_path / "fixed", format, size=(45, 70))
    anything, _, _ = exported(tmp_path / "any", format)
    images = np.stack([small_models.picture(45, 70, seed) for seed in (0, 1)])
    both = runtimes.load(anything)(images)
    run = runtimes.load(fixed)
    for i in (0, 1):
        alone = run(images[i : i + 1])["class"][0]
        assert np.mean(alone == both["class"][i]) > 0.999  # another size's kernels may break ties otherwise
    assert np.any(both["class"][0] != both["class"][1])
    with pytest.raises(ValueError, match="is for images of"):
        run(small_models.picture(64, 96)[None])
    with open(os.path.join(fixed, portable.METADATA)) as file:
        about = json.load(file)
    assert about["size"] == [45, 70] and about["format"] == format and about["classes"][0]["name"] == "road"


@pytest.mark.parametrize("format", [FORMATS[0], FORMATS[2]])
def test_int8_is_a_third_the_size_and_nearly_the_same_classes(tmp_path, format):
    network, treatment = small_models.network("ignore", width=16, depth=2)
    pictures = [small_models.picture(64, 96, seed) for seed in range(8)]

    def written(folder, **options):
        path = portable.export_model(
            network, treatment, labels.CITYSCAPES, str(tmp_path / folder), format, threshold=2.4, **options
        )
        names = [name for name in os.listdir(path) if name.endswith((".tflite", ".bin"))]
        return path, sum(os.path.getsize(os.path.join(path, name)) for name in names)

    exact, exact_bytes = written("float32")
    path, int8_bytes = written("int8", pictures=pictures)
    assert int8_bytes < 0.4 * exact_bytes
    image = small_models.picture(50, 83, seed=20)[None]
    ours, theirs = runtimes.load(path)(image), runtimes.load(exact)(image)
    # Random weights: the logits of many classes lie closer together than a trained model's.
    assert np.mean(ours["class"] == theirs["class"]) > 0.75
    assert np.abs(ours["void_score"].astype(int) - theirs["void_score"]).mean() < 12
    np.testing.assert_array_equal(ours["mask"], np.where(ours["void_score"] >= 128, 19, ours["class"]))
    with open(os.path.join(path, portable.METADATA)) as file:
        assert 0.75 < json.load(file)["same_class_as_float32"] <= 1


@pytest.mark.parametrize("height, width", [(101, 203), (20, 30), (200, 40), (48, 64)])
def test_resizing_by_matrix_products_is_tensorflows_resizing(height, width):
    image = small_models.picture(height, width)[None].astype(np.float32)

    def network(x, training=False):
        return x

    expected = full_size.logits(network, image, (48, 64))
    np.testing.assert_allclose(full_size.portable_logits(network, tf.constant(image), (48, 64)), expected, atol=2e-3)


def test_a_network_that_sees_one_size_is_exported_for_any_size(tmp_path):
    path, model, treatment = exported(tmp_path, "tflite", input_size=(48, 64))
    image = small_models.picture(101, 203)[None]
    z = full_size.logits(model, image, (48, 64))
    clear = ~verify.near_tie(treatment, 2.4, z.numpy(), 1e-2)
    np.testing.assert_array_equal(runtimes.load(path)(image)["class"][clear], treatment.forced(z).numpy()[clear])


def test_what_cannot_be_written_is_refused_in_one_line_and_leaves_nothing(tmp_path):
    def refused(match, format="tflite", **options):
        with pytest.raises(ValueError, match=match) as error:
            exported(tmp_path, format, **options)
        assert "\n" not in str(error.value)

    refused("expected one of savedmodel, tflite, onnx, openvino", format="coreml")
    refused("expected a height and a width", size=(0, 5))
    refused("written in float32, not in int8", format="onnx", pictures=[small_models.picture(8, 8)])
    os.makedirs(tmp_path / "portable" / "1")
    (tmp_path / "portable" / "1" / "saved_model.pb").write_bytes(b"x")
    refused("a folder of its own", version="next")
    assert os.listdir(tmp_path / "portable") == ["1"]


def test_a_missing_runtime_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--format=onnx needs tf2onnx and onnxruntime.*pip install 'kseg\[parity\]'"):
        runtimes.require("onnx")
    with pytest.raises(ValueError, match="needs openvino and nncf"):
        runtimes.require("openvino", "int8")
    with pytest.raises(ValueError, match="has none of model.tflite"):
        runtimes.load("/nonexistent")


def test_a_wrong_answer_of_the_runtime_is_not_put_in_place(tmp_path, monkeypatch):
    def load(folder):
        return lambda image: {name: np.full(image.shape[:3], 3, np.uint8) for name in ("class", "mask", "void_score")}

    monkeypatch.setattr(runtimes, "load", load)
    with pytest.raises(ValueError, match="`mask` differs from Keras' in"):
        exported(tmp_path, "tflite")
    assert os.listdir(tmp_path / "portable") == []


def test_pictures_for_int8_that_cannot_be_read_are_named_by_their_records(records, monkeypatch):
    def damaged(*_):
        raise tf.errors.DataLossError(None, None, "corrupted record [Op:IteratorGetNext]")

    monkeypatch.setattr(portable.input_pipeline, "eval_dataset", damaged)
    run = types.SimpleNamespace(config=defaults.default())
    run.config.data.records_dir = "elsewhere"
    with pytest.raises(ValueError, match=f"a record of {records} cannot be read .*--verify says which") as error:
        portable._pictures(run, records, 4)
    assert "\n" not in str(error.value)
