"""Which runs a study has, how they get done and resumed, which may be compared, and what is concluded from them."""

import concurrent.futures
import functools
import importlib.util
import json
import lzma
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import simulated_study
import tiny_folders

import kseg
from kseg import iou, treatments
from kseg.study import folder as study_folder
from kseg.study import grid, identity, measures, publish, results, runner, worker
from kseg.study import summary as findings
from kseg.study.report import answer_figure, figures, fill_markdown
from kseg.study.report import page as report

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = [sys.executable]


def load_config(name, *arguments):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


@pytest.fixture
def smoke(tmp_path):
    configuration = load_config("study_smoke")
    configuration.base.data.records_dir = str(tmp_path / "records")
    return configuration


@pytest.fixture(scope="module")
def camvid():
    configuration = load_config("study_camvid")
    configuration.draws = 400
    return configuration


@pytest.fixture(scope="module")
def summary(camvid, tmp_path_factory):
    """study.json's content of a made-up core stage."""
    folder = tmp_path_factory.mktemp("made_up")
    simulated_study.write(camvid, folder, only=lambda run: run.stage in ("primary", "core") and run.seed < 4)
    runs = grid.expand(camvid)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in runs})
    return findings.summarise(camvid, found, runs, folder)


# Which runs.


@pytest.mark.parametrize("name", ["study_camvid", "study_cityscapes", "study_smoke", "study_street_scenes"])
def test_every_study_configuration_expands_to_runs_that_the_treatments_accept(name):
    configuration = load_config(name)
    runs = grid.expand(configuration)
    assert len({run.id for run in runs}) == len(runs)
    for run in runs:
        treatments.get(run.config.treatment, 11, run.config.loss)


@pytest.mark.parametrize("part", ["rates", "tuning"])
def test_tuning_never_names_the_test_frames_and_every_choice_has_its_runs(part):
    tuning = load_config("study_camvid", part)
    assert tuning.test_split == ""
    listed = {run.arm for run in grid.expand(tuning)}
    for _, default, candidates, *_ in tuning.choices:
        assert default in [value for value, _ in candidates]
        assert {arm for _, arms in candidates for arm in arms} <= listed
    # The second call goes on where the first one was.
    before = {run.id for run in grid.expand(load_config("study_camvid", "rates"))}
    assert before <= {run.id for run in grid.expand(tuning)}


def test_runs_come_seed_by_seed_so_that_every_prefix_compares_whole_sets(camvid):
    runs = grid.expand(camvid)
    main = [run for run in runs if run.stage == "primary"]
    assert runs[: len(main)] == main and {run.arm for run in main[:3]} == {run.arm for run in main}
    core = [run for run in runs if run.stage == "core"]
    for stage in (main, core):
        seeds = [run.seed for run in stage]
        assert seeds == sorted(seeds)
    assert {run.arm for run in core if run.seed == 0} >= {run.arm for run in core}
    counts = {arm: sum(run.arm == arm for run in core) for arm in {run.arm for run in core}}
    assert sum(run.arm == "ignore-w8" for run in main) == 6
    assert (counts["hybrid-w8"], counts["ignore-w4"], counts["ignore-w16"]) == (3, 4, 2)
    assert sum("-seen_" in arm for arm in counts) == 9


def test_arms_of_a_contrast_differ_in_their_treatment_alone(camvid):
    runs = {(run.arm, run.seed): grid.settings(run.config) for run in grid.expand(camvid)}
    ours, theirs = runs["background_class-w8", 2], runs["ignore-w8", 2]
    differ = {(s, k) for s in ours for k in ours[s] if ours[s][k] != theirs[s][k]}
    assert differ <= {("treatment", "name"), ("treatment", "void_weight")}


def test_a_run_is_named_after_what_it_computes_not_after_where_it_runs(smoke):
    before = [run.id for run in grid.expand(smoke)]
    smoke.base.data.records_dir, smoke.base.data.cache = "/elsewhere", True
    assert [run.id for run in grid.expand(smoke)] == before
    smoke.base.train.total_steps += 1
    assert not set(before) & {run.id for run in grid.expand(smoke)}


def test_a_study_that_contradicts_itself_is_refused_in_one_line(smoke):
    smoke.arms.ignore.treatment.nmae = "ignore"
    with pytest.raises(ValueError, match="arm ignore: there is no key treatment.nmae"):
        grid.expand(smoke)
    del smoke.arms.ignore.treatment["nmae"]
    smoke.grid = [("all", ("ignore", "ignore"), (0,))]
    with pytest.raises(ValueError, match="ignore with seed 0 is in the grid twice"):
        grid.expand(smoke)
    smoke.grid = [("all", ("ignore",), (0,))]
    with pytest.raises(ValueError, match="contrast 'capacity' speaks of arm 'background_class', which has no run"):
        grid.expand(smoke)
    smoke.grid = [("all", ("ignroe",), (0,))]
    with pytest.raises(ValueError, match="the grid lists arm 'ignroe', expected one of background_class, ignore"):
        grid.expand(smoke)


A_GROUP = {"title": "Dice", "caption": "What of it.", "contrasts": (), "arms": ()}


