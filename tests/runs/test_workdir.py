"""Run folders: settings that may not change, logs cut back to a step, checkpoints that notice damage."""

import errno
import os
import types

import numpy as np
import pytest

from kseg import config as defaults
from kseg.runs import checkpoints, metrics_log, workdir
from tfrecords import labels


def open_run(folder, config, digest="d"):
    manifest = types.SimpleNamespace(digest=digest, records_dir="R")
    workdir.open_run(str(folder), config, manifest, labels.CAMVID)


def trained(folder, step=1):
    """What makes a folder more than its configuration: a checkpoint."""
    checkpoints.save(str(folder / "checkpoints"), step, {"a": np.full(5000, step)})


def test_the_same_settings_and_harmless_changes_reopen_a_run(tmp_path):
    config = defaults.default()
    open_run(tmp_path, config)
    trained(tmp_path)
    config.data.records_dir, config.train.num_virtual_devices, config.log.every_steps = "/elsewhere", 4, 7
    elsewhere = config.copy_and_resolve_references()
    elsewhere.model.init_from, elsewhere.model.encoder_weights = "/gone.keras", "/gone.weights.h5"
    open_run(tmp_path, elsewhere)
    read, stored = workdir.read_config(str(tmp_path))  # what it started from stays on record
    assert read.to_dict() == config.to_dict()
    assert labels.LabelTable.from_json(stored["dataset"]["table"]) == labels.CAMVID


def test_other_settings_are_refused_by_name_and_leave_the_run_alone(tmp_path):
    config = defaults.default()
    open_run(tmp_path, config)
    trained(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    config.model.width, config.optimizer.name = 7, "sgd"
    with pytest.raises(ValueError) as caught:
        open_run(tmp_path, config)
    assert "model.width (32 there, 7 here)" in str(caught.value) and "optimizer.name" in str(caught.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_until_something_is_trained_other_settings_take_the_place_of_those_before(tmp_path):
    config = defaults.default()
    open_run(tmp_path, config, "one")
    config.model.width = 7
    open_run(tmp_path, config, "two")
    read, stored = workdir.read_config(str(tmp_path))
    assert read.model.width == 7 and stored["dataset"]["digest"] == "two"
    (tmp_path / "model.keras").touch()
    config.model.width = 8
    with pytest.raises(ValueError, match="model.width"):
        open_run(tmp_path, config, "two")


@pytest.mark.parametrize("text", ["[]", "{}", '{"config": 3}', '{"config": {}}', '{"config": {}, "dataset": 1}'])
def test_a_configuration_that_lacks_its_parts_is_one_line_with_its_name(tmp_path, text):
    trained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json has no") as caught:
        open_run(tmp_path, defaults.default())
    assert "\n" not in str(caught.value)


def test_other_records_are_refused(tmp_path):
    open_run(tmp_path, defaults.default(), "one")
    trained(tmp_path)
    with pytest.raises(ValueError, match="other records"):
        open_run(tmp_path, defaults.default(), "two")


def test_metrics_are_cut_back_to_the_checkpoint_and_a_half_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metrics_log.MetricsLog(str(path), 0)
    for step in (10, 20, 30):
        log.write(step, loss=step / 10, scale=float("nan"))
    log.close()
    whole = path.read_text()
    assert whole.splitlines()[0] == '{"step": 10, "loss": 1.0, "scale": null}'
    path.write_text(whole + '{"step": 40, "lo')
    metrics_log.MetricsLog(str(path), 25).close()
    assert path.read_text() == "".join(whole.splitlines(True)[:2])


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"loss": 1}', b"\0\0\xff", b'{"step": null}'])
def test_a_damaged_line_of_metrics_is_named_with_its_file(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2, is damaged") as caught:
        metrics_log.MetricsLog(str(path), 9)
    assert "\n" not in str(caught.value)
    assert path.read_bytes().count(b"\n") == 3


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    folder = str(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        checkpoints.save(folder, step, {"a": np.full(5000, step)}, keep=2)
    assert checkpoints.steps(folder) == [2, 3]
    newest = tmp_path / "checkpoints" / "step-00000003.npz"
    whole = newest.read_bytes()
    for damaged in (whole[:-100], whole[:20000] + b"\xff" + whole[20001:], b""):
        newest.write_bytes(damaged)
        step, arrays = checkpoints.load_newest(folder)
        assert step == 2 and np.all(arrays["a"] == 2)
    newest.write_bytes(whole)
    assert checkpoints.load_newest(folder)[0] == 3


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_never_a_wrong_weight_nor_another_error(tmp_path):
    folder, arrays = str(tmp_path), {"model/0": np.full(2, 2, np.float32), "best": np.array([0.0, 1.0])}
    for step in (1, 2):
        checkpoints.save(folder, step, arrays)
    newest = tmp_path / "step-00000002.npz"
    whole = newest.read_bytes()
    aside = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        newest.write_bytes(damaged)
        step, read = checkpoints.load_newest(folder, arrays)
        aside += step == 1
        assert read.keys() == arrays.keys() and all(np.array_equal(read[name], arrays[name]) for name in arrays)
    assert aside > len(whole) / 2  # the rest are bits that say nothing, like the time of writing


def test_a_full_disk_leaves_the_checkpoint_before_and_nothing_half_written(tmp_path, monkeypatch):
    checkpoints.save(str(tmp_path), 1, {"a": np.array(1)})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(str(tmp_path), 2, {"a": np.array(2)})
    assert os.listdir(tmp_path) == ["step-00000001.npz"]


def test_damaged_checkpoints_are_set_aside_and_do_not_count(tmp_path):
    folder = str(tmp_path)
    for step in (2, 4, 6):
        checkpoints.save(folder, step, {"a": np.array(step)}, keep=3)
    for step in (4, 6):
        (tmp_path / f"step-0000000{step}.npz").write_bytes(b"PK")
    assert checkpoints.load_newest(folder, ["a"], set_aside=True)[0] == 2
    checkpoints.save(folder, 3, {"a": np.array(3)}, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000003.npz", "step-00000004.npz.damaged", "step-00000006.npz.damaged",
    ]  # fmt: skip


def test_the_checkpoint_just_saved_stays_whatever_else_is_there(tmp_path):
    folder = str(tmp_path)
    for step in (4, 6, 2):
        checkpoints.save(folder, step, {"a": np.array(step)}, keep=2)
    assert checkpoints.steps(folder) == [2, 6]
    checkpoints.save(folder, 3, {"a": np.array(3)}, keep=1)
    assert checkpoints.steps(folder) == [3]


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_checkpoints_of_which_none_can_be_used_are_one_line_and_stay_as_they_are(tmp_path, content):
    folder = str(tmp_path)
    checkpoints.save(folder, 5, {"a": np.array(5), "b" if content is None else "c": np.array(5)})
    if content is not None:
        (tmp_path / "step-00000005.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"none of 1 checkpoints can be used \(step-00000005\.npz: ") as caught:
        checkpoints.load_newest(folder, ["a", "c"], set_aside=True)
    assert "\n" not in str(caught.value)
    assert checkpoints.steps(folder) == [5]


def test_storage_that_fails_is_no_damage(tmp_path):
    checkpoints.save(str(tmp_path), 1, {"a": np.array(1)})
    (tmp_path / "step-00000002.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoints.load_newest(str(tmp_path), ["a"], set_aside=True)


def test_no_checkpoint_is_step_zero(tmp_path):
    assert checkpoints.load_newest(str(tmp_path / "none")) == (0, None)


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        workdir.read_config(str(tmp_path))
