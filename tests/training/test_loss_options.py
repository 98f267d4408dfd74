"""Every treatment with every option of the loss: it changes the loss, or it is refused before the first step."""

import re

import numpy as np
import pytest
import tensorflow as tf
import training_run

import tfrecords
from kseg import treatments
from kseg.training import checks

MAIN = {
    "class_weights": ("none", "inverse_sqrt"), "label_smoothing": (0.0, 0.3), "focal_gamma": (0.0, 2.0),
    "top_k": (1.0, 0.5),
}  # fmt: skip
DICE = {"tversky_alpha": (0.5, 0.9), "tversky_beta": (0.5, 0.9), "dice_per_image": (False, True)}
OPTIONS = MAIN | DICE
# The weights of the terms: as the treatment has them, the main term alone, a Dice term alone, all three.
WEIGHTS = {"own": (-1, -1, -1), "main": (1, 0, 0), "Dice": (0, 1, 0), "inverted": (0, 0, 1), "all": (1, 1, 1)}
DICE_OF_ITS_OWN = ("inverted_dice", "inverted_dice_softmax")


def settings(records, name, weights):
    config = training_run.settings(records, ["train.num_virtual_devices=1", "train.deterministic=False"])
    config.treatment.name = name
    for key, weight in zip(("main_weight", "dice_weight", "inverted_dice_weight"), WEIGHTS[weights]):
        config.loss[key] = float(weight)
    return config


def loss(config):
    """Of random logits and targets of three classes, void and 255 among them."""
    weights = None if config.loss.class_weights == "none" else np.array([1.0, 2.0, 9.0])
    treatment = treatments.get(config.treatment, 3, config.loss, weights)
    random = np.random.default_rng(0)
    target = random.integers(0, 3, (2, 8, 8)).astype(np.uint8)
    target[0, :2] = 255 if treatment.encoding == "ignore" else 3
    target[1, 0] = 255
    return float(treatment.loss(target, random.normal(size=(2, 8, 8, treatment.num_outputs)).astype(np.float32)))


def refusal(config):
    try:
        checks.check(config, tfrecords.info(config.data.records_dir), tf.distribute.get_strategy(), "run")
    except ValueError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", treatments.NAMES)
def test_an_option_changes_the_loss_or_is_refused(records, name, weights):
    config = settings(records, name, weights)
    plain = loss(config)
    assert refusal(config) is None
    for option, (off, on) in OPTIONS.items():
        config.loss[option] = on
        refused = refusal(config)
        has_main = weights in ("main", "all") or weights == "own" and name not in DICE_OF_ITS_OWN
        has_dice = weights in ("Dice", "inverted", "all") or weights == "own" and name in DICE_OF_ITS_OWN
        assert (refused is None) == (loss(config) != plain) == (has_main if option in MAIN else has_dice), option
        assert refused is None or f"config.loss.{option}={on} is for the" in refused
        config.loss[option] = off


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("encoding", ["", "background"])
@pytest.mark.parametrize("name", treatments.NAMES)
def test_the_weight_of_void_changes_the_loss_or_is_refused(records, name, encoding, weights):
    config = settings(records, name, weights)
    config.treatment.encoding = encoding
    if refusal(config):  # an encoding that the treatment does not have
        assert "config.treatment.encoding" in refusal(config)
        return
    plain = loss(config)
    config.treatment.void_weight = 3.0
    refused = refusal(config)
    assert (refused is None) == (loss(config) != plain)
    assert refused is None or "config.treatment.void_weight=3 weighs void" in refused


def test_label_smoothing_reaches_the_binary_cross_entropies_of_one_vs_all(records):
    config = settings(records, "one_vs_all", "own")
    random = np.random.default_rng(0)
    target, z = random.integers(0, 4, (1, 4, 4)), random.normal(size=(1, 4, 4, 3))
    config.loss.label_smoothing = 0.3
    t = 0.7 * (target[..., None] == np.arange(3)) + 0.1
    expected = (np.log1p(np.exp(z)) - t * z).sum(-1).mean()
    assert float(treatments.get(config.treatment, 3, config.loss).loss(target, z)) == pytest.approx(expected, rel=1e-9)


# ---- One class -------------------------------------------------------------------------------------------------------


def one_class(name, encoding="", void_weight=1.0, **weights):
    config = training_run.settings("")
    config.treatment.name, config.treatment.encoding = name, encoding
    config.treatment.void_weight = void_weight
    config.loss.update(weights)
    return treatments.get(config.treatment, 1, config.loss)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ignore",), "ignore have no void"),
        (("background_class", "ignore"), "ignore have no void"),
        (("one_vs_all", "ignore"), "ignore have no void"),
        (("inverted_dice_softmax",), "softmax over one output is 1"),
        (("entropic",), "softmax over one output is 1"),
        (("background_class", "", 0.0), "void_weight=0"),
    ],
)
def test_one_class_that_nothing_is_told_from_is_refused(arguments, why):
    with pytest.raises(ValueError, match=f"{why}.*background_class.*sigmoid head") as caught:
        one_class(*arguments)
    assert "\n" not in str(caught.value)


def test_dice_of_the_softmax_of_one_class_is_refused_beside_a_head_for_void():
    with pytest.raises(ValueError, match="softmax over one output is 1"):
        one_class("void_head", dice_weight=1.0)


@pytest.mark.parametrize("name", ["background_class", "hybrid", "inverted_dice", "one_vs_all", "void_head"])
def test_one_class_is_told_from_void_by_every_other_treatment(name):
    treatment = one_class(name)
    target = np.array([[[0, 1, 255]]], np.uint8)
    z = tf.Variable(np.zeros((1, 1, 3, treatment.num_outputs), np.float32))
    for _ in range(30):
        with tf.GradientTape() as tape:
            value = treatment.loss(target, z)
        z.assign_sub(2.0 * tape.gradient(value, z))
    assert treatment.native(z).numpy()[0, 0, :2].tolist() == [0, 1]


def test_every_option_is_in_the_table(records):
    keys = set(settings(records, "ignore", "own").loss)
    assert keys == set(OPTIONS) | {"main_weight", "dice_weight", "inverted_dice_weight"}
    stated = {option for options in checks._LOSS_OPTIONS.values() for option in options}
    assert stated == set(OPTIONS) and not re.search("weight", " ".join(stated - {"class_weights"}))
