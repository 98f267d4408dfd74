"""SIGTERM ends a program with the status that says "start it again", and a loop that takes note of it goes on."""

import signal
import subprocess
import sys

import pytest
from programs import ROOT

BEGIN = "import os, signal, time; from kseg.distribution import sigterm; sigterm.leave_on_sigterm()\n"
TELL = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.2)\n"


def end_of(code):
    """(exit status, stdout, stderr) of a program."""
    done = subprocess.run([sys.executable, "-c", BEGIN + code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "busy",
    [
        "time.sleep(60)",
        # Code that is not Python's and does not come back, like an operation that waits for another worker.
        "import ctypes; libc = ctypes.CDLL(None); libc.alarm(60); [libc.pause() for _ in iter(int, 1)]",
    ],
)
def test_it_ends_the_process_whatever_that_is_doing(busy):
    process = subprocess.Popen(
        [sys.executable, "-c", f"{BEGIN}print('ready', flush=True)\n{busy}"], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=30)[1]
    assert process.returncode == 75
    assert error == "stopped by SIGTERM; start the same command again\n"


def test_while_a_note_is_open_it_is_noted_and_before_and_after_it_is_the_end():
    noted = f"with sigterm.Note() as note:\n    {TELL}    print(note.asked)\n".replace("; ", "\n    ")
    assert end_of(noted) == (0, "True\n", "")
    status, out, _ = end_of(noted + TELL + "print('never')")
    assert (status, out) == (75, "True\n")


def test_other_signals_keep_their_meaning():
    status, _, error = end_of("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)")
    assert status != 75 and "KeyboardInterrupt" in error


def test_training_ends_with_it_before_anything_is_loaded(tmp_path):
    (tmp_path / "config.py").write_text(
        f"import os, signal, time\ndef get_config():\n    {TELL.strip()}\n    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "tools/train.py", f"--config={tmp_path}/config.py", f"--workdir={tmp_path}/run"], cwd=ROOT,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr


CTRL_C = "import os, signal, time; from kseg.distribution import sigterm; sigterm.leave_on_sigterm(interrupt=True)\n"
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT); time.sleep(0.3)\n"


def after_ctrl_c(code):
    done = subprocess.run([sys.executable, "-c", CTRL_C + code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_ctrl_c_ends_a_program_with_one_line():
    assert after_ctrl_c(INTERRUPT + "print('never')") == (130, "", "stopped by Ctrl-C; start the same command again\n")


def test_a_note_takes_the_first_ctrl_c_and_the_second_ends_at_once():
    noted = f"with sigterm.Note() as note:\n    {INTERRUPT}    print(note.asked, sigterm.last_noted(), flush=True)\n"
    status, out, error = after_ctrl_c(noted.replace("; ", "\n    "))
    assert (status, out) == (0, "True ('stopped by Ctrl-C', 130)\n")
    assert error == "\nCtrl-C: stopping after this step; once more stops at once\n"
    twice = noted + "    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n"
    status, out, error = after_ctrl_c(twice.replace("; ", "\n    "))
    assert (status, out) == (130, "True ('stopped by Ctrl-C', 130)\n")
    assert error.splitlines()[-1] == "stopped by Ctrl-C; start the same command again"


def test_in_a_notebook_a_note_takes_the_first_ctrl_c_and_the_second_is_pythons():
    kill = "    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(0.3)\n"
    code = "import os, signal, time\nfrom kseg.distribution import sigterm\nwith sigterm.Note() as note:\n"
    code += kill + "    print(note.asked, flush=True)\n" + kill
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n" and "KeyboardInterrupt" in done.stderr, done.stderr


def test_an_ignored_interrupt_stays_ignored():
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + CTRL_C
    code += f"with sigterm.Note() as note:\n    {INTERRUPT}    print(note.asked)\n".replace("; ", "\n    ") + INTERRUPT
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
