"""The page of a run and that of several: their numbers by hand, and that they load nothing from outside."""

import dataclasses
import json
import re
import shutil
import types

import numpy as np
import pytest
from programs import run_tool
from small_models import network

import tfrecords
from kseg import config as defaults
from kseg.evaluation import evaluate
from kseg.report import compare_page, examples, run_page, run_tables
from kseg.report import run as runs
from kseg.runs import workdir
from kseg.training import train


def evaluation(labelled, of_void, matrices, edges=None, **report):
    """An Evaluation of hand-made counts: histograms [images, bins] of right labelled pixels and of scene void."""
    histogram = np.zeros((len(labelled), 6, 2, len(labelled[0])), np.uint32)
    histogram[:, 0, 0], histogram[:, 2, 0] = labelled, of_void
    matrices = np.array(matrices)
    total = matrices.sum(0)
    names = [f"class{i}" for i in range(len(total) - 1)]
    report = {
        "primary_score": "entropy", "confusion_matrix": total.tolist(), "per_class_iou": dict.fromkeys(names, 0.5),
        "mean_iou": 0.5, "abstain_rate": 0.0, "void": {"all": {"leak": 1.0, "pixels": 4}},
    } | report  # fmt: skip
    arrays = {
        "groups": np.array(["right", "wrong", "scene", "dropped", "geometry", "unseen"]),
        "confusion_native": matrices, "histogram_entropy": histogram,
        "thresholds_entropy": np.array(edges or range(len(labelled[0]) + 1), np.float32),
        "image_ids": np.array([f"image_{i}" for i in range(len(labelled))]),
    }  # fmt: skip
    return runs.Evaluation(report, arrays)


# Two images, two classes. First: 6 of 8 right by class 0, 2 taken for class 1; 4 of void, 3 of it above bin 2.
MATRICES = [[[6, 2, 0], [0, 0, 0], [1, 1, 2]], [[1, 1, 0], [0, 2, 0], [0, 0, 0]]]
LABELLED, VOID = [[4, 3, 1], [2, 2, 0]], [[1, 0, 3], [0, 0, 0]]


def test_the_curve_is_what_each_threshold_loses_and_catches():
    made = evaluation(LABELLED, VOID, MATRICES)
    lost, caught = made.curve(["scene"])
    np.testing.assert_allclose(lost, [0, 1 / 12, 6 / 12, 1])
    np.testing.assert_allclose(caught, [0, 3 / 4, 3 / 4, 1])
    assert made.curve(["geometry"]) is None


def test_images_are_ranked_by_the_iou_of_their_own_classes_and_by_the_void_above_the_threshold():
    made = evaluation(LABELLED, VOID, MATRICES, calibration={"threshold": 2.0})
    # First image: class 0 alone, 6 / (8 + 0); second: 1 / (2 + 0) and 2 / (2 + 1).
    np.testing.assert_allclose(examples.image_iou(made), [6 / 8, (1 / 2 + 2 / 3) / 2])
    # Bin 2 starts at the threshold; the second image has no void.
    np.testing.assert_allclose(examples.void_caught(made), [3 / 4, np.nan])
    # Without a threshold: the one that loses at most 5 %, here none does but the top, which nothing is above.
    without = evaluation([[40, 58, 2], [0, 0, 0]], [[1, 0, 3], [0, 0, 0]], MATRICES)
    np.testing.assert_allclose(examples.void_caught(without), [3 / 4, np.nan])
    nothing = evaluation(LABELLED, VOID, MATRICES)
    np.testing.assert_allclose(examples.void_caught(nothing), [0, np.nan])


def test_best_and_worst_never_share_a_picture_and_what_is_undefined_is_neither():
    values = np.array([0.3, np.nan, 0.9, 0.1, 0.5])
    assert examples.best_and_worst(values, 2) == [("best", 2), ("best", 4), ("worst", 3), ("worst", 0)]
    assert examples.best_and_worst(values[:3], 2) == [("best", 2), ("worst", 0)]
    assert examples.best_and_worst(np.array([np.nan]), 2) == []


def test_the_confusion_matrix_has_a_row_of_void_and_a_column_of_abstaining():
    made = run_tables.confusion(evaluation(LABELLED, VOID, MATRICES).report)
    assert made["columns"] == ["class0", "class1", "abstained"]
    shown = {row["name"]: [cell["show"] for cell in row["cells"]] for row in made["rows"]}
    assert shown == {"class0": ["70", "30", ""], "class1": ["", "100", ""], "void": ["25", "25", "50"]}
    absent = run_tables.confusion(
        {"per_class_iou": {"a": None, "b": 1.0}, "confusion_matrix": [[0, 0, 0], [0, 3, 0], [0] * 3]}
    )
    assert [row["name"] for row in absent["rows"]] == ["b"]


