"""Tests marked `browser` need Chromium; where there is none they are deselected, and the last lines say so."""

import shutil

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_missing = pytest.StashKey()


def pytest_collection_modifyitems(config, items):
    if _CHROMIUM and shutil.which("chromedriver"):
        return
    without = [item for item in items if item.get_closest_marker("browser")]
    if without:
        config.stash[_missing] = len(without)
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


def pytest_terminal_summary(terminalreporter, config):
    if config.stash.get(_missing, 0):
        terminalreporter.write_line(
            f"NOT RUN: {config.stash[_missing]} browser tests; apt-get install chromium chromium-driver",
            yellow=True,
        )