def contrast(measure="forced_miou", arm="background_class"):
    return [("capacity", arm, "ignore", measure, True)]


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("contrasts", contrast("forced_miuo"), "contrast 'capacity' is of 'forced_miuo', expected forced_miou, native"),
        ("contrasts", contrast("auroc_sky_off_edge"), "is of 'auroc_sky_off_edge', expected"),
        ("contrasts", contrast("leak_scene"), "is of 'leak_scene', expected"),
        ("contrasts", [("capacity", "ignore")], r"contrasts: expected \(name, arm, reference, measure, primary\), got"),
        ("headline", ("ignroe",), "headline speaks of arm 'ignroe', which has no run"),
        ("folds", {"ignroe": ("car", "fence")}, "folds speaks of arm 'ignroe', which has no run"),
        ("folds", {"ignore": "car"}, "folds: expected two groups of ignore, got 'car'"),
        ("by_width", ("capcity",), "by_width names 'capcity', which is no contrast"),
        (
            "groups",
            {"dice": A_GROUP | {"contrasts": ("capcity",)}},
            "groups.dice names 'capcity', which is no contrast",
        ),
        ("groups", {"dice": A_GROUP | {"arms": ("ignroe",)}}, "groups.dice speaks of arm 'ignroe', which has no run"),
        (
            "groups",
            {"dice": {"title": "Dice"}},
            "groups.dice: expected a name of letters and title, caption, contrasts",
        ),
        ("choices", [("rate", 1.0, [(1.0, ("ignroe",))], "forced_miou", "")], "'rate' speaks of arm 'ignroe'"),
        ("choices", [("rate", 2.0, [(1.0, ("ignore",))], "forced_miou", "")], "its default 2.0 is no candidate"),
        ("choices", [("rate", 1.0, [(1.0, ("ignore",))], "auroc_sky", "")], "there is no measure 'auroc_sky'"),
        ("choices", [("rate", 1.0, [(1.0, ("ignore",))], "leak_all", "miou")], "there is no measure 'miou'"),
        ("sequence_pattern", "(", r"sequence_pattern='\(': expected a regular expression \(missing"),
        ("block_frames", 0, "block_frames=0: expected at least 1"),
        ("draws", 1, "draws=1: expected at least 2"),
        ("margin", -1.0, "margin=-1.0: expected a share above 0"),
        ("margin", float("nan"), "margin=nan: expected"),
        ("margin", float("inf"), "margin=inf: expected"),
        ("arms", {"ignore": {"model": {"width": "eight"}}, "background_class": {}}, "arm ignore: model.width: "),
    ],
)
def test_what_only_the_page_would_use_is_refused_before_any_run(smoke, key, value, message):
    smoke[key] = value
    with pytest.raises(ValueError, match=f"study smoke[:,].*{message}") as error:
        grid.expand(smoke)
    assert "\n" not in str(error.value)


def test_a_configuration_of_one_training_run_is_no_study():
    with pytest.raises(ValueError, match=r"--config is not of a study, it lacks 16 keys \(name, "):
        grid.expand(load_config("camvid_unet"))


def test_every_measure_of_a_result_is_known_by_its_name(camvid):
    for run in grid.expand(camvid)[::20]:
        for name in measures.measures(simulated_study.result(camvid, run, simulated_study.FRAMES[:10])):
            assert measures.is_measure(name), name


def test_shares_of_a_job_array_are_the_whole_without_overlap(camvid):
    runs = grid.expand(camvid)
    parts = [grid.share(runs, f"{k}/4") for k in range(4)]
    assert sorted(run.id for part in parts for run in part) == sorted(run.id for run in runs)
    assert grid.share(runs, "") == runs
    for wrong in ("4/4", "1", "-1/3", "a/b"):
        with pytest.raises(ValueError, match="expected k/n"):
            grid.share(runs, wrong)


# Results and whether they compare.


@pytest.mark.parametrize("values", [[], [0], [255, 0], [65536, 1], [-3, 40000], [2**40, 7]])
def test_packed_counts_come_back_as_they_were(values):
    array = np.array([values, values], np.int64)
    assert (results.unpack(json.loads(json.dumps(results.pack(array)))) == array).all()
    assert results.unpack(results.pack(array)).shape == array.shape


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "study.json"
    results.write_text(str(path), "good")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_text(str(path), "half")
    assert path.read_text() == "good" and list(tmp_path.iterdir()) == [path]


