"""What ends a study: code that computes runs, and no other."""

import shutil

import pytest
from studies import ROOT

import kseg
from kseg.study import identity


@pytest.mark.parametrize(
    ("file", "ends"),
    [
        ("kseg/losses/dice.py", True),
        ("kseg/training/step.py", True),
        ("kseg/treatments.py", True),
        ("kseg/histograms.py", True),
        ("tfrecords/labels.py", True),
        ("kseg/study/report/page.py", False),
        ("kseg/commands/flags.py", False),
        ("kseg/export/export.py", False),
        ("kseg/serving/client.py", False),
    ],
)
def test_code_that_computes_runs_ends_a_study_and_other_code_does_not(tmp_path, monkeypatch, file, ends):
    for package in ("kseg", "tfrecords"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kseg, "__file__", str(tmp_path / "kseg" / "__init__.py"))
    before = identity.code_fingerprint()
    with open(tmp_path / file, "a") as opened:
        opened.write("# changed\n")
    assert (identity.code_fingerprint() != before) is ends
