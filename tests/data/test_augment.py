"""Geometry, colours and mixes of augmentation, each op called directly and inside tf.data."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kseg import config as config_module
from kseg.data import augment, mixing

# Far apart in every channel, so that the nearest one tells a pixel's label in spite of interpolation.
_PALETTE = np.array([[20, 30, 230], [230, 40, 20], [30, 220, 40], [225, 225, 30]], np.uint8)


def _scene(height, width, cell=8, seed=0):
    """Labels in blocks of `cell` px, and the image that shows each label as its colour."""
    labels = np.random.default_rng(seed).integers(0, len(_PALETTE), (-(-height // cell), -(-width // cell)))
    labels = np.kron(labels, np.ones((cell, cell), int))[:height, :width].astype(np.uint8)
    return _PALETTE[labels], labels


def _window(start, size, out_start, out_size, flip=False, angle=0.0):
    pairs = [tf.constant(pair, tf.int32) for pair in (start, size, out_start, out_size)]
    return augment.Window(*pairs, tf.constant(flip), tf.constant(angle, tf.float32))


def _cut(image, labels, window, crop_size, **options):
    top, left, height, width = *window.start.numpy(), *window.size.numpy()
    box = np.s_[top : top + height, left : left + width]
    return (
        augment.crop_image(tf.constant(image[box]), window, crop_size, **options).numpy(),
        augment.crop_target(tf.constant(labels[box]), window, crop_size).numpy(),
    )


def _turn(image, labels, window, crop_size):
    box = augment.turned_box(window, tf.constant(labels.shape), crop_size)
    (top, left), (height, width) = box[0].numpy(), box[1].numpy()
    part = np.s_[top : top + height, left : left + width]
    return (
        augment.turn_image(tf.constant(image[part]), window, box, crop_size).numpy(),
        augment.turn_target(tf.constant(labels[part]), window, box, crop_size).numpy(),
    )


def _draw(seed, image_size, crop_size, low=0.5, high=2.0, **options):
    uniforms = tf.random.stateless_uniform([5], [3, seed])
    return augment.draw_window(uniforms, tf.constant(image_size), crop_size, low, high, **options)


def _assert_they_agree(image, target):
    """Pixels whose 3x3 neighbourhood has one target value show that value's colour; padding is grey, and only it."""
    padded = np.pad(target, 1, constant_values=254)
    around = np.stack([padded[y : y + target.shape[0], x : x + target.shape[1]] for y in range(3) for x in range(3)])
    inner = (around == target).all(0)
    distances = np.abs(image[..., None, :].astype(int) - _PALETTE).sum(-1)
    labelled = inner & (target != augment.PADDING)
    assert (distances.argmin(-1)[labelled] == target[labelled]).all()
    np.testing.assert_array_equal((image == augment.GREY).all(-1), target == augment.PADDING)
    return labelled.mean()


@pytest.mark.parametrize("seed", range(12))
def test_image_and_target_agree_after_scale_crop_flip_and_padding(seed):
    image, labels = _scene(60, 90, seed=seed)
    window = _draw(seed, labels.shape, (48, 64))
    assert _assert_they_agree(*_cut(image, labels, window, (48, 64))) > 0.2


@pytest.mark.parametrize("seed", range(12))
def test_image_and_target_agree_after_a_turn(seed):
    image, labels = _scene(60, 90, seed=seed)
    window = _draw(seed, labels.shape, (48, 64), rotate_degrees=60.0)
    assert _assert_they_agree(*_turn(image, labels, window, (48, 64))) > 0.05


def test_a_window_of_scale_one_copies_its_pixels():
    image, labels = _scene(20, 30)
    cut = _cut(image, labels, _window((3, 5), (12, 16), (0, 0), (12, 16)), (12, 16))
    np.testing.assert_array_equal(cut[0], image[3:15, 5:21])
    np.testing.assert_array_equal(cut[1], labels[3:15, 5:21])
    cut = _cut(image, labels, _window((3, 5), (12, 16), (0, 0), (12, 16), flip=True), (12, 16))
    np.testing.assert_array_equal(cut[0], image[3:15, 5:21][:, ::-1])
    np.testing.assert_array_equal(cut[1], labels[3:15, 5:21][:, ::-1])


