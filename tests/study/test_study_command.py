"""`kseg study` from end to end, and what it says of bad input."""

import json
import os
import signal
import subprocess
import time

import pytest
from studies import PYTHON, ROOT, TOOL, make_records

from kseg import iou
from kseg.study import folder as study_folder
from kseg.study import identity, results, runner, worker


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
