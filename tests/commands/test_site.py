"""`make docs`: the site builds without a warning, every page with its picture, its reference and its search."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = next(folder for folder in pathlib.Path(__file__).parents if (folder / "setup.cfg").is_file())


@pytest.mark.extras
def test_the_site_builds_without_a_warning_and_has_what_the_sources_say(tmp_path):
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stderr[-3000:]
    assert "data_flow.svg" in (site / "how_it_works.html").read_text()
    assert "InvertedDice" in (site / "reference/losses.html").read_text()  # from a docstring
    assert "label_smoothing" in re.sub(r"<p>.*?</p>", "", (site / "reference/losses.html").read_text())  # signatures
    assert "poly_power" in (site / "reference/settings.html").read_text()  # from kseg/config.py
    assert "What is refused" in (site / "deploy/index.html").read_text()  # from beside docs/
    assert 'href="../deploy/' not in (site / "serving.html").read_text()  # where the link leads in the repository
    assert "<!--camvid" not in (site / "answer.html").read_text()
    words = {page["location"] for page in json.loads((site / "search/search_index.json").read_text())["docs"]}
    assert "troubleshooting.html" in words
