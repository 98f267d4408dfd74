"""Which runs a study has, how they get done and resumed, which may be compared, and what is concluded from them."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import simulated_study
import tiny_folders

from kseg import answer, figures, findings, grid, report, results, statistics, study

ROOT = pathlib.Path(__file__).parent.parent
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


@pytest.mark.parametrize("name", ["study_camvid", "study_smoke", "study_street_scenes"])
def test_every_study_configuration_expands_to_runs_that_the_treatments_accept(name):
    treatments = pytest.importorskip("kseg.treatments")
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
    for broken in (whole[:1000], "{}", "[]", whole.replace('"total_steps": 4', '"total_steps": 5')):
        path.write_text(broken)
        with pytest.raises(ValueError, match="remove it and run"):
            results.load(path)


# What is concluded.


def test_pooled_differences_are_those_of_the_reports(camvid, summary):
    entry = next(entry for entry in summary["contrasts"] if entry["name"] == "capacity")
    arms = summary["arms"]
    values = [arms[name]["measures"]["forced_miou"]["values"] for name in ("background_class-w8", "ignore-w8")]
    assert entry["values"] == pytest.approx(np.subtract(*values))
    assert entry["estimate"] == pytest.approx(np.mean(entry["values"]))
    assert entry["standard_error"] ** 2 == pytest.approx(entry["se_seeds"] ** 2 + entry["se_frames"] ** 2)
    assert entry["low"] < entry["estimate"] < entry["high"]


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
    from kseg import contrasts

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
import json, os, shutil, sys, time
sys.path.insert(0, {root!r})
from kseg import study
folder = sys.argv[1]
with study._hold(folder) as held:
    if not held:
        sys.exit(study._HELD)
    study.threading.Thread(target=study._end_with_parent, daemon=True).start()
    request = json.load(open(os.path.join(folder, "run.json")))
    {body}
    shutil.copy(os.path.join({made!r}, "runs", request["id"], "result.json"), folder)
"""


@pytest.fixture
def stand_in(smoke, tmp_path, monkeypatch):
    """f(body): runs of the smoke study execute `body`, then leave a made-up result."""
    import tfrecords

    digest = tfrecords.info(make_records(tmp_path, {"train": 4})).digest
    # The fingerprint of made-up results; the true one would change under whoever edits while this runs.
    monkeypatch.setattr(results, "code_fingerprint", lambda: simulated_study.IDENTITY["code"])
    monkeypatch.setitem(simulated_study.IDENTITY, "records", digest)
    simulated_study.write(smoke, tmp_path / "made", frames=simulated_study.FRAMES[:30])

    def use(body):
        program = STAND_IN.format(root=str(ROOT), body=body, made=str(tmp_path / "made"))
        monkeypatch.setattr(study, "_PROGRAM", program)

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
    assert study.carry_out(smoke, str(tmp_path / "w"), say=lines.append) == []
    stand_in("raise SystemExit('must not run')")
    again = []
    assert study.carry_out(smoke, str(tmp_path / "w"), say=again.append) == []
    assert len(again) == 1 and again[0].startswith("smoke: 4 runs, 4 finished; code cccccccccccc of ")
    assert "about" in lines[3]  # an estimate from the second run on


def test_a_crash_does_not_end_the_study_is_kept_and_is_tried_again(smoke, stand_in, tmp_path, monkeypatch):
    folder = str(tmp_path / "w")
    stand_in("if request['arm'] == 'ignore' and request['seed'] == 0: raise ValueError('the loss is not finite')")
    lines = []
    failed = study.carry_out(smoke, folder, say=lines.append)
    first = grid.expand(smoke)[0]
    assert failed == [first.id]
    assert [study.state(run, folder) for run in grid.expand(smoke)] == ["failed"] + ["finished"] * 3
    assert any("FAILED, exit status 1: ValueError: the loss is not finite" in line for line in lines)
    monkeypatch.setattr(figures, "figures", lambda made: {})
    summary = study.render(smoke, folder, say=lines.append)
    assert summary["runs"]["failed"] == [first.id] and summary["runs"]["missing"] == []
    assert first.id in (tmp_path / "w" / "report.html").read_text()
    stand_in("pass")
    assert study.carry_out(smoke, folder, say=lines.append) == []
    assert study.state(first, folder) == "finished"
    assert "the loss is not finite" in (tmp_path / "w" / "runs" / first.id / "log.txt").read_text()


