"""What a run of a study leaves: counts per unit of frames, held-out thresholds, photos with objects."""

import json
import types

import numpy as np
import pytest
from PIL import Image

import tfrecords
from kseg import config as kseg_config
from kseg import histograms, metrics, treatments
from kseg.evaluation import pixel_counts
from kseg.evaluation import report as scorecard
from kseg.study import contrasts, measures, objects, results, run_result

K = 2
LABELS = (
    tfrecords.Label(0, "road", 0, None, (1, 2, 3)),
    tfrecords.Label(1, "car", 1, None, (4, 5, 6)),
    tfrecords.Label(5, "static", None, "scene", (0, 0, 0)),
    tfrecords.Label(6, "bonnet", None, "geometry", (9, 9, 9)),
)
IDS = [f"{drive}_{frame:03d}" for drive, frames in (("b", 7), ("a", 5)) for frame in range(frames)]


def a_report(seed=0, scores=("entropy", "energy")):
    """Random decisions and scores on random labels, of twelve frames in two drives, listed out of order."""
    random = np.random.default_rng(seed)
    layout = pixel_counts.Layout.of(tfrecords.LabelTable("made up", LABELS))
    tally = pixel_counts.Tally(layout, ["native", "forced"], scores, len(IDS))
    for image in range(len(IDS)):
        stripes = random.permutation([0, 0, 1, 5, 6]).repeat(10)  # wide enough for pixels off the edges
        ids = np.broadcast_to(stripes, (12, 50)).astype(np.uint8)
        score = random.normal(size=(len(scores), *ids.shape)) + np.isin(ids, (5, 6))
        forced = np.where(random.random(ids.shape) < 0.7, np.minimum(ids, 1), 0).astype(np.uint8)
        maps = {"native": forced, "forced": forced}
        tally.add(image, ids, maps, metrics.score_bins(score.astype(np.float32)).numpy().astype(np.uint16))
    images = tuple(tally.image_histograms(place, scorecard.IMAGE_BINS) for place in range(len(scores)))
    return scorecard.Report("test", "ignore", scores[0], tuple(IDS), None, tally, images)


def test_units_are_sums_of_frames_that_follow_each_other_in_a_sequence():
    report = a_report()
    frames = run_result.of_report(report, "test", r"^([^_]+)", 5)["frames"]
    assert frames["ids"] == ["a_000", "b_000", "b_005"]  # five of a, five and two of b
    single = run_result.of_report(report, "test")["frames"]
    by_id = dict(zip(single["ids"], results.unpack(single["forced"])))
    expected = [sum(by_id[name] for name in names) for names in (IDS[7:], IDS[:5], IDS[5:7])]
    np.testing.assert_array_equal(results.unpack(frames["forced"]), expected)


@pytest.mark.parametrize("frames_per_unit", [1, 5])
def test_every_score_is_counted_whole_by_group_and_edge(frames_per_unit):
    report = a_report()
    scores = run_result.of_report(report, "test", r"^([^_]+)", frames_per_unit)["frames"]["scores"]
    assert list(scores) == ["entropy", "energy"]
    for place, groups in enumerate(scores.values()):
        assert set(groups) == {"thresholds", "right", "wrong", "scene", "geometry"}
        fine = report.tally.histograms[place].sum(-1)  # right, wrong, static, bonnet x edge
        for row, name in enumerate(("right", "wrong", "scene", "geometry")):
            np.testing.assert_array_equal(results.unpack(groups[name]).sum((0, 2)), fine[row])
        assert len(groups["thresholds"]) == results.unpack(groups["right"]).shape[-1] + 1


def test_void_caught_at_a_share_of_correct_pixels_is_read_as_from_all_bins():
    report = a_report()
    evaluation = run_result.of_report(report, "test")
    result = {"id": "a", "primary_score": "entropy", "evaluation": evaluation}
    study = types.SimpleNamespace(
        sequence_pattern="^([^_]+)", block_frames=2, draws=2, get=lambda key, default: default
    )
    frames = contrasts.Frames(study, [result])
    counts = report.tally.histograms
    for measure, place, rows, edges in (
        ("caught_at_0.05_movable", 0, [2], [0, 1]),
        ("caught_at_0.05_all", 0, [2, 3], [0, 1]),
        ("caught_at_0.05_geometry_off_edge", 0, [3], [1]),
        ("caught_at_0.05_scene@energy", 1, [2], [0, 1]),
    ):
        assert measures.is_contrasted(measure)
        void = counts[place][rows][:, edges].sum((0, 1))
        exact = histograms.caught_at(void, counts[place][0, edges].sum(0), [0.05])[0]
        # Bins have edges at 4.5, 5 and 5.5 %, and few pixels make them.
        assert frames.value(result, measure, np.ones(len(IDS))) == pytest.approx(exact, abs=0.03)
    assert frames.value(result, "caught_at_0.05_unseen", np.ones(len(IDS))) is None
    assert not measures.is_contrasted("caught_at_0.05_bonnet")


