"""A study without a configuration: what records decide, what fits some hours, and the finding in words."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import pytest
import simulated_study

import tfrecords
from kseg import config as kseg_config
from kseg import treatments
from kseg.study import grid, in_words, own_records, results, runner, schedule, worker
from kseg.study import summary as findings

ROOT = pathlib.Path(__file__).parent.parent.parent
FOUND = {
    "records": "d" * 64, "test_split": "test", "train": 330, "held_out": 37, "test": 233, "kind": "movable",
    "calibration_fraction": 0.1, "block_frames": 10, "pictures": True, "crop_size": [256, 320], "input_size": [0, 0],
    "scale": 1.0,
}  # fmt: skip
PILOT = {"seconds": 60.0, "start": 20.0, "step": 1.0, "frame": 0.5, "end": 10.0}


def made(**changes):
    plan = {"format": 1, "hours": 2.0, "network": "efficientnet_lite0", "says": "EfficientNet-Lite0", "seeds": 3}
    return plan | {"steps": 1000, "pilot": PILOT, "found": FOUND} | changes


# What records decide.


def test_records_say_what_there_is_to_train_on_and_to_judge(records):
    found = own_records.look(records)
    assert found["records"] == tfrecords.info(records).digest
    assert (found["test_split"], found["test"], found["kind"]) == ("val", 4, "movable")
    assert 0 < found["held_out"] < found["train"] <= 16 - found["held_out"]
    assert found["block_frames"] == 1 and found["crop_size"] == [32, 96]
    json.dumps(found)


def test_records_that_cannot_answer_are_refused_in_one_line(records, monkeypatch):
    manifest = tfrecords.info(records)

    def without(name, **changes):
        import dataclasses

        splits = {key: value for key, value in manifest.splits.items()}
        splits[name] = dataclasses.replace(splits[name], **changes)
        monkeypatch.setattr(tfrecords, "info", lambda _: dataclasses.replace(manifest, splits=splits))

    classes = {label.id for label in manifest.table.labels if label.class_index is not None}
    only = {number: 10 for number in classes}
    without("train", has_labels=False)
    with pytest.raises(ValueError, match=r"has no split 'train' with labels \(it has train, val\)"):
        own_records.look(records)
    without("val", id_pixels=only)
    with pytest.raises(ValueError, match="split 'val' has no pixel of void, so there is nothing"):
        own_records.look(records)
    without("val", has_labels=False)
    found = own_records.look(records)
    assert found["test_split"] == "" and found["test"] == found["held_out"] and found["calibration_fraction"] == 0.2
    geometry = next(label.id for label in manifest.table.void_labels if label.kind == "geometry")
    without("val", id_pixels=only | {geometry: 5})
    assert own_records.look(records)["kind"] == "all"


# What is compared.


@pytest.mark.parametrize("network, recipe", [("efficientnet_lite0", "camvid_lite0"), ("unet", "street_scenes_unet")])
def test_the_networks_are_trained_by_their_recipes(network, recipe):
    theirs = importlib.import_module(f"configs.{recipe}").get_config()
    steps = own_records.RECIPE_STEPS[network]
    assert steps == theirs.train.total_steps
    ours = own_records.study(made(network=network, steps=steps), "R").base
    ours, theirs = kseg_config.flatten(ours), kseg_config.flatten(theirs)
    differ = {key for key in ours if ours[key] != theirs[key]}
    carried_out = {"data.cache", "data.records_dir", "train.distribution", "train.checkpoint_every_steps"}
    carried_out |= {"train.keep_checkpoints", "log.pictures", "log.every_steps", "data.eval_split", "data.crop_size"}
    assert differ <= carried_out | {"train.num_virtual_devices", "train.deterministic"}


@pytest.mark.parametrize("network", own_records.NETWORKS)
def test_a_plan_is_a_study_of_runs_that_the_treatments_accept(network):
    study = own_records.study(made(network=network), "R")
    runs = grid.expand(study)
    assert [run.arm for run in runs[:4]] == list(own_records.ARMS) and {run.seed for run in runs} == {0, 1, 2}
    for run in runs:
        treatments.get(run.config.treatment, 11, run.config.loss)
        assert run.config.train.total_steps == 1000 and run.config.data.records_dir == "R"
    # The arm of docs/answer.md, whose study has it so too.
    assert dict(study.arms.inverted_dice.loss) == {"main_weight": 1.0}
    # The same plan, the same runs: an interrupted study goes on.
    assert [run.id for run in grid.expand(own_records.study(made(network=network), "S"))] == [run.id for run in runs]
    assert grid.sequence("0001TP_008550", study.sequence_pattern) == "0001TP_"
    assert grid.sequence("17", study.sequence_pattern) == ""


# What fits.


def test_hours_become_seeds_first_and_steps_after():
    # 4 arms; beside its steps a run takes 20 + 10 + 0.5 x (3 x 37 + 233) = 202 s, and a step 1 s.
    def fits(hours):
        found = schedule.decide(PILOT, FOUND, hours, "efficientnet_lite0")
        seconds = found["seeds"] * 4 * schedule.run_seconds(made(**found))
        assert seconds <= 0.85 * 3600 * hours - 120 < 3600 * hours
        return found["seeds"], found["steps"]

    # Two hours are 6000 s for the runs: at three seeds 500 s each, 202 of them fixed.
    assert fits(2) == (3, 299)
    assert fits(6) == (3, 1319)  # a fourth seed would leave 939 steps, fewer than the recipe's 1000
    assert fits(12) == (6, 1324)
    assert fits(40) == (6, 4000)  # no more than four recipes
    assert fits(1.2) == (2, 243)
    assert fits(0.4) == (1, 75)


def test_more_hours_never_buy_fewer_seeds():
    bought = [0]
    for tenth in range(4, 200):
        found = schedule.decide(PILOT, FOUND, tenth / 10, "efficientnet_lite0")
        bought.append(found["seeds"])
    assert bought == sorted(bought)


def test_too_few_hours_name_the_least_that_would_do():
    with pytest.raises(
        ValueError, match=r"--hours=0.1 is too short: a run takes 202 s .*give at least --hours="
    ) as error:
        schedule.decide(PILOT, FOUND, 0.1, "unet")
    least = float(str(error.value).rpartition("=")[2].rstrip("."))
    assert schedule.decide(PILOT, FOUND, least, "unet") == {"seeds": 1, "steps": 2}
    with pytest.raises(ValueError, match="is too short"):
        schedule.decide(PILOT, FOUND, least - 0.002, "unet")


@pytest.fixture
def pilot(monkeypatch):
    """f(body): the pilot's process executes `body`."""

    def use(body):
        program = f"import json, os, sys\nfolder = sys.argv[1]\n{body}"
        monkeypatch.setattr(schedule, "_PROGRAM", program)

    use(f"json.dump({PILOT}, open(os.path.join(folder, 'pilot.json'), 'w'))")
    return use