def test_other_code_or_records_are_refused_before_anything_runs(smoke, stand_in, tmp_path, monkeypatch):
    folder = str(tmp_path / "w")
    study.carry_out(smoke, folder, only="0/4", say=lambda line: None)
    monkeypatch.setattr(results, "code_fingerprint", lambda: "f" * 64)
    with pytest.raises(ValueError, match=r"was made with other code \(\w{12}, now ffffffffffff\)"):
        study.carry_out(smoke, folder, say=lambda line: None)


def test_code_that_changes_while_a_study_runs_stops_it(smoke, stand_in, tmp_path, monkeypatch):
    codes = iter([simulated_study.IDENTITY["code"]] * 2 + ["f" * 64] * 9)
    monkeypatch.setattr(results, "code_fingerprint", lambda: next(codes))
    with pytest.raises(ValueError, match="has changed since the study started"):
        study.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    states = [study.state(run, str(tmp_path / "w")) for run in grid.expand(smoke)]
    assert states == ["finished", "waiting", "waiting", "waiting"]


def test_missing_records_are_named_before_anything_runs(smoke, tmp_path):
    with pytest.raises(FileNotFoundError, match="records: no such folder"):
        study.carry_out(smoke, str(tmp_path / "w"))
    smoke.base.data.records_dir = ""
    with pytest.raises(ValueError, match="set --config.base.data.records_dir"):
        study.carry_out(smoke, str(tmp_path / "w"))


def test_a_run_that_another_process_holds_is_passed_over(smoke, stand_in, tmp_path):
    folder = str(tmp_path / "w")
    first = grid.expand(smoke)[0]
    held = tmp_path / "w" / "runs" / first.id
    held.mkdir(parents=True)
    lines = []
    with study._hold(str(held)) as ours:
        assert ours
        assert study.carry_out(smoke, folder, only="0/4", say=lines.append) == []
    assert any("passed over" in line for line in lines) and study.state(first, folder) != "finished"


def test_a_killed_study_takes_its_run_with_it_and_goes_on_when_started_again(smoke, stand_in, tmp_path):
    stand_in("open(os.path.join(folder, 'pid'), 'w').write(str(os.getpid())); time.sleep(60)")
    folder = str(tmp_path / "w")
    first = grid.expand(smoke)[0]
    pid_file = tmp_path / "w" / "runs" / first.id / "pid"
    parent = os.fork()
    if parent == 0:
        try:
            study.carry_out(smoke, folder, say=lambda line: None)
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
    assert study.state(first, folder) == "started"
    assert study.carry_out(smoke, folder, only="0/4", say=lambda line: None) == []
    assert study.state(first, folder) == "finished"


def test_collecting_copies_results_alone_and_renders_the_same(smoke, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "figures", lambda made: {})  # the page's figures have tests of their own
    study.carry_out(smoke, str(tmp_path / "w"), say=lambda line: None)
    ours = study.render(smoke, str(tmp_path / "w"), say=lambda line: None)
    theirs = study.collect(smoke, str(tmp_path / "w"), str(tmp_path / "docs"), say=lambda line: None)
    assert ours == theirs
    assert (tmp_path / "w/study.json").read_bytes() == (tmp_path / "docs/study.json").read_bytes()
    files = {path.name for path in (tmp_path / "docs" / "runs").rglob("*") if path.is_file()}
    assert files == {"result.json"}


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
    assert statistics.mean_iou(pooled) == pytest.approx(evaluation["report"]["mean_iou_forced"], abs=1e-12)
    native = results.unpack(evaluation["frames"]["native"]).sum(0)
    assert native.tolist() == evaluation["report"]["confusion_matrix"]
    assert result["flops"] > 0 and result["identity"]["code"] == results.code_fingerprint()
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


