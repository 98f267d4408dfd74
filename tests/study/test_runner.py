"""How runs get done: once, resumed, on one device a seed, whatever ends them."""

import concurrent.futures
import functools
import json
import os
import pathlib
import shutil
import signal
import time

import pytest
import simulated_study

from kseg.study import folder as study_folder
from kseg.study import grid, identity, publish, results, runner, worker
from kseg.study.report import figures


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
