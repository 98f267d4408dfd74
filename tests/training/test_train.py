"""Laws of training: what kills it does not spoil it, how a batch is spread does not change it, and what it refuses."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import training_run
from programs import ROOT, run_tool

from kseg.training import step, train


def run(folder, records, when="never", *changes, check=True):
    return run_tool("tests/helpers/training_run.py", folder, records, when, *changes, check=check)


def start(*arguments, **environment):
    """A process of training_run.py, not waited for."""
    return subprocess.Popen(
        [sys.executable, "tests/helpers/training_run.py", *map(str, arguments)], cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def start_workers(folder, records, *whens, changes=()):
    """One process a worker, all of one cluster on this machine, all with one workdir."""
    sockets = [socket.create_server(("localhost", 0)) for _ in whens]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    changes = ('train.distribution="multi_worker"', "train.num_virtual_devices=1", *changes)
    return [
        start(
            folder,
            records,
            when,
            *changes,
            TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}),
        )  # fmt: skip
        for index, when in enumerate(whens)
    ]


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
        "config.json", "metrics.jsonl", "metrics.csv", "checkpoints", "tensorboard", "model.keras", "best.keras",
        "calibration.json", "eval_held_out.json", "eval_held_out.npz", "report.html",
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


def test_killed_in_a_step_and_in_a_checkpoint_terminated_and_damaged_it_ends_with_the_same_bits(
    undisturbed, records, tmp_path
):
    folder = tmp_path / "killed"

    def checkpoints():
        return [path.name for path in sorted((folder / "checkpoints").iterdir())]

    assert run(folder, records, "step:4", check=False).returncode == -9
    assert checkpoints() == ["step-00000003.npz"]
    assert run(folder, records, "save:1", check=False).returncode == -9
    kept, half = checkpoints()
    assert kept == "step-00000003.npz" and re.fullmatch(r"step-00000006\.npz\.[0-9a-f]+\.tmp", half)
    done = run(folder, records, "term:4", check=False)
    assert done.returncode == 75, done.stderr
    assert checkpoints() == ["step-00000003.npz", "step-00000005.npz"]
    assert not (folder / "model.keras").exists()
    newest = folder / "checkpoints" / "step-00000005.npz"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    assert "step-00000005.npz is damaged" in run(folder, records).stderr
    assert same(final(undisturbed), final(folder))
    assert (undisturbed / "calibration.json").read_bytes() == (folder / "calibration.json").read_bytes()


# Smooth activations, no dropout, SGD: where rounding is not amplified, only rounding may differ.
SMOOTH = (
    'model.activation="silu"', "model.dropout=0.0", 'optimizer.name="sgd"',
    "optimizer.learning_rate=0.05", "optimizer.ema_decay=0.0", "loss.dice_weight=1.0", "eval.every_steps=0",
    "train.deterministic=False",
)  # fmt: skip


@pytest.fixture(scope="module")
def smooth(records, tmp_path_factory):
    """Folder of runs that should end alike: two (replicas) and one; group and its parts; one and its remat."""
    folder = tmp_path_factory.mktemp("smooth")
    group = ('model.norm="group"', "loss.top_k=0.5")
    runs = {
        "one": (), "remat": ("train.remat=True",), "group": group, "parts": (*group, "train.accumulation_steps=2"),
    }  # fmt: skip
    several = []
    for name, changes in runs.items():
        several += ["--", folder / name, records, "never", "train.num_virtual_devices=1", *SMOOTH, *changes]
    for process in (start(*several[1:]), start(folder / "two", records, "never", *SMOOTH)):
        error = process.communicate()[1]
        assert process.returncode == 0, error[-4000:]
    return folder


def assert_equal_up_to_rounding(ours, theirs):
    """Relative 1e-5 of an array's largest weight, of 0.01 where all are smaller (biases that hardly moved)."""
    for name in (n for n in ours if n.startswith("model/")):
        scale = max(np.abs(theirs[name]).max(), 0.01)
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-5 * scale, name


def test_two_replicas_train_the_weights_of_one(smooth):
    one, two = (final(smooth / name)[0] for name in ("one", "two"))
    assert_equal_up_to_rounding(one, two)
    assert any(np.any(one[name] != two[name]) for name in one)  # they did run differently


def test_accumulated_parts_of_a_batch_are_the_batch(smooth):
    assert_equal_up_to_rounding(*(final(smooth / name)[0] for name in ("group", "parts")))


def test_recomputed_activations_train_the_same_weights_and_moving_statistics(smooth):
    assert_equal_up_to_rounding(*(final(smooth / name)[0] for name in ("one", "remat")))


def test_two_workers_of_which_one_dies_and_one_is_terminated_train_the_weights_of_two_replicas(
    smooth, records, tmp_path
):
    folder = tmp_path / "run"

    def ends(*whens):
        workers = start_workers(folder, records, *whens, changes=SMOOTH)
        workers[1].wait()
        died = time.monotonic()
        errors = [worker.communicate()[1] for worker in workers]
        return [worker.returncode for worker in workers], errors, time.monotonic() - died

    codes, errors, waited = ends("never", "step:4")
    assert codes == [75, -9], errors
    assert waited < 60
    assert errors[0].splitlines()[-1].startswith("error: ") and "start all workers again" in errors[0].splitlines()[-1]
    codes, errors, _ = ends("never", "term:4")
    assert codes == [75, 75], errors
    assert "resuming" in errors[1]
    assert not (folder / "model.keras").exists()
    codes, errors, _ = ends("never", "never")
    assert codes == [0, 0], errors
    assert_equal_up_to_rounding(final(folder)[0], final(smooth / "two")[0])
    ours, theirs = (json.loads((path / "calibration.json").read_text()) for path in (folder, smooth / "two"))
    assert ours["labelled_pixels"] == theirs["labelled_pixels"]
    assert ours["threshold"] == pytest.approx(theirs["threshold"], abs=1e-3)
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in (smooth / "two").iterdir()}  # nothing of worker 1's own


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
        ('train.distribution="multi_worker"', "TF_CONFIG is not set"),
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
    weights = step.class_weights(config, manifest, table)
    assert weights @ [0.9, 0.1, 0] == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(3) and weights[2] == 0
    config.loss.class_weights = "median_frequency"
    weights = step.class_weights(config, manifest, table)
    assert weights[1] / weights[0] == pytest.approx(9)