def test_doubling_two_pixels_by_hand():
    # Centres of the four new pixels lie at -1/4, 1/4, 3/4 and 5/4 of the old ones' grid.
    image = np.repeat(np.array([[[0], [100]]], np.uint8), 3, 2)
    cut = _cut(image, np.array([[7, 9]], np.uint8), _window((0, 0), (1, 2), (0, 1), (1, 4)), (2, 6))
    assert cut[0][..., 0].tolist() == [[128, 0, 25, 75, 100, 128], [128] * 6]
    assert cut[1].tolist() == [[255, 7, 7, 9, 9, 255], [255] * 6]


def test_shrinking_takes_the_pixel_under_each_centre_by_hand():
    # Six pixels to two: the new centres lie at 1.5 and 4.5, in the second and the fifth.
    labels = np.array([[1, 2, 3, 4, 5, 6]], np.uint8)
    image = (labels * 10)[..., None].repeat(3, -1)
    for flip in (False, True):
        cut = _cut(image, labels, _window((0, 0), (1, 6), (0, 0), (1, 2), flip), (1, 2))
        assert cut[1].tolist() == ([[5, 2]] if flip else [[2, 5]])
        assert cut[0][..., 1].tolist() == ([[50, 20]] if flip else [[20, 50]])


def test_padding_is_255_whatever_the_labels_are():
    image, labels = _scene(16, 16)
    for window in (_draw(seed, (16, 16), (24, 20), 0.5, 0.9) for seed in range(5)):
        _, target = _cut(image, labels, window, (24, 20))
        height, width = window.out_size.numpy()
        assert (target == 255).sum() == 24 * 20 - height * width > 0


def test_a_turn_by_nothing_is_the_crop_and_by_a_quarter_moves_right_to_bottom():
    image, labels = _scene(32, 32)
    still = _window((4, 6), (20, 20), (0, 0), (20, 20))
    for turned, cut in zip(_turn(image, labels, still, (20, 20)), _cut(image, labels, still, (20, 20))):
        np.testing.assert_array_equal(turned, cut)
    quarter = _window((4, 6), (20, 20), (0, 0), (20, 20), angle=math.pi / 2)
    turned, target = _turn(image, labels, quarter, (20, 20))
    np.testing.assert_array_equal(target, np.rot90(labels[4:24, 6:26], k=-1))
    np.testing.assert_array_equal(turned, np.rot90(image[4:24, 6:26], k=-1))


def test_a_turned_and_mirrored_crop_is_the_mirror_of_the_turned_crop():
    image, labels = _scene(40, 40)
    plain, flipped = (_window((8, 8), (24, 24), (0, 0), (24, 24), flip, 0.4) for flip in (False, True))
    for one, other in zip(_turn(image, labels, plain, (24, 24)), _turn(image, labels, flipped, (24, 24))):
        np.testing.assert_array_equal(one[:, ::-1], other)


def test_windows_stay_in_the_image_and_take_every_place_and_scale():
    uniforms = tf.random.stateless_uniform([400, 5], [1, 2])
    draw = lambda u: augment.draw_window(u, tf.constant([20, 40]), (16, 24), 0.5, 2.0)  # noqa: E731
    drawn = tf.data.Dataset.from_tensor_slices(uniforms).map(draw).batch(400).get_single_element()
    windows = augment.Window(*(value.numpy() for value in drawn))
    assert (windows.start >= 0).all() and (windows.start + windows.size <= [20, 40]).all()
    assert (windows.out_start >= 0).all() and (windows.out_start + windows.out_size <= [16, 24]).all()
    whole = windows.out_size == [16, 24]
    assert (windows.size[~whole] == np.broadcast_to([20, 40], (400, 2))[~whole]).all()
    scale = windows.out_size[:, 1] / windows.size[:, 1]
    assert scale.min() < 0.53 and scale.max() > 1.9 and abs(np.median(scale) - 1) < 0.1  # log-uniform: median 1
    unscaled = np.abs(scale - 1) < 0.04
    assert set(windows.start[unscaled, 0]) == set(range(5))
    assert 0.4 < windows.flip.mean() < 0.6


