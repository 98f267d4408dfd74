"""Laws that hold for every treatment, and the formulas of each on a case small enough to work by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kseg import config as defaults
from kseg import heads, treatments

K = 3


def make(name, **changes):
    config = defaults.default()
    config.treatment.name = name
    for key, value in changes.items():
        section, leaf = key.split("__")
        config[section][leaf] = value
    return treatments.get(config.treatment, K, config.loss)


def loss_and_gradient(treatment, targets, logits):
    logits = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = treatment.loss(tf.constant(targets), logits)
    return float(loss), tape.gradient(loss, logits).numpy()


def random_batch(treatment, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, K, (2, 4, 5)).astype(np.uint8)
    targets[0, :2] = 255
    if treatment.encoding != "ignore":
        targets[1, 1:3] = K
    return targets, rng.normal(size=(2, 4, 5, treatment.num_outputs))


@pytest.mark.parametrize("name", treatments.NAMES)
def test_padding_has_no_gradient_and_labelled_pixels_have(name):
    treatment = make(name, loss__dice_weight=0.5, loss__inverted_dice_weight=0.5)
    targets, logits = random_batch(treatment)
    loss, gradient = loss_and_gradient(treatment, targets, logits)
    assert loss > 0
    assert np.all(gradient[targets == 255] == 0)
    assert np.all(np.abs(gradient[targets < K]).sum(-1) > 0)


@pytest.mark.parametrize("name", [n for n in treatments.NAMES if n != "ignore"])
def test_void_has_a_gradient_wherever_it_is_trained_and_none_at_weight_zero(name):
    treatment = make(name)
    targets, logits = random_batch(treatment)
    _, gradient = loss_and_gradient(treatment, targets, logits)
    assert np.all(np.abs(gradient[targets == K]).sum(-1) > 0)
    idle = make(name, treatment__void_weight=0.0)
    _, gradient = loss_and_gradient(idle, targets, logits)
    assert np.all(gradient[targets == K] == 0)


@pytest.mark.parametrize("name", treatments.NAMES)
def test_a_batch_of_nothing_but_padding_costs_nothing(name):
    treatment = make(name, loss__dice_weight=1.0, loss__inverted_dice_weight=1.0)
    targets = np.full((2, 4, 5), 255, np.uint8)
    logits = np.full((2, 4, 5, treatment.num_outputs), np.nan)
    loss, gradient = loss_and_gradient(treatment, targets, logits)
    assert loss == 0 and np.all(gradient == 0)


@pytest.mark.parametrize("name", treatments.NAMES)
def test_scores_and_decisions_have_one_value_a_pixel_and_abstention_is_exactly_the_threshold(name):
    treatment = make(name)
    _, logits = random_batch(treatment)
    logits = tf.constant(logits, tf.float32)
    forced = treatment.forced(logits).numpy()
    np.testing.assert_array_equal(forced, logits.numpy()[..., :K].argmax(-1))
    for score in treatment.scores.values():
        assert score(logits).shape == (2, 4, 5)
    score = treatment.scores[treatment.primary](logits).numpy()
    threshold = float(np.median(score))
    decided = treatment.decide(logits, threshold).numpy()
    np.testing.assert_array_equal(decided, np.where(score > threshold, K, forced))
    assert 0 < (decided == K).mean() < 1


def test_a_rule_names_the_score_the_threshold_and_whether_the_threshold_itself_abstains():
    rules = {name: make(name).rule() for name in treatments.NAMES}
    assert {name for name, rule in rules.items() if rule is None} == {"ignore", "inverted_dice_softmax", "entropic"}
    assert rules["hybrid"] == heads.Rule("void_margin", 0.0)
    assert rules["one_vs_all"] == heads.Rule("max_logit", 0.0)
    assert rules["void_head"] == heads.Rule("void_logit", 0.0, inclusive=True)
    assert make("void_head").rule(0.5) == heads.Rule("void_logit", 0.5)  # a calibrated one is never inclusive
    assert make("ignore").rule(0.0) == heads.Rule("entropy", 0.0)
    values = np.array([0.25, 0.5, 0.75], np.float32)
    assert heads.Rule("s", 0.5).abstains(values).tolist() == [False, False, True]
    assert heads.Rule("s", 0.5, inclusive=True).abstains(values).tolist() == [False, True, True]


def native(name, logits):
    return make(name).native(tf.constant(logits, tf.float32)).numpy()


def test_native_decisions_follow_their_rules():
    # Rows: class 1 wins; nothing fires (all below zero) or void wins; a tie or a zero at the border.
    assert native("ignore", [[0, 2, 1], [-1, -2, -3], [0, 0, 0]]).tolist() == [1, 0, 0]
    assert native("entropic", [[0, 2, 1], [-1, -2, -3]]).tolist() == [1, 0]
    # K + 1 outputs: argmax; a tie goes to the class.
    assert native("background_class", [[0, 2, 1, 1], [0, 2, 1, 3], [0, 2, 1, 2]]).tolist() == [1, K, 1]
    # Sigmoids: abstain where the best p is below 1/2, i.e. the best logit below 0; at 0 the class stays.
    assert native("inverted_dice", [[0, 2, 1], [-1, -2, -3], [-1, 0, -3]]).tolist() == [1, K, 1]
    # A logit of its own: abstain from 0 on.
    assert native("void_head", [[0, 2, 1, -1], [0, 2, 1, 1], [0, 2, 1, 0]]).tolist() == [1, K, K]


def test_the_extra_class_score_ranks_as_its_probability():
    treatment = make("background_class")
    logits = tf.constant(np.random.default_rng(1).normal(size=(200, K + 1)) * 3, tf.float32)
    score = treatment.scores[treatment.primary](logits).numpy()
    p = tf.nn.softmax(logits)[:, K].numpy()
    np.testing.assert_array_equal(np.argsort(score), np.argsort(p))
    np.testing.assert_allclose(score, np.log(p / (1 - p)), rtol=1e-4, atol=1e-4)


def test_losses_of_two_pixels_worked_by_hand():
    # One labelled pixel (class 0) and one void pixel, all logits 0: softmax over n outputs gives log n each.
    targets = np.array([[[0, K]]], np.uint8)

    def loss(name, **changes):
        treatment = make(name, **changes)
        return loss_and_gradient(treatment, targets, np.zeros((1, 1, 2, treatment.num_outputs)))[0]

    assert loss("background_class") == pytest.approx(math.log(4))  # both pixels: -log 1/4
    assert loss("entropic") == pytest.approx(math.log(3))  # both: -log 1/3
    assert loss("one_vs_all") == pytest.approx(3 * math.log(2))  # three sigmoids at 1/2, each pixel
    assert loss("void_head") == pytest.approx(math.log(3) + math.log(2))  # labelled: -log 1/3; both: -log 1/2
    # Dice + inverted Dice, p = 1/2 at both pixels, s = 1. Class 0 is present: Dice = (2 * 1/2 + 1) / (1 + 1 + 1) = 2/3;
    # the other two are absent and leave the Dice sum. Inverted, class 0: (2 * 1/2 + 1) / (1 + 1 + 1) = 2/3, the others:
    # (2 * 1 + 1) / (1 + 2 + 1) = 3/4. Loss = (1/3)(1/3) + (1/3)(1/3 + 1/4 + 1/4) = 1/9 + 5/18 = 7/18.
    assert loss("inverted_dice") == pytest.approx(7 / 18)


def test_void_weight_is_v_in_the_weighted_mean():
    # Labelled loss a = log 4 - ... : logits (1, 0, 0, 0): class 0 costs log(e + 3) - 1, void costs log(e + 3).
    targets = np.array([[[0, K]]], np.uint8)
    logits = np.array([[[[1, 0, 0, 0], [1, 0, 0, 0]]]], np.float32)
    normaliser = math.log(math.e + 3)
    for v in (0.0, 0.5, 2.0):
        treatment = make("background_class", treatment__void_weight=v)
        expected = ((normaliser - 1) + v * normaliser) / (1 + v)
        assert loss_and_gradient(treatment, targets, logits)[0] == pytest.approx(expected)


def test_hybrid_and_ignore_are_their_encodings():
    assert make("ignore").encoding == "ignore"
    assert make("hybrid").encoding == "hybrid"
    assert make("background_class", treatment__encoding="ignore").encoding == "ignore"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"treatment__encoding": "background"}, ["ignore", "encoding"]),
        ({"treatment__encoding": "foreground"}, ["no such encoding"]),
        ({"treatment__void_weight": -1.0}, ["void_weight", "-1"]),
        ({"treatment__stop_gradient": True}, ["void_head"]),
        ({"loss__main_weight": 0.0}, ["weight"]),
    ],
)
def test_impossible_choices_are_refused_in_one_line(changes, words):
    with pytest.raises(ValueError) as caught:
        make("ignore", **changes)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="background_class"):
        make("backgroundclass")