def test_a_plan_is_made_once_and_gone_on_with(records, pilot, tmp_path):
    lines, folder = [], str(tmp_path / "w")
    plan = schedule.plan(records, 2.0, folder, say=lines.append)
    assert lines[0].startswith("network: ") and "about" in lines[-1] and "4 treatments x " in lines[-1]
    pilot("sys.exit('must not run')")
    for hours in (2.0, None):
        again = []
        assert schedule.plan(records, hours, folder, say=again.append) == plan
        assert len(again) == 1 and "going on with 4 treatments" in again[0]
    with pytest.raises(ValueError, match="plan.json is for 2 hours and --hours=3; leave --hours out to go on"):
        schedule.plan(records, 3.0, folder)
    path = tmp_path / "w" / schedule.PLAN
    path.write_text(path.read_text().replace(plan["found"]["records"], "e" * 64))
    with pytest.raises(ValueError, match="plan.json is of other records than"):
        schedule.plan(records, None, folder)
    path.write_text("{}")
    with pytest.raises(ValueError, match="plan.json is no plan of a study; remove it"):
        schedule.plan(records, None, folder)
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == ["lock", "plan.json"]  # nothing of the pilot


def test_without_hours_or_with_a_pilot_that_fails_there_is_no_plan(records, pilot, tmp_path):
    folder = str(tmp_path / "w")
    with pytest.raises(ValueError, match="--hours is missing"):
        schedule.plan(records, None, folder)
    for hours in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a number above 0"):
            schedule.plan(records, hours, folder)
    pilot("print('no such kernel'); sys.exit(3)")
    with pytest.raises(ValueError, match=r"the pilot failed, exit status 3: no such kernel \(.*log.txt\)"):
        schedule.plan(records, 2.0, folder, say=lambda line: None)
    with pytest.raises(ValueError, match="is too short"):
        pilot(f"json.dump({PILOT | {'start': 9e9}}, open(os.path.join(folder, 'pilot.json'), 'w'))")
        schedule.plan(records, 2.0, folder, say=lambda line: None)
    with worker.hold(folder), pytest.raises(ValueError, match="another process makes"):
        schedule.plan(records, 2.0, folder, say=lambda line: None)
    assert not (tmp_path / "w" / schedule.PLAN).exists()


# The finding in words.


