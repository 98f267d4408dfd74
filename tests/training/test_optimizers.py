"""Schedules, weight decay, loss scaling and averages on one device. Several replicas: test_losses_replicas.py."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import config, optimizers


def settings(**changes):
    values = config.default().optimizer
    values.update(changes)
    return values


def rates(total_steps, steps, **changes):
    schedule = optimizers.learning_rate(settings(learning_rate=2.0, **changes), total_steps)
    return [float(schedule(step)) for step in steps]


def test_warm_up_is_linear_and_reaches_the_peak_at_its_last_step():
    # 4 steps of warm-up to 2: 2/4, 4/4, 6/4, 8/4; then the peak again at the start of the decay
    found = rates(100, range(5), schedule="cosine", warmup_steps=4)
    np.testing.assert_allclose(found, [0.5, 1.0, 1.5, 2.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [2.0, 1.0 + 0.5**0.5, 1.0, 0.0, 0.0]),  # 1 + cos 0, pi/4, pi/2, pi
        ("poly", [2.0, 2.0 * 0.75**2, 2.0 * 0.5**2, 0.0, 0.0]),
        ("constant", [2.0] * 5),
    ],
)
def test_the_decay_runs_over_the_steps_after_the_warm_up(schedule, expected):
    found = rates(12, [4, 6, 8, 12, 99], schedule=schedule, warmup_steps=4, poly_power=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_an_optimizer_with_its_schedule_survives_serialization(name, precision):
    optimizer = optimizers.create(settings(name=name, clip_norm=0.5, warmup_steps=2), 10, precision)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is type(optimizer)
    assert copy.get_config() == optimizer.get_config()
    assert isinstance(copy, optimizers.LossScaleOptimizer) == (precision == "mixed_float16")


def test_weight_decay_leaves_biases_and_normalisation_alone():
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 3), keras.layers.BatchNormalization()])
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    for name in ("sgd", "adamw", "lamb"):
        values = settings(name=name, weight_decay=0.5, learning_rate=0.1, schedule="constant")
        optimizer = optimizers.create(values, 10)
        optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    kernel, *others = (variable.numpy() for variable in model.trainable_variables)
    np.testing.assert_allclose(kernel, (1 - 0.1 * 0.5) ** 3, rtol=1e-6)
    for other in others:
        np.testing.assert_array_equal(other, 1.0)


def test_clipping_is_by_the_norm_of_all_gradients_together():
    a, b = tf.Variable([0.0, 0.0]), tf.Variable([0.0])
    values = settings(name="sgd", momentum=0.0, weight_decay=0.0, clip_norm=2.6, learning_rate=1.0, schedule="constant")
    # norm of (3, 4, 12) is 13, clipped to 2.6: a fifth of each
    optimizers.create(values, 10).apply([tf.constant([3.0, 4.0]), tf.constant([12.0])], [a, b])
    np.testing.assert_allclose(np.concatenate([a.numpy(), b.numpy()]), [-0.6, -0.8, -2.4], rtol=1e-6)


def test_a_variable_without_gradient_is_left_as_it_is():
    used, unused = tf.Variable([1.0, 1.0]), tf.Variable([1.0])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizers.create(settings(), 10).apply([tf.constant([1.0, 1.0]), None], [used, unused])
    assert unused.numpy() == 1.0 and np.all(used.numpy() != 1.0)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_overflow_skips_the_step_and_halves_the_scale_and_the_next_step_is_taken(bad):
    weight = tf.Variable([[1.0, 2.0]])
    optimizer = optimizers.create(settings(name="sgd", clip_norm=1.0), 10, "mixed_float16")
    optimizer.build([weight])
    scale = float(optimizer.dynamic_scale)
    optimizer.apply([tf.constant([[1.0, bad]])], [weight])
    np.testing.assert_array_equal(weight, [[1.0, 2.0]])
    assert float(optimizer.dynamic_scale) == scale / 2 and int(optimizer.iterations) == 0
    optimizer.apply([optimizer.scale_loss(tf.constant([[1.0, 0.0]]))], [weight])
    assert weight.numpy()[0, 0] < 1.0 and int(optimizer.iterations) == 1


def test_a_scaled_step_is_the_unscaled_one_and_the_scale_starts_high():
    weight = tf.Variable([[1.0, 2.0]])
    values = settings(name="sgd", momentum=0.0, weight_decay=0.0, clip_norm=0.0, learning_rate=0.5, schedule="constant")
    optimizer = optimizers.create(values, 10, "mixed_float16")
    optimizer.build([weight])
    assert float(optimizer.dynamic_scale) == 2.0**15
    optimizer.apply([optimizer.scale_loss(tf.constant([[1.0, -1.0]]))], [weight])
    np.testing.assert_array_equal(weight, [[0.5, 2.5]])


def test_the_scale_doubles_after_as_many_steps_in_a_row_as_were_asked_for():
    weight = tf.Variable([1.0])
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(), initial_scale=4.0, dynamic_growth_steps=3)
    optimizer.build([weight])
    scales = []
    for gradient in (1.0, 1.0, np.inf, 1.0, 1.0, 1.0, 1.0):
        optimizer.apply([tf.constant([gradient])], [weight])
        scales.append(float(optimizer.dynamic_scale))
    assert scales == [4, 4, 2, 2, 2, 4, 4]  # an overflow halves it, and the count begins anew


def test_the_average_is_that_of_the_weights_so_far_and_of_the_normalisation_statistics():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
    model.layers[1].moving_mean.assign([4.0])
    ema = optimizers.Ema(model, 0.15)
    for value in (1.0, 2.0):
        model.layers[0].kernel.assign([[value], [value]])
        model.layers[1].moving_mean.assign([value])
        ema.update()
    averages = dict(zip([weight.path for weight in model.weights], ema.variables[1:]))
    # d = min(0.15, 1/10) = 0.1, then min(0.15, 2/11) = 0.15: (0.1 * 4 + 0.9 * 1) = 1.3; 0.15 * 1.3 + 0.85 * 2 = 1.895
    np.testing.assert_allclose(averages[model.layers[1].moving_mean.path], [1.895], rtol=1e-6)
    assert int(ema.variables[0]) == 2


def test_swapping_shows_the_averages_and_restores_the_weights_bit_by_bit_also_after_an_error():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), keras.layers.BatchNormalization()])
    ema = optimizers.Ema(model, 0.9)
    for variable in model.weights:
        variable.assign(variable + np.random.default_rng(1).normal(size=variable.shape).astype(np.float32) * 1e-3)
    ema.update()
    before = model.get_weights()
    with ema.swap():
        for shown, average in zip(model.get_weights(), ema.variables[1:]):
            np.testing.assert_array_equal(shown, average)
        assert not np.array_equal(model.get_weights()[0], before[0])
    with pytest.raises(RuntimeError), ema.swap():
        raise RuntimeError
    for weight, value in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optimizers.create(settings(name="adma"), 10),
            "config.optimizer.name='adma': expected one of adamw, lamb, sgd",
        ),
        (
            lambda: optimizers.create(settings(schedule="cos"), 10),
            "schedule='cos': expected one of constant, cos",
        ),
        (
            lambda: optimizers.create(settings(warmup_steps=11), 10),
            "warmup_steps=11: expected 0 to .*, 10",
        ),
        (
            lambda: optimizers.create(settings(learning_rate=0.0), 10),
            "learning_rate=0.0: expected a finite",
        ),
        (lambda: optimizers.create(settings(schedule="poly", poly_power=-1.0), 10), "poly_power=-1.0: expected"),
        (
            lambda: optimizers.create(settings(clip_norm=-1.0), 10),
            "optimizer.clip_norm=-1.0: expected a",
        ),
        (lambda: optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "would sum gradients twice"),
        (
            lambda: optimizers.Ema(keras.Sequential([keras.Input((1,))]), 1.0),
            "ema_decay=1.0: expected a number",
        ),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_encoders_rate_scales_its_steps_and_its_decay_alone():
    # SGD, rate 0.5, gradients 1 and weight decay 0.1: w - factor * 0.5 * (0.1 w + 1), matrices alone decay.
    settings = config.default().optimizer
    settings.name, settings.learning_rate, settings.schedule = "sgd", 0.5, "constant"
    settings.momentum, settings.weight_decay, settings.encoder_rate = 0.0, 0.1, 0.2
    weights = [keras.Variable([[2.0]]), keras.Variable([[2.0]])]
    optimizer = optimizers.create(settings, 10, in_encoder=[True, False])
    optimizer.build(weights)
    optimizer.apply([tf.ones((1, 1)), tf.ones((1, 1))], weights)
    np.testing.assert_allclose([float(w.numpy()[0, 0]) for w in weights], [2 - 0.1 * 1.2, 2 - 0.5 * 1.2], rtol=1e-6)
    copy = optimizers.SGD.from_config(optimizer.get_config())
    assert copy.rate_factors == (0.2, 1.0)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_the_encoders_rate_is_the_same_over_replicas(name):
    program = """
