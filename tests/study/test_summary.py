"""What a study's results say: pooled differences, resampled frames, choices."""

import json
import os

import numpy as np
import pytest
import simulated_study
from studies import load_config

from kseg.study import grid, results
from kseg.study import summary as findings
from kseg.study.report import page as report


def test_pooled_differences_are_those_of_the_reports(camvid, summary):
    entry = next(entry for entry in summary["contrasts"] if entry["name"] == "capacity")
    arms = summary["arms"]
    values = [arms[name]["measures"]["forced_miou"]["values"] for name in ("background_class-w8", "ignore-w8")]
    assert entry["values"] == pytest.approx(np.subtract(*values))
    assert entry["estimate"] == pytest.approx(np.mean(entry["values"]))
    assert entry["standard_error"] ** 2 == pytest.approx(entry["se_seeds"] ** 2 + entry["se_frames"] ** 2)
    assert entry["low"] < entry["estimate"] < entry["high"]


def test_forced_iou_by_class_has_the_forced_miou_as_its_mean(summary):
    assert any(arm["per_class_iou"] != arm["per_class_iou_forced"] for arm in summary["arms"].values())
    for name, arm in summary["arms"].items():
        values = [value for value in arm["per_class_iou_forced"].values() if value is not None]
        assert set(arm["per_class_iou_forced"]) <= set(summary["classes"])
        assert np.mean(values) == pytest.approx(arm["measures"]["forced_miou"]["mean"]), name


def test_coarse_frame_histograms_give_the_auroc_of_the_report(summary):
    arms = summary["arms"]
    entry = next(entry for entry in summary["contrasts"] if entry["name"] == "rejection")
    name = "auroc_scene_off_edge"
    fine = [arms[arm]["measures"][name]["mean"] for arm in ("background_class-w8", "ignore-w8")]
    assert entry["estimate"] == pytest.approx(fine[0] - fine[1], abs=2e-3)


def test_the_made_up_effects_are_found(summary):
    verdicts = {entry["name"]: entry["verdict"] for entry in summary["contrasts"] if entry["primary"]}
    assert verdicts["rejection"].startswith("gains") and verdicts["inverted Dice"].startswith("costs ")
    estimates = {entry["name"]: entry for entry in summary["contrasts"]}
    truth = -0.6  # points of accuracy that background_class loses in simulated_study
    assert estimates["capacity"]["low"] * 100 < truth < estimates["capacity"]["high"] * 100


def test_holm_counts_the_planned_contrasts_even_before_they_are_measured(camvid, tmp_path):
    wanted = ("ignore-w8", "background_class-w8")
    simulated_study.write(camvid, tmp_path, only=lambda run: run.arm in wanted and run.seed < 3)
    runs = grid.expand(camvid)
    found = findings.read(tmp_path, {run.id: grid.settings(run.config) for run in runs})
    primary = [e for e in findings.summarise(camvid, found, runs, tmp_path)["contrasts"] if e["primary"]]
    assert [entry.get("verdict") == "not measured" for entry in primary] == [False, False, True]
    assert max(entry["holm_level"] for entry in primary[:2]) == pytest.approx(1 - 0.05 / 3)


def test_a_seed_that_one_arm_lacks_is_left_out_of_both(camvid, tmp_path):
    def only(run):
        return run.arm in ("ignore-w8", "background_class-w8") and run.seed < 3 + (run.arm == "ignore-w8")

    simulated_study.write(camvid, tmp_path, only=only)
    runs = grid.expand(camvid)
    found = findings.read(tmp_path, {run.id: grid.settings(run.config) for run in runs})
    entry = findings.summarise(camvid, found, runs, tmp_path)["contrasts"][0]
    assert entry["seeds"] == [0, 1, 2] and len(entry["values"]) == 3


def test_frames_are_resampled_in_order_of_time_whatever_the_order_of_records(camvid, tmp_path):
    run = grid.expand(camvid)[0]
    one = simulated_study.result(camvid, run)
    other = json.loads(json.dumps(one))
    order = np.random.default_rng(0).permutation(len(simulated_study.FRAMES))
    frames = other["evaluation"]["frames"]
    frames["ids"] = [frames["ids"][i] for i in order]
    for name in ("forced", "native", "calibrated"):
        frames[name] = results.pack(results.unpack(frames[name])[order])
    from kseg.study import contrasts

    drawn = []
    for result in (one, other):
        shared = contrasts.Frames(camvid, [result])
        drawn.append(shared.drawn(result, "forced_miou", 20))
    assert (drawn[0] == drawn[1]).all()


def test_choices_keep_the_default_unless_it_is_beaten_by_half_a_point(tmp_path):
    tuning = load_config("study_camvid", "tuning")
    better = {"ignore-w8-rate3e-03": 0.004, "background_class-w8-rate3e-03": 0.004, "inverted_dice-w8-rate1e-02": 0.02}
    for run in grid.expand(tuning):
        result = simulated_study.result(tuning, run, simulated_study.FRAMES[:40])
        result["evaluation"]["report"]["mean_iou_forced"] = 0.5 + better.get(run.arm, 0.0)
        os.makedirs(tmp_path / "runs" / run.id)
        results.save(tmp_path / "runs" / run.id / "result.json", result)
    runs = grid.expand(tuning)
    found = findings.read(tmp_path, {run.id: grid.settings(run.config) for run in runs})
    chosen = {entry["name"]: entry["chosen"] for entry in findings.summarise(tuning, found, runs)["choices"]}
    assert chosen["learning rate, cross_entropy"] == 1e-3  # 0.4 points better is not enough
    assert chosen["learning rate, dice"] == 1e-2


def test_study_json_is_deterministic_and_without_nan(summary):
    text = report.to_text(summary)
    assert json.loads(text)["arms"].keys() == summary["arms"].keys()
    assert "NaN" not in text and "Infinity" not in text
    assert text == report.to_text(json.loads(text))
