"""kseg predict, stopped by Ctrl-C while a server or TensorFlow is at work."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import serving_stand_in
import small_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return os.path.dirname(small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)[0])


def stopped(tmp_path, when, *flags, size=(40, 60)):
    """(seconds until the process has ended, its status, lines of its stderr) after Ctrl-C; six pictures."""
    (tmp_path / "in").mkdir()
    for i in range(6):
        (tmp_path / "in" / f"{i}.png").write_bytes(small_models.encode(small_models.picture(*size, i)))
    command = [
        sys.executable,
        "-m",
        "kseg",
        "predict",
        f"--output_dir={tmp_path / 'out'}",
        *flags,
        str(tmp_path / "in"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        when()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    return time.monotonic() - began, process.returncode, errors.splitlines()


@pytest.mark.parametrize("transport", [0, 1], ids=["gRPC", "REST"])
def test_ctrl_c_is_one_line_and_does_not_wait_for_the_server(tmp_path, folder, transport):
    arrived, leave, answered = threading.Event(), threading.Event(), []

    class Stuck(serving_stand_in.Models):
        """Answers the first two pictures, and the others when it is told to."""

        def predict(self, request, version=None, seconds=None):
            if request.model_spec.signature_name == "serving_default":
                answered.append(1)
                if len(answered) > 2:
                    arrived.set()
                    leave.wait(60)
            return super().predict(request, version, seconds)

    models = Stuck(folder, warm_up=False)
    out = tmp_path / "out"

    def when():
        assert arrived.wait(60)
        end = time.monotonic() + 20
        while len(list(out.glob("*_overlay.png"))) < 2 and time.monotonic() < end:
            time.sleep(0.02)

    with serving_stand_in.serve(models) as addresses:
        flags = [f"--server={addresses[transport]}", "--parallel=2", "--deadline_seconds=60"]
        seconds, status, lines = stopped(tmp_path, when, *flags)
        leave.set()
    assert lines == ["stopped: 2 of 6 images are done; --skip_existing goes on from there."]
    assert status == 130 and seconds < 20
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 2
    assert len(list(out.iterdir())) == 5
    models.close()


def test_ctrl_c_is_one_line_while_the_session_runs_here(tmp_path, folder):
    out = tmp_path / "out"

    def when():  # the second picture is at work
        end = time.monotonic() + 60
        while not list(out.glob("*_overlay.png")) and time.monotonic() < end:
            time.sleep(0.005)

    _, status, lines = stopped(tmp_path, when, f"--model={folder}", "--parallel=1", size=(500, 800))
    assert (
        len(lines) == 1
        and lines[0].startswith("stopped: ")
        and lines[0].endswith("; --skip_existing goes on from there.")
    )
    assert status == 130
    written = len(list(out.glob("*_overlay.png")))
    assert lines[0].startswith(f"stopped: {written} of 6 images are done") and 0 < written < 6
