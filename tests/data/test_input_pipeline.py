"""Which example a step trains on, what its target says, and what is held out: laws of the input pipeline."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfrecords
from kseg import config as config_module
from kseg.data import decoding, input_pipeline, splits

_IDS = [f"0001TP_{number:06d}" for number in range(0, 210, 30)] + [f"Seq05VD_f{number:05d}" for number in range(6)]
_HEIGHT, _WIDTH = 24, 32


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """13 images in which every id of CamVid occurs, each id in a colour of its own, each image in a shade."""
    folder = tmp_path_factory.mktemp("pictures")
    made = []
    for number, image_id in enumerate(_IDS):
        labels = np.random.default_rng(number).integers(0, 13, (_HEIGHT // 8, _WIDTH // 8))
        labels.flat[:12] = np.random.default_rng(number).permutation(13)[:12]
        labels = np.kron(labels, np.ones((8, 8), int)).astype(np.uint8)
        image = np.stack([labels * 18 + 3, 255 - labels * 18, np.full_like(labels, 5 * number + 90)], -1)
        files = [str(folder / f"{image_id}_{kind}.png") for kind in ("image", "label")]
        for file, array in zip(files, (image, labels)):
            Image.fromarray(array).save(file)
        made.append(tfrecords.Pair(image_id, *files))
    return made


def _write(folder, pairs, **options):
    options = dict(num_shards=3, num_workers=1) | options
    return tfrecords.write(folder, tfrecords.labels.CAMVID, {"train": pairs}, **options)


@pytest.fixture(scope="module")
def manifest(pairs, tmp_path_factory):
    return _write(tmp_path_factory.mktemp("records") / "png", pairs)


def _config(**augment):
    config = config_module.default()
    config.data.crop_size = (16, 20)
    config.data.calibration_fraction = 0.0
    config.train.batch_size = 4
    for key, value in augment.items():
        config.augment[key] = value
    return config


def _plain(**data):
    """No augmentation at all: whole images."""
    config = _config(scale_min=1.0, scale_max=1.0, flip=False, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    config.data.crop_size = (_HEIGHT, _WIDTH)
    for key, value in data.items():
        config.data[key] = value
    return config


def _batches(config, manifest, count=6, encoding="background", **arguments):
    dataset = input_pipeline.train_dataset(config, manifest, encoding, **arguments)
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset.take(count)]


def _assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        for key in ("image", "target"):
            np.testing.assert_array_equal(batch[key], other[key])


def _numbers(batches):
    """Which image each example is, told by its shade."""
    return [(int(image[..., 2].max()) - 90) // 5 for batch in batches for image in batch["image"]]


def test_batches_are_a_pure_function_of_seed_and_step(manifest):
    config = _config()
    batches = _batches(config, manifest, 9)
    assert batches[0]["image"].shape == (4, 16, 20, 3) and batches[0]["image"].dtype == np.uint8
    assert batches[0]["target"].shape == (4, 16, 20) and batches[0]["target"].dtype == np.uint8
    for start in (1, 3, 7):  # 3 crosses the first epoch's end inside the batch, 7 begins in the third epoch
        _assert_equal(batches[start:], _batches(config, manifest, 9 - start, start_step=start))
    config.train.seed = 1
    assert not all((a["target"] == b["target"]).all() for a, b in zip(batches, _batches(config, manifest, 9)))


@pytest.mark.extras
def test_batches_stay_a_pure_function_of_the_step_with_the_ops_of_tensorflow_addons(manifest):
    ops = ("rotate", "sharpness", "equalize", "gaussian_blur", "cutout", "elastic_warp")
    plain, config = _config(), _config(addons=ops)
    batches = _batches(config, manifest, 4)
    _assert_equal(batches[2:], _batches(config, manifest, 2, start_step=2))
    assert any((a["image"] != b["image"]).any() for a, b in zip(batches, _batches(plain, manifest, 4)))


def test_ops_of_tensorflow_addons_are_checked_before_the_first_batch(manifest):
    with pytest.raises(ValueError, match="augment.addons names 'swirl'"):
        input_pipeline.train_dataset(_config(addons=("swirl",)), manifest, "ignore")


@pytest.mark.parametrize(
    "options", [{}, {"rotate_degrees": 5.0}, {"cat_max_ratio": 0.7, "copy_paste_probability": 0.5}]
)
def test_shapes_are_known_before_the_first_batch(manifest, options):
    spec = input_pipeline.train_dataset(_config(**options), manifest, "ignore", num_input_pipelines=2).element_spec
    assert spec == {
        "image": tf.TensorSpec([2, 16, 20, 3], tf.uint8),
        "target": tf.TensorSpec([2, 16, 20], tf.uint8),
    }


def test_a_start_far_ahead_is_reached_at_once(manifest):
    far = _batches(_plain(), manifest, 1, start_step=10**12)
    assert set(_numbers(far)) <= set(range(13))


@pytest.mark.parametrize("pipelines", [2, 4])
def test_input_pipelines_give_the_contiguous_parts_of_each_global_batch(manifest, pipelines):
    config = _config(cutmix_probability=0.5)
    whole = _batches(config, manifest, 5, start_step=2)
    parts = [
        _batches(config, manifest, 5, start_step=2, num_input_pipelines=pipelines, input_pipeline_id=number)
        for number in range(pipelines)
    ]
    joined = [{key: np.concatenate([part[key] for part in step]) for key in step[0]} for step in zip(*parts)]
    _assert_equal(whole, joined)


def test_threads_memory_shards_and_eager_execution_change_nothing(manifest, pairs, tmp_path):
    config = _config(cat_max_ratio=0.6, rotate_degrees=20.0, copy_paste_probability=0.5)
    batches = _batches(config, manifest, 5)
    for threads, cache in ((1, False), (4, False), (2, True)):
        config.data.num_parallel_calls, config.data.cache = threads, cache
        _assert_equal(batches, _batches(config, manifest, 5))
    config.data.cache = False
    one_shard = _write(tmp_path / "one", pairs, num_shards=1)
    assert len(one_shard.split("train").shards) == 1 < len(manifest.split("train").shards)
    _assert_equal(batches, _batches(config, one_shard, 5))
    numbers = input_pipeline._example_numbers(config.train.seed, 13, 0)
    load = input_pipeline._example_function(config, manifest, "background", np.arange(13))
    for place, (epoch, position) in enumerate(numbers.take(3)):
        example = load(epoch, position)
        np.testing.assert_array_equal(example["image"], batches[0]["image"][place])
        np.testing.assert_array_equal(example["target"], batches[0]["target"][place])


def test_every_epoch_has_each_image_once_in_an_order_of_its_own(manifest):
    numbers = _numbers(_batches(_plain(), manifest, 13))  # 4 epochs of 13 images in batches of 4
    epochs = [tuple(numbers[start : start + 13]) for start in range(0, 52, 13)]
    assert all(sorted(epoch) == list(range(13)) for epoch in epochs)
    assert len(set(epochs)) == 4
    assert _numbers(_batches(_plain(), manifest, 13, batch_size=2, start_step=13))[:26] == numbers[26:]


def test_the_same_image_is_augmented_anew_in_each_epoch(manifest):
    config = _plain(crop_size=(16, 20))
    epochs = _batches(config, manifest, 2, batch_size=13)
    by_image = [dict(zip(_numbers([epoch]), epoch["target"])) for epoch in epochs]
    assert sum((by_image[0][number] == by_image[1][number]).all() for number in range(13)) <= 1


def test_unaugmented_examples_are_the_stored_images_under_each_encoding(manifest):
    stored = {example.image_id: example for example in tfrecords.read(manifest.records_dir, "train")}
    for encoding in ("ignore", "background", "hybrid"):
        (batch,) = _batches(_plain(), manifest, 1, encoding=encoding, batch_size=13)
        for number, image, target in zip(_numbers([batch]), batch["image"], batch["target"]):
            example = stored[_IDS[number]]
            np.testing.assert_array_equal(image, tf.io.decode_png(example.image_encoded))
            ids = tf.io.decode_png(example.ids_png)[..., 0].numpy()
            np.testing.assert_array_equal(target, tfrecords.labels.CAMVID.encoding(encoding)[ids])


def test_chosen_void_ids_are_void_in_targets_and_unseen_ones_255_under_every_encoding(manifest):
    stored = {example.image_id: example for example in tfrecords.read(manifest.records_dir, "train")}
    config = _plain(seen_void_ids=(2,), unseen_void_ids=(5, 7))
    classes = {0: 0, 1: 1, 3: 2, 4: 3, 6: 4, 8: 5, 9: 6, 10: 7}  # re-indexed without 2, 5 and 7
    void = {
        "ignore": {2: 255, 5: 255, 7: 255, 11: 255, 12: 255},
        "background": {2: 8, 5: 255, 7: 255, 11: 8, 12: 8},
        "hybrid": {2: 8, 5: 255, 7: 255, 11: 8, 12: 255},
    }
    assert splits.label_table(config, manifest).num_classes == 8
    for encoding, values in void.items():
        (batch,) = _batches(config, manifest, 1, encoding=encoding, batch_size=13)
        for number, target in zip(_numbers([batch]), batch["target"]):
            ids = tf.io.decode_png(stored[_IDS[number]].ids_png)[..., 0].numpy()
            np.testing.assert_array_equal(target, np.vectorize({**classes, **values}.get)(ids))


def test_treatments_see_the_same_crops_whatever_their_encoding(manifest):
    config = _config(
        cat_max_ratio=0.5, rotate_degrees=10.0, cutmix_probability=0.4, copy_paste_probability=0.4, scale_min=0.3
    )
    ignore, background, hybrid = (_batches(config, manifest, 8, name) for name in ("ignore", "background", "hybrid"))
    voids = paddings = 0
    for one, other, third in zip(ignore, background, hybrid):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["image"], third["image"])
        void = other["target"] == 11
        assert (one["target"][void] == 255).all()
        np.testing.assert_array_equal(one["target"][~void], other["target"][~void])
        assert set(np.unique(third["target"][void])) <= {11, 255}
        voids, paddings = voids + void.sum(), paddings + (other["target"] == 255).sum()
    assert voids > 100 and paddings > 100


@pytest.mark.parametrize("encoding", ["ignore", "background", "hybrid"])
@pytest.mark.parametrize("options", [{}, {"rotate_degrees": 30.0}])
def test_invented_pixels_are_255_and_grey_under_every_encoding(manifest, encoding, options):
    config = _config(scale_min=0.3, scale_max=0.5, **options)  # 24x32 at half size and less, in crops of 16x20
    for batch in _batches(config, manifest, 3, encoding):
        # The red channel of a real pixel before recolouring is that of an id; invented pixels are exactly grey.
        grey = (batch["image"] == 128).all(-1)
        assert 0.3 < grey.mean() < 0.95
        assert (batch["target"][grey] == 255).all()
        if encoding == "background":  # where every real pixel has a target
            np.testing.assert_array_equal(batch["target"] == 255, grey)


def test_crops_full_of_one_class_are_drawn_again(manifest, pairs, tmp_path):
    labels = np.zeros((40, 200), np.uint8)
    labels[:, 190:] = 3
    for name, array in (("image", np.repeat(labels[..., None], 3, -1)), ("label", labels)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    pair = tfrecords.Pair("one_000000_000000", str(tmp_path / "image.png"), str(tmp_path / "label.png"))
    records = _write(tmp_path / "records", [pair], num_shards=1)
    shares = {}
    for ratio in (1.0, 0.75):
        config = _config(cat_max_ratio=ratio, scale_min=1.0, scale_max=1.0, flip=False)
        targets = np.concatenate([batch["target"] for batch in _batches(config, records, 10)])
        counts = np.stack([(targets == label).sum((1, 2)) for label in (0, 3)], -1)
        shares[ratio] = (counts.max(-1) / counts.sum(-1) <= 0.75).mean()
    # 5 columns or more of 20 show the second class at 6 of 181 places: 3 % of crops, and 1 - (1 - 6/181)^10 = 29 %.
    assert shares[1.0] < 0.15 and 0.1 < shares[0.75] < 0.6 and shares[0.75] > shares[1.0]


def test_calibration_images_are_the_end_of_each_sequence_after_a_gap(manifest):
    config = _config()
    config.data.calibration_fraction = 0.25
    image_ids = manifest.index("train").image_ids
    training, calibration = splits.split_calibration(config, manifest)
    # 7 frames: round(1.75) = 2 held out after a gap of 1; 6 frames: round(1.5) = 2 likewise.
    assert sorted(image_ids[index] for index in calibration) == _IDS[5:7] + _IDS[11:13]
    assert sorted(image_ids[index] for index in training) == _IDS[0:4] + _IDS[7:10]
    assert calibration.dtype == training.dtype == np.int64
    assert (np.diff(calibration) > 0).all() and (np.diff(training) > 0).all()
    plain = _plain(calibration_fraction=0.25)
    seen = _numbers(_batches(plain, manifest, 3, batch_size=7))
    assert sorted(seen) == sorted(3 * [0, 1, 2, 3, 7, 8, 9])


def _with_ids(manifest, image_ids):
    split = manifest.split("train")
    shard = dataclasses.replace(split.shards[0], examples=len(image_ids), image_ids=tuple(image_ids))
    shard = dataclasses.replace(shard, offsets=tuple(range(len(image_ids))))
    return dataclasses.replace(
        manifest, splits={"train": dataclasses.replace(split, shards=(shard,), examples=len(image_ids))}
    )


def test_whole_sequences_are_held_out_where_there_are_many(manifest):
    names = [f"city{number}_{frame:06d}_000019" for number in range(20) for frame in range(3 + number % 5)]
    config = _config()
    config.data.calibration_fraction = 0.2
    training, calibration = splits.split_calibration(config, _with_ids(manifest, names))
    assert len(training) + len(calibration) == len(names)
    held_out = {names[index].split("_")[0] for index in calibration}
    assert held_out.isdisjoint({names[index].split("_")[0] for index in training})
    assert 0.15 * len(names) < len(calibration) <= 0.2 * len(names)
    # The order of the records has no say.
    order = np.random.default_rng(0).permutation(len(names))
    again = splits.split_calibration(config, _with_ids(manifest, [names[index] for index in order]))
    assert {names[order[index]] for index in again[1]} == {names[index] for index in calibration}


def test_frames_are_ordered_by_number_and_long_sequences_leave_a_twentieth_as_gap(manifest):
    names = [f"drive_{frame}" for frame in range(200)]
    config = _config()
    config.data.calibration_fraction = 0.1
    training, calibration = splits.split_calibration(config, _with_ids(manifest, names))
    assert training.tolist() == list(range(170)) and calibration.tolist() == list(range(180, 200))


def test_no_sequence_is_ever_held_out_wholly_where_there_are_few(manifest):
    config = _config()
    config.data.calibration_fraction = 0.5
    names = ["a_0", "a_1", "b_0", "b_1", "b_2", "c_0"]
    training, calibration = splits.split_calibration(config, _with_ids(manifest, names))
    # a and c are too short for a frame, a gap and a frame; of b's three, half would be two: one is left to train on.
    assert [names[index] for index in calibration] == ["b_2"]
    assert [names[index] for index in training] == ["a_0", "a_1", "b_0", "c_0"]


def test_nothing_is_held_out_at_fraction_zero_and_what_cannot_be_is_refused(manifest):
    config = _config()
    training, calibration = splits.split_calibration(config, manifest)
    assert training.tolist() == list(range(13)) and calibration.size == 0
    config.data.calibration_fraction = 0.1
    with pytest.raises(ValueError, match="no sequence of split 'train' has frames enough"):
        splits.split_calibration(config, _with_ids(manifest, ["a_0", "a_1"]))
    config.data.calibration_fraction = 1.0
    with pytest.raises(ValueError, match="config.data.calibration_fraction=1.0: expected a share from 0"):
        splits.split_calibration(config, manifest)


def test_what_cannot_be_trained_on_is_refused_in_one_line(manifest, pairs, tmp_path):
    config = _config()
    with pytest.raises(ValueError, match="batch size 4 cannot be shared evenly by 3 input pipelines"):
        input_pipeline.train_dataset(config, manifest, "ignore", num_input_pipelines=3)
    unlabelled = _write(tmp_path / "bare", [dataclasses.replace(pair, label_path=None) for pair in pairs])
    with pytest.raises(ValueError, match="has 13 images to train on and no labels"):
        input_pipeline.train_dataset(config, unlabelled, "ignore")
    config.train.seed = -1
    with pytest.raises(ValueError, match="config.train.seed=-1"):
        input_pipeline.train_dataset(config, manifest, "ignore")
    config.train.seed, config.data.train_split = 0, "nowhere"
    with pytest.raises(ValueError, match="nowhere"):
        input_pipeline.train_dataset(config, manifest, "ignore")


def test_every_worker_reads_every_file_and_order_is_kept(manifest):
    for dataset in (
        input_pipeline.train_dataset(_config(), manifest, "ignore"),
        input_pipeline.eval_dataset(manifest, "train"),
    ):
        options = dataset.options()
        assert options.experimental_distribute.auto_shard_policy == tf.data.experimental.AutoShardPolicy.OFF
        assert options.deterministic is True


def test_eval_images_come_whole_in_record_order(manifest, pairs, tmp_path):
    examples = list(tfrecords.read(manifest.records_dir, "train"))
    for indices in (None, [7, 0, 3]):
        images = list(input_pipeline.eval_dataset(manifest, "train", indices))
        expected = examples if indices is None else [examples[index] for index in indices]
        assert [image["image_id"].numpy().decode() for image in images] == [example.image_id for example in expected]
        for image, example in zip(images, expected):
            np.testing.assert_array_equal(image["image"], tf.io.decode_png(example.image_encoded))
            np.testing.assert_array_equal(image["ids"], tf.io.decode_png(example.ids_png)[..., 0])
    assert list(input_pipeline.eval_dataset(manifest, "train", [])) == []
    unlabelled = _write(tmp_path / "bare", [dataclasses.replace(pair, label_path=None) for pair in pairs])
    for image in input_pipeline.eval_dataset(unlabelled, "train"):
        assert image["ids"].shape == (0, 0) and image["image"].shape == (_HEIGHT, _WIDTH, 3)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """JPEG records of one picture with colour edges everywhere."""
    folder = tmp_path_factory.mktemp("photograph")
    random = np.random.default_rng(0)
    image = np.kron(random.integers(0, 256, (20, 30, 3)), np.ones((5, 5, 1), int)).astype(np.uint8)
    Image.fromarray(image).save(folder / "image.png")
    Image.fromarray(random.integers(0, 13, (100, 150)).astype(np.uint8)).save(folder / "label.png")
    pair = tfrecords.Pair("a_0", str(folder / "image.png"), str(folder / "label.png"))
    return _write(folder / "records", [pair], num_shards=1, image_format="jpeg")


def test_a_box_of_a_jpeg_is_that_of_the_whole_but_for_the_chroma_of_its_outer_columns(photograph):
    example = tfrecords.parse(decoding.reader(photograph, "train")(0))
    whole = decoding.decode_image(example, "jpeg").numpy()
    (stored,) = tfrecords.read(photograph.records_dir, "train")
    pillow = np.asarray(Image.open(io.BytesIO(stored.image_encoded)))
    assert np.abs(whole.astype(int) - pillow).max() <= 1
    for start, size in (((0, 0), (100, 150)), ((16, 32), (48, 64)), ((13, 7), (50, 61)), ((3, 90), (97, 60))):
        box = decoding.decode_box(example, "jpeg", (tf.constant(start), tf.constant(size))).numpy()
        expected = whole[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
        np.testing.assert_array_equal(box[:, 1:-1], expected[:, 1:-1])


def test_jpeg_records_are_trained_on_too(photograph):
    batches = _batches(_config(), photograph, 2)
    assert batches[0]["image"].shape == (4, 16, 20, 3)
    (batch,) = _batches(_plain(crop_size=(100, 150)), photograph, 1, batch_size=1)
    example = tfrecords.parse(decoding.reader(photograph, "train")(0))
    np.testing.assert_array_equal(batch["image"][0], decoding.decode_image(example, "jpeg"))


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_a_damaged_record_is_an_error_not_an_example(pairs, tmp_path, image_format):
    records = _write(tmp_path / "records", pairs[:1], num_shards=1, image_format=image_format)
    (example,) = tfrecords.read(records.records_dir, "train")
    (shard,) = records.split("train").shards
    path = tmp_path / "records" / shard.file
    data = path.read_bytes()
    for encoded in (example.image_encoded, example.ids_png):
        position = data.index(encoded) + len(encoded) // 2
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.DataLossError)):
            _batches(_config(), records, 1, "hybrid")
    path.write_bytes(data[:-5])
    with pytest.raises(tf.errors.OpError):
        _batches(_config(), records, 1, "hybrid")
    path.write_bytes(data)
    _batches(_config(), records, 1, "hybrid")


def test_a_label_map_of_another_size_than_its_image_is_refused_by_name():
    encode = lambda height, channels: tf.io.encode_png(tf.zeros([height, 4, channels], tf.uint8))  # noqa: E731
    example = dict(image_id="a_0", height=tf.constant(6, tf.int64), width=tf.constant(4, tf.int64))
    example |= dict(image_encoded=encode(6, 3), ids_png=encode(5, 1))
    assert decoding.decode_image(example, "png").shape == (6, 4, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="label map"):
        decoding.decode_labels(example, "ids_png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        decoding.decode_box(example | {"image_encoded": encode(7, 3)}, "png", (tf.zeros([2], tf.int32),) * 2)
