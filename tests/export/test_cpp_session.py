"""Arrays in and out of TensorFlow's C++ session, its errors, and the faults it makes visible."""

import threading
import time

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from kseg.serving import cpp_session


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A model of two signatures over several types, saved by TensorFlow alone."""
    module = tf.Module()
    module.offset = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def strings(text):
        return {
            "length": tf.strings.length(text),
            "doubled": tf.strings.join([text, text]),
            "odd": tf.strings.length(text) % 2 == 1,
        }

    @tf.function(
        input_signature=[tf.TensorSpec(None, tf.uint8, name="image"), tf.TensorSpec([], tf.float32, name="factor")]
    )
    def numbers(image, factor):
        return {"scaled": tf.cast(image, tf.float32) * factor + module.offset, "wide": tf.cast(image, tf.int64)}

    path = str(tmp_path_factory.mktemp("saved") / "1")
    tf.saved_model.save(module, path, signatures={"strings": strings, "numbers": numbers})
    with cpp_session.CppSession(path, num_threads=1) as opened:
        yield opened


def test_strings_go_in_as_lists_and_come_out_as_bytes_whatever_they_hold(session):
    texts = [b"", b"a\0b", b"x" * 1000]  # tstring keeps short and long strings in different places
    answer = session.run("strings", text=texts)
    assert answer["length"].tolist() == [0, 3, 1000]
    assert answer["doubled"].tolist() == [b"", b"a\0ba\0b", b"x" * 2000]
    assert answer["odd"].tolist() == [False, True, False] and answer["odd"].dtype == np.bool_


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3), (1, 2, 3, 4)])
def test_arrays_of_any_shape_go_in_and_come_out(session, shape):
    image = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    answer = session.run("numbers", image=image, factor=np.float32(0.5))
    np.testing.assert_array_equal(answer["scaled"], image * np.float32(0.5) + np.float32(2))
    np.testing.assert_array_equal(answer["wide"], image.astype(np.int64))
    assert answer["wide"].shape == shape


def test_a_transposed_array_is_fed_in_its_logical_order(session):
    image = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    np.testing.assert_array_equal(session.run("numbers", image=image, factor=np.float32(1))["wide"], image)


def test_a_serialized_tensor_proto_is_fed_as_it_is(session):
    proto = tf.make_tensor_proto(np.array([[7, 255]], np.uint8)).SerializeToString()
    assert session.run("numbers", image=proto, factor=np.float32(1))["wide"].tolist() == [[7, 255]]


def test_an_answer_survives_the_next_run(session):
    first = session.run("numbers", image=np.full(1000, 1, np.uint8), factor=np.float32(1))["wide"]
    session.run("numbers", image=np.full(1000, 9, np.uint8), factor=np.float32(1))
    assert np.all(first == 1)


def test_a_wrong_type_is_an_invalid_argument(session):
    with pytest.raises(cpp_session.SessionError) as error:
        session.run("numbers", image=np.zeros(3, np.float32), factor=np.float32(1))
    assert error.value.code == cpp_session.INVALID_ARGUMENT and "uint8" in error.value.message


def test_a_tensor_proto_that_is_none_is_an_error_and_not_a_crash(session):
    with pytest.raises(cpp_session.SessionError):
        session.run("numbers", image=b"\xff\xff\xff", factor=np.float32(1))


@pytest.mark.parametrize(
    ("signature", "inputs", "words"),
    [("string", {}, "numbers, strings"), ("strings", {"texts": [b""]}, "text"), ("numbers", {}, "factor")],
)
def test_other_names_than_the_models_are_refused_with_its_names(session, signature, inputs, words):
    with pytest.raises(ValueError, match=words):
        session.run(signature, **inputs)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(cpp_session.SessionError) as error:
        cpp_session.CppSession(str(tmp_path))
    assert error.value.code == cpp_session.NOT_FOUND


def test_a_closed_session_says_so(tmp_path):
    module = tf.Module()
    function = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    tf.saved_model.save(module, str(tmp_path), signatures=function)
    session = cpp_session.CppSession(str(tmp_path))
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run("serving_default", x=np.float32(1))


def test_it_sees_the_missing_variables_that_tensorflows_python_loader_hides(tmp_path):
    # The reason for this module: saved without ExportArchive, a Keras 3 model works in Python and fails on a server.
    image = keras.Input((4, 4, 3), name="image")
    holder = tf.Module()
    holder.model = keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image))
    specification = [tf.TensorSpec([None, 4, 4, 3], tf.float32, name="image")]
    function = tf.function(lambda image: {"y": holder.model(image)}, input_signature=specification)
    tf.saved_model.save(holder, str(tmp_path), signatures=function)
    ones = np.ones((1, 4, 4, 3), np.float32)
    in_python = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](image=tf.constant(ones))["y"]
    np.testing.assert_allclose(in_python, holder.model(ones), rtol=1e-6)
    with cpp_session.CppSession(str(tmp_path)) as session, pytest.raises(cpp_session.SessionError) as error:
        session.run("serving_default", image=ones)
    assert error.value.code == cpp_session.FAILED_PRECONDITION and "variable" in error.value.message


def test_closing_waits_for_what_runs_in_other_threads(tmp_path_factory):
    path, _, _ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    image = np.zeros((1, 256, 384, 3), np.uint8)
    for _ in range(3):
        session, began, ended = cpp_session.CppSession(path), threading.Barrier(5), []

        def run(session=session, began=began, ended=ended):
            began.wait()
            try:
                ended.append(session.run("tensor", image=image)["mask"].shape)
            except (cpp_session.SessionError, ValueError) as error:  # called off, or not begun
                ended.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        began.wait()
        time.sleep(0.02)
        session.close()
        session.close()
        for thread in threads:
            thread.join()
        assert len(ended) == 4
        with pytest.raises(ValueError, match="the session is closed"):
            session.run("tensor", image=image)