def test_results_that_differ_in_code_or_device_are_not_compared(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    expected = {run.id: grid.settings(run.config) for run in runs}
    path = tmp_path / "runs" / runs[2].id / "result.json"
    result = results.load(path)
    result["identity"] = json.loads(json.dumps(result["identity"]))
    result["identity"]["code"], result["identity"]["versions"]["keras"] = "e" * 64, "3.15.0"
    results.save(path, result)
    with pytest.raises(ValueError) as error:
        findings.read(tmp_path, expected)
    for part in (runs[0].id, runs[2].id, "code (cccccccccccc / eeeeeeeeeeee)", "versions.keras (3.15.1 / 3.15.0)"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_seed_is_compared_on_one_device_and_another_seed_may_be_of_another(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    expected = {run.id: grid.settings(run.config) for run in runs}

    def move(run, device):
        path = tmp_path / "runs" / run.id / "result.json"
        result = results.load(path)
        results.save(path, result | {"identity": result["identity"] | {"device": device}})

    assert [run.seed for run in runs] == [0, 0, 1, 1]
    move(runs[3], "CPU other")
    with pytest.raises(ValueError, match=rf"{runs[2].id} and runs/{runs[3].id} differ in device \(CPU made up / CPU"):
        findings.read(tmp_path, expected)
    move(runs[2], "CPU other")
    found = findings.read(tmp_path, expected)
    summary = findings.summarise(smoke, found, runs)
    assert summary["identity"]["device"] == "CPU made up and CPU other"
    assert summary["contrasts"][0]["seeds"] == [0, 1]


def test_a_result_of_other_settings_is_refused_and_the_keys_are_named(smoke, tmp_path):
    simulated_study.write(smoke, tmp_path)
    smoke.base.train.total_steps = 9
    expected = {run.id: grid.settings(run.config) for run in grid.expand(smoke)}
    with pytest.raises(ValueError, match=r"other settings than this study's \S+-s0: train.total_steps \(4 / 9\)"):
        findings.read(tmp_path, expected)


def test_a_damaged_result_is_named(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    path = tmp_path / "runs" / runs[0].id / "result.json"
    whole = path.read_text()
    made = json.loads(whole)
    lacking = made | {"identity": {key: value for key, value in made["identity"].items() if key != "device"}}
    for broken, what in (
        ("", "expected a result of format 1"),
        (whole[:1000], "expected a result of format 1"),
        ("{}", "expected a result of format 1"),
        ("[]", "expected a result of format 1"),
        (whole.replace('"total_steps": 4', '"total_steps": 5'), "its settings are not those that"),
        (json.dumps(made | {"arm": "entropic"}), "its settings are not those that"),
        (json.dumps({key: value for key, value in made.items() if key != "evaluation"}), "it lacks evaluation.split, "),
        (json.dumps(lacking), "it lacks identity.device"),
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=f"^{path}: {what}.*; remove it and run"):
            results.load(path)
        assert study_folder.state(runs[0], tmp_path) == "damaged"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="expected a result of format 1; remove it"):
        results.load(path)


def test_counts_that_cannot_be_unpacked_are_named(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    path = tmp_path / "runs" / runs[1].id / "result.json"
    result = results.load(path)
    forced = result["evaluation"]["frames"]["forced"]
    for damage in (
        {"xz": "A" + forced["xz"][1:]},
        {"xz": forced["xz"][:-9]},
        {"shape": [1, *forced["shape"][1:]]},
        {"dtype": "x"},
    ):
        result["evaluation"]["frames"]["forced"] = forced | damage
        results.save(path, result)
        with pytest.raises(ValueError, match=f"^{path}: its counts 'forced' are damaged; remove it"):
            findings.read(tmp_path, {})


def test_a_result_in_another_runs_folder_is_refused(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    one, other = (tmp_path / "runs" / run.id / "result.json" for run in runs[:2])
    other.write_text(one.read_text())
    with pytest.raises(ValueError, match=f"^{other}: it is the result of {runs[0].id}; move it to runs/{runs[0].id}/"):
        results.load_all(str(tmp_path))


def test_the_list_names_a_damaged_result_and_goes_on(smoke, tmp_path):
    runs = simulated_study.write(smoke, tmp_path)
    (tmp_path / "runs" / runs[1].id / "result.json").write_text("")
    (tmp_path / "runs" / runs[2].id / "result.json").unlink()
    (tmp_path / "runs" / runs[2].id / "result.json").mkdir()
    lines = []
    runner.show(smoke, str(tmp_path), say=lines.append)
    assert [line.split()[0] for line in lines] == ["finished", "damaged", "damaged", "finished", "smoke:"]
    assert "result.json: expected a result of format 1; remove it" in lines[1]
    assert lines[-1] == "smoke: 4 runs, 2 finished, 2 damaged"


# What is concluded.


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


# How runs get done. A stand-in takes the place of training: these are about processes and files.


STAND_IN = """
import json, os, shutil, sys, threading, time
sys.path.insert(0, {root!r})
from kseg.study import folder as study_folder, worker
folder = sys.argv[1]
with worker.hold(folder) as held:
    if not held:
        sys.exit(worker.HELD)
    threading.Thread(target=worker.end_with_parent, daemon=True).start()
    request = json.load(open(os.path.join(folder, "run.json")))
    {body}
    shutil.copy(os.path.join({made!r}, "runs", request["id"], "result.json"), folder)
"""


@pytest.fixture
def stand_in(smoke, tmp_path, monkeypatch):
    """f(body): runs of the smoke study execute `body`, then leave a made-up result."""
    import tfrecords

    digest = tfrecords.info(make_records(tmp_path, {"train": 4, "val": 1})).digest
    # The fingerprint of made-up results; the true one would change under whoever edits while this runs.
    monkeypatch.setattr(identity, "code_fingerprint", lambda: simulated_study.IDENTITY["code"])
    monkeypatch.setattr(identity, "versions", lambda: simulated_study.IDENTITY["versions"])
    monkeypatch.setitem(simulated_study.IDENTITY, "records", digest)
    simulated_study.write(smoke, tmp_path / "made", frames=simulated_study.FRAMES[:30])

    def use(body):
        program = STAND_IN.format(root=str(ROOT), body=body, made=str(tmp_path / "made"))
        monkeypatch.setattr(worker, "_PROGRAM", program)

    use("pass")
    return use


def make_records(tmp_path, counts):
    folder = tmp_path / "cityscapes"
    tiny_folders.cityscapes(folder, counts)
    command = [str(ROOT / "tools/convert_cityscapes.py"), f"--cityscapes_dir={folder}", "--num_shards=1"]
    command += [f"--records_dir={tmp_path / 'records'}", f"--splits={','.join(counts)}", "--num_workers=1"]
    subprocess.run(PYTHON + command, check=True, capture_output=True)
    return str(tmp_path / "records")


def test_finished_runs_are_not_run_again(smoke, stand_in, tmp_path):
    lines = []
    assert runner.carry_out(smoke, str(tmp_path / "w"), say=lines.append) == []
    stand_in("raise SystemExit('must not run')")
    again = []
    assert runner.carry_out(smoke, str(tmp_path / "w"), say=again.append) == []
    assert len(again) == 1 and again[0].startswith("smoke: 4 runs, 4 finished; code cccccccccccc of ")
    assert "about" in lines[3]  # an estimate from the second run on


def test_a_crash_does_not_end_the_study_is_kept_and_is_tried_again(smoke, stand_in, tmp_path, monkeypatch):
    folder = str(tmp_path / "w")
    stand_in("if request['arm'] == 'ignore' and request['seed'] == 0: raise ValueError('the loss is not finite')")
    lines = []
    failed = runner.carry_out(smoke, folder, say=lines.append)
    first = grid.expand(smoke)[0]
    assert failed == [first.id]
    assert [study_folder.state(run, folder) for run in grid.expand(smoke)] == ["failed"] + ["finished"] * 3
    assert any("FAILED, exit status 1: ValueError: the loss is not finite" in line for line in lines)
    monkeypatch.setattr(figures, "figures", lambda made: {})
    summary = publish.render(smoke, folder, say=lines.append)
    assert summary["runs"]["failed"] == [first.id] and summary["runs"]["missing"] == []
    assert first.id in (tmp_path / "w" / "report.html").read_text()
    stand_in("pass")
    assert runner.carry_out(smoke, folder, say=lines.append) == []
    assert study_folder.state(first, folder) == "finished"
    assert "the loss is not finite" in (tmp_path / "w" / "runs" / first.id / "log.txt").read_text()


def test_other_code_or_records_are_refused_before_anything_runs(smoke, stand_in, tmp_path, monkeypatch):
    folder = str(tmp_path / "w")
    runner.carry_out(smoke, folder, only="0/4", say=lambda line: None)
    monkeypatch.setattr(identity, "code_fingerprint", lambda: "f" * 64)
    with pytest.raises(ValueError, match=r"was made with other code \(\w{12}, now ffffffffffff\)"):
        runner.carry_out(smoke, folder, say=lambda line: None)


@pytest.mark.parametrize("damage", ["versions", "foreign", "settings", "truncated"])
def test_nothing_begins_beside_what_it_could_not_be_compared_with(smoke, stand_in, tmp_path, damage):
    folder = tmp_path / "w"
    # Of a seed that the share to be run has nothing of.
    run = simulated_study.write(smoke, folder, only=lambda run: run.seed == 1)[0]
    path = folder / "runs" / run.id / "result.json"
    result = json.loads(path.read_text())
    if damage == "versions":
        versions = result["identity"]["versions"] | {"keras": "3.0.0"}
        results.save(path, result | {"identity": result["identity"] | {"versions": versions}})
        message = rf"runs/{run.id} in {folder} was made with other keras \(3.0.0, now 3.15.1\)"
    elif damage == "truncated":
        path.write_text(path.read_text()[:500])
        message = f"{path}: expected a result"
    else:
        if damage == "foreign":
            result["arm"] = "entropic"
            message = "is no run of this study; move it out"
        else:
            result["settings"]["train"]["total_steps"] = 9
            message = r"has other settings than this study's ignore-s1: train.total_steps \(9 / 4\)"
        result["id"] = f"{result['arm']}-s1-{identity.fingerprint(result['settings'])[:8]}"
        (folder / "runs" / result["id"]).mkdir()
        results.save(folder / "runs" / result["id"] / "result.json", result)
    with pytest.raises(ValueError, match=message):
        runner.carry_out(smoke, str(folder), only="0/4", say=lambda line: None)
    assert not (folder / "runs" / grid.expand(smoke)[0].id).exists()


def test_a_run_begun_with_other_code_is_not_gone_on_with(smoke, stand_in, tmp_path, monkeypatch):
    stand_in("os.makedirs(os.path.join(folder, 'train/checkpoints/2')); sys.exit(1)")
    runner.carry_out(smoke, str(tmp_path / "w"), only="0/4", say=lambda line: None)
    stand_in("pass")
    code = identity.code_fingerprint()
    monkeypatch.setattr(identity, "code_fingerprint", lambda: "f" * 64)
    with pytest.raises(ValueError, match="was begun with other code"):
        runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    monkeypatch.setattr(identity, "code_fingerprint", lambda: code)
    assert runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None) == []


def test_a_run_that_failed_twice_by_its_own_error_is_not_started_again(smoke, stand_in, tmp_path):
    folder = str(tmp_path / "w")
    own = "if request['arm'] == 'ignore': print('ValueError: the loss is not finite', flush=True); sys.exit({})"
    first = grid.expand(smoke)[0]
    # Killed, or out of disk space: no error of its own, however often.
    for status in (1, 74, 1):
        stand_in(own.format(status))
        assert runner.carry_out(smoke, folder, only="0/4", say=lambda line: None) == [first.id]
    stand_in(own.format(worker.ERROR))
    for _ in range(2):
        assert runner.carry_out(smoke, folder, only="0/4", say=lambda line: None) == [first.id]
    stand_in("pass")
    lines = []
    assert runner.carry_out(smoke, folder, only="0/4", say=lines.append) == [first.id]
    assert "failed 2 times, ValueError: the loss is not finite: passed over; to try it again, remove" in lines[-1]
    assert study_folder.state(first, folder) == "failed"
    shutil.rmtree(tmp_path / "w" / "runs" / first.id)
    assert runner.carry_out(smoke, folder, only="0/4", say=lines.append) == []


def test_a_seed_belongs_to_one_device_however_many_come_at_once(tmp_path):
    devices = [f"CPU {number}" for number in range(8)]
    for seed in range(20):
        claim = functools.partial(study_folder.claim_seed, str(tmp_path), seed)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            owners = set(pool.map(claim, devices))
        assert len(owners) == 1 and owners <= set(devices)
        assert study_folder.device_of_seed(str(tmp_path), seed) in owners
    assert sorted(path.name for path in (tmp_path / "seeds").iterdir()) == sorted(str(seed) for seed in range(20))


CLAIM = """
    if study_folder.claim_seed({folder!r}, request["seed"], {device!r}) != {device!r}:
        sys.exit(worker.ELSEWHERE)
    {body}"""


def test_of_two_devices_that_begin_a_seed_at_once_one_has_it_and_both_know(tmp_path, monkeypatch):
    folder, draw = str(tmp_path), study_folder.secrets.token_hex

    def rival(count):  # comes between the look whose the seed is and the claim
        monkeypatch.setattr(study_folder.secrets, "token_hex", draw)
        assert study_folder.claim_seed(folder, 3, "GPU") == "GPU"
        return draw(count)

    monkeypatch.setattr(study_folder.secrets, "token_hex", rival)
    assert study_folder.claim_seed(folder, 3, "CPU") == "GPU"
    assert study_folder.device_of_seed(folder, 3) == "GPU"
    assert [path.name for path in (tmp_path / "seeds").iterdir()] == ["3"]


def test_a_seed_begun_elsewhere_is_passed_over_before_anything_of_it_is_finished(smoke, stand_in, tmp_path):
    folder = str(tmp_path / "w")
    runs = grid.expand(smoke)
    stand_in(CLAIM.format(folder=folder, device="GPU", body="sys.exit(1)").strip())  # is ended before it has a result
    runner.carry_out(smoke, folder, only="0/4", say=lambda line: None)
    here = simulated_study.IDENTITY["device"]
    stand_in(CLAIM.format(folder=folder, device=here, body="pass").strip())
    lines = []
    assert runner.carry_out(smoke, folder, say=lines.append) == [run.id for run in runs if run.seed == 0]
    assert sum("seed 0 was begun on GPU, and a seed is compared on one device" in line for line in lines) == 2
    assert [study_folder.state(run, folder) for run in runs if run.seed == 1] == ["finished"] * 2
    # A folder from before seeds were claimed: finished runs tell, and an unfinished seed is whose comes first.
    shutil.rmtree(tmp_path / "w" / "seeds")
    assert study_folder.claim_seed(folder, 1, "GPU") == here
    assert runner.carry_out(smoke, folder, say=lines.append) == []


def test_code_that_changes_while_a_study_runs_stops_it(smoke, stand_in, tmp_path, monkeypatch):
    codes = iter([simulated_study.IDENTITY["code"]] * 2 + ["f" * 64] * 9)
    monkeypatch.setattr(identity, "code_fingerprint", lambda: next(codes))
    with pytest.raises(ValueError, match="has changed since the study started"):
        runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    states = [study_folder.state(run, str(tmp_path / "w")) for run in grid.expand(smoke)]
    assert states == ["finished", "waiting", "waiting", "waiting"]


def test_missing_records_are_named_before_anything_runs(smoke, tmp_path):
    with pytest.raises(FileNotFoundError, match="records: no such folder"):
        runner.carry_out(smoke, str(tmp_path / "w"))
    smoke.base.data.records_dir = ""
    with pytest.raises(ValueError, match="set --config.base.data.records_dir"):
        runner.carry_out(smoke, str(tmp_path / "w"))


def test_a_split_that_the_records_lack_is_named_before_anything_runs(smoke, stand_in, tmp_path):
    smoke.test_split = "test"
    with pytest.raises(ValueError, match=r"has no split 'test' with labels \(it has train, val\)"):
        runner.carry_out(smoke, str(tmp_path / "w"))
    assert not (tmp_path / "w").exists()


def test_a_sequence_pattern_that_misses_a_frame_is_named_before_anything_runs(smoke, stand_in, tmp_path):
    smoke.sequence_pattern = "^(seq[0-9]+)_"
    with pytest.raises(ValueError, match=r"frame '\w+' does not match sequence_pattern '\^\(seq"):
        runner.carry_out(smoke, str(tmp_path / "w"))
    assert not (tmp_path / "w").exists()


def test_a_run_that_another_process_holds_is_passed_over(smoke, stand_in, tmp_path):
    folder = str(tmp_path / "w")
    first = grid.expand(smoke)[0]
    held = tmp_path / "w" / "runs" / first.id
    held.mkdir(parents=True)
    lines = []
    with worker.hold(str(held)) as ours:
        assert ours
        assert runner.carry_out(smoke, folder, only="0/4", say=lines.append) == []
    assert any("passed over" in line for line in lines) and study_folder.state(first, folder) != "finished"


def test_a_killed_study_takes_its_run_with_it_and_goes_on_when_started_again(smoke, stand_in, tmp_path):
    stand_in("open(os.path.join(folder, 'pid'), 'w').write(str(os.getpid())); time.sleep(60)")
    folder = str(tmp_path / "w")
    first = grid.expand(smoke)[0]
    pid_file = tmp_path / "w" / "runs" / first.id / "pid"
    parent = os.fork()
    if parent == 0:
        try:
            runner.carry_out(smoke, folder, say=lambda line: None)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(pid_file.read_text())
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    while time.monotonic() < deadline:
        state = pathlib.Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the run outlived the study")
    stand_in("pass")
    assert study_folder.state(first, folder) == "started"
    assert runner.carry_out(smoke, folder, only="0/4", say=lambda line: None) == []
    assert study_folder.state(first, folder) == "finished"


def test_collecting_archives_results_alone_and_renders_the_same(smoke, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "figures", lambda made: {})  # the page's figures have tests of their own
    runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    ours = publish.render(smoke, str(tmp_path / "w"), say=lambda line: None)
    theirs = publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert ours == theirs
    packed = (tmp_path / "docs/study.json.xz").read_bytes()
    assert (tmp_path / "w/study.json").read_bytes() == lzma.decompress(packed)
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"runs.xz", "study.json.xz", "figures"}
    assert publish.render(smoke, str(tmp_path / "docs"), say=lambda line: None) == ours
    assert (tmp_path / "docs/study.json.xz").read_bytes() == packed


def test_a_run_that_failed_is_listed_where_the_others_are_collected(smoke, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "figures", lambda made: {})
    first, *others = grid.expand(smoke)
    stand_in("if request['arm'] == 'ignore' and request['seed'] == 0: sys.exit(1)")
    runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    summary = publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert summary["runs"]["failed"] == [first.id] and summary["runs"]["missing"] == []
    assert publish.render(smoke, str(tmp_path / "docs"), say=lambda line: None) == summary
    stand_in("pass")
    runner.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    assert (
        publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)["runs"]["failed"]
        == []
    )


def tree(folder):
    return {str(path): path.read_bytes() for path in pathlib.Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["foreign", "code", "device", "truncated", "target", "frames"])
def test_what_cannot_be_collected_leaves_the_folder_as_it_was(smoke, tmp_path, damage):
    simulated_study.write(smoke, tmp_path / "docs", only=lambda run: run.seed == 0)
    for name in ("study.json", "report.html"):
        (tmp_path / "docs" / name).write_text("good")
    if damage == "foreign":
        smoke.base.train.total_steps = 9
    frames = simulated_study.FRAMES[:-1] if damage == "frames" else simulated_study.FRAMES
    simulated_study.write(smoke, tmp_path / "w", only=lambda run: run.seed or damage != "frames", frames=frames)
    path = tmp_path / ("docs" if damage == "target" else "w") / "runs" / grid.expand(smoke)[0].id / "result.json"
    if damage in ("code", "device"):
        result = results.load(path)
        results.save(path, result | {"identity": result["identity"] | {damage: "e" * 64}})
    elif damage in ("truncated", "target"):
        path.write_text(path.read_text()[:-500])
    before = tree(tmp_path / "docs")
    message = {
        "foreign": r"has other settings .*total_steps \(4 / 9\).* Nothing was written to",
        "code": "differ in code",
        "device": "differ in device",
        "frames": "was evaluated on other frames",
    }.get(damage, f"^{path}: expected a result")
    with pytest.raises(ValueError, match=message):
        publish.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert tree(tmp_path / "docs") == before


# The real thing, small.


def test_a_real_run_leaves_a_small_whole_result_that_the_tool_renders(tmp_path):
    make_records(tmp_path, {"train": 8, "val": 3})
    command = [str(ROOT / "tools/study.py"), f"--config={ROOT}/configs/study_smoke.py", f"--workdir={tmp_path}/w"]
    command += [f"--config.base.data.records_dir={tmp_path}/records", "--config.base.data.crop_size=(24, 32)"]
    command += ["--config.base.eval.input_size=(24, 32)", "--config.base.train.total_steps=2"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

    def tool(*flags):
        return subprocess.run(PYTHON + command + list(flags), capture_output=True, text=True, env=environment)

    done = tool("--only=1/4")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = results.find(str(tmp_path / "w"))
    assert os.path.getsize(path) < 200_000
    result = results.load(path)
    evaluation = result["evaluation"]
    pooled = results.unpack(evaluation["frames"]["forced"]).sum(0)
    assert iou.mean_iou(pooled) == pytest.approx(evaluation["report"]["mean_iou_forced"], abs=1e-12)
    native = results.unpack(evaluation["frames"]["native"]).sum(0)
    assert native.tolist() == evaluation["report"]["confusion_matrix"]
    assert (tmp_path / "w" / "seeds" / "0").read_text() == result["identity"]["device"] + "\n"
    assert result["flops"] > 0 and result["identity"]["code"] == identity.code_fingerprint()
    listed = tool("--list")
    assert "1 finished" in listed.stdout and "3 waiting" in listed.stdout
    rendered = tool("--report_only")
    assert rendered.returncode == 0, rendered.stderr
    assert (tmp_path / "w" / "report.html").exists()
    assert (tmp_path / "w" / "runs" / result["id"] / "pictures.npz").exists()
    results.save(path, result | {"identity": result["identity"] | {"device": "CPU of another machine"}})
    done = tool("--only=0/4")
    assert "seed 0 was begun on CPU of another machine" in done.stdout and "passed over" in done.stdout
    assert done.returncode == 1 and "error: 1 runs are not done (ignore-s0-" in done.stderr
    (tmp_path / "w" / "seeds" / "1").write_text("CPU of a third machine\n")  # which has not finished anything
    done = tool("--only=2/4")
    assert "seed 1 was begun on CPU of a third machine" in done.stdout and done.returncode == 1


def test_a_run_whose_own_settings_end_it_says_so_by_its_status(smoke, tmp_path):
    smoke.base.data.records_dir = make_records(tmp_path, {"train": 4, "val": 1})
    smoke.base.train.batch_size = 0
    lines = []
    (failed,) = runner.carry_out(smoke, str(tmp_path / "w"), only="0/4", say=lines.append)
    assert f"FAILED, exit status {worker.ERROR}: ValueError: config.train.batch_size=0" in lines[-1]
    assert len(study_folder.errors(tmp_path / "w" / "runs" / failed)) == 1


def test_ctrl_c_is_one_line(tmp_path):
    make_records(tmp_path, {"train": 4, "val": 1})
    command = [str(ROOT / "tools/study.py"), f"--config={ROOT}/configs/study_smoke.py", f"--workdir={tmp_path}/w"]
    command += [f"--config.base.data.records_dir={tmp_path}/records"]
    tool = subprocess.Popen(
        PYTHON + command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("w/runs/*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(tool.pid, signal.SIGINT)  # as a terminal does
    assert tool.communicate(timeout=90)[1] == "interrupted: the same command goes on from here\n"
    assert tool.returncode == 1


def test_the_job_array_takes_its_share_under_slurm_and_kubernetes(tmp_path):
    for number, names in enumerate(
        (("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"), ("JOB_COMPLETION_INDEX", "COMPLETIONS"))
    ):
        fake = tmp_path / f"bin{number}"
        fake.mkdir()
        (fake / "python").write_text('#!/bin/sh\necho "$@"\n')
        (fake / "python").chmod(0o755)
        environment = {"PATH": f"{fake}:/usr/bin:/bin", names[0]: "2", names[1]: "5", "KSEG": str(ROOT)}
        environment |= {"RECORDS": "/records", "WORKDIR": "/study"}
        done = subprocess.run(
            ["sh", ROOT / "deploy/study_job_array.sh"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "--only=2/5" in done.stdout and "--config.base.data.records_dir=/records" in done.stdout


@pytest.mark.soak
def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path):
    make_records(tmp_path, {"train": 8, "val": 3})
    command = [str(ROOT / "tools/study.py"), f"--config={ROOT}/configs/study_smoke.py", "--only=1/4"]
    command += [f"--config.base.data.records_dir={tmp_path}/records", "--config.base.data.crop_size=(24, 32)"]
    command += ["--config.base.eval.input_size=(24, 32)", "--config.base.train.total_steps=40"]

    def start(folder):
        return subprocess.Popen(PYTHON + command + [f"--workdir={folder}"], stdout=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    (whole,) = results.find(str(tmp_path / "whole"))
    kills = 0
    for seconds in (8, 9, 11, 7, 13, 600):
        tool = start(tmp_path / "killed")
        try:
            tool.wait(timeout=seconds)
            break
        except subprocess.TimeoutExpired:
            tool.kill()
            tool.wait()
            kills += 1
            time.sleep(1)  # the run's process notices
    (killed,) = results.find(str(tmp_path / "killed"))
    one, other = results.load(whole), results.load(killed)
    for key in ("seconds", "cpu_seconds", "resumed", "identity"):
        one.pop(key), other.pop(key)
    assert kills and one == other


# Many command lines for the price of one start.
TOOL = """
import json, os, sys
from kseg.commands import flags, study
for arguments in json.loads(sys.argv[1]):
    if not os.fork():
        flags.run(study, ["kseg study", *arguments])
    status = os.waitstatus_to_exitcode(os.wait()[1])
    print(f"exit status {status}", file=sys.stderr, flush=True)
"""


def test_bad_input_is_one_line_and_exit_status_1(tmp_path):
    a_file = tmp_path / "file"
    a_file.write_text("")
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    smoke, workdir, page = "--config=configs/study_smoke.py", f"--workdir={tmp_path}/w", "--answer=docs/answer.md"
    cases = [
        ([], "give --config"),
        ([smoke, workdir, "--report_only"], "no finished run"),
        ([smoke, workdir, "--list", "--only=3/2"], "--only=3/2: expected k/n"),
        ([smoke, workdir, "--config.base.train.steps=3"], "steps"),
        (["extra"], "'extra' is not a flag"),
        (["--config=configs/camvid_unet.py", workdir], "--config is not of a study"),
        (["--config=configs/nope.py", workdir], "--config=configs/nope.py: no such file"),
        (["--config=configs/nope.py:grid", "--config.name=x", workdir], "--config=configs/nope.py: no such file"),
        (["--config=configs/study_camvid.py:foo", workdir], "configs/study_camvid.py:foo: expected grid, heads, rates"),
        ([f"--config={tmp_path}/broken.py", workdir], "invalid syntax"),
        ([smoke, workdir, "--config.sequence_pattern=("], "sequence_pattern='(': expected a regular expression"),
        ([smoke, workdir, "--config.block_frames=0"], "block_frames=0: expected at least 1"),
        ([smoke, workdir, "--report_only", "--config.margin=-1"], "margin=-1.0: expected a share above 0"),
        ([smoke, f"--workdir={a_file}", "--list"], "file is a file; give a folder"),
        ([smoke, f"--workdir={a_file}", "--report_only"], "file is a file; give a folder"),
        ([smoke, f"--workdir={a_file}"], "file is a file; give a folder"),
        ([smoke, workdir, f"--collect={a_file}"], "file is a file; give a folder"),
        ([smoke, workdir, "--report_only", "--only=0/2"], "--only has no effect with --report_only"),
        ([smoke, workdir, "--collect=c", "--only=x"], "--only has no effect with --collect"),
        ([smoke, workdir, "--choose", "--only=0/2"], "--only has no effect with --choose"),
        ([smoke, workdir, "--choose", "--list"], "--choose has no effect with --list"),
        ([smoke, workdir, "--list", "--report_only"], "--list and --report_only are two different things"),
        ([smoke, workdir, "--check"], "--check is for --answer"),
        ([page, "--only=0/2"], "--only has no effect with --answer"),
        ([smoke, workdir, "--frames_of=ignore"], "--frames_of is for --collect=DIR"),
        ([smoke, workdir, "--collect=c", "--frames_of=ignroe"], "--frames_of=ignroe: there is no arm 'ignroe'"),
        ([page, "--check", workdir], "--workdir has no effect with --answer"),
        (["--answer=docs/nope.md"], "docs/nope.md: no such page"),
    ]
    arguments = json.dumps([arguments for arguments, _ in cases])
    done = subprocess.run(PYTHON + ["-c", TOOL, arguments], capture_output=True, text=True, cwd=ROOT)
    lines = done.stderr.splitlines()
    assert len(lines) == 2 * len(cases), done.stderr
    for (_, message), line, status in zip(cases, lines[::2], lines[1::2]):
        assert line.startswith("error: ") and message in line, line
        assert "Traceback" not in line and status == "exit status 1"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "broken.py", a_file]


# The answer's page.


PAGE = """# Answer
Cost <!--camvid/contrasts/capacity/estimate signed-->?<!--/--> points,
<!--camvid/contrasts/capacity/verdict text-->x<!--/-->;
<!--camvid/arms/ignore-w8/measures/forced_miou mean_sd--><!--/-->, unknown <!--camvid/arms/x count-->3<!--/-->;
of a study not made: <!--none/arms/x count-->not yet measured<!--/-->.
"""


def test_the_page_is_filled_from_the_study_and_a_disagreement_is_found(tmp_path):
    (tmp_path / "study" / "camvid").mkdir(parents=True)
    made = {
        "contrasts": [{"key": "capacity", "estimate": -0.0042, "verdict": "costs at most 0.9"}],
        "arms": {"ignore-w8": {"measures": {"forced_miou": {"mean": 0.5, "sd": 0.0123}}}},
    }
    (tmp_path / "study" / "camvid" / "study.json").write_text(json.dumps(made))
    page = tmp_path / "answer.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match="does not agree with the studies at camvid/contrasts/capacity/estimate"):
        fill_markdown.fill_page(str(page), check=True)
    assert page.read_text() == PAGE
    fill_markdown.fill_page(str(page), say=lambda line: None)
    text = page.read_text()
    assert "signed-->−0.4<!--/-->" in text and "text-->costs at most 0.9<!--/-->" in text
    assert "mean_sd-->50.0 ± 1.2<!--/-->" in text and "count-->not yet measured<!--/-->" in text
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)
    page.write_text(text.replace("50.0 ± 1.2", "51.0 ± 1.2"))
    with pytest.raises(ValueError, match="forced_miou"):
        fill_markdown.fill_page(str(page), check=True)


@pytest.mark.parametrize("content", [None, "", '{"contrasts": [', "[]"])
def test_a_page_keeps_its_numbers_where_their_study_is_missing_or_damaged(tmp_path, content):
    page, file = tmp_path / "answer.md", tmp_path / "study" / "camvid" / "study.json"
    file.parent.mkdir(parents=True)
    page.write_text(PAGE)
    if content is not None:
        file.write_text(content)
    message = f"^{file}" + (
        " or study.json.xz is missing, and 4 places of the page" if content is None else ": expected a study's JSON"
    )
    for check in (True, False):
        with pytest.raises(ValueError, match=message):
            fill_markdown.fill_page(str(page), check=check, say=lambda line: None)
    assert page.read_text() == PAGE
    # Nothing of it is written yet: as where the page is made before the study.
    file.unlink(missing_ok=True)
    text = PAGE
    for old in (">?<", ">x<", "--><!--/-->, unk", ">3<"):
        text = text.replace(old, {"-": "-->not yet measured<!--/-->, unk"}.get(old[0], ">not yet measured<"))
    page.write_text(text)
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)


def test_a_value_that_its_spot_cannot_write_is_named(tmp_path):
    (tmp_path / "camvid").mkdir()
    (tmp_path / "camvid" / "study.json").write_text('{"title": "CamVid"}')
    with pytest.raises(ValueError, match="<!--camvid/title signed-->: the value there cannot be written as signed"):
        fill_markdown.fill("<!--camvid/title signed-->x<!--/-->", str(tmp_path))


def test_what_is_caught_at_a_price_is_read_off_the_curve_of_its_kind(tmp_path):
    (tmp_path / "camvid").mkdir()
    curve = {
        "lost": [0.005, 0.015, 0.085],
        "kinds": {"scene": {"mean": [0.1, 0.3, 1.0]}, "unseen": {"mean": [0.0, 0.1, 0.2]}},
    }
    (tmp_path / "camvid" / "study.json").write_text(json.dumps({"curve": curve}))
    page = "<!--camvid/curve scene_at_1-->?<!--/--> <!--camvid/curve unseen_at_5-->?<!--/-->"
    filled = fill_markdown.fill(page, str(tmp_path))
    assert filled == "<!--camvid/curve scene_at_1-->20.0<!--/--> <!--camvid/curve unseen_at_5-->15.0<!--/-->"


def test_an_unknown_way_of_writing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one of signed"):
        fill_markdown.fill("<!--camvid/title loudly-->not yet measured<!--/-->", str(tmp_path))


def test_the_table_of_contrasts_has_those_with_runs_and_counts_the_others(summary):
    filled = fill_markdown._FORMS["table"](summary["contrasts"])
    measured = [entry for entry in summary["contrasts"] if entry["seeds"]]
    rows = [line for line in filled.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(measured) < len(summary["contrasts"])
    assert rows[0].startswith("| **background_class-w8 − ignore-w8** | forced mIoU | 4 | ")
    assert f"{len(summary['contrasts']) - len(measured)} further contrasts of the plan have no runs yet." in filled
    capacity = measured[0] | {"values": [-0.031, 0.002, -0.0104]}
    assert fill_markdown._FORMS["values"](capacity) == "−3.1, +0.2, −1.0"
    assert fill_markdown._FORMS["median"](capacity) == "−1.0"


@pytest.mark.parametrize("page", ["answer.md", "answer_first_edition.md"])
def test_docs_answer_says_what_the_studies_in_docs_say(page):
    fill_markdown.fill_page(str(ROOT / "docs" / page), check=True, say=lambda line: None)


def test_the_answer_is_one_screen():
    text = re.sub(r"<!--.*?-->|\]\([^)]*\)", "", (ROOT / "docs" / "answer.md").read_text())
    words = [word for line in text.splitlines() if not line.startswith("|") for word in line.split()]
    assert len(words) <= 600


def test_a_chart_that_other_numbers_drew_is_found_and_drawn_again(tmp_path):
    for name in answer_figure.STUDIES:
        (tmp_path / "study" / name).mkdir(parents=True)
        study_folder.save_summary(tmp_path / "study" / name, json.dumps(study_of_docs(name)))
    page, file = tmp_path / "answer.md", tmp_path / "study" / "camvid_heads" / "study.json"
    page.write_text("![chart](study/answer.svg)\n")
    fill_markdown.fill_page(str(page), say=lambda line: None)
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)
    study = json.loads(file.read_text())
    entry = next(entry for entry in study["contrasts"] if entry["key"] == "heads alike, forced_miou")
    entry["low"] -= 0.001
    file.write_text(json.dumps(study))
    with pytest.raises(ValueError, match="the chart study/answer.svg does not agree with the studies"):
        fill_markdown.fill_page(str(page), check=True)
    fill_markdown.fill_page(str(page), say=lambda line: None)
    drawn = {(point["panel"], point["name"]): point for point in answer_figure.points(_studies(tmp_path))}
    assert drawn["scene", "extra class, weight 3"]["low"] == round(100 * entry["low"], 2)
    fill_markdown.fill_page(str(page), check=True, say=lambda line: None)
    file.unlink()
    with pytest.raises(ValueError, match="needs camvid and camvid_heads there"):
        fill_markdown.fill_page(str(page), check=True)


def _studies(folder):
    return {name: study_folder.load_summary(folder / "study" / name) for name in answer_figure.STUDIES}


def study_of_docs(name):
    return study_folder.load_summary(ROOT / "docs" / "study" / name)


def _agree(ours, theirs, where=""):
    """JSON values that are the same but for the last digits of numbers."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            _agree(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for place, (our, their) in enumerate(zip(ours, theirs)):
            _agree(our, their, f"{where}/{place}")
    elif isinstance(ours, float) and isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=2e-6), where  # study.json is rounded
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(
    "name, config",
    [
        ("camvid", ("study_camvid", "grid")),
        ("camvid_tuning", ("study_camvid", "tuning")),
        ("camvid_heads", ("study_camvid", "heads")),
        ("street_scenes", ("study_street_scenes",)),
    ],
)
def test_study_json_in_docs_is_what_its_runs_and_todays_configuration_say(name, config):
    folder = ROOT / "docs" / "study" / name
    configuration = load_config(*config)
    configuration.draws = 2  # the bootstrap alone would take minutes; everything else is compared
    runs = grid.expand(configuration)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in runs})
    fresh = json.loads(json.dumps(findings.summarise(configuration, found, runs, folder)))
    written = study_of_docs(name)
    resampled = (
        "se_frames",
        "standard_error",
        "degrees_of_freedom",
        "low",
        "high",
        "p",
        "verdict",
        "se_frames_by_block",
    )
    for summary in (fresh, written):
        del summary["draws"]
        for entry in summary["contrasts"]:
            for key in [key for key in entry if key in resampled or key.startswith("holm_")]:
                del entry[key]
    _agree(written, fresh)


def test_choices_of_the_grid_are_those_that_the_held_out_frames_made():
    spec = importlib.util.spec_from_file_location("study_camvid_constants", ROOT / "configs/study_camvid.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for choice in study_of_docs("camvid_tuning")["choices"]:
        kind, name = choice["name"].split(", ")
        constants = module.LEARNING_RATE if kind == "learning rate" else module.VOID_WEIGHT
        # A choice whose runs have not all been made leaves the default, and nothing of the grid that needs it is run.
        assert constants[name] == choice.get("chosen", choice["default"]), choice["name"]


@pytest.mark.parametrize(
    ("file", "ends"),
    [
        ("kseg/losses/dice.py", True),
        ("kseg/training/step.py", True),
        ("kseg/treatments.py", True),
        ("kseg/histograms.py", True),
        ("tfrecords/labels.py", True),
        ("kseg/study/report/page.py", False),
        ("kseg/commands/flags.py", False),
        ("kseg/export/export.py", False),
        ("kseg/serving/client.py", False),
    ],
)
def test_code_that_computes_runs_ends_a_study_and_other_code_does_not(tmp_path, monkeypatch, file, ends):
    for package in ("kseg", "tfrecords"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kseg, "__file__", str(tmp_path / "kseg" / "__init__.py"))
    before = identity.code_fingerprint()
    with open(tmp_path / file, "a") as opened:
        opened.write("# changed\n")
    assert (identity.code_fingerprint() != before) is ends
