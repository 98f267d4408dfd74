"""Recomputing activations changes when layers run and nothing else, on every kind of encoder; statistics move once."""

import collections
import functools
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import convnext

from kseg import config as defaults
from kseg.models import layers, recompute, unet
from kseg.training import dry_run

# ConvNeXt with one block a stage: its convolutions take a second each to compile.
SHALLOW = functools.partial(
    convnext.ConvNeXt, depths=[1] * 4, projection_dims=[8, 16, 32, 64], layer_scale_init_value=1.0, name="shallow"
)


@functools.cache
def network(encoder="none"):
    config = defaults.default().model
    config.width, config.depth = 4, 2
    if encoder == "other decoder":
        config.decoder_block, config.decoder_convs, config.pyramid_pooling = "separable", (2, 1), (3, 5)
    else:
        config.encoder = encoder
    keras.utils.set_random_seed(0)
    with mock.patch.object(keras.applications, "ConvNeXtTiny", SHALLOW):
        return unet.build(config, 3)


def image(side=64):
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.uint8)


def test_a_block_runs_again_for_the_gradient_and_the_head_does_not(monkeypatch):
    model, runs = network(), collections.Counter()
    for name in ("down0_conv0", "down2_conv1", "up1_conv0", "up0_norm1", "head"):
        layer = model.get_layer(name)

        def call(*arguments, name=name, before=layer.call, **options):
            runs[name] += 1
            return before(*arguments, **options)

        monkeypatch.setattr(layer, "call", call)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(recompute.by_blocks(model)(image(16)) ** 2)
    assert set(runs.values()) == {1} and len(runs) == 5
    tape.gradient(loss, model.trainable_variables)
    assert runs.pop("head") == 1
    assert set(runs.values()) == {2} and len(runs) == 4


# Of the two sizes of EfficientNetV2 the smaller one; it draws random numbers, so its encoder is not recomputed.
@pytest.mark.parametrize(
    "encoder", ["resnet50", "efficientnetv2b0", "convnext_tiny", "efficientnet_lite0", "other decoder"]
)
def test_gradients_and_moving_statistics_are_those_of_the_model_itself(encoder):
    model, batch = network(encoder), image()
    start = [v.numpy() for v in model.variables]

    def step(forward):
        for variable, value in zip(model.variables, start):
            variable.assign(value)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward(batch) ** 2)
        gradients = [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]
        return gradients, {w.path: w.numpy() for w in model.weights if "moving" in w.path}

    def accumulated(batch):  # as a loss that needs all parts' predictions first
        with layers.keeping_statistics():
            model(batch, training=True)
        return model(batch, training=True)

    gradients, statistics = step(lambda batch: model(batch, training=True))
    assert len(statistics) >= 12
    ways = [recompute.by_blocks(model)]
    # A second pass of the keras.applications EfficientNet draws other numbers, and ConvNeXt has no batch norm.
    if encoder in ("resnet50", "efficientnet_lite0"):
        ways.append(accumulated)
    for way in ways:
        ours, moved = step(way)
        largest = max(np.abs(g).max() for g in gradients)
        for a, b in zip(ours, gradients):
            assert np.abs(a - b).max() <= 1e-5 * largest
        for name, value in statistics.items():
            np.testing.assert_allclose(moved[name], value, rtol=1e-4, atol=1e-6, err_msg=name)

    # And what the dry run counts of this model is what its layers make.
    assert dry_run.forward_flops(model, (64, 64)) > 0
    made = keras.Function(model.inputs, [operation.output for operation in model.operations[1:]])
    values = made([tf.zeros((1, 64, 64, 3))])
    assert dry_run.activation_bytes(model, (64, 64)) == sum(4 * int(tf.size(value)) for value in values)


def test_encoders_keep_the_momentum_and_epsilon_that_their_weights_were_trained_with():
    ours = network("resnet50")
    theirs = keras.applications.ResNet50(include_top=False, weights=None)
    for name in ("conv1_bn", "conv5_block3_3_bn"):
        a, b = ours.get_layer(name), theirs.get_layer(name)
        assert isinstance(a, layers.GlobalBatchNormalization)
        assert (a.momentum, a.epsilon, a.axis) == (b.momentum, b.epsilon, b.axis)


def test_convnext_hands_on_the_sums_of_its_blocks_and_not_one_branch_of_them():
    model = network("convnext_tiny")
    before_the_sum = model.get_layer("shallow_stage_0_block_0_layer_scale").output
    ends = {id(model.get_layer(f"up{level}_concat").input[1]) for level in (0, 1, 2)}
    sums = [operation for operation in model.operations if type(operation).__name__ == "Add"]
    assert len(ends & {id(operation.output) for operation in sums}) == 3 and id(before_the_sum) not in ends
