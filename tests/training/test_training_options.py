"""What people expect of a trainer: averages, early stopping, fine-tuning, float16, a dry run, and a stop at NaN."""

import contextlib
import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import training_run
from PIL import Image
from tensorflow.core.util import event_pb2

import tfrecords
from kseg import optimizers, pictures, treatments
from kseg.data import input_pipeline, splits
from kseg.evaluation import evaluate
from kseg.models import unet
from kseg.runs import checkpoints, finished
from kseg.training import dry_run, train
from kseg.training import step as training_step


def settings(records, *changes):
    ours = ("train.num_virtual_devices=1", "train.deterministic=False", "model.dropout=0.0")
    return training_run.settings(records, [*ours, *changes])


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Beginning(keras.callbacks.Callback):
    """What a run starts from, and its first loss."""

    def on_train_begin(self, logs=None):
        self.weights = [weight.numpy() for weight in self.model.weights]

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.loss = float(logs["loss"])


@pytest.fixture(scope="module")
def beginning():
    return Beginning()


@pytest.fixture(scope="module")
def averaged(records, beginning, tmp_path_factory):
    """A run with averages of the weights and with class weights; evaluated twice."""
    folder = tmp_path_factory.mktemp("runs") / "averaged"
    config = settings(records, 'loss.class_weights="inverse_sqrt"')
    assert train.train_and_evaluate(config, str(folder), [beginning], progress=False) == train.FINISHED
    return folder


def test_class_weights_are_in_the_loss_that_is_trained_on(averaged, beginning, records):
    config, manifest = settings(records, 'loss.class_weights="inverse_sqrt"'), tfrecords.info(records)
    batch = next(iter(input_pipeline.train_dataset(config, manifest, "background")))
    model = unet.build(config.model, 20)
    model.set_weights(beginning.weights)
    logits = model(batch["image"], training=True)
    weights = training_step.class_weights(config, manifest, splits.label_table(config, manifest))
    weighted, plain = (
        float(treatments.get(config.treatment, 19, config.loss, w).loss(batch["target"], logits))
        for w in (weights, None)
    )
    assert beginning.loss == pytest.approx(weighted, rel=1e-5)
    assert abs(weighted - plain) > 1e-3


def test_a_frozen_encoder_stays_as_it_was_and_the_decoder_does_not(records, tmp_path, monkeypatch):
    def small(include_top, weights, input_tensor=None, input_shape=None):  # as keras.applications builds them
        x = keras.Input(input_shape) if input_tensor is None else input_tensor
        for level in range(5):
            x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"encoder{level}")(x)
            x = keras.layers.BatchNormalization(name=f"encoder{level}_norm")(x)
        return keras.Model(keras.utils.get_source_inputs(x), x)

    monkeypatch.setattr(keras.applications, "ResNet50", small)
    begin = Beginning()
    config = settings(
        records, 'model.encoder="resnet50"', "model.depth=4", "model.freeze_encoder=True", "train.total_steps=2",
        "eval.every_steps=0", "data.calibration_fraction=0.0", "optimizer.ema_decay=0.0", 'optimizer.name="sgd"',
    )  # fmt: skip
    train.train_and_evaluate(config, str(tmp_path), [begin], progress=False)
    model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    moved = {w.path for w, before in zip(model.weights, begin.weights) if np.any(w.numpy() != before)}
    assert len([w for w in model.weights if w.path.startswith("encoder")]) == 30
    assert not [path for path in moved if path.startswith("encoder")]
    assert {"up0_conv0/kernel", "up0_norm0/moving_mean", "head/bias"} < moved


def test_the_averages_are_what_is_saved_and_evaluated(averaged, records):
    _, arrays = checkpoints.load_newest(str(averaged / "checkpoints"))
    model = keras.saving.load_model(averaged / "model.keras", compile=False)
    averages = [arrays[f"ema/{1 + i}"] for i in range(len(model.weights))]
    for weight, average in zip(model.weights, averages):
        np.testing.assert_array_equal(weight.numpy(), average)
    raw = [arrays[f"model/{i}"] for i in range(len(model.variables))]
    assert any(w.shape == r.shape and np.any(w.numpy() != r) for w, r in zip(model.variables, raw))
    run = finished.load_run(str(averaged))
    manifest = tfrecords.info(records)
    indices = splits.split_calibration(run.config, manifest)[1]
    report = evaluate.evaluate(run.model, run.treatment, manifest, run.config, "train", indices, progress=False)
    assert report.to_json()["mean_iou"] == pytest.approx(lines(averaged)[-1]["eval_mean_iou"], abs=1e-6)
    assert evaluate.calibration(report, run.config) == run.calibration