GAINS, COSTS, UNDECIDED, AT_MOST = (0.02, 0.01, 0.03), (-0.02, -0.03, -0.01), (-0.02, -0.05, 0.01), (0.0, -0.007, 0.02)


def summary_of(found, seeds=3):
    """A summary with these (estimate, low, high) of (void, accuracy) by arm; None: not measured."""
    contrasts = []
    for arm, pair in found.items():
        for name, numbers in zip(("void", "accuracy"), pair):
            entry = {"name": f"{name}, {arm}", "arm": arm, "reference": "ignore", "primary": name}
            entry |= {"measure": "forced_miou", "seeds": list(range(seeds)), "verdict": "not measured"}
            if numbers:
                entry |= dict(zip(("estimate", "holm_low", "holm_high"), numbers)) | {"verdict": "is not read"}
            contrasts.append(entry)
    arms = {"ignore": {"measures": {"forced_miou": {"mean": 0.5737}}}}
    runs = {"missing": [], "failed": [], "planned": 12}
    return {"contrasts": contrasts, "arms": arms, "runs": runs, "frames": 233, "split": "test", "margin": 0.01}


def test_a_gain_at_no_cost_is_advised():
    text = in_words.paragraph(
        summary_of(
            {
                "background_class": (GAINS, COSTS),
                "entropic": (GAINS, AT_MOST),
                "inverted_dice": (COSTS, UNDECIDED),
            }
        )
    )
    assert text.startswith(
        "Judged on 233 test frames with 3 seeds a treatment; ignoring void (ignore) gives 57.4 % mIoU"
    )
    assert "Void as an extra class (background_class): catches 2.0 points more void (+1.0 to +3.0); costs 2.0" in text
    assert "The entropic loss (entropic): catches 2.0 points more void (+1.0 to +3.0); costs at most 0.7" in text
    assert "catches 2.0 points less void (−3.0 to −1.0); mIoU undecided, −2.0 points (−5.0 to +1.0)" in text
    assert text.endswith("train with entropic: it catches more, and no loss of accuracy beyond the margin showed.")


def test_a_gain_at_a_cost_is_left_to_the_reader_and_doubt_is_called_undecided():
    two = {"background_class": (GAINS, COSTS), "entropic": (UNDECIDED, AT_MOST)}
    assert "background_class catches more void and costs accuracy" in in_words.paragraph(summary_of(two))
    doubt = {"background_class": (UNDECIDED, UNDECIDED), "entropic": (COSTS, COSTS)}
    assert "undecided, which is not the same as equal" in in_words.paragraph(summary_of(doubt))
    worse = {"background_class": (COSTS, UNDECIDED), "entropic": (UNDECIDED, COSTS)}
    assert in_words.paragraph(summary_of(worse)).endswith("stay with ignore.")


def test_a_margin_of_accuracy_decides_nothing_about_void():
    summary = summary_of({"entropic": (AT_MOST, AT_MOST)})
    summary["contrasts"][0]["margin"] = 0.0  # as kseg/study/contrasts.py has it of void
    text = in_words.paragraph(summary)
    assert "void caught undecided" in text and "costs at most 0.7" in text


def test_a_cost_within_the_margin_is_said_and_not_held_against_an_arm():
    summary = summary_of({"entropic": (GAINS, COSTS)})
    summary["contrasts"][1]["not_worse"] = "not worse (at most 0.9)"
    text = in_words.paragraph(summary)
    assert "costs 2.0 points of mIoU (−3.0 to −1.0), no worse than by the margin." in text
    assert text.endswith("train with entropic: it catches more, and no loss of accuracy beyond the margin showed.")


def test_one_seed_decides_nothing():
    text = in_words.paragraph(summary_of({"entropic": ((-0.02, None, None),) * 2}, seeds=1))
    assert "with 1 seed a treatment" in text and "void caught −2.0 points, undecided with one seed" in text
    assert "One seed cannot tell a treatment from luck" in text


def test_runs_that_are_missing_are_said():
    summary = summary_of({"entropic": (None, None)}, seeds=2)
    summary["runs"] |= {"missing": ["a"], "failed": ["b"]}
    text = in_words.paragraph(summary)
    assert (
        "with 2 seeds a treatment (2 of 12 runs are missing)" in text
        and "void caught not measured; mIoU not measured" in text
    )