def test_differences_by_class_are_to_the_first_run_in_points():
    one, other = ({"per_class_iou": iou, "confusion_matrix": [[3, 0, 0], [0, 1, 0], [0, 0, 0]]} for iou in (
        {"road": 0.5, "train": None}, {"road": 0.475, "train": 0.25},
    ))  # fmt: skip
    made = run_tables.classes([("one", one), ("other", other)])
    assert [column["name"] for column in made["columns"]] == [
        "class", "% of labelled pixels", "one", "other", "other − one",
    ]  # fmt: skip
    assert [[cell["show"] for cell in row["cells"]] for row in made["rows"]] == [
        ["road", "75.00", "50.0", "47.5", "−2.5"], ["train", "25.00", "–", "25.0", "–"],
    ]  # fmt: skip


def test_decisions_that_never_abstain_are_no_point_of_the_curve():
    made = evaluation(LABELLED, VOID, MATRICES)
    assert made.operating_points() == {}
    note = {"threshold": 1.0, "realised": 0.05, "void_caught": 0.4}
    abstains = {"abstain_rate": 0.1, "void": {"all": {"leak": 0.75}}}
    assert evaluation(LABELLED, VOID, MATRICES, calibrated=abstains).operating_points() == {"calibrated": (0.1, 0.25)}
    assert evaluation(LABELLED, VOID, MATRICES, calibration=note).operating_points() == {"calibrated": (0.05, 0.4)}
    assert evaluation(LABELLED, VOID, MATRICES, **abstains).operating_points() == {"native": (0.1, 0.25)}