def test_tensorboard_has_losses_speed_pictures_and_the_confusion_matrix(averaged):
    (path,) = (averaged / "tensorboard").iterdir()
    tags = {}
    for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = event_pb2.Event.FromString(raw)
        for value in event.summary.value:
            tags.setdefault(value.tag, []).append((event.step, value))
    assert {"train/loss", "train/learning_rate", "train/images_per_second", "eval/mean_iou"} < tags.keys()
    assert [step for step, _ in tags["train/loss"]] == [2, 4, 6, 8]
    width, height, drawn = tags["eval/prediction_0"][-1][1].tensor.string_val
    drawn = tf.io.decode_png(drawn).numpy()
    assert drawn.shape == (64, 3 * 128, 3)  # image, truth, decision
    matrix = tf.io.decode_png(tags["eval/confusion_matrix"][-1][1].tensor.string_val[2]).numpy()
    assert matrix.shape == (20 * 12, 20 * 12, 1)


def test_fine_tuning_starts_from_the_given_weights_and_stops_when_nothing_gets_better(records, tmp_path):
    # Batch normalisation's moving statistics would go on, and might get better.
    config = settings(
        records, "optimizer.ema_decay=0.0", "optimizer.learning_rate=1e-12", "optimizer.weight_decay=0.0",
        "train.early_stopping_evals=1", "eval.every_steps=2", 'model.norm="group"',
    )  # fmt: skip
    given = tmp_path / "given.keras"
    unet.build(config.model, 20, seed=5).save(given)
    # The second call finds a finished run, which needs the weights that it started from no more.
    for path in (str(given), "/gone.keras"):
        config.model.init_from = path
        assert train.train_and_evaluate(config, str(tmp_path / "run"), progress=False) == train.FINISHED
    assert lines(tmp_path / "run")[-1]["step"] == 4
    source, best = (unet.keras.saving.load_model(path) for path in (given, tmp_path / "run" / "best.keras"))
    for ours, theirs in zip(best.trainable_weights, source.trainable_weights):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-9)
    assert (tmp_path / "run" / "calibration.json").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["model"]["init_from"] == str(given)


def test_the_learning_rate_that_is_logged_is_that_of_the_step_taken(averaged, records):
    rate = optimizers.learning_rate(settings(records).optimizer, 8)
    logged = [line["learning_rate"] for line in lines(averaged) if "learning_rate" in line]
    assert logged == pytest.approx([float(rate(step)) for step in (1, 3, 5, 7)]) and logged[-1] > 0


def test_a_loss_that_is_not_finite_stops_with_its_step_and_no_checkpoint_has_it(records, tmp_path):
    config = settings(
        records, 'optimizer.name="sgd"', "optimizer.learning_rate=1e20", "optimizer.clip_norm=0.0",
        "train.checkpoint_every_steps=1", 'model.norm="none"', "optimizer.ema_decay=0.0", "eval.every_steps=0",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"not finite (at|after) step \d.*learning_rate") as caught:
        train.train_and_evaluate(config, str(tmp_path), progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.keras").exists() and not (tmp_path / "best.keras").exists()
    for path in (tmp_path / "checkpoints").glob("*.npz"):
        with np.load(path) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files if name.startswith("model/"))


def test_float16_halves_its_loss_scale_until_gradients_fit_and_resumes_with_it(records, tmp_path):
    class Interrupted(Exception):
        pass

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 5:
                raise Interrupted

    # A loss of 1e5 times its usual size overflows float16 at the first scales.
    config = settings(
        records, 'train.precision="mixed_float16"', "loss.main_weight=1e5", "log.every_steps=1", "eval.every_steps=0",
        "train.checkpoint_every_steps=4",
    )  # fmt: skip
    with contextlib.suppress(Interrupted):
        train.train_and_evaluate(config, str(tmp_path), [Interrupt()], progress=False)
    before = lines(tmp_path)
    assert [line["step"] for line in before] == [1, 2, 3, 4, 5]
    assert before[0]["loss_scale"] == 2.0**14 and before[4]["loss_scale"] < before[0]["loss_scale"]
    train.train_and_evaluate(config, str(tmp_path), progress=False)
    after = lines(tmp_path)
    assert after[:4] == before[:4] and after[4]["loss_scale"] == before[4]["loss_scale"]
    assert after[4]["loss"] == pytest.approx(before[4]["loss"], rel=1e-3)
    model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)


def test_a_dry_run_draws_the_first_batch_and_trains_nothing(records, tmp_path, capsys):
    config = settings(records)
    dry_run.dry_run(config, str(tmp_path / "dry"))
    assert [path.name for path in (tmp_path / "dry").iterdir()] == ["first_batch.png"]
    shown = np.asarray(Image.open(tmp_path / "dry" / "first_batch.png"))
    manifest = tfrecords.info(records)
    first = next(iter(input_pipeline.train_dataset(config, manifest, "background")))
    np.testing.assert_array_equal(shown[:32, :64], first["image"][0])
    table = splits.label_table(config, manifest)
    np.testing.assert_array_equal(shown[:32, 64:], pictures.colorize(first["target"][0].numpy(), table))
    printed = capsys.readouterr().out
    parameters = unet.build(config.model, 20).count_params()
    assert f"{parameters:,}" in printed and "GiB on each of 1 replicas" in printed


