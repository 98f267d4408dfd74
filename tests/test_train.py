"""Laws of training: what kills it does not spoil it, how a batch is spread does not change it, and what it refuses."""

import json

import numpy as np
import pytest
import training_run
from conftest import run_tool

from kseg import train


def run(folder, records, when="never", *changes, check=True):
    return run_tool("tests/training_run.py", folder, records, when, *changes, check=check)


def final(folder):
    """Everything a run ends with: the last checkpoint's arrays and the bytes of metrics.jsonl."""
    newest = sorted((folder / "checkpoints").glob("*.npz"))[-1]
    with np.load(newest) as archive:
        return {name: archive[name] for name in archive.files}, (folder / "metrics.jsonl").read_bytes()


def same(a, b):
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(np.array_equal(a[0][k], b[0][k]) for k in a[0])


@pytest.fixture(scope="module")
def undisturbed(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    run(folder, records)
    return folder


def test_a_run_leaves_what_it_promises(undisturbed):
    names = {path.name for path in undisturbed.iterdir()}
    assert names == {
        "config.json", "metrics.jsonl", "checkpoints", "tensorboard", "model.keras", "best.keras", "calibration.json",
    }  # fmt: skip
    assert [path.name for path in sorted((undisturbed / "checkpoints").iterdir())] == [
        "step-00000006.npz",
        "step-00000008.npz",
    ]
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], "loss" in line) for line in lines] == [
        (2, True), (4, True), (4, False), (6, True), (8, True), (8, False),
    ]  # fmt: skip
    for line in lines:
        assert not [key for key in line if "second" in key or "time" in key]


def test_killed_in_a_step_in_a_checkpoint_and_terminated_it_ends_with_the_same_bits(undisturbed, records, tmp_path):
    folder = tmp_path / "killed"

    def checkpoints():
        return [path.name for path in sorted((folder / "checkpoints").iterdir())]

    assert run(folder, records, "step:4", check=False).returncode == -9
    assert checkpoints() == ["step-00000003.npz"]
    assert run(folder, records, "save:1", check=False).returncode == -9
    assert checkpoints() == ["step-00000003.npz", "step-00000006.npz.tmp"]
    done = run(folder, records, "term:4", check=False)
    assert done.returncode == 75, done.stderr
    assert checkpoints() == ["step-00000003.npz", "step-00000005.npz"]
    assert not (folder / "model.keras").exists()
    run(folder, records)
    assert same(final(undisturbed), final(folder))
    assert (undisturbed / "calibration.json").read_bytes() == (folder / "calibration.json").read_bytes()


SMOOTH = (
    'model.activation="silu"', "model.dropout=0.0", 'optimizer.name="sgd"', "optimizer.learning_rate=0.05",
    "optimizer.ema_decay=0.0", "loss.dice_weight=1.0", "eval.every_steps=0", "train.deterministic=False",
)  # fmt: skip


def assert_equal_up_to_rounding(ours, theirs):
    """Relative 1e-5 of an array's largest weight, of 0.01 where all are smaller (biases that hardly moved)."""
    for name in (n for n in ours if n.startswith("model/")):
        scale = max(np.abs(theirs[name]).max(), 0.01)
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-5 * scale, name


def test_two_replicas_train_the_weights_of_one(records, tmp_path):
    # Smooth activations, no dropout, SGD: where rounding is not amplified, only rounding may differ.
    for devices in (1, 2):
        run(tmp_path / str(devices), records, "never", f"train.num_virtual_devices={devices}", *SMOOTH)
    one, two = (final(tmp_path / str(devices))[0] for devices in (1, 2))
    assert_equal_up_to_rounding(one, two)
    assert any(np.any(one[name] != two[name]) for name in one)  # they did run differently


def test_accumulated_parts_of_a_batch_are_the_batch(records, tmp_path):
    settings = (*SMOOTH, 'model.norm="group"', "train.num_virtual_devices=1", "loss.top_k=0.5")
    run(tmp_path / "whole", records, "never", *settings)
    run(tmp_path / "parts", records, "never", *settings, "train.accumulation_steps=2")
    assert_equal_up_to_rounding(*(final(tmp_path / name)[0] for name in ("whole", "parts")))


def test_another_configuration_is_refused_and_the_run_left_alone(undisturbed, records):
    before = {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"model\.width \(4 there, 5 here\)"):
        train.train_and_evaluate(
            training_run.settings(records, ["model.width=5", "train.num_virtual_devices=1"]), str(undisturbed)
        )
    assert before == {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "change, word",
    [
        ("train.batch_size=3", "multiple of 2"),
        ("train.total_steps=0", "total_steps"),
        ('data.train_split="nope"', "has no split 'nope'"),
        ('train.distribution="tpu"', "tpu"),
        ('treatment.name="none"', "background_class"),
        ('train.precision="float8"', "float8"),
        ('loss.class_weights="x"', "inverse_sqrt"),
        ("train.accumulation_steps=4", "multiple of"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_one_line_and_leaves_no_folder(records, tmp_path, change, word):
    devices = 2 if "batch_size" in change else 1
    changes = ["train.batch_size=6"] if "accumulation" in change else []
    config = training_run.settings(records, [f"train.num_virtual_devices={devices}", *changes, change])
    if devices == 2:
        config.train.distribution, config.train.accumulation_steps = "none", 2
        config.train.num_virtual_devices = 1
    with pytest.raises(ValueError, match=word) as caught:
        train.train_and_evaluate(config, str(tmp_path / "run"), progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_class_weights_have_mean_one_over_labelled_pixels():
    # Two classes with 90 and 10 pixels: inverse_sqrt ~ (1/sqrt .9, 1/sqrt .1); the mean over pixels is 1.
    import types

    from kseg import config as defaults

    config = defaults.default()
    table = types.SimpleNamespace(class_ids=((3,), (5,), (9,)))
    manifest = types.SimpleNamespace(splits={"train": types.SimpleNamespace(id_pixels={3: 90, 5: 10, 7: 1000})})
    config.loss.class_weights = "inverse_sqrt"
    weights = train.class_weights(config, manifest, table)
    assert weights @ [0.9, 0.1, 0] == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(3) and weights[2] == 0
    config.loss.class_weights = "median_frequency"
    weights = train.class_weights(config, manifest, table)
    assert weights[1] / weights[0] == pytest.approx(9)
