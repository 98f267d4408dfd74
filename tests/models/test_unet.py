"""The UNet takes any image size, starts from the same trunk whatever its head, and survives a round trip to disk."""

import keras
import numpy as np
import pytest

from kseg import config as defaults
from kseg.models import layers, unet


def small(**changes):
    config = defaults.default().model
    config.width, config.depth = 4, 2
    for key, value in changes.items():
        config[key] = value
    return config


def image(height, width, n=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3)).astype(np.uint8)


def test_the_parameter_count_is_that_of_the_layers_written_out():
    # Width 4, depth 1, 5 outputs. down0: 3*3*3*4 + 3*3*4*4, down1: 9*4*8 + 9*8*8, reduce 8*4+4, up0: 9*8*4 + 9*4*4,
    # batch norm 4 numbers a channel: 4 * (4+4+8+8+4+4), head 4*5 + 5.
    expected = 108 + 144 + 288 + 576 + 36 + 288 + 144 + 4 * 32 + 25
    assert unet.build(small(depth=1), 5).count_params() == expected


def test_other_decoders_have_the_parameters_of_their_layers_written_out():
    plain = unet.build(small(depth=1), 5).count_params()
    # One convolution less: 3*3*4*4 and its norm.
    assert unet.build(small(depth=1, decoder_convs=(1,)), 5).count_params() == plain - 144 - 16
    # Depthwise 3*3*8 and 8*4, then 3*3*4 and 4*4, for 288 + 144.
    separable = unet.build(small(depth=1, decoder_block="separable"), 5)
    assert separable.count_params() == plain - 288 - 144 + (72 + 32) + (36 + 16)
    # Two means of 8 channels become 2 each: 8*2 and 4*2 of its norm; the reduction sees 12 channels and not 8.
    pyramid = unet.build(small(depth=1, pyramid_pooling=(3, 5)), 5)
    assert pyramid.count_params() == plain + 2 * (16 + 8) + 4 * 4


OTHER_DECODER = {"decoder_block": "separable", "decoder_convs": (2, 1), "pyramid_pooling": (3, 5)}


def test_means_of_windows_leave_out_what_lies_beyond_the_border():
    model = unet.build(small(pyramid_pooling=(3,), norm="none"), 3)
    part = keras.Model(model.input, [model.get_layer("up_pool3").input, model.get_layer("up_pool3").output])
    features, means = part(image(16, 20))
    windows = np.pad(features, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=np.nan)
    for row in range(4):
        for column in range(5):
            expected = np.nanmean(windows[0, row : row + 3, column : column + 3], (0, 1))
            np.testing.assert_allclose(means[0, row, column], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("height, width", [(1, 1), (3, 5), (16, 32), (33, 47)])
@pytest.mark.parametrize("changes", [{}, {"upsample": "transpose", "norm": "group"}, OTHER_DECODER])
def test_logits_have_the_size_of_the_image_and_are_float32(height, width, changes):
    logits = unet.build(small(**changes), 5, "mixed_bfloat16")(image(height, width))
    assert logits.shape == (1, height, width, 5)
    assert logits.dtype == "float32"


@pytest.mark.parametrize("upsample", ["bilinear", "transpose"])
def test_the_decoders_levels_are_found_by_their_layers(upsample):
    # Width 4, depth 2: 4, 8 and 16 channels on the way down, 8 and 4 on the way up.
    model = unet.build(small(upsample=upsample), 3)
    levels = unet.decoder_levels(model)
    assert [[tensor.shape[-1] for tensor in level] for level in levels] == [[8, 4, 4], [16, 8, 8]]
    assert levels[0][0] is levels[1][2]  # the coarser one's output goes into the finer one
    assert unet.decoder_levels(unet.build(small(depth=0), 3)) == []


def test_padding_to_the_stride_is_zeros_after_scaling_and_is_cropped_away():
    # Padding by hand with the value that scaling maps to zero (127.5) gives the same logits.
    model = unet.build(small(norm="none"), 3)
    picture = image(6, 7).astype(np.float32)
    padded = np.pad(picture, [(0, 0), (0, 2), (0, 1), (0, 0)], constant_values=127.5)
    np.testing.assert_allclose(model(picture), model(padded)[:, :6, :7], atol=1e-5)


def test_uint8_and_float_images_are_the_same_image():
    model = unet.build(small(), 3)
    np.testing.assert_array_equal(model(image(8, 8)), model(image(8, 8).astype(np.float32)))


def test_the_trunk_does_not_depend_on_the_head_but_on_the_seed():
    a, b, c = unet.build(small(), 3), unet.build(small(), 4), unet.build(small(), 3, seed=1)
    differs = 0
    for layer in a.layers:
        for x, y, z in zip(
            layer.get_weights(), b.get_layer(layer.name).get_weights(), c.get_layer(layer.name).get_weights()
        ):
            if layer.name != "head":
                np.testing.assert_array_equal(x, y)
                differs += np.any(x != z)
    assert differs > 5


def test_outputs_that_two_models_share_start_the_same():
    three, four = (unet.build(small(), outputs).get_layer("head").kernel.numpy() for outputs in (3, 4))
    np.testing.assert_array_equal(three, four[..., :3])
    assert len(np.unique(four)) == four.size
    detached = unet.build(small(), 4, detached_outputs=1)
    np.testing.assert_array_equal(detached.get_layer("head").kernel, three)
    np.testing.assert_array_equal(detached.get_layer("detached_head").kernel, four[..., 3:])
    other = unet.build(small(), 3, seed=1).get_layer("head").kernel.numpy()
    assert not np.any(other == three)
    assert np.abs(four).max() <= np.sqrt(3 / four.shape[2])


def test_a_detached_output_does_not_reach_the_trunk():
    import tensorflow as tf

    model = unet.build(small(norm="none"), 4, detached_outputs=1)
    with tf.GradientTape(persistent=True) as tape:
        logits = model(image(8, 8))
        classes, void = tf.reduce_sum(logits[..., :3] ** 2), tf.reduce_sum(logits[..., 3] ** 2)
    trunk = model.get_layer("down0_conv0").kernel
    assert not np.any(tape.gradient(void, trunk, unconnected_gradients="zero"))
    assert np.any(tape.gradient(classes, trunk).numpy())
    assert np.any(tape.gradient(void, model.get_layer("detached_head").kernel).numpy())


def test_bilinear_upsampling_equals_the_keras_layer():
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    expected = keras.layers.UpSampling2D(interpolation="bilinear")(x)
    np.testing.assert_array_equal(layers.Upsample2x()(x), expected)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_saved_model_gives_the_same_logits(tmp_path, precision):
    model = unet.build(small(), 3, precision)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(image(9, 6)), loaded(image(9, 6)))
    assert keras.config.dtype_policy().name == "float32"


