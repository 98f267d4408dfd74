"""Long runs: a training killed at twenty random moments, and the three precisions held against each other."""

import json
import pathlib
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from programs import ROOT, run_tool

pytestmark = pytest.mark.soak
_KILLS, _SECONDS = 20, 1800


def command(folder, records, *changes):
    return [
        sys.executable, "tests/helpers/training_run.py", str(folder), records, "never", "train.total_steps=600",
        "train.checkpoint_every_steps=2", "eval.every_steps=100", "train.num_virtual_devices=1", *changes,
    ]  # fmt: skip


def final(folder):
    newest = sorted((folder / "checkpoints").glob("*.npz"))[-1]
    with np.load(newest) as archive:
        arrays = {name: archive[name] for name in archive.files}
    files = {name: (folder / name).read_bytes() for name in ("metrics.jsonl", "calibration.json", "config.json")}
    return arrays, files


@pytest.mark.timeout(2 * _SECONDS)
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bits(records, tmp_path):
    done = subprocess.run(command(tmp_path / "undisturbed", records), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    folder, moments, begin, kills = tmp_path / "killed", random.Random(0), time.monotonic(), []
    while len(kills) < _KILLS:
        process = subprocess.Popen(
            command(folder, records), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = newest(folder)
        if len(kills) % 4 == 3:  # while it starts
            time.sleep(moments.uniform(0.0, 10.0))
        else:  # a while after it has got further
            while newest(folder) == before and process.poll() is None:
                time.sleep(0.002)
            time.sleep(moments.uniform(0.0, 0.5))
        process.kill()
        assert process.wait() == -9, "finished before its last kill: give it more steps"
        kills.append(newest(folder))
        assert time.monotonic() - begin < _SECONDS
    done = subprocess.run(command(folder, records), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    (ours, our_files), (theirs, their_files) = final(folder), final(tmp_path / "undisturbed")
    assert our_files == their_files
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    print(f"killed after the checkpoints of steps {kills}")


def newest(folder):
    return max([int(path.stem[5:]) for path in folder.glob("checkpoints/step-*.npz")], default=0)


@pytest.mark.timeout(3600)
def test_the_three_precisions_reach_the_same_mean_iou(tmp_path):
    """Two seeds of each; the means over seeds differ by less than 0.03, about the spread of one precision's seeds."""
    run_tool(
        "tools/make_street_scenes.py", f"--output_dir={tmp_path / 'scenes'}", "--num_train=64", "--num_val=4",
        "--height=64", "--width=128",
    )  # fmt: skip
    records = tmp_path / "records"
    run_tool("tools/convert_cityscapes.py", f"--cityscapes_dir={tmp_path / 'scenes'}", f"--records_dir={records}")
    reached = {}
    runs = []
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        for seed in (0, 1):
            folder = tmp_path / f"{precision}{seed}"
            runs += [
                "--", folder, records, "never", f'train.precision="{precision}"', f"train.seed={seed}",
                "train.num_virtual_devices=1", "train.deterministic=False", "train.total_steps=200", "model.width=8",
                "train.batch_size=8", "data.crop_size=(64,128)", "augment.scale_min=1.0", "augment.scale_max=1.0",
                "model.dropout=0.0", "eval.every_steps=0", "train.checkpoint_every_steps=1000",
                "optimizer.learning_rate=0.005",
            ]  # fmt: skip
            reached.setdefault(precision, []).append(folder)
    run_tool("tests/helpers/training_run.py", *runs[1:])
    scores = {precision: [last_mean_iou(folder) for folder in folders] for precision, folders in reached.items()}
    print(json.dumps(scores))
    means = [np.mean(values) for values in scores.values()]
    assert min(means) > 0.1
    assert max(means) - min(means) < 0.03, scores


def last_mean_iou(folder: pathlib.Path) -> float:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["eval_mean_iou"]
