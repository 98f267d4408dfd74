"""The studies in docs/ are what their runs and today's configurations say."""

import importlib.util
import json

import pytest
from studies import ROOT, load_config, study_of_docs

from kseg.study import grid
from kseg.study import summary as findings
from kseg.study.report import page


def _agree(ours, theirs, where=""):
    """JSON values that are the same but for the last digits of numbers."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            _agree(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for place, (our, their) in enumerate(zip(ours, theirs)):
            _agree(our, their, f"{where}/{place}")
    elif isinstance(ours, float) and isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=2e-6), where  # study.json is rounded
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(
    "name, config",
    [
        ("camvid", ("study_camvid", "grid")),
        ("camvid_tuning", ("study_camvid", "tuning")),
        ("camvid_heads", ("study_camvid", "heads")),
        ("street_scenes", ("study_street_scenes",)),
        ("camvid_lite0", ("study_camvid_lite0",)),
    ],
)
def test_study_json_in_docs_is_what_its_runs_and_todays_configuration_say(name, config):
    folder = ROOT / "docs" / "study" / name
    configuration = load_config(*config)
    configuration.draws = 2  # the bootstrap alone would take minutes; everything else is compared
    runs = grid.expand(configuration)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in runs})
    fresh = json.loads(json.dumps(findings.summarise(configuration, found, runs, folder)))
    written = study_of_docs(name)
    resampled = (
        "se_frames",
        "standard_error",
        "degrees_of_freedom",
        "low",
        "high",
        "p",
        "verdict",
        "se_frames_by_block",
    )
    for summary in (fresh, written):
        del summary["draws"]
        for entry in summary["contrasts"]:
            for key in [key for key in entry if key in resampled or key.startswith(("holm_", "not_worse"))]:
                del entry[key]
    _agree(written, fresh)


def test_choices_of_the_grid_are_those_that_the_held_out_frames_made():
    spec = importlib.util.spec_from_file_location("study_camvid_constants", ROOT / "configs/study_camvid.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for choice in study_of_docs("camvid_tuning")["choices"]:
        kind, name = choice["name"].split(", ")
        constants = module.LEARNING_RATE if kind == "learning rate" else module.VOID_WEIGHT
        # A choice whose runs have not all been made leaves the default, and nothing of the grid that needs it is run.
        assert constants[name] == choice.get("chosen", choice["default"]), choice["name"]


def test_a_page_says_how_many_frames_there_are_where_some_are_counted_together():
    study = study_of_docs("camvid_lite0")
    assert study["frames"] == 233 and sum(study["sequences"].values()) < 233
    assert "233 test frames\n(counted in groups of up to 5: 0001TP" in page.page(study, [])
    assert "counted in groups" not in page.page(study_of_docs("camvid"), [])