def test_held_out_thresholds_say_what_they_do_on_the_test_split():
    before, after = a_report(1), a_report(2)
    found = json.loads(json.dumps(run_result._held_out(before, after)))
    at = found["at"]["entropy"]["0.05"]
    first = np.searchsorted(histograms.thresholds(), np.float32(at["threshold"]))
    there = after.tally.histograms[0].sum(1)
    assert at["lost"] == pytest.approx(there[0, first:].sum() / there[0].sum())
    assert at["caught"]["geometry"] == pytest.approx(there[3, first:].sum() / there[3].sum())
    own = before.tally.histograms[0, 0].sum(0)
    assert own[first:].sum() <= 0.05 * own.sum() < own[first - 1 :].sum()


def test_moments_are_those_of_the_scores():
    scores = np.random.default_rng(0).normal(3.0, 2.0, 10_000).astype(np.float32)
    counts = np.bincount(metrics.score_bins(scores).numpy(), minlength=histograms.NUM_BINS)
    assert histograms.moments(counts) == pytest.approx((scores.mean(), scores.std()), rel=1e-3)


@pytest.mark.parametrize("name", ["background_class", "void_head"])
def test_evidences_are_the_void_output_and_the_entropy_each_standardised(name):
    settings = kseg_config.default().treatment
    settings.name = name
    treatment = treatments.get(settings, K)
    own, entropy = treatment.evidences
    both = treatment.with_evidences({own: (1.0, 2.0), entropy: (0.5, 0.25)})
    z = np.random.default_rng(0).normal(size=(4, treatment.num_outputs)).astype(np.float32)
    expected = (treatment.scores[own](z) - 1) / 2 + (treatment.scores[entropy](z) - 0.5) / 0.25
    np.testing.assert_allclose(both.scores["evidences"](z), expected, rtol=1e-6)
    assert both.primary == treatment.primary and list(both.scores)[:-1] == list(treatment.scores)
    with pytest.raises(ValueError, match="deviation above 0"):
        treatment.with_evidences({own: (1.0, 0.0), entropy: (0.5, 0.25)})


def test_without_a_void_output_there_is_nothing_to_add_up():
    treatment = treatments.get(kseg_config.default().treatment, K)
    assert treatment.name != "ignore" or treatment.with_evidences({}) is treatment


def photos(folder, labels=((0, 1), (1, 255))):
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number, (left, right) in enumerate(labels):
        label = np.full((20, 30), left, np.uint8)
        label[:, 20:] = right
        Image.fromarray(label).save(folder / "labels" / f"{number}.png")
        Image.fromarray(np.full((20, 30, 3), 100, np.uint8)).save(folder / "images" / f"{number}.jpg")
    return folder


def test_photos_are_counted_one_by_one_object_and_rest(tmp_path):
    import tensorflow as tf

    treatment = treatments.get(kseg_config.default().treatment, K)
    seen = []

    def model(images):
        seen.append(tuple(images.shape))
        return tf.random.stateless_normal((*images.shape[:3], treatment.num_outputs), (1, 2))

    found = json.loads(json.dumps(objects.evaluate(model, treatment, str(photos(tmp_path / "p")), height=40)))
    assert seen == [(1, 40, 60, 3)] * 2 and found["ids"] == ["0", "1"]
    for score in found["scores"].values():
        np.testing.assert_array_equal(results.unpack(score["rest"]).sum(-1), [400, 0])
        np.testing.assert_array_equal(results.unpack(score["object"]).sum(-1), [200, 400])
        assert 0 < score["statistics"]["auroc"] < 1
    objects.evaluate(model, treatment, str(tmp_path / "p"), height=40, aspect=0.5)
    assert seen[2:] == [(1, 40, 30, 3)] * 2


def test_photos_that_cannot_be_counted_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        objects.photos(str(tmp_path))
    folder = photos(tmp_path / "p")
    (folder / "labels" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match="1.png"):
        objects.photos(str(folder))
    treatment = treatments.get(kseg_config.default().treatment, K)
    with pytest.raises(ValueError, match=r"\[7\]"):
        objects.evaluate(lambda images: images, treatment, str(photos(tmp_path / "q", [(0, 7)])))
