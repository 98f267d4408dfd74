"""Averaging over views gives logits whose probabilities are the mean of the views' probabilities."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from kseg.models import averaging, full_size

NAMES = ["ignore", "background_class", "inverted_dice", "void_head"]


def probabilities(z, treatment):
    joint = tf.nn.softmax(z[..., : treatment.softmax_outputs]).numpy()
    return np.concatenate([joint, tf.sigmoid(z[..., treatment.softmax_outputs :]).numpy()], -1)


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_the_views_probabilities_comes_back_as_logits(name):
    model, treatment = small_models.network(name)
    image = small_models.picture(41, 66)[None].astype(np.float32)
    averaged = averaging.logits(model, treatment, image, average="flip,0.5")
    views = []
    for size in ((41, 66), (20, 33)):  # round(20.5) = 20, to even
        views.append(full_size.resized_logits(model, image, tf.constant(size)))
        views.append(full_size.resized_logits(model, image[:, :, ::-1], tf.constant(size))[:, :, ::-1])
    expected = np.mean([probabilities(z, treatment) for z in views], 0)
    np.testing.assert_allclose(probabilities(averaged, treatment), expected, atol=2e-5)
    assert np.abs(probabilities(views[0], treatment) - expected).max() > 0.05
    if treatment.softmax_outputs:  # what energy and the largest logit need, and a softmax does not keep
        totals = [tf.reduce_logsumexp(z[..., : treatment.softmax_outputs], -1) for z in views]
        total = tf.reduce_logsumexp(averaged[..., : treatment.softmax_outputs], -1)
        np.testing.assert_allclose(total, np.mean(totals, 0), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_equal_views_give_their_own_logits(name):
    # A constant picture without padding is its own mirror image, and so is its answer but for the border.
    _, treatment = small_models.network(name)
    z = tf.random.stateless_normal((1, 6, 1, treatment.num_outputs), (1, 2)) * 9 + 3

    def model(x, training=False):
        return z

    image = np.zeros((1, 6, 1, 3), np.float32)
    np.testing.assert_allclose(averaging.logits(model, treatment, image, average="flip"), z, atol=2e-5)


def test_mirrored_pictures_get_mirrored_answers():
    model, treatment = small_models.network("ignore")
    image = small_models.picture(40, 64)[None].astype(np.float32)
    one = averaging.logits(model, treatment, image, average="flip")
    other = averaging.logits(model, treatment, image[:, :, ::-1], average="flip")
    np.testing.assert_allclose(other[:, :, ::-1], one, atol=1e-4)
    plain = full_size.logits(model, image)
    assert np.abs(full_size.logits(model, image[:, :, ::-1])[:, :, ::-1] - plain).max() > 1e-2


def test_views_are_the_image_and_each_scale_each_mirrored_too():
    assert averaging.views("") == [(1.0, False)]
    assert averaging.views("flip, 0.75") == [(1.0, False), (1.0, True), (0.75, False), (0.75, True)]
    for wrong in (
        "flop",
        "0.1",
        "5",
        "1",
        "flip,flip",
        "0.5,0.5",
        "nan",
        "0.30,0.31,0.32,0.33,0.34,0.35,0.36,0.37,flip",
    ):
        with pytest.raises(ValueError, match="average="):
            averaging.views(wrong)
