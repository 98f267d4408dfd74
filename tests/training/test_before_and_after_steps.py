"""What would only fail after the last step is refused before the first; what fails there leaves the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import training_run
from PIL import Image

import tfrecords
from kseg.evaluation import evaluate
from kseg.training import checks, train

TABLE = tfrecords.LabelTable(
    "toy",
    (
        tfrecords.Label(0, "road", 0, None, (0, 0, 0)),
        tfrecords.Label(1, "car", 1, None, (1, 1, 1)),
        tfrecords.Label(2, "rest", None, "scene", (2, 2, 2)),
    ),
)


def twelve_frames(folder, void_frames):
    """Twelve frames of one sequence, of which the last three are held out at 0.25; some of nothing but void."""
    pairs = []
    for number in range(12):
        ids = np.full((32, 64), 2, np.uint8)
        if number not in void_frames:
            ids[20, 30] = number % 2
        name = f"a_{number:06d}"
        Image.fromarray(ids).save(folder / f"{name}_ids.png")
        Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(folder / f"{name}.png")
        pairs.append(tfrecords.Pair(name, folder / f"{name}.png", folder / f"{name}_ids.png"))
    return tfrecords.write(folder / "records", TABLE, {"train": pairs}, num_workers=1, num_shards=2)


@pytest.mark.parametrize(
    ("void_frames", "message"),
    [
        (range(9, 12), "the 3 images that config.data.calibration_fraction=0.25 holds out .* no pixel of a class"),
        (range(8), "the 8 images .* to train on have no pixel of a class"),
        (range(12), "to train on have no pixel of a class"),
        ((0, 1, 2, 3, 4, 5, 6, 9, 10), None),  # one frame of each is enough
    ],
)
def test_images_without_a_labelled_pixel_are_refused_before_the_first_step(tmp_path, void_frames, message):
    manifest = twelve_frames(tmp_path, void_frames)
    config = training_run.settings(str(tmp_path / "records"), ["train.num_virtual_devices=1"])
    if message is None:
        checks.check(config, manifest, tf.distribute.get_strategy(), "run")
        return
    with pytest.raises(ValueError, match=message) as caught:
        train.train_and_evaluate(config, str(tmp_path / "run"), progress=False)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_classes_that_are_taken_for_void_do_not_count_as_labelled(tmp_path):
    manifest = twelve_frames(tmp_path, (9, 11))  # frame 10 has class 0
    config = training_run.settings(str(tmp_path / "records"))
    checks.check(config, manifest, tf.distribute.get_strategy(), "run")
    config.data.seen_void_ids = (0,)
    with pytest.raises(ValueError, match="the 3 images .* no pixel of a class"):
        checks.check(config, manifest, tf.distribute.get_strategy(), "run")


class Broken(RuntimeError):
    pass


class _Fails(keras.callbacks.Callback):
    def __init__(self, where):
        super().__init__()
        self._where = where

    def on_train_batch_end(self, batch, logs=None):
        if (self._where, batch) == ("batch", 1):
            raise Broken


def short(records):
    changes = ["train.num_virtual_devices=1", "train.total_steps=2", "eval.every_steps=0", "log.pictures=0"]
    return training_run.settings(records, changes)


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    """The folder of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    assert train.train_and_evaluate(short(records), str(folder), progress=False) == train.FINISHED
    return folder


@pytest.mark.parametrize("where", ["batch", "evaluation"])
def test_what_fails_after_the_last_step_leaves_the_model_and_the_next_call_goes_on(
    records, whole, tmp_path, monkeypatch, where
):
    config, folder = short(records), tmp_path / "run"
    with monkeypatch.context() as patched:
        if where == "evaluation":
            patched.setattr(evaluate, "evaluate", lambda *_, **__: (_ for _ in ()).throw(Broken))
        with pytest.raises(Broken):
            train.train_and_evaluate(config, str(folder), [_Fails(where)], progress=False)
    ours, expected = (keras.saving.load_model(path / "model.keras", compile=False) for path in (folder, whole))
    for a, b in zip(ours.weights, expected.weights):
        np.testing.assert_array_equal(a, b)
    assert train.train_and_evaluate(config, str(folder), progress=False) == train.FINISHED
    assert (folder / "calibration.json").read_bytes() == (whole / "calibration.json").read_bytes()
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_weights_that_are_not_finite_after_the_last_step_are_not_saved(records, tmp_path):
    config = training_run.settings(
        records,
        ["train.num_virtual_devices=1", "train.total_steps=1", "eval.every_steps=0", 'optimizer.name="sgd"']
        + ["optimizer.learning_rate=1e38", "optimizer.clip_norm=0.0", "optimizer.weight_decay=0.0"]
        + ["optimizer.ema_decay=0.0", "loss.main_weight=1e6"],
    )
    with pytest.raises(ValueError, match="not finite after step 1"):
        train.train_and_evaluate(config, str(tmp_path), progress=False)
    assert not (tmp_path / "model.keras").exists()
