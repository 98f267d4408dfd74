"""Evaluation: every pixel counted once, whatever the batch; the report held against loops over pixels."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import evaluation_cases as cases
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from PIL import Image

import tfrecords
from kseg import histograms, metrics
from kseg.evaluation import evaluate, pixel_counts
from kseg.evaluation import report as scorecard
from kseg.models import full_size, unet
from kseg.runs import finished as runs_finished
from kseg.runs import workdir

K = cases.K
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return cases.write_records(tmp_path_factory.mktemp("toy"))


def run(manifest, config=None, **options):
    config = config or cases.config()
    options = {"progress": False} | options
    return evaluate.evaluate(cases.model, cases.treatment(), manifest, config, "val", **options)


@pytest.fixture(scope="module")
def report(manifest):
    return run(manifest, threshold=-6.0)


def pixels(report):
    """Flat arrays over the pixels of all images: ids, off edge (by definition), forced, green, image."""
    rows = []
    for place, image_id in enumerate(report.image_ids):
        image, ids = cases.scene(cases.number_of(image_id))
        for (y, x), value in np.ndenumerate(ids):
            window = ids[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
            rows.append((value, (window == value).all(), image[y, x, 0], image[y, x, 1], place))
    return [np.array(column) for column in zip(*rows)]


def test_the_report_equals_a_loop_over_pixels(report):
    ids, off, forced, green, _ = pixels(report)
    native, calibrated = (np.where(green / 10 - 20 > limit, K, forced) for limit in (0, -6))
    values = report.to_json()
    for decision, block in ((native, values), (calibrated, values["calibrated"])):
        matrix = np.zeros((K + 1, K + 1), int)
        for truth, decided in zip(ids, decision):
            if truth != 6:  # nobody looked: counted nowhere
                matrix[min(truth, K), decided] += 1
        assert block["confusion_matrix"] == matrix.tolist()
        assert block["mean_iou"] == metrics.mean_iou(matrix)
        assert block["mean_iou_with_background"] == metrics.mean_iou_with_background(matrix)
        assert list(block["per_class_iou"]) == ["road", "car", "tree"]
        assert list(block["per_class_iou"].values()) == metrics.per_class_iou(matrix).tolist()
        labelled = ids < K
        assert block["mean_iou_forced"] == metrics.mean_iou(
            metrics.confusion_matrix(np.minimum(ids, K)[ids != 6], forced[ids != 6], K).numpy()
        )
        assert block["abstain_rate"] == (decision == K)[labelled].mean()
        assert block["abstain_rate_correct"] == ((decision == K) & (forced == ids))[labelled].mean()
        names = {"all": (3, 4, 5, 7), "scene": (3,), "dropped": (4, 7), "geometry": (5,), "unseen": ()}
        names |= {"static": (3,), "bridge": (4,), "bonnet": (5,), "trailer": (7,)}
        assert list(block["void"]) == list(names)
        for name, members in names.items():
            for part, chosen in ((block["void"][name], True), (block["void"][name]["off_edge"], off)):
                claims = decision[np.isin(ids, members) & chosen]
                assert part["pixels"] == len(claims)
                if len(claims):
                    assert part["leak"] == (claims != K).mean()
                    assert list(part["claimed_as"].values()) == [(claims == c).mean() for c in range(K)]
    assert 0 < values["abstain_rate"] < values["calibrated"]["abstain_rate"] < 0.5


def test_score_statistics_equal_scikit_learns_on_the_pixels(report):
    ids, off, _, green, _ = pixels(report)
    void = report.to_json()["void"]
    for name, members in (("all", (3, 4, 5, 7)), ("scene", (3,)), ("dropped", (4, 7)), ("bonnet", (5,))):
        for block, chosen in ((void[name], ids < 256), (void[name]["off_edge"], off)):
            used = chosen & ((ids < K) | np.isin(ids, members))
            truth, score = ids[used] >= K, green[used]
            for key in ("void_log_odds", "void_margin"):  # the same order here; 256 scores have a bin each
                found = block["scores"][key]
                assert found["auroc"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, score), abs=1e-12)
                precision = sklearn.metrics.average_precision_score(truth, score)
                assert found["average_precision"] == pytest.approx(precision, abs=1e-12)
                fpr, tpr, _ = sklearn.metrics.roc_curve(truth, score, drop_intermediate=False)
                assert found["fpr95"] == pytest.approx(fpr[tpr >= 0.95].min(), abs=1e-12)
                for share, caught in found["recall_at"].items():
                    assert caught == pytest.approx(tpr[fpr <= float(share)].max(), abs=1e-12)


def test_the_report_has_exactly_the_documented_keys_and_null_for_what_is_undefined(report):
    values = json.loads(json.dumps(report.to_json(), allow_nan=False))
    block = {"confusion_matrix", "mean_iou", "mean_iou_forced", "mean_iou_with_background", "per_class_iou"}
    block |= {"abstain_rate", "abstain_rate_correct", "void"}
    assert set(values) == block | {"split", "images", "treatment", "primary_score", "calibrated"}
    assert set(values["calibrated"]) == block | {"score", "threshold"}
    unseen = values["void"]["unseen"]
    assert set(unseen) == {"pixels", "leak", "claimed_as", "scores", "off_edge"}
    assert unseen["pixels"] == 0 and unseen["leak"] is None and set(unseen["claimed_as"].values()) == {None}
    assert set(unseen["scores"]) == {"void_log_odds", "void_margin", "entropy"}
    nothing = dict.fromkeys(("auroc", "average_precision", "average_precision_at_1_percent", "fpr95"))
    assert unseen["scores"]["entropy"] == nothing | {"recall_at": dict.fromkeys(("0.01", "0.05", "0.10"))}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_batch_size_changes_nothing(manifest, report, batch_size):
    config = cases.config()
    config.eval.batch_size = batch_size
    other = run(manifest, config, threshold=-6.0)
    assert other.image_ids == report.image_ids
    for key, value in report.arrays().items():
        assert np.array_equal(other.arrays()[key], value), key
    assert other.to_json() == report.to_json()


def test_two_halves_sum_to_the_whole(manifest, report):
    order = np.random.default_rng(0).permutation(len(report.image_ids))
    halves = [run(manifest, threshold=-6.0, indices=part) for part in (order[:3], order[3:])]
    for name in ("native", "forced", "calibrated"):
        assert (sum(half.matrix(name) for half in halves) == report.matrix(name)).all()
    assert (sum(half.tally.histograms for half in halves) == report.tally.histograms).all()
    assert halves[0].image_ids == tuple(report.image_ids[i] for i in order[:3])


def test_seen_and_unseen_void_are_void_in_the_truth_and_unseen_is_a_kind_of_its_own(manifest):
    config = cases.config(seen_void_ids=(1,), unseen_void_ids=(2, 7))
    treatment = cases.treatment(num_classes=1)
    model = lambda images: cases.model(images)[..., 2:]  # noqa: E731
    values = evaluate.evaluate(model, treatment, manifest, config, "val", progress=False).to_json()
    pixels = {name: block["pixels"] for name, block in values["void"].items()}
    counts = manifest.split("val").id_pixels
    assert pixels["unseen"] == counts[2] + counts[7] == pixels["tree"] + pixels["trailer"]
    assert pixels["dropped"] == counts[1] + counts[4] == pixels["car"] + pixels["bridge"]
    assert pixels["all"] == sum(counts.values()) - counts[0] - counts[6]
    assert np.sum(values["confusion_matrix"][0]) == counts[0]


def test_off_edge_by_hand():
    ids = np.zeros((4, 9), np.uint8)
    ids[:, 4:] = 7
    ids[0, 8] = 3
    # Off edge (x): 3 px or more from the change between columns 3 and 4, and from the corner, diagonals counting 1.
    drawn = ["xx.......", "xx.......", "xx.......", "xx....xxx"]
    assert pixel_counts.off_edge(ids).tolist() == [[cell == "x" for cell in row] for row in drawn]
    assert pixel_counts.off_edge(np.zeros((1, 1), np.uint8)).all()
    assert pixel_counts.off_edge(ids, distance=0).all()


def test_the_archive_holds_what_the_json_file_says(manifest, report, tmp_path):
    report.save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["eval_val.json", "eval_val.npz"]
    values = json.loads((tmp_path / "new" / "eval_val.json").read_text())
    assert values == json.loads(json.dumps(report.to_json()))
    archive = dict(np.load(tmp_path / "new" / "eval_val.npz"))
    for key in archive:  # the module's head names them all
        name = key.replace("void_log_odds", "<score>").replace("void_margin", "<score>").replace("entropy", "<score>")
        assert name in scorecard.__doc__, key
    assert archive["image_ids"].tolist() == list(report.image_ids)
    assert archive["sequences"].tolist() == [image_id[0] for image_id in report.image_ids]
    assert archive["confusion_native"].sum(0).tolist() == values["confusion_matrix"]
    assert archive["confusion_calibrated"].sum(0).tolist() == values["calibrated"]["confusion_matrix"]
    assert metrics.mean_iou(archive["confusion_forced"].sum(0)) == values["mean_iou_forced"]
    for place, kind in enumerate(pixel_counts.REPORTED_KINDS):
        claims = archive["claims_native"][:, place].sum(0)
        assert claims.sum() == values["void"][kind]["pixels"]
        assert claims[1].sum() == values["void"][kind]["off_edge"]["pixels"]
        assert scorecard.histograms.none_for_nan(metrics.leak(claims.sum(0))) == values["void"][kind]["leak"]
    groups = archive["groups"].tolist()
    for score in archive["scores"]:
        counts, thresholds = archive[f"histogram_{score}"], archive[f"thresholds_{score}"]
        assert counts.dtype == np.uint32 and len(thresholds) == counts.shape[-1] + 1 <= 513
        assert (np.diff(thresholds) > 0).all()
        assert counts[:, :2].sum() == np.sum(values["confusion_matrix"][:K])
        assert counts[:, groups.index("right")].sum() == np.trace(archive["confusion_forced"].sum(0)[:K, :K])
        inner = counts.sum(0)[:, 1]
        labelled, void = inner[0] + inner[1], inner[groups.index("scene")]
        found = values["void"]["scene"]["off_edge"]["scores"][str(score)]["auroc"]
        assert histograms.auroc(labelled, void) == pytest.approx(found, abs=2e-3)
    # score > threshold b flags the bins from b on: image by image
    ids, _, _, green, image = pixels(report)
    counts, thresholds = archive["histogram_void_margin"], archive["thresholds_void_margin"]
    for b in range(0, len(thresholds), 5):
        flagged = (green / np.float32(10) - 20 > thresholds[b]) & (ids == 3)
        assert (
            counts[:, groups.index("scene"), :, b:].sum((1, 2)).tolist()
            == np.bincount(image[flagged], minlength=len(counts)).tolist()
        )


def test_calibration_loses_exactly_what_it_says(manifest):
    config = cases.config()
    for nominal in (0.0, 0.2):
        config.treatment.abstain_rate = nominal
        indices = np.array([0, 2, 5])
        point = evaluate.calibration(run(manifest, config, indices=indices), config)
        assert set(point) == {"score", "threshold", "nominal", "realised", "images", "labelled_pixels"}
        assert point["score"] == "void_log_odds" and point["nominal"] == nominal >= point["realised"]
        report = run(manifest, config, indices=indices, threshold=point["threshold"])
        assert report.to_json()["calibrated"]["abstain_rate"] == point["realised"]
        assert report.threshold_for(nominal) == (point["threshold"], point["realised"])
        # What the primary score's histogram says is caught at this price.
        counts = report.tally.histograms[report.tally.scores.index(point["score"])].sum(1)
        for name, ids in scorecard.void_names(report.tally.layout).items():
            caught = histograms.recall_at(counts[:2].sum(0), counts[[2 + i for i in ids]].sum(0), nominal)
            leak = report.to_json()["calibrated"]["void"][name]["leak"]
            assert histograms.none_for_nan(1 - caught) == pytest.approx(leak, abs=1e-12)
    json.dumps(point, allow_nan=False)


def test_a_model_that_gives_nan_is_reported_with_its_image(manifest, report):
    def broken(images):
        bad = tf.reduce_all(tf.shape(images)[1:3] == [9, 21])
        return tf.where(bad, np.nan, 1.0) * cases.model(images)

    name = next(i for i in report.image_ids if cases.SIZES[cases.number_of(i) % len(cases.SIZES)] == (9, 21))
    with pytest.raises(ValueError, match=rf"image {name}: score \w+ is NaN at \d+ pixels; the model has diverged"):
        evaluate.evaluate(broken, cases.treatment(), manifest, cases.config(), "val", progress=False)


def test_the_network_may_see_another_size_and_logits_are_interpolated_back():
    images = np.random.default_rng(0).integers(0, 256, (2, 30, 41, 3)).astype(np.uint8)
    seen = []

    def model(x):
        seen.append(x.shape)
        return x[..., :2]

    for size, antialias in (((20, 32), False), ((14, 32), True)):
        found = full_size.logits(model, images, size)
        small = tf.image.resize(tf.cast(images, tf.float32), size, antialias=antialias)
        assert seen[-1] == (2, *size, 3)
        assert np.array_equal(found, tf.image.resize(small, (30, 41))[..., :2])
    assert np.array_equal(full_size.logits(model, images), images[..., :2])


def test_predictions_are_written_as_official_pngs_one_per_image(manifest, report, tmp_path):
    config = cases.config()
    for point in ("native", "calibrated", "native"):  # the second and third overwrite the first's files
        config.treatment.abstain = point
        run(manifest, config, threshold=-6.0, official_dir=str(tmp_path / "png"))
        names = [f"{image_id}.png" for image_id in report.image_ids]
        assert sorted(path.name for path in (tmp_path / "png").iterdir()) == sorted(names)
        for image_id in report.image_ids:
            image, _ = cases.scene(cases.number_of(image_id))
            limit = 0 if point == "native" else -6
            official = np.where(image[..., 1] / 10 - 20 > limit, 3, image[..., 0])  # abstain is id 3, void; 0 is road
            written = Image.open(tmp_path / "png" / f"{image_id}.png")
            assert written.mode == "L" and np.array_equal(np.asarray(written), official)


def test_a_folder_with_other_content_is_refused_and_left_alone(manifest, tmp_path):
    (tmp_path / "a_000000_000019_old.png").write_text("mine")  # the scorer would find two predictions for one image
    with pytest.raises(ValueError, match=r"holds 1 other files \(a_000000_000019_old.png \.\.\.\)"):
        run(manifest, official_dir=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["a_000000_000019_old.png"]


def test_a_split_without_labels_gives_predictions_only(tmp_path):
    manifest = cases.write_records(tmp_path, count=2, labels=False)
    with pytest.raises(ValueError, match="has no labels; only predictions can be written"):
        run(manifest)
    assert run(manifest, official_dir=str(tmp_path / "png")) is None
    assert len(list((tmp_path / "png").iterdir())) == 2


def test_nothing_to_evaluate_and_foreign_classes_are_refused(manifest):
    with pytest.raises(ValueError, match="no images to evaluate on"):
        run(manifest, indices=[])
    with pytest.raises(ValueError, match="has no split 'test'; it has val"):
        evaluate.evaluate(cases.model, cases.treatment(), manifest, cases.config(), "test")
    with pytest.raises(ValueError, match="has 3 classes, the model 5"):
        evaluate.evaluate(cases.model, cases.treatment(num_classes=5), manifest, cases.config(), "val")


def test_images_of_many_sizes_are_each_batched_once():
    sizes = np.random.default_rng(0).integers(1, 6, 60)
    examples = [(i, {"image": np.zeros((size, 2, 3))}) for i, size in enumerate(sizes)]
    batches = list(evaluate._batches(iter(examples), 4))
    assert sorted(i for batch in batches for i, _ in batch) == list(range(60))
    assert all(len({example["image"].shape for _, example in batch}) == 1 for batch in batches)
    assert max(map(len, batches)) == 4


# A finished run. ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory, manifest):
    """A workdir as tools/train.py leaves it."""
    folder = tmp_path_factory.mktemp("run")
    config = cases.config(records_dir=str(manifest.records_dir))
    config.model.width, config.model.depth = 2, 1
    treatment = cases.treatment()
    model = unet.build(config.model, treatment.num_outputs)
    workdir.open_run(str(folder), config, manifest, cases.TABLE)
    model.save(folder / "model.keras")
    workdir.write_json(str(folder / "calibration.json"), {"score": treatment.primary, "threshold": -0.5})
    return folder


def copy_run(finished, folder):
    for name in ("config.json", "model.keras", "calibration.json"):
        (folder / name).write_bytes((finished / name).read_bytes())


def tool(*arguments):
    command = [sys.executable, str(ROOT / "tools" / "evaluate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_command_writes_report_and_predictions(finished, manifest, tmp_path):
    done = tool(f"--workdir={finished}", "--split=val", f"--official_dir={tmp_path / 'png'}")
    assert done.returncode == 0, done.stderr
    run = runs_finished.load_run(str(finished))
    again = evaluate.evaluate(run.model, run.treatment, manifest, run.config, "val", threshold=-0.5, progress=False)
    values = json.loads((finished / "eval_val.json").read_text())
    asked = {"checkpoint": "model", "records": manifest.digest, "average": "", "tile_size": [0, 0]}
    asked["total_steps"] = run.config.train.total_steps
    assert {name: values.pop(name) for name in asked} == asked
    assert values == again.to_json()
    assert f"mean IoU                {100 * values['mean_iou']:>10.2f} %" in done.stdout
    caught = 1 - values["void"]["all"]["leak"]
    assert f"void caught             {100 * caught:>10.2f} %" in done.stdout
    labelled = np.array(values["confusion_matrix"])[:-1].sum(1)
    for (name, iou), pixels in zip(values["per_class_iou"].items(), labelled):
        share = f"{100 * pixels / labelled.sum():.2f} %"
        row = next(line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
        assert row.split("  ")[-1].strip() == share and (iou is None or f"{100 * iou:.2f} %" in row)
    assert f"--workdir={finished}" in done.stdout.splitlines()[-1]
    assert (finished / "eval_val.npz").exists()
    assert len(list((tmp_path / "png").iterdir())) == len(cases.SIZES)


def test_load_run_gives_the_run_back(finished, manifest):
    run = runs_finished.load_run(str(finished))
    assert run.table == cases.TABLE and run.digest == manifest.digest
    assert run.treatment.name == "background_class" and run.treatment.num_outputs == K + 1
    assert run.config.model.width == 2 and run.calibration["threshold"] == -0.5
    assert run.model(np.zeros((1, 5, 7, 3), np.uint8)).shape == (1, 5, 7, K + 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.keras").unlink(), r"model\.keras does not exist; let kseg train"),
        (lambda folder: (folder / "model.keras").write_bytes(b"PK"), r"model\.keras cannot be loaded \(.*\); it is"),
        (lambda folder: (folder / "config.json").unlink(), "holds no run"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "config.json").write_text('{"config": {}}'), "does not describe the data set"),
        (lambda folder: (folder / "calibration.json").write_text('{"score": "x"}'), "is of score 'x', the run's is"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(finished, tmp_path, damage, message):
    copy_run(finished, tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        runs_finished.load_run(str(tmp_path))
    assert "\n" not in str(error.value)


def test_records_that_changed_are_refused_unless_they_are_named(finished, tmp_path):
    copy_run(finished, tmp_path)
    other = cases.write_records(tmp_path / "other", count=2)
    stored = json.loads((tmp_path / "config.json").read_text())
    stored["config"]["data"]["records_dir"] = str(other.records_dir)
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="has changed since .* name it with --records_dir"):
        evaluate.evaluate_run(str(tmp_path), "val", progress=False)
    assert not (tmp_path / "eval_val.json").exists()
    report = evaluate.evaluate_run(str(tmp_path), "val", records_dir=str(other.records_dir), progress=False)
    assert len(report.image_ids) == 2 and (tmp_path / "eval_val_other_records.json").exists()
    assert not (tmp_path / "eval_val.json").exists()


def test_records_that_only_moved_are_the_runs_own_and_other_weights_have_files_of_their_own(
    finished, manifest, tmp_path
):
    copy_run(finished, tmp_path)
    (tmp_path / "best.keras").write_bytes((finished / "model.keras").read_bytes())
    moved = str(shutil.copytree(manifest.records_dir, tmp_path / "moved"))
    evaluate.evaluate_run(str(tmp_path), "val", records_dir=moved, progress=False)
    evaluate.evaluate_run(str(tmp_path), "val", checkpoint="best", average="flip", progress=False)
    written = sorted(path.stem for path in tmp_path.glob("eval_*.json"))
    assert written == ["eval_val", "eval_val_best_averaged"]
    values = json.loads((tmp_path / "eval_val_best_averaged.json").read_text())
    assert (values["checkpoint"], values["average"]) == ("best", "flip")


def test_memory_that_does_not_suffice_is_explained_with_what_an_evaluation_can_change(finished, monkeypatch):
    def no_room(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(evaluate, "evaluate", no_room)
    with pytest.raises(ValueError, match=r"out of memory \(OOM .*\); evaluate in tiles") as error:
        evaluate.evaluate_run(str(finished), "val", progress=False)
    assert "config.train" not in str(error.value) and "\n" not in str(error.value)


def test_the_command_says_what_is_wrong_in_one_line():
    for arguments, message in (
        ([], "error: --workdir is missing"),
        (["x"], "error: 'x' is not a flag"),
        (["--checkpoint=first"], "error: flag --checkpoint=first"),
    ):
        done = tool(*arguments)
        assert done.returncode == 1 and done.stderr.startswith(message), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def test_the_command_turns_errors_into_one_line():
    done = tool("--workdir=/nowhere/at/all")
    assert done.returncode == 1
    assert re.fullmatch(r"error: /nowhere/at/all holds no run .*\n", done.stderr)


def test_classes_must_be_those_of_the_run(finished, tmp_path):
    table = tfrecords.LabelTable(
        "other", tuple(x if x.id else tfrecords.Label(0, "sky", 0, None, (1, 2, 3)) for x in cases.TABLE.labels)
    )
    image, ids = cases.scene(0)
    Image.fromarray(image).save(tmp_path / "i.png")
    Image.fromarray(ids).save(tmp_path / "l.png")
    pair = tfrecords.Pair("a_0", str(tmp_path / "i.png"), str(tmp_path / "l.png"))
    tfrecords.write(tmp_path / "records", table, {"val": [pair]}, num_workers=1)
    with pytest.raises(ValueError, match="has the classes sky, car, tree; .* was trained on road, car, tree"):
        evaluate.evaluate_run(str(finished), "val", records_dir=str(tmp_path / "records"), progress=False)
