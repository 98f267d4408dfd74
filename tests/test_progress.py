"""Progress: what a terminal and what a log file see of it, and when."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from programs import ROOT

from kseg import progress
from kseg.progress import Progress, duration

STEPS = """
import sys
from kseg.progress import Progress
with Progress("train", 40, "step", style={style}, speed=("image", 4)) as bar:
    for step in range(1, 41):
        shows = bar.is_due(step)
        bar.advance(step)
        if shows:
            bar.show(f"loss {{1 / step:.2f}}")
    bar.say("the end")
"""


def test_without_a_terminal_there_are_lines_of_text_and_no_carriage_return():
    done = subprocess.run([sys.executable, "-c", STEPS.format(style=True)], cwd=ROOT, capture_output=True, text=True)
    lines = done.stderr.split("\n")
    assert "\r" not in done.stderr and not done.stdout
    assert lines[0] == "train: step 1 of 40, loss 1.00"  # of the first step no speed can be told
    assert [line.split()[2] for line in lines[:-3]] == ["1", "2", "5", "10", "20"]
    assert lines[-3].startswith("train: step 40 of 40, loss 0.03, ") and lines[-3].endswith(" images/s")
    assert lines[-2:] == ["the end", ""]


@pytest.mark.parametrize("columns", [0, 80])
@pytest.mark.parametrize("style", ["True", "'lines'"])
def test_at_a_terminal_there_is_a_bar_unless_it_is_to_be_quiet(style, columns):
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", STEPS.format(style=style)], cwd=ROOT, stderr=child)
    os.close(child)
    text = b""
    while True:
        try:
            chunk = os.read(parent, 4096)
        except OSError:  # all of it read
            break
        text += chunk
    assert process.wait() == 0
    seen = text.decode().replace("\r\n", "\n")
    assert ("\r" in seen) == (style == "True")
    assert "loss 1.00" in seen and "loss 0.03" in seen and "the end" in seen


def test_nothing_is_shown_where_nothing_is_wanted(capsys):
    with Progress("train", 4, "step", style=progress.NONE) as bar:
        assert not any(bar.is_due(step) for step in range(1, 5))
        bar.advance(4)
        bar.show("loss 1")
        bar.say("a line")
    assert capsys.readouterr() == ("", "")


def test_speed_leaves_out_the_first_step_and_what_was_skipped(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = Progress("train", 100, "step", style=progress.LINES, speed=("image", 4))
    for step, seconds in ((1, 60.0), (2, 2.0), (3, 2.0)):
        now[0] += seconds
        bar.advance(step)
    now[0] += 500  # an evaluation
    bar.skip()
    now[0] += 2.0
    bar.advance(4)
    bar.show()
    # 4 images in 2 s; 96 steps of 2 s.
    assert capsys.readouterr().err == "train: step 4 of 100, 2 images/s, 3 min left\n"


def test_lines_grow_rare(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = Progress("train", 10_000, "step", style=progress.LINES)
    shown = []
    for step in range(1, 10_001):
        now[0] += 1.0
        if bar.is_due(step):
            shown.append(step)
            bar.advance(step)
            bar.show()
    assert shown[:8] == [1, 2, 5, 10, 20, 120, 220, 320] and shown[-1] == 10_000 and len(shown) < 110


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 s"), (59, "59 s"), (150, "2 min"), (3599, "1 h 0 min"), (187_200, "2 d 4 h")]
)
def test_durations_are_told_as_a_person_does(seconds, text):
    assert duration(seconds) == text