def test_bad_input_is_one_line_and_exit_status_1():
    cases = {
        "give --config": [],
        "no finished run": ["--config=configs/study_smoke.py", "--workdir=/nonexistent/w", "--report_only"],
        "--only=3/2: expected k/n": ["--config=configs/study_smoke.py", "--workdir=w", "--list", "--only=3/2"],
        "steps": ["--config=configs/study_smoke.py", "--workdir=w", "--config.base.train.steps=3"],
        "'extra' is not a flag": ["extra"],
    }
    tools = [
        subprocess.Popen(PYTHON + ["tools/study.py", *flags], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for flags in cases.values()
    ]
    for message, tool in zip(cases, tools):
        lines = tool.communicate()[1].strip().splitlines()
        assert tool.returncode == 1
        assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], lines


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
        answer.fill_page(str(page), check=True)
    assert page.read_text() == PAGE
    answer.fill_page(str(page), say=lambda line: None)
    text = page.read_text()
    assert "signed-->−0.4<!--/-->" in text and "text-->costs at most 0.9<!--/-->" in text
    assert "mean_sd-->50.0 ± 1.2<!--/-->" in text and "count-->not yet measured<!--/-->" in text
    answer.fill_page(str(page), check=True, say=lambda line: None)
    page.write_text(text.replace("50.0 ± 1.2", "51.0 ± 1.2"))
    with pytest.raises(ValueError, match="forced_miou"):
        answer.fill_page(str(page), check=True)


@pytest.mark.parametrize("content", [None, "", '{"contrasts": [', "[]"])
def test_a_page_keeps_its_numbers_where_their_study_is_missing_or_damaged(tmp_path, content):
    page, file = tmp_path / "answer.md", tmp_path / "study" / "camvid" / "study.json"
    file.parent.mkdir(parents=True)
    page.write_text(PAGE)
    if content is not None:
        file.write_text(content)
    message = f"^{file}" + (" is missing, and 4 places of the page" if content is None else ": expected a study's JSON")
    for check in (True, False):
        with pytest.raises(ValueError, match=message):
            answer.fill_page(str(page), check=check, say=lambda line: None)
    assert page.read_text() == PAGE
    # Nothing of it is written yet: as where the page is made before the study.
    file.unlink(missing_ok=True)
    text = PAGE
    for old in (">?<", ">x<", "--><!--/-->, unk", ">3<"):
        text = text.replace(old, {"-": "-->not yet measured<!--/-->, unk"}.get(old[0], ">not yet measured<"))
    page.write_text(text)
    answer.fill_page(str(page), check=True, say=lambda line: None)


def test_a_value_that_its_spot_cannot_write_is_named(tmp_path):
    (tmp_path / "camvid").mkdir()
    (tmp_path / "camvid" / "study.json").write_text('{"title": "CamVid"}')
    with pytest.raises(ValueError, match="<!--camvid/title signed-->: the value there cannot be written as signed"):
        answer.fill("<!--camvid/title signed-->x<!--/-->", str(tmp_path))


def test_an_unknown_way_of_writing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one of signed"):
        answer.fill("<!--camvid/title loudly-->not yet measured<!--/-->", str(tmp_path))


def test_docs_answer_says_what_the_studies_in_docs_say():
    answer.fill_page(str(ROOT / "docs" / "answer.md"), check=True, say=lambda line: None)


def test_choices_of_the_grid_are_those_that_the_held_out_frames_made():
    path = ROOT / "docs" / "study" / "camvid_tuning" / "study.json"
    if not path.exists():
        pytest.skip("the tuning runs have not been made")
    spec = importlib.util.spec_from_file_location("study_camvid_constants", ROOT / "configs/study_camvid.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for choice in json.loads(path.read_text())["choices"]:
        kind, name = choice["name"].split(", ")
        constants = module.LEARNING_RATE if kind == "learning rate" else module.VOID_WEIGHT
        # A choice whose runs have not all been made leaves the default, and nothing of the grid that needs it is run.
        assert constants[name] == choice.get("chosen", choice["default"]), choice["name"]