def test_an_uneven_scale_stays_within_half_a_pixel_of_the_drawn_one():
    uniforms = tf.constant([0.8, 0.3, 0.6, 0.9, 0.5])
    scale = 0.5 * 4**0.8
    window = augment.draw_window(uniforms, tf.constant([500, 700]), (96, 128), 0.5, 2.0)
    assert np.abs(window.size.numpy() - np.array([96, 128]) / scale).max() <= 0.5


def test_antialiasing_averages_a_fine_checkerboard_that_plain_interpolation_keeps():
    board = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, -1)
    window = _window((0, 0), (64, 64), (0, 0), (13, 13))
    smooth = _cut(board, board[..., 0], window, (13, 13), antialias=True)[0]
    rough = _cut(board, board[..., 0], window, (13, 13))[0]
    assert np.abs(smooth.astype(int) - 100).max() <= 25 < np.abs(rough.astype(int) - 100).max()


def _recolour(image, uniforms, **strengths):
    options = dict(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0) | strengths
    matrix, offset = augment.colour_matrix(tf.constant(uniforms, tf.float32), **options)
    height, width = image.shape[:2]
    window = _window((0, 0), (height, width), (0, 0), (height, width))
    return augment.crop_image(tf.constant(image), window, (height, width), matrix, offset).numpy()


def _all_colours(height=16, width=20):
    return np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_colours_equal_their_formulas_in_float64():
    image = _all_colours()
    x, luma = image.astype(float), image.astype(float) @ [0.299, 0.587, 0.114]
    cases = {
        "brightness": (0.125, x + 255 * 0.125 * 0.6),
        "contrast": (0.25, (x - 127.5) * (1 + 0.25 * 0.6) + 127.5),
        "saturation": (0.5, luma[..., None] + (1 + 0.5 * 0.6) * (x - luma[..., None])),
    }
    for name, (strength, expected) in cases.items():
        found = _recolour(image, [0.8] * 4, **{name: strength})  # u = 2 * 0.8 - 1 = 0.6
        expected = expected.clip(0, 255)
        assert np.abs(found - expected).max() <= 0.501, name
        assert np.abs(found - x).max() > 5, name


def test_hue_by_a_third_turn_three_times_is_no_turn_and_keeps_the_luma():
    image = (100 + _all_colours() // 5).astype(np.uint8)  # far from clipping
    turned = image
    for step in range(3):
        turned = _recolour(turned, [0.5, 0.5, 0.5, 1.0], hue=1 / 3)
        assert step == 2 or np.abs(turned.astype(int) - image).max() > 10
        assert np.abs((turned.astype(float) - image) @ [0.299, 0.587, 0.114]).max() < 2
    assert np.abs(turned.astype(int) - image).max() <= 2


def test_hue_and_saturation_keep_greys_and_no_colour_keeps_all():
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, -1)
    np.testing.assert_array_equal(_recolour(greys, [0.1, 0.5, 0.9, 0.8], saturation=0.8, hue=0.3), greys)
    for options in ({}, dict(brightness=0.1, contrast=0.2, saturation=0.2, hue=0.1)):
        np.testing.assert_array_equal(_recolour(_all_colours(), [0.5] * 4, **options), _all_colours())


def test_colours_are_clipped_not_wrapped_and_do_not_reach_padding_or_target():
    image, labels = _scene(16, 16)
    window = _window((0, 0), (16, 16), (2, 3), (16, 16))
    matrix, offset = augment.colour_matrix(tf.constant([1.0, 1.0, 0.5, 0.5]), 0.9, 0.5, 0.1, 0.1)
    bright, target = _cut(image, labels, window, (20, 20), matrix=matrix, offset=offset)
    inside = np.s_[2:18, 3:19]
    assert (bright[inside].astype(int) >= image).all() and (bright[inside].max(-1) == 255).all()
    outside = np.ones((20, 20), bool)
    outside[inside] = False
    assert (bright[outside] == augment.GREY).all() and (target[outside] == augment.PADDING).all()
    np.testing.assert_array_equal(target[inside], labels)


@pytest.mark.parametrize("size", [(16, 20), (7, 9)])
def test_pixels_in_fours_and_alone_come_out_alike(size):
    image = _all_colours(*size)
    strengths = dict(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.1)
    uniforms = [0.9, 0.2, 0.8, 0.7]
    row = _recolour(image[:1, :1], uniforms, **strengths)
    np.testing.assert_array_equal(_recolour(image, uniforms, **strengths)[:1, :1], row)