def test_made_up_results_of_a_plan_become_a_paragraph(tmp_path):
    study = own_records.study(made(found=FOUND | {"kind": "all"}), "R")
    study.draws = 50
    # The made-up results have histograms of the treatment's own score alone.
    study.contrasts = [
        (name, arm, reference, measure.replace("caught_at_0.05_all", "auroc_all_off_edge"), primary)
        for name, arm, reference, measure, primary in study.contrasts
    ]
    runs = simulated_study.write(study, tmp_path)
    found = findings.read(tmp_path, {run.id: grid.settings(run.config) for run in runs})
    text = in_words.paragraph(findings.summarise(study, found, runs, tmp_path))
    assert "Judged on 233 test frames with 3 seeds" in text.replace("held-out", "test")
    assert "Inverted Dice with cross entropy beside it (inverted_dice): " in text and "points" in text


def test_before_two_treatments_share_a_seed_nothing_is_said_to_be_compared():
    summary = summary_of({"entropic": (None, None)}, seeds=0)
    text = in_words.paragraph(summary)
    assert text.startswith("Judged on 233 test frames; ignoring void") and "seeds a treatment" not in text
    assert text.endswith("Nothing can be compared before two treatments have a finished run with the same seed.")


# The command.


def kseg(*arguments, **environment):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
    command = [sys.executable, str(ROOT / "tools/study.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@pytest.mark.parametrize("runs", [1, pytest.param(4, marks=pytest.mark.soak)])
@pytest.mark.timeout(1800)
def test_a_folder_of_street_scenes_is_answered_end_to_end(records, tmp_path, monkeypatch, runs):
    """A real pilot, a plan cut to one seed of four steps, real runs, page and paragraph."""
    folder, measured = tmp_path / "w", {}

    def cut(pilot, found, hours, network):
        measured.update(pilot)
        return {"seeds": 1, "steps": 4}

    monkeypatch.setattr(schedule, "decide", cut)
    schedule.plan(records, 0.01, str(folder), say=lambda line: None)
    monkeypatch.undo()
    assert measured.keys() == {"seconds", "start", "step", "frame", "end"}
    assert measured["seconds"] > measured["start"] > measured["step"] > 0 and measured["frame"] > 0
    plan = (folder / schedule.PLAN).read_bytes()
    flags = [f"--records_dir={records}", f"--workdir={folder}"]
    done = kseg(*flags, "--only=0/4")
    assert done.returncode == 0, done.stderr
    assert "plan.json: going on with 4 treatments x 1 seed x 4 steps" in done.stdout
    done = kseg(*flags, *(["--report_only"] if runs == 1 else []))
    assert done.returncode == 0, done.stderr
    assert (folder / schedule.PLAN).read_bytes() == plan and not (folder / "pilot").exists()
    summary = json.loads((folder / "study.json").read_text())
    assert summary["runs"]["done"] == runs and summary["frames"] == 4 and summary["split"] == "val"
    words = summary["in_words"]
    assert ("One seed cannot tell a treatment from luck: all of this is undecided" in words) == (runs == 4)
    assert ("points, undecided with one seed" in words) == (runs == 4) != ("void caught not measured" in words)
    assert words in " ".join(done.stdout.split()) and words.partition(";")[0] in (folder / "report.html").read_text()
    assert f"{runs} finished" in kseg(*flags, "--list").stdout


def test_flags_that_contradict_each_other_are_one_line(tmp_path):
    from studies import PYTHON, TOOL

    records, workdir = "--records_dir=R", f"--workdir={tmp_path}/w"
    smoke = "--config=configs/study_smoke.py"
    cases = [
        ([records, workdir, smoke], "--config has no effect with --records_dir"),
        ([records, "--hours=2"], "--workdir=FOLDER"),
        ([smoke, workdir, "--hours=2"], "--hours is for --records_dir"),
        ([records, workdir, "--hours=two"], "two"),
        ([records, workdir, "--hours=2", "--list"], "--hours has no effect with --list"),
        ([records, workdir, "--choose"], "--choose has no effect with --records_dir"),
        ([records, workdir, "--list"], "w has no plan.json; start the study first"),
        ([records, workdir], "--hours is missing"),
        ([records, workdir, "--hours=2"], "R"),
    ]
    arguments = json.dumps([arguments for arguments, _ in cases])
    done = subprocess.run(PYTHON + ["-c", TOOL, arguments], capture_output=True, text=True, cwd=ROOT)
    lines = done.stderr.splitlines()
    assert len(lines) == 2 * len(cases), done.stderr
    for (_, words), line, status in zip(cases, lines[::2], lines[1::2]):
        assert line.startswith("error: ") and words in line and status == "exit status 1", line
    assert not (tmp_path / "w").exists()


def test_the_study_of_own_records_says_nothing_of_results_that_are_not_there(tmp_path):
    study = own_records.study(made(), str(tmp_path))
    with pytest.raises(FileNotFoundError):
        runner.carry_out(study, str(tmp_path / "w"))
    assert not results.find(str(tmp_path / "w"))
