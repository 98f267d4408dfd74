"""Progress of a conversion: plain lines where stderr is no terminal."""

import re
import time

from tfrecords.conversion import bars


def test_a_log_gets_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(bars, "_LINE_EVERY_S", 0.1)
    with bars.bar("convert", 30, "image", True) as bar:
        for _ in range(30):
            time.sleep(0.05)
            bar.update()
    said = capsys.readouterr().err
    assert "\r" not in said and len(said.splitlines()) > 2
    assert all(re.fullmatch(r"convert: \d+ of 30 images, [\d:?]+ left", line) for line in said.splitlines())
    assert said.splitlines()[-1].startswith("convert: 30 of 30 ")


def test_what_is_over_at_once_or_not_asked_for_says_nothing(capsys):
    for shown, count in ((True, 3), (False, 3)):
        with bars.bar("convert", 3, "image", shown) as bar:
            bar.update(count)
    assert capsys.readouterr().err == ""