@pytest.fixture(scope="module")
def two(records, tmp_path_factory):
    """Folders of two runs that were not trained, but evaluated on val, in names that a page must not take for HTML."""
    base = tmp_path_factory.mktemp("runs")
    folders = []
    for name, rate in (("<b>one", 0.01), ("other", 0.02)):
        treatment_name = "ignore" if name.startswith("<") else "background_class"
        config = defaults.default()
        config.data.records_dir, config.treatment.name = records, treatment_name
        config.model.width, config.model.depth, config.optimizer.learning_rate = 4, 2, rate
        manifest = tfrecords.info(records)
        model, treatment = network(treatment_name)
        folder = base / name
        workdir.open_run(str(folder), config, manifest, manifest.table)
        model.save(folder / "model.keras")
        lines = [{"step": s, "loss": 3 - s / 10, "learning_rate": rate, "eval_mean_iou": s / 100} for s in (2, 4, 6)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        report = evaluate.evaluate(model, treatment, manifest, config, "val", threshold=1.0, progress=False)
        report.save(str(folder))
        folders.append(folder)
    return folders


def loads_from_outside(text):
    return re.findall(r"(?:src|href|srcset)=[\"'](?!data:|#)[^\"']*|url\([^)]*\)|@import", text)


def test_the_page_of_a_run_holds_all_of_it_and_loads_nothing(two):
    path, problem = run_page.write(str(two[0]))
    text = (two[0] / "report.html").read_text()
    assert path == str(two[0] / "report.html") and problem == ""
    assert loads_from_outside(text) == []
    assert "<b>one" not in text and "&lt;b&gt;one" in text
    for words in (
        "Confusion matrix",
        "Abstaining",
        "Best and worst by IoU",
        "Best and worst by void",
        "optimizer.learning_rate",
    ):
        assert words in text, words
    assert text.count("data:image/jpeg") == 2 and text.count("<picture>") == 2
    report = json.loads((two[0] / "eval_val.json").read_text())
    assert f"{100 * report['mean_iou']:.1f} % mIoU" in text and "the calibrated threshold, 1." in text
    assert "kseg evaluate --workdir=" in text and "kseg export --workdir=" in text


def test_an_evaluation_that_asked_in_another_way_has_pictures_of_its_split(two):
    for suffix in (".json", ".npz"):
        shutil.copy(two[0] / f"eval_val{suffix}", two[0] / f"eval_val_averaged{suffix}")
    assert runs.read(two[0]).splits == ("val", "val_averaged")
    assert run_page.write(str(two[0]), "val_averaged")[1] == ""
    assert (two[0] / "report.html").read_text().count("data:image/jpeg") == 2


def copy_of(folder, target, **notes):
    """A copy of a run, the report on val with other notes."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("report.html", "eval_val_averaged.*"))
    report = json.loads((target / "eval_val.json").read_text())
    (target / "eval_val.json").write_text(json.dumps(report | notes))
    return target


def test_an_evaluation_from_before_the_run_was_extended_is_named_and_left_out(two, tmp_path):
    run = copy_of(two[1], tmp_path / "extended", total_steps=7)
    assert runs.read(run).splits == () and runs.read(run).outdated == {"val": 7}
    run_page.write(str(run))
    text = (run / "report.html").read_text()
    assert "Not scored yet" in text and "Left out, since the run was extended after them: val (of 7 steps)" in text
    message = "eval_val.json is of 7 steps, and the run was extended to [0-9]+ since; evaluate again"
    for ask in (
        lambda: run_page.write(str(run), "val"),
        lambda: compare_page.write([two[1], run], tmp_path / "c.html"),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    total = runs.read(run).config.train.total_steps
    assert runs.read(copy_of(two[1], tmp_path / "same", total_steps=total)).splits == ("val",)


def test_pictures_are_of_the_weights_and_in_the_way_that_were_evaluated(two, tmp_path, monkeypatch):
    run = copy_of(two[1], tmp_path / "best", checkpoint="best", average="flip", tile_size=[64, 64])
    shutil.copy(run / "model.keras", run / "best.keras")
    (run / "model.keras").write_bytes(b"not asked")
    asked = []
    answering = evaluate.answering

    def noted(model, treatment, config, threshold=None):
        asked.append((config.eval.average, tuple(config.eval.tile_size)))
        config.eval.tile_size = (0, 0)  # as small as these pictures are, no tiles overlap
        return answering(model, treatment, config, threshold)

    monkeypatch.setattr(evaluate, "answering", noted)
    assert run_page.write(str(run))[1] == "" and set(asked) == {("flip", (64, 64))}
    other = copy_of(two[1], tmp_path / "other", records="of another digest")
    assert "of other records than the run's" in run_page.write(str(other))[1]


def test_memory_that_does_not_suffice_for_pictures_leaves_a_page_that_says_so(two, tmp_path, monkeypatch):
    def no_room(*_, **__):
        raise examples.evaluate.tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(examples, "sheets", no_room)
    _, problem = run_page.write(str(copy_of(two[0], tmp_path / "run")))
    assert problem.startswith("out of memory (OOM when allocating); evaluate in tiles") and "\n" not in problem


def test_the_commands_of_a_page_name_splits_and_how_such_a_run_goes_on(two, tmp_path):
    run = runs.read(two[0])
    total = run.config.train.total_steps

    def commands(step, split="val"):
        made = dataclasses.replace(run, folder=str(tmp_path), lines=[{"step": step}])
        return dict(run_page.commands(made, runs.Evaluation({"split": split}, {})))

    assert commands(total, "test")["score it"].endswith("--split=test")
    assert commands(total, "held_out")["score it"].endswith(f"--split={run.config.data.eval_split}")
    assert f"--config.train.total_steps={2 * total}" in commands(total)["train it longer"]
    assert "once more" in commands(total - 1)["train it to its end"] and "train it longer" not in commands(total - 1)
    (tmp_path / "model.keras").touch()  # it stopped early, and such a run is not extended
    assert not [what for what in commands(total - 1) if what.startswith("train it")]


def test_a_damaged_line_of_the_log_is_named(two, tmp_path):
    run = copy_of(two[0], tmp_path / "damaged")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"loss": 1}\n{"step": 8, "lo')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 4, is damaged .*; take that line out"):
        run_page.write(str(run))


def test_a_page_without_evaluation_or_records_says_what_it_lacks(two, tmp_path, records):
    config = defaults.default()
    config.data.records_dir = records
    manifest = tfrecords.info(records)
    workdir.open_run(str(tmp_path / "bare"), config, manifest, manifest.table)
    run_page.write(str(tmp_path / "bare"))
    text = (tmp_path / "bare" / "report.html").read_text()
    assert "Not scored yet" in text and "Confusion matrix" not in text
    stored = json.loads((two[1] / "config.json").read_text())
    stored["config"]["data"]["records_dir"] = str(tmp_path / "gone")
    before = (two[1] / "config.json").read_text()
    (two[1] / "config.json").write_text(json.dumps(stored))
    try:
        _, problem = run_page.write(str(two[1]))
    finally:
        (two[1] / "config.json").write_text(before)
    text = (two[1] / "report.html").read_text()
    assert "gone" in problem and "\n" not in problem and f"Without pictures: {problem}"[:40] in text
    assert "Confusion matrix" in text and "image/jpeg" not in text


def test_runs_side_by_side_have_differences_a_warning_and_the_settings_that_differ(two, tmp_path):
    page = tmp_path / "new" / "compare.html"
    assert compare_page.write([str(folder) for folder in two], str(page)) == ("val", "")
    text = page.read_text()
    assert loads_from_outside(text) == []
    assert "One run each says little" in text and "other − &lt;b&gt;one" in text
    rows = compare_page.differing_settings([runs.read(folder) for folder in two])
    assert sorted(rows) == [("optimizer.learning_rate", 0.01, 0.02), ("treatment.name", "ignore", "background_class")]
    assert "Where they differ most" in text and text.count('class="matrix"') == 2


def test_what_cannot_be_compared_is_refused_in_one_line(two):
    read = [runs.read(folder) for folder in two]
    with pytest.raises(ValueError, match="no split was evaluated by all of these runs; kseg evaluate --workdir="):
        compare_page._common([read[0], dataclasses.replace(read[1], splits=("held_out",))])
    one = evaluation(LABELLED, VOID, MATRICES)
    images = evaluation(LABELLED, VOID, MATRICES)
    images.arrays["image_ids"] = np.array(["image_0", "image_7"])
    with pytest.raises(ValueError, match=r"evaluated on other images of val \(2 and 2, of which 1 are the same\)"):
        compare_page.check_comparable(read, [one, images], "val")
    labels = evaluation(LABELLED, VOID, [MATRICES[0], [[1, 2, 0], [0, 1, 0], [0, 0, 0]]])
    with pytest.raises(ValueError, match=r"other labels of the same images \(1 of 2, image_1 among them\)"):
        compare_page.check_comparable(read, [one, labels], "val")
    decided = evaluation(LABELLED, VOID, [MATRICES[0], [[2, 0, 0], [1, 1, 0], [0, 0, 0]]])
    compare_page.check_comparable(read, [one, decided], "val")
    classes = evaluation(LABELLED, VOID, MATRICES, per_class_iou={"class0": 1.0})
    with pytest.raises(ValueError, match="other classes"):
        compare_page.check_comparable(read, [one, classes], "val")


@pytest.mark.parametrize(
    "command, words",
    [
        (("report", "--pictures=0", "--workdir={empty}"), "holds no run"),
        (("report",), "give one run"),
        (("report", "--pictures=0", "--split=test", "{one}"), "has no eval_test.json"),
        (("compare", "{one}"), "two runs or more"),
        (("compare", "--pictures=0", "{one}", "{empty}"), "holds no run"),
    ],
)
def test_mistakes_end_in_one_line(two, tmp_path, command, words):
    name, *arguments = [part.format(empty=tmp_path, one=two[0]) for part in command]
    done = run_tool(f"tools/{name}.py", *arguments, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_without_pictures_a_page_needs_no_tensorflow(two, tmp_path):
    code = "import sys; from kseg.report import compare_page, run_page; "
    code += f"run_page.write({str(two[0])!r}, pictures=0); "
    code += f"compare_page.write({[str(folder) for folder in two]!r}, {str(tmp_path / 'c.html')!r}, pictures=0); "
    code += "sys.exit('tensorflow' in sys.modules)"
    run_tool("-c", code)


def test_a_page_that_cannot_be_drawn_fails_no_run(monkeypatch):
    said = []
    monkeypatch.setattr(train.logging, "warning", lambda text, *values: said.append(text % values))

    def broken(*_, **__):
        raise RuntimeError("no\nfont")

    monkeypatch.setattr(run_page, "write", broken)
    parts = types.SimpleNamespace(model=None, treatment=None, manifest=None)
    train._draw_page("W", parts)
    assert said == ["W/report.html could not be drawn (RuntimeError: no font); kseg report --workdir=W tries again"]


@pytest.mark.parametrize("evaluations, said", [(0, False), (1, False), (2, True)])
def test_the_caption_speaks_of_curves_that_are_drawn(evaluations, said):
    class Shown:
        def series(self, key):
            return (np.arange(evaluations), np.zeros(evaluations)) if evaluations else None

    assert ("mIoU" in run_page.curves_caption([Shown()])) == said
