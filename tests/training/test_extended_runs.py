"""A run that had ended goes on with more steps: as if it always had them, or with its schedule once more."""

import json
import shutil

import numpy as np
import pytest
import training_run
from test_train import final, run, same

from kseg import config as defaults
from kseg import optimizers
from kseg.runs import checkpoints, workdir

SMALL = ("train.num_virtual_devices=1", "data.calibration_fraction=0.0", "eval.every_steps=0", "train.batch_size=2")


@pytest.fixture(scope="module")
def folders(records, tmp_path_factory):
    """long: 8 steps at once; extended: 4, then 8, both at a constant rate. cosine: 4, then 8; killed: the same, killed
    in the seventh step and started again."""
    base = tmp_path_factory.mktemp("extended")
    runs = [
        ("long", "never", 8, "constant"),
        ("extended", "never", 4, "constant"),
        ("extended", "never", 8, "constant"),
        ("cosine", "never", 4, "cosine"),
    ]

    def carry_out(runs, check):
        arguments = []
        for name, when, steps, schedule in runs:
            changes = (*SMALL, f"train.total_steps={steps}", f'optimizer.schedule="{schedule}"')
            arguments += ["--", base / name, records, when, *changes]
        return run(*arguments[1:], check=check)

    done = carry_out(runs, check=True)
    assert "extended from 4 to 8 steps; the learning rate goes on as it was" in done.stderr
    shutil.copytree(base / "cosine", base / "killed")
    done = carry_out([("cosine", "never", 8, "cosine"), ("killed", "step:6", 8, "cosine")], check=False)
    assert done.returncode == -9, done.stderr[-3000:]
    assert "the learning rate starts again at its peak and falls to step 8 (cosine)" in done.stderr
    carry_out([("killed", "never", 8, "cosine")], check=True)
    return base


def test_at_a_constant_rate_an_extended_run_is_the_long_one(folders):
    assert same(final(folders / "long"), final(folders / "extended"))
    assert (folders / "long" / "metrics.csv").read_bytes() == (folders / "extended" / "metrics.csv").read_bytes()


def test_a_decaying_schedule_starts_again_and_is_resumed_bit_for_bit(folders):
    assert same(final(folders / "cosine"), final(folders / "killed"))
    rates = [json.loads(line)["learning_rate"] for line in (folders / "cosine" / "metrics.jsonl").open()]
    # Every second step is logged, with the rate it was taken with: k of 4 and then k of 4 again.
    peak = defaults.default().optimizer.learning_rate
    expected = [peak * (1 + np.cos(np.pi * k / 4)) / 2 for k in (1, 3, 1, 3)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert json.loads((folders / "cosine" / "config.json").read_text())["earlier_totals"] == [4]


def test_fewer_steps_and_steps_that_were_not_made_are_refused(folders, records, tmp_path):
    def config(steps, schedule="cosine"):
        return training_run.settings(
            records, [*SMALL, f"train.total_steps={steps}", f'optimizer.schedule="{schedule}"']
        )

    with pytest.raises(ValueError, match=r"train\.total_steps \(8 there, 6 here\).*--init_from="):
        _open(folders / "cosine", config(6))
    assert workdir.earlier_totals(str(folders / "cosine"), config(8)) == (4,)
    assert workdir.earlier_totals(str(folders / "cosine"), config(9)) == (4, 8)
    assert workdir.earlier_totals(str(tmp_path), config(9)) == ()
    (folders / "cosine" / "checkpoints" / "step-00000008.npz").rename(tmp_path / "step-00000008.npz")
    with pytest.raises(ValueError, match="a checkpoint of step 6 of 8: a run is extended once .*total_steps=8, or"):
        workdir.earlier_totals(str(folders / "cosine"), config(9))


def test_a_run_that_stopped_early_is_not_told_to_make_its_last_steps(records, tmp_path):
    changes = [*SMALL, "train.early_stopping_evals=2", "train.total_steps=8"]
    _open(tmp_path, training_run.settings(records, changes))
    longer = training_run.settings(records, [*changes[:-1], "train.total_steps=9"])
    for stale, message in ((1, "a run is extended once it has made"), (2, "stopped early, at step 6 of 8")):
        checkpoints.save(str(tmp_path / "checkpoints"), 6, {"best": np.array([0.5, stale])})
        with pytest.raises(ValueError, match=message) as error:
            workdir.earlier_totals(str(tmp_path), longer)
        assert f"--init_from={tmp_path}" in str(error.value) and "\n" not in str(error.value)


def _open(folder, config):
    import tfrecords
    from kseg.data import splits

    manifest = tfrecords.info(config.data.records_dir)
    workdir.open_run(str(folder), config, manifest, splits.label_table(config, manifest))


@pytest.mark.parametrize("kind, end", [("cosine", 0.0), ("poly", 0.0), ("constant", 1.0)])
def test_the_schedule_of_a_run_that_was_extended_twice(kind, end):
    """Warm-up once, then kind over what is left of each part."""
    schedule = optimizers.Schedule(1.0, 30, kind, warmup_steps=2, earlier_totals=(10, 20))
    plain = optimizers.Schedule(1.0, 10, kind, warmup_steps=2)
    tail = optimizers.Schedule(1.0, 10, kind)
    rates = [float(schedule(step)) for step in range(31)]
    assert rates[:10] == [float(plain(step)) for step in range(10)]
    np.testing.assert_allclose(rates[10:20], [float(tail(step)) for step in range(10)], rtol=1e-6)
    np.testing.assert_allclose(rates[20:], [float(tail(step)) for step in range(11)], rtol=1e-6, atol=1e-7)
    assert rates[20] == 1.0 and rates[30] == pytest.approx(end, abs=1e-7)
    assert optimizers.Schedule.from_config(schedule.get_config()).get_config() == schedule.get_config()
