"""Levels of an arm: read off the kept counts as they are off all of them."""

import types

import numpy as np
import pytest
from test_run_result import a_report

from kseg import histograms
from kseg.study import contrasts, levels, results, run_result, summary
from kseg.study.report import tables

STUDY = types.SimpleNamespace(sequence_pattern="^([^_]+)", block_frames=2, draws=2, get=lambda key, default: default)
HELD_OUT = {"threshold": 0.5, "lost": 0.07, "caught": {"all": 0.2, "scene": 0.3}}


@pytest.fixture(scope="module")
def found():
    """(report, levels of its result): twelve frames, entropy and energy, static and bonnet."""
    report = a_report()
    photo = {"rest": results.pack(np.array([[6, 3, 1]])), "object": results.pack(np.array([[1, 3, 4]]))}
    photo |= {"thresholds": [-1e30, 0.5, 1.0, 1e30], "statistics": {
        "auroc": 0.7, "average_precision": 0.6, "fpr95": 0.5, "recall_at": {"0.05": 0.4}}}  # fmt: skip
    result = {
        "id": "a", "primary_score": "entropy", "classes": ["road", "car"],
        "evaluation": run_result.of_report(report, "test"),
        "held_out": {"at": {"entropy": {"0.05": HELD_OUT}}},
        "objects": {"web": {"scores": {"entropy": photo}}},
    }  # fmt: skip
    return report, levels.of_run(result, contrasts.Frames(STUDY, [result]))


def test_the_share_of_labelled_pixels_that_are_right(found):
    report, reached = found
    right, wrong = report.tally.histograms[0].sum((1, 2))[:2]
    assert reached["accuracy"] == pytest.approx(right / (right + wrong))


def test_void_caught_by_kind_edge_and_score_is_that_of_all_bins(found):
    report, reached = found
    counts = report.tally.histograms  # [score, right wrong static bonnet, edge, bins]
    for name, score, rows, edges in (
        ("movable", 0, [2], [0, 1]), ("all", 0, [2, 3], [0, 1]), ("geometry_off_edge", 0, [3], [1]),
    ):  # fmt: skip
        void = counts[score][rows][:, edges].sum((0, 1))
        exact = histograms.caught_at(void, counts[score][0, edges].sum(0), [0.05])[0]
        assert reached[f"caught_at_0.05_{name}"] == pytest.approx(exact, abs=0.02)
        assert reached[f"caught_at_0.05_{name}"] == reached[f"caught_at_0.05_{name}@entropy"]
    assert reached["caught_at_0.05_all@energy"] != reached["caught_at_0.05_all@entropy"]
    assert not [name for name in reached if "unseen" in name or "dropped" in name]


def test_risk_is_what_is_wrong_or_void_among_the_pixels_kept(found):
    report, reached = found
    counts = report.tally.histograms[0].sum(1)  # right, wrong, static, bonnet x bins
    kept = np.cumsum(counts.sum(0))
    place = int(np.searchsorted(kept, 0.9 * kept[-1]))
    exact = counts[1:, : place + 1].sum() / kept[place]
    assert reached["risk_at_coverage_0.90"] == pytest.approx(exact, abs=0.01)
    everything = counts[1:].sum() / counts.sum()
    assert reached["risk_at_coverage_0.80"] < reached["risk_at_coverage_0.90"] < everything


def test_what_a_held_out_threshold_does_on_test_frames_and_on_photos(found):
    _, reached = found
    assert reached["threshold_lost_0.05"] == 0.07 and reached["threshold_caught_0.05_scene"] == 0.3
    assert "threshold_lost_0.05@energy" not in reached
    # 0.5 is the edge below the second of three bins: 4 of 10 pixels of the rest, 7 of 8 of the objects lie above it.
    assert reached["threshold_rest_web@entropy"] == pytest.approx(4 / 10)
    assert reached["threshold_objects_web@entropy"] == pytest.approx(7 / 8)
    assert reached["objects_caught_at_0.05_web"] == 0.4 and reached["objects_auroc_web"] == 0.7


def test_the_page_has_a_row_for_each_score_and_each_set_of_photos(found):
    _, reached = found
    spread = {name: {"mean": value, "sd": None, "values": [value]} for name, value in reached.items()}
    study = {"arms": {"ignore": {"primary_score": "entropy", "levels": spread}, "older": {"primary_score": "entropy"}}}
    scores = [[cell["show"] for cell in row["cells"]] for row in tables._levels(study)["rows"]]
    assert [row[:3] for row in scores] == [["ignore", "entropy", "primary"], ["ignore", "energy", ""]]
    assert f"{100 * reached['caught_at_0.05_geometry']:.1f}" in scores[0] and "7.0" in scores[0]
    [photos] = [[cell["show"] for cell in row["cells"]] for row in tables._objects(study)["rows"]]
    assert photos == ["web", "ignore", "entropy", "60.0", "70.0", "50.0", "40.0", "87.5", "40.0", "7.0"]


def test_results_without_counts_of_every_score_have_no_levels(found):
    report, _ = found
    evaluation = run_result.of_report(report, "test")
    del evaluation["frames"]["scores"]
    result = {"id": "a", "primary_score": "entropy", "classes": ["road", "car"], "evaluation": evaluation}
    assert levels.of_run(result, contrasts.Frames(STUDY, [result])) == {}


def test_what_has_no_value_is_left_out(found):
    report, _ = found
    evaluation = run_result.of_report(report, "test")
    for counts in evaluation["frames"]["scores"].values():  # no pixel is right, so none can be given up
        counts["wrong"] = results.pack(results.unpack(counts["wrong"]) + results.unpack(counts["right"]))
        counts["right"] = results.pack(0 * results.unpack(counts["right"]))
    result = {"id": "a", "primary_score": "entropy", "classes": ["road", "car"], "evaluation": evaluation}
    # Photos without a pixel of an object have no statistics, and say None.
    photo = {"rest": results.pack([[6, 3]]), "object": results.pack([[0, 0]]), "thresholds": [-1e30, 0.5, 1e30]}
    photo["statistics"] = histograms.statistics(np.array([6, 3]), np.array([0, 0]))
    result["objects"] = {"web": {"scores": {"entropy": photo}}}
    reached = levels.of_run(result, contrasts.Frames(STUDY, [result]))
    assert not [name for name in reached if name.startswith("objects_")]
    assert "risk_at_coverage_0.90" in reached and not [name for name in reached if name.startswith("caught_at")]
    assert summary._levels([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": summary._spread([1.0, 3.0])}