def test_crops_are_the_same_eagerly_in_a_graph_and_in_tf_data():
    image, labels = _scene(60, 90)

    def crop(seed):
        uniforms = tf.random.stateless_uniform([9], [5, seed])
        window = augment.draw_window(uniforms[:5], tf.constant([60, 90]), (48, 64), 0.5, 2.0, True, 20.0)
        matrix, offset = augment.colour_matrix(uniforms[5:], 0.1, 0.2, 0.2, 0.02)
        pixels = tf.slice(image, tf.concat([window.start, [0]], 0), tf.concat([window.size, [3]], 0))
        box = augment.turned_box(window, tf.constant([60, 90]), (48, 64))
        return (
            augment.crop_image(pixels, window, (48, 64), matrix, offset, antialias=True),
            augment.crop_target(tf.slice(labels, window.start, window.size), window, (48, 64)),
            augment.turn_target(tf.slice(labels, *box), window, box, (48, 64)),
        )

    graph = tf.function(crop, input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
    for seed, streamed in enumerate(tf.data.Dataset.range(4).map(crop, num_parallel_calls=2)):
        for eager, traced, element in zip(crop(tf.constant(seed, tf.int64)), graph(seed), streamed):
            np.testing.assert_array_equal(eager, traced)
            np.testing.assert_array_equal(eager, element)


def test_largest_class_share_by_hand():
    # Classes 0, 0, 0, 1; void 2 (K = 2) and padding do not count: 3/4.
    assert augment.largest_class_share(tf.constant([[0, 0, 0, 1], [2, 2, 255, 255]], tf.uint8), 2) == 0.75
    assert augment.largest_class_share(tf.constant([[2, 255]], tf.uint8), 2) == 1


def test_cutmix_takes_one_rectangle_of_the_drawn_area():
    zeros, ones = np.zeros((20, 40, 3), np.uint8), np.full((20, 40, 3), 9, np.uint8)
    image, target = mixing.cutmix(tf.constant([0.25, 1.0, 0.5]), zeros, zeros[..., 0], ones, ones[..., 0] + 246)
    # A quarter of the area is half of each side: 10 x 20, at the bottom, from a quarter of the width on.
    expected = np.zeros((20, 40), np.uint8)
    expected[10:, 10:30] = 255
    np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(image[..., 0] == 9, expected == 255)


def test_copy_paste_moves_half_of_the_classes_and_neither_void_nor_padding():
    other = np.array([[0, 1, 2, 3], [3, 4, 255, 0]], np.uint8)  # K = 4: classes 0..3, void 4
    uniforms = tf.constant([0.9, 0.1, 0.8, 0.2])  # the smaller half: classes 1 and 3
    image, target = mixing.copy_paste(
        uniforms, np.zeros((2, 4, 3), np.uint8), np.zeros((2, 4), np.uint8), np.ones((2, 4, 3), np.uint8), other, 4
    )
    assert target.numpy().tolist() == [[0, 1, 0, 3], [3, 0, 0, 0]]
    assert image.numpy()[..., 1].tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("scale_min", 0.0, "config.augment.scale_min=0.0 and config.augment.scale_max=2.0: expected 0 <"),
        ("scale_max", 0.1, "expected 0 < scale_min <= scale_max"),
        ("rotate_degrees", -1.0, "config.augment.rotate_degrees=-1.0: expected a number from 0 to 180"),
        ("contrast", 1.0, "config.augment.contrast=1.0"),
        ("hue", 0.6, "config.augment.hue=0.6"),
        ("cat_max_ratio", 0.0, "config.augment.cat_max_ratio=0.0"),
        ("cutmix_probability", 1.5, "config.augment.cutmix_probability=1.5"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_in_one_line(key, value, words):
    options = config_module.default().augment
    augment.check_options(options, (8, 8))
    options[key] = value
    with pytest.raises(ValueError) as refused:
        augment.check_options(options, (8, 8))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_crop_size_that_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"config.data.crop_size=\(0, 8\)"):
        augment.check_options(config_module.default().augment, (0, 8))