def test_the_memory_of_a_dry_run_is_that_of_the_outputs_and_the_weights(records, tmp_path, capsys):
    def gib(*changes):
        dry_run.dry_run(settings(records, "eval.every_steps=0", *changes), str(tmp_path))
        numbers = re.search(
            r"about (\S+) GiB on each .*: activations (\S+)(?: \(.*\))?, weights.* (\S+)$",
            capsys.readouterr().out,
            re.M,
        )
        return [float(number) * 2**30 for number in numbers.groups()]

    # Width 4, depth 1, 20 outputs, crop 32x64, all float32: the image scaled and padded, 3 + 3 channels; 6 layers of 4
    # in each of two blocks (convolution, normalisation, activation, twice); resized, 4; concatenated, 8; the head's 20,
    # cropped and handed on. At half the side: pooled 4, 6 layers of 8, reduced to 4.
    outputs = 4 * 32 * 64 * (3 + 3 + 2 * 6 * 4 + 4 + 8 + 3 * 20 + (4 + 6 * 8 + 4) / 4)
    total, activations, fixed = gib("optimizer.ema_decay=0.0")
    assert activations == pytest.approx(4 * outputs, rel=0.01)  # a batch of 4
    assert total == pytest.approx(activations + fixed, rel=0.01)
    model = unet.build(settings(records).model, 20)
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert fixed == pytest.approx(4 * (model.count_params() + 3 * trained), rel=0.02)  # adamw: two slots
    _, recomputed, averaged = gib("optimizer.ema_decay=0.9", "train.remat=True")
    assert recomputed == pytest.approx(0.63 * activations, rel=0.01)
    assert averaged - fixed == pytest.approx(4 * model.count_params(), rel=0.05)


def test_operations_are_counted_by_layer():
    # Width 4, depth 1, 5 outputs on 8x8. Full size: 3*9*4, 4*9*4, 8*9*4, 4*9*4, 4*5; half: 4*9*8, 8*9*8, 8*4.
    config = training_run.settings("").model
    config.width, config.depth = 4, 1
    expected = 2 * (64 * (108 + 144 + 288 + 144 + 20) + 16 * (288 + 576 + 32))
    assert dry_run.forward_flops(unet.build(config, 5), (8, 8)) == expected
    # The transposed one: 2x2 kernels, 8 to 4 channels, at each of the 16 pixels of its input, in place of the 1x1.
    config.upsample = "transpose"
    assert dry_run.forward_flops(unet.build(config, 5), (8, 8)) == expected + 2 * 16 * (4 * 32 - 32)


def test_a_damaged_record_is_one_line_that_says_how_to_find_it(records, tmp_path):
    shutil.copytree(records, tmp_path / "records")
    for path in (tmp_path / "records").glob("train-*"):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"IDAT", b"IDAX"))
    config = settings(str(tmp_path / "records"))
    for start in (train.train_and_evaluate, dry_run.dry_run):
        with pytest.raises(ValueError, match=r"a record of .* cannot be read .*--verify") as caught:
            start(config, str(tmp_path / "run"))
        assert "\n" not in str(caught.value)


def test_an_encoder_takes_weights_from_a_file_and_names_one_it_cannot_read(tmp_path):
    config = training_run.settings("").model
    config.encoder, config.encoder_weights = "resnet50", str(tmp_path / "encoder.weights.h5")
    donor = keras.applications.ResNet50(include_top=False, weights=None)
    donor.save_weights(config.encoder_weights)
    model = unet.build(config, 3)
    np.testing.assert_array_equal(
        model.get_layer("conv3_block2_2_conv").kernel, donor.get_layer("conv3_block2_2_conv").kernel
    )
    config.encoder_weights = str(tmp_path / "missing.weights.h5")
    with pytest.raises(ValueError, match=r"missing\.weights\.h5") as caught:
        unet.build(config, 3)
    assert "\n" not in str(caught.value)


def test_the_weights_of_an_encoder_are_only_looked_for_where_they_are_needed(monkeypatch):
    def offline(**arguments):
        if arguments["weights"] is not None:
            raise Exception("URL fetch failure on https://storage: None -- [Errno 111] Connection refused")
        return keras.applications.MobileNet(alpha=0.25, **arguments)

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    config = training_run.settings("").model
    config.encoder, config.encoder_weights = "resnet50", "imagenet"
    with pytest.raises(ValueError, match="encoder_weights=imagenet: URL fetch failure") as caught:
        unet.build(config, 3)
    assert "\n" not in str(caught.value)
    unet.build(config, 3, pretrained=False)
