"""Shared records, and a last word on what was not run.

Tests marked `extras` and `soak` are deselected by default (setup.cfg), those marked `browser` where there is no
Chromium; the last lines of a run count each of them and say how to run it.
"""

import collections
import shutil
import signal

import pytest
from programs import run_tool

import kseg  # noqa: F401  before any test loads TensorFlow: it chooses the kernels

_HOW = {"extras": "make test-extras", "soak": "make soak", "browser": "apt-get install chromium chromium-driver"}
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_not_run = collections.Counter()

# A shell starts its background jobs with SIGINT ignored; what a test starts and interrupts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Folder in Cityscapes' layout: 16 training and 4 validation scenes of 64x128."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    run_tool(
        "tools/make_street_scenes.py", f"--output_dir={folder}", "--num_train=16", "--num_val=4",
        "--height=64", "--width=128",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def records(scenes, tmp_path_factory):
    """Records of the scenes."""
    folder = tmp_path_factory.mktemp("data") / "records"
    run_tool(
        "tools/convert_cityscapes.py", f"--cityscapes_dir={scenes}", f"--records_dir={folder}", "--splits=train,val",
        "--num_shards=2",
    )  # fmt: skip
    return str(folder)


def pytest_collection_modifyitems(config, items):
    if _CHROMIUM and shutil.which("chromedriver"):
        return
    without = [item for item in items if item.get_closest_marker("browser")]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


def pytest_deselected(items):
    for item in items:
        _not_run.update(name for name in _HOW if item.get_closest_marker(name))


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # one of several processes: the one that writes the last lines asks
        session.config.workeroutput["not_run"] = dict(_not_run)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Every process deselects the same tests of the whole suite."""
    if not _not_run:
        _not_run.update(getattr(node, "workeroutput", {}).get("not_run", {}))


def pytest_terminal_summary(terminalreporter):
    for name, how in _HOW.items():
        if _not_run[name]:
            terminalreporter.write_line(f"NOT RUN: {_not_run[name]} tests marked {name} ({how})", yellow=True)
