"""TensorFlow Addons' image ops inside tf.data; without the extra, one line that says what to install."""

import importlib.util
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.data import augment, tfa_ops

_OPS = ("rotate", "sharpness", "equalize", "gaussian_blur", "cutout", "elastic_warp")
_MOVING = ("rotate", "cutout", "elastic_warp")
_PALETTE = np.array([[20, 30, 230], [230, 40, 20], [30, 220, 40], [225, 225, 30]], np.uint8)


def _scene(height=64, width=96):
    labels = np.random.default_rng(0).integers(0, 4, (height // 16, width // 16))
    labels = np.kron(labels, np.ones((16, 16), int)).astype(np.uint8)
    return _PALETTE[labels], labels


def _seed(number):
    return tf.constant([7, number], tf.int64)


def _stream(names, image, target, count=12):
    """The op's results for `count` seeds, through tf.data."""
    dataset = tf.data.Dataset.range(count).map(
        lambda number: tfa_ops.apply(names, tf.constant(image), tf.constant(target), tf.stack([7, number])),
        num_parallel_calls=2,
    )
    return [(image.numpy(), target.numpy()) for image, target in dataset]


def test_without_the_library_asking_for_an_op_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError) as refused:
        tfa_ops.check_names(("rotate",))
    message = str(refused.value)
    assert "pip install 'kseg[addons]'" in message and "('rotate',)" in message and "\n" not in message


def test_unknown_ops_are_refused_by_name():
    with pytest.raises(ValueError, match="names 'blur': expected some of rotate, sharpness, equalize, gaussian_blur"):
        tfa_ops.check_names(("blur",))


def test_no_ops_need_no_library(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tfa_ops.check_names(())
    image, labels = _scene()
    assert tfa_ops.apply((), image, labels, _seed(0)) == (image, labels)


@pytest.mark.extras
@pytest.mark.parametrize("name", _OPS)
def test_an_op_changes_about_half_of_the_examples_and_repeats_by_seed(name):
    tfa_ops.check_names((name,))
    image, labels = _scene()
    image = (image * 0.7).astype(np.uint8)  # room for equalize
    results = _stream((name,), image, labels)
    changed = sum((result[0] != image).any() for result in results)
    assert 2 <= changed <= 10
    for one, other in zip(results, _stream((name,), image, labels)):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    for number in range(3):
        eager = tfa_ops.apply((name,), tf.constant(image), tf.constant(labels), _seed(number))
        np.testing.assert_array_equal(eager[0], results[number][0])
        np.testing.assert_array_equal(eager[1], results[number][1])


@pytest.mark.extras
@pytest.mark.parametrize("name", [name for name in _OPS if name not in _MOVING])
def test_ops_on_colours_leave_the_target_alone(name):
    image, labels = _scene()
    for _, target in _stream((name,), image, labels):
        np.testing.assert_array_equal(target, labels)


@pytest.mark.extras
@pytest.mark.parametrize("name", _MOVING)
def test_ops_that_move_pixels_move_the_target_with_them_and_invent_255(name):
    image, labels = _scene()
    invented = 0
    for moved, target in _stream((name,), image, labels):
        padding = target == augment.PADDING
        np.testing.assert_array_equal((moved == augment.GREY).all(-1), padding)
        invented += padding.sum()
        around = np.stack([np.roll(target, (y, x), (0, 1)) for y in (-2, 0, 2) for x in (-2, 0, 2)])
        inner = (around == target).all(0) & ~padding
        assert inner.mean() > 0.3
        nearest = np.abs(moved[..., None, :].astype(int) - _PALETTE).sum(-1).argmin(-1)
        assert (nearest == target)[inner].mean() > 0.999
    assert invented > 100


@pytest.mark.extras
def test_ops_follow_each_other_and_keras_stays_as_it_was():
    image, labels = _scene()
    results = _stream(_OPS, image, labels, 6)
    assert len({result[0].tobytes() for result in results}) == 6
    assert "keras.src.engine" not in sys.modules
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)


@pytest.mark.extras
def test_small_crops_are_served_too():
    image, labels = _scene(16, 16)
    for moved, target in _stream(_OPS, image[:8, :10], labels[:8, :10], 3):
        assert moved.shape == (8, 10, 3) and target.shape == (8, 10)