def test_weights_are_loaded_by_name_where_shapes_fit(tmp_path):
    old, new = unet.build(small(), 3, seed=5), unet.build(small(), 7)
    old.save(tmp_path / "old.keras")
    loaded, kept = unet.load_matching_weights(new, str(tmp_path / "old.keras"))
    assert kept == ["head"] and "down0_conv0" in loaded
    np.testing.assert_array_equal(old.get_layer("up0_conv1").kernel, new.get_layer("up0_conv1").kernel)


def test_weights_that_cannot_be_loaded_are_one_line(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 no")
    for path in ("missing.keras", "broken.keras"):
        with pytest.raises(ValueError, match=path) as caught:
            unet.load_matching_weights(unet.build(small(), 3), str(tmp_path / path))
        assert "\n" not in str(caught.value)


def test_an_encoder_of_keras_applications_gives_logits_of_the_image_size():
    model = unet.build(small(encoder="efficientnetv2b0", freeze_encoder=True), 3)
    assert model(image(40, 50)).shape == (1, 40, 50, 3)
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trained < model.count_params() / 10


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"encoder": "vgg"}, "vgg"),
        ({"norm": "layer"}, "norm"),
        ({"width": 0}, "width"),
        ({"upsample": "x"}, "upsample"),
        ({"decoder_block": "x"}, "config.model.decoder_block='x': expected one of conv, separable"),
        ({"decoder_convs": (1,)}, r"config.model.decoder_convs=\(1,\): expected 2 numbers of at least 1"),
        ({"decoder_convs": (1, 0)}, "config.model.decoder_convs"),
        ({"pyramid_pooling": (3, 1)}, r"config.model.pyramid_pooling=\(3, 1\): expected sides of windows"),
        ({"pyramid_pooling": (3, 3)}, r"config.model.pyramid_pooling=\(3, 3\): expected sides of windows"),
    ],
)
def test_impossible_models_are_refused_in_one_line(changes, word):
    with pytest.raises(ValueError, match=word) as caught:
        unet.build(small(**changes), 3)
    assert "\n" not in str(caught.value)


def test_the_scaling_before_resnet_is_that_of_its_published_weights():
    picture = image(5, 7, n=2).astype(np.float32)
    expected = keras.applications.resnet.preprocess_input(picture.copy())
    np.testing.assert_array_equal(layers.SubtractMeanBGR()(picture), expected)
