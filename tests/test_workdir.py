"""Run folders: settings that may not change, logs cut back to a step, checkpoints that notice damage."""

import types

import numpy as np
import pytest

from kseg import checkpoints, workdir
from kseg import config as defaults
from tfrecords import labels


def open_run(folder, config, digest="d"):
    manifest = types.SimpleNamespace(digest=digest, records_dir="R")
    workdir.open_run(str(folder), config, manifest, labels.CAMVID)


def test_the_same_settings_and_harmless_changes_reopen_a_run(tmp_path):
    config = defaults.default()
    open_run(tmp_path, config)
    config.data.records_dir, config.train.num_virtual_devices, config.log.every_steps = "/elsewhere", 4, 7
    open_run(tmp_path, config)
    read, stored = workdir.read_config(str(tmp_path))
    assert read.to_dict() == config.to_dict()
    assert labels.LabelTable.from_json(stored["dataset"]["table"]) == labels.CAMVID


def test_other_settings_are_refused_by_name_and_leave_the_run_alone(tmp_path):
    config = defaults.default()
    open_run(tmp_path, config)
    before = (tmp_path / "config.json").read_bytes()
    config.model.width, config.optimizer.name = 7, "sgd"
    with pytest.raises(ValueError) as caught:
        open_run(tmp_path, config)
    assert "model.width (32 there, 7 here)" in str(caught.value) and "optimizer.name" in str(caught.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_other_records_are_refused(tmp_path):
    open_run(tmp_path, defaults.default(), "one")
    with pytest.raises(ValueError, match="other records"):
        open_run(tmp_path, defaults.default(), "two")


def test_metrics_are_cut_back_to_the_checkpoint_and_a_half_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = workdir.MetricsLog(str(path), 0)
    for step in (10, 20, 30):
        log.write(step, loss=step / 10, scale=float("nan"))
    log.close()
    whole = path.read_text()
    assert whole.splitlines()[0] == '{"step": 10, "loss": 1.0, "scale": null}'
    path.write_text(whole + '{"step": 40, "lo')
    workdir.MetricsLog(str(path), 25).close()
    assert path.read_text() == "".join(whole.splitlines(True)[:2])


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


def test_no_checkpoint_is_step_zero(tmp_path):
    assert checkpoints.load_newest(str(tmp_path / "none")) == (0, None)


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        workdir.read_config(str(tmp_path))