import kseg, sys
kseg.load_tensorflow_quietly()
import keras, numpy as np, tensorflow as tf
from kseg import config, optimizers
replicas = int(sys.argv[1])
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
settings = config.default().optimizer
settings.name, settings.learning_rate, settings.schedule = sys.argv[2], 0.05, "constant"
settings.weight_decay, settings.clip_norm, settings.encoder_rate = 0.1, 1.0, 0.2
with strategy.scope():
    weights = [keras.Variable(np.full((2, 2), 2.0, "float32")) for _ in range(2)]
    optimizer = optimizers.create(settings, 10, in_encoder=[True, False])
    optimizer.build(weights)
step = tf.function(lambda: optimizer.apply([tf.fill((2, 2), 1 / replicas)] * 2, weights))
for _ in range(3):
    strategy.run(step)
print(*(float(weight.numpy()[0, 0]) for weight in weights))
"""
    ran = [
        subprocess.run([sys.executable, "-c", program, str(replicas), name], capture_output=True, text=True)
        for replicas in (1, 2)
    ]
    assert ran[1].returncode == 0, ran[1].stderr[-2000:]
    one, two = ([float(word) for word in done.stdout.split()] for done in ran)
    np.testing.assert_allclose(one, two, rtol=1e-6)
    assert 2 - one[0] < 0.5 * (2 - one[1])  # the encoder's steps are the smaller ones
